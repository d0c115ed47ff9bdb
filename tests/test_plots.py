"""What the figures show, read back from the drawn artists, and that they are real PNG files."""

from __future__ import annotations

import os
from io import BytesIO

import numpy as np
import pandas as pd
import pytest
from matplotlib import colors
from matplotlib.image import imread

from tomopick.curves import PRCurve
from tomopick.errors import DataError
from tomopick.objects import ParticleObject
from tomopick.plots import plot_memory, plot_pr, plot_reliability, plot_thresholds, plot_training, write_replacing

LARGE = ParticleObject(name="large", radius=20, label=1, color=(255, 0, 0, 255))
SMALL = ParticleObject(name="small", radius=6, label=2, color=(0, 0, 255, 255))


def history(train: list[float], val: list[float], **more: list[float]) -> pd.DataFrame:
    return pd.DataFrame({"epoch": range(1, len(train) + 1), "train_loss": train, "val_loss": val, **more})


def band_of(collection) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest drawn value at each epoch."""
    points = pd.DataFrame(collection.get_paths()[0].vertices, columns=["epoch", "loss"]).groupby("epoch")["loss"]
    return points.min().to_numpy(), points.max().to_numpy()


def test_several_runs_show_their_mean_and_spread(drawn, tmp_path):
    runs = [history([4.0, 2.0], [5.0, 3.0]), history([2.0, 1.0], [3.0, 3.0])]
    caption = plot_training(runs, tmp_path / "training.png")

    axes = drawn[0].axes[0]
    train, val = axes.lines
    assert train.get_ydata() == pytest.approx([3.0, 1.5])
    assert val.get_ydata() == pytest.approx([4.0, 3.0])
    assert (train.get_label(), val.get_label()) == ("training", "validation")
    assert (train.get_color(), val.get_color()) == ("#1f77b4", "#ff7f0e")
    low, high = band_of(axes.collections[0])
    assert low == pytest.approx([3 - 2**0.5, 1.5 - 0.5**0.5])
    assert high == pytest.approx([3 + 2**0.5, 1.5 + 0.5**0.5])
    assert "2 runs" in caption
    assert "over these runs" in caption
    assert drawn[0].get_supxlabel() == caption
    assert imread(tmp_path / "training.png").shape[0] > 300


def test_one_run_shows_the_spread_over_batches_or_none(drawn):
    one = history([4.0, 2.0], [5.0, 3.0], train_loss_sd=[0.5, 0.25], val_loss_sd=[1.0, 0.0])
    assert "over the batches" in plot_training([one], BytesIO())
    low, high = band_of(drawn[0].axes[0].collections[0])
    assert low == pytest.approx([3.5, 1.75])
    assert high == pytest.approx([4.5, 2.25])
    assert "no bands" in plot_training([history([4.0, 2.0], [5.0, 3.0])], BytesIO())


def test_epochs_without_validation_are_left_out(drawn):
    plot_training([history([4.0, 3.0, 2.0], [np.nan, 5.0, np.nan])], BytesIO())
    train, val = drawn[0].axes[0].lines
    assert train.get_xdata().tolist() == [1, 2, 3]
    assert val.get_xdata().tolist() == [2]


def test_epochs_are_counted_in_whole_numbers(drawn):
    plot_training([history([4.0], [5.0])], BytesIO())
    ticks = drawn[0].axes[0].get_xticks()
    assert [float(t) for t in ticks if abs(t - 1) < 1] == [1.0]


def test_a_caption_that_is_printed_elsewhere_is_not_drawn(drawn):
    caption = plot_training([history([4.0], [5.0])], BytesIO(), captioned=False)
    assert (caption, drawn[0].get_supxlabel()) == ("One training run; no bands.", "")


def test_runs_that_stopped_early_are_said(drawn):
    caption = plot_training([history([4.0, 2.0], [4.0, 2.0]), history([2.0], [2.0])], BytesIO())
    assert drawn[0].axes[0].lines[0].get_ydata().tolist() == [3.0, 2.0]
    assert "only the runs that reached them" in caption


def test_a_log_without_losses_is_refused():
    with pytest.raises(DataError, match="lacks the columns val_loss"):
        plot_training([pd.DataFrame({"epoch": [1], "train_loss": [1.0]})], BytesIO())
    with pytest.raises(DataError, match="no training log"):
        plot_training([], BytesIO())


def test_memory_bars_have_the_given_lengths(drawn):
    rows = pd.DataFrame(
        {
            "name": ["conv", "linear"],
            "parameters_mb": [0.5, 134.0],
            "computed_mb": [33.5, 0.25],
            "measured_mb": [33.6, np.nan],
        }
    )
    plot_memory(rows, BytesIO())
    axes = drawn[0].axes[0]
    assert [[bar.get_width() for bar in bars] for bars in axes.containers] == [[0.5, 134.0], [33.5, 0.25], [33.6, 0.0]]
    assert [text.get_text() for text in axes.get_yticklabels()] == ["conv", "linear"]
    low, high = axes.get_ylim()
    assert low > high, "the first layer stands on top"
    with pytest.raises(DataError, match="measured_mb"):
        plot_memory(rows.drop(columns="measured_mb"), BytesIO())


def test_pr_lines_are_the_curves(drawn):
    curve = PRCurve(np.array([0.2, 0.8]), np.array([0.5, 1.0]), np.array([0.9, 0.4]))
    plot_pr({"small": curve}, [LARGE, SMALL], BytesIO())
    (line,) = drawn[0].axes[0].lines
    assert line.get_label() == "small"
    assert colors.to_hex(line.get_color()) == "#0000ff"
    assert list(zip(line.get_xdata(), line.get_ydata(), strict=True)) == [(0.4, 1.0), (0.9, 0.5)]


def test_thresholds_in_use_are_marked(drawn):
    table = pd.DataFrame({"object": "large", "threshold": [0.2, 0.8], "f_beta": [0.5, 0.9]})
    caption = plot_thresholds(table, [LARGE, SMALL], BytesIO(), beta=2, thresholds={"large": 0.5, "small": 0.1})
    axes = drawn[0].axes[0]
    curve, mark = axes.lines
    assert curve.get_ydata().tolist() == [0.5, 0.9]
    # F-beta at a threshold between two scores is that of the upper score.
    assert curve.get_drawstyle() == "steps-pre"
    assert list(mark.get_xdata()) == [0.5, 0.5]
    assert axes.get_ylabel() == "F2"
    assert "Dotted" in caption
    assert "Dotted" not in plot_thresholds(table, [LARGE], BytesIO())


def reliability(scores: list[float], shares: list[float], count: int) -> pd.DataFrame:
    bins = range(1, len(scores) + 1)
    return pd.DataFrame({"bin": bins, "count": count, "mean score": scores, "share right": shares})


def test_reliability_shows_each_bin_and_names_the_errors(drawn):
    tables = {
        "all": reliability([0.2, 0.8], [0.1, 0.6], 50),
        "small": reliability([0.32], [0.32], 40),
        "elsewhere": reliability([0.5], [0.9], 10),
    }
    caption = plot_reliability(tables, [LARGE, SMALL], BytesIO())
    axes, below = drawn[0].axes
    diagonal, small, total = axes.lines
    assert list(diagonal.get_xdata()) == list(diagonal.get_ydata()) == [0, 1]
    assert (list(total.get_xdata()), list(total.get_ydata())) == ([0.2, 0.8], [0.1, 0.6])
    assert colors.to_hex(small.get_color()) == "#0000ff"
    # ECE of all: (0.1 + 0.2) / 2
    assert [text.get_text() for text in axes.get_legend().get_texts()] == ["small (0.000)", "all (0.150)"]
    assert "0.150 over 100 picks (bins of equal count: 2)" in caption
    heights = {round(bar.get_x(), 2): bar.get_height() for bar in below.patches if bar.get_height()}
    assert heights == {0.3: 40}
    assert colors.to_hex(below.patches[0].get_facecolor()) == "#0000ff"


def test_reliability_of_all_objects_together_can_stand_alone(drawn):
    plot_reliability({"all": reliability([0.32], [0.5], 40)}, [LARGE], BytesIO())
    assert max(bar.get_height() for bar in drawn[0].axes[1].patches) == 40


def test_reliability_of_nothing_is_refused():
    with pytest.raises(DataError, match="no picks to judge"):
        plot_reliability({"all": reliability([], [], 0)}, [SMALL], BytesIO())


def test_an_old_file_survives_a_failure(tmp_path, monkeypatch):
    path = tmp_path / "new" / "figure.png"
    assert write_replacing(path, b"old") == path

    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "replace", fail)
    with pytest.raises(DataError, match=r"cannot write .*figure.png: No space left"):
        write_replacing(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in path.parent.iterdir()] == ["figure.png"]


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(DataError, match="cannot write"):
        write_replacing(tmp_path / "file" / "figure.png", b"")
