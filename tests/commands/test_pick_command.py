"""`tomopick pick`: the same picks as from Python, in each form, through interruptions."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import resource
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import zarr

import tomopick as tp
from tomopick.commands import pick as pick_command

OPTIONS = ("--stride", 8, "--threshold", 0.05, "--dtype", "fp32")
"""Fast, and a threshold that even a hardly trained network passes."""


@pytest.fixture(scope="module")
def found(model, phantom) -> tp.Picks:
    """The picks of all three runs, from Python, by run name."""
    network = tp.load_model(model)
    least = dict.fromkeys((o.name for o in network.spec.objects), 0.05)
    source = tp.open_project(phantom / "config.json")
    parts = [
        tp.pick(network, source.tomogram(run, "wbp"), stride=8, thresholds=least, dtype="fp32")
        for run in ("SIM_0", "SIM_1", "SIM_2")
    ]
    assert min(len(part) for part in parts) > 3
    return tp.Picks.join(parts)


@pytest.fixture
def searched(monkeypatch) -> list[str]:
    """The names of the tomograms that were really searched."""
    names: list[str] = []
    real = pick_command.pick

    def note(model, tomogram, **options):
        names.append(tomogram.name)
        return real(model, tomogram, **options)

    monkeypatch.setattr(pick_command, "pick", note)
    return names


def assert_same_picks(one: tp.Picks, other: tp.Picks, score_digits: int = 6) -> None:
    assert one.table[["run", "object"]].equals(other.table[["run", "object"]])
    np.testing.assert_allclose(one.xyz(), other.xyz(), atol=1e-4)
    np.testing.assert_allclose(one.scores(), other.scores(), rtol=10.0**-score_digits)


def files_of(folder: Path) -> dict[Path, str]:
    """The hash of every file in a folder."""
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {path: hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def test_a_csv_is_the_czii_form_and_holds_what_python_finds(succeed, model, phantom, found, tmp_path):
    succeed("pick", model, phantom / "config.json", "--out", tmp_path / "picks.csv", *OPTIONS)
    table = pd.read_csv(tmp_path / "picks.csv")
    assert list(table.columns) == ["id", "experiment", "particle_type", "x", "y", "z", "score"]
    assert table["id"].tolist() == list(range(len(found)))
    assert_same_picks(tp.read_picks(tmp_path / "picks.csv"), found, 5)


@pytest.mark.parametrize("form", [(), ("--pixels",)])
def test_a_star_file_holds_what_python_finds(form, succeed, model, phantom, found, tmp_path):
    succeed("pick", model, phantom, "--out", tmp_path / "picks.star", *OPTIONS, *form)
    text = (tmp_path / "picks.star").read_text()
    assert ("_rlnCoordinateX " in text) == bool(form)
    assert ("_rlnCenteredCoordinateXAngst " in text) != bool(form)
    assert_same_picks(tp.read_picks(tmp_path / "picks.star"), found)


def test_files_and_folders_give_the_picks_of_the_project(succeed, model, mrc_files, found, tmp_path):
    succeed("pick", model, mrc_files, "--out", tmp_path / "folder.csv", *OPTIONS)
    assert_same_picks(tp.read_picks(tmp_path / "folder.csv"), found, 5)
    two = [mrc_files / "SIM_2.mrc", mrc_files / "SIM_0.mrc"]
    succeed("pick", model, *two, "--out", tmp_path / "two.csv", *OPTIONS)
    expected = tp.Picks.join([found.where(run="SIM_0"), found.where(run="SIM_2")])
    assert_same_picks(tp.read_picks(tmp_path / "two.csv"), expected, 5)


def test_the_models_own_thresholds_count_where_none_is_given(succeed, model, phantom, tmp_path):
    options = ("--stride", 8, "--dtype", "fp32", "--runs", "SIM_2")
    succeed("pick", model, phantom, "--out", tmp_path / "picks.csv", *options)
    network = tp.load_model(model)
    tomogram = tp.open_project(phantom / "config.json").tomogram("SIM_2", "wbp")
    expected = tp.pick(network, tomogram, stride=8, dtype="fp32")
    assert_same_picks(tp.read_picks(tmp_path / "picks.csv"), expected, 5)


def test_scores_are_saved_beside_the_picks_and_made_again_where_they_are_missing(
    succeed, model, phantom, searched, tmp_path
):
    call = ("pick", model, phantom, "--out", tmp_path / "picks.csv", "--save-scores", tmp_path / "maps", *OPTIONS)
    succeed(*call)
    scores = tp.score_map(tp.load_model(model), tp.open_project(phantom / "config.json").tomogram("SIM_1", "wbp"), 8)
    saved = zarr.open(str(tmp_path / "maps" / "SIM_1.zarr"), mode="r")
    np.testing.assert_allclose(saved["0"][:], scores.array[:-1], atol=1e-6)
    assert saved.attrs["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"][1:] == [80.0] * 3
    shutil.rmtree(tmp_path / "maps" / "SIM_1.zarr")
    searched.clear()
    succeed(*call)
    assert searched == ["SIM_1"]
    assert sorted(path.name for path in (tmp_path / "maps").iterdir()) == ["SIM_0.zarr", "SIM_1.zarr", "SIM_2.zarr"]


def test_border_and_mask_keep_picks_inside(succeed, model, phantom, found, tmp_path):
    tomogram = tp.open_project(phantom / "config.json").tomogram("SIM_0", "wbp")
    mask = np.zeros(tomogram.shape, np.float32)
    mask[:, :, :32] = 1
    from tomopick.io.tomograms import write_mrc

    write_mrc(tmp_path / "mask.mrc", mask, 10.0)
    limits = ("--runs", "SIM_0", "--mask", tmp_path / "mask.mrc", "--border", 60)
    succeed("pick", model, phantom, "--out", tmp_path / "picks.csv", *OPTIONS, *limits)
    xyz = tp.read_picks(tmp_path / "picks.csv").xyz()
    everywhere = found.where(run="SIM_0").xyz()
    top = (np.array(tomogram.shape[::-1]) - 1) * 10.0
    inside = ((everywhere >= 60) & (everywhere <= top - 60)).all(axis=1) & (np.rint(everywhere[:, 0] / 10) < 32)
    assert 0 < inside.sum() < len(everywhere)
    np.testing.assert_allclose(xyz, everywhere[inside], atol=1e-4)


def test_a_tomogram_smaller_than_the_window_is_picked(succeed, model, tmp_path):
    from tomopick.io.tomograms import write_mrc

    write_mrc(tmp_path / "small.mrc", np.random.default_rng(0).normal(size=(9, 12, 7)), 10.0)
    succeed("pick", model, tmp_path / "small.mrc", "--out", tmp_path / "picks.csv", *OPTIONS)
    picks = tp.read_picks(tmp_path / "picks.csv")
    assert (picks.xyz() >= -5).all()
    assert (picks.xyz() <= np.array([65.0, 115.0, 85.0])).all()


def test_a_given_voxel_spacing_overrides_the_files(succeed, model, mrc_files, found, tmp_path):
    word = ("--voxel-spacing", 10.1)
    succeed("pick", model, mrc_files / "SIM_0.mrc", "--out", tmp_path / "picks.csv", *OPTIONS, *word)
    picks = tp.read_picks(tmp_path / "picks.csv")
    np.testing.assert_allclose(picks.xyz(), found.where(run="SIM_0").xyz() * 1.01, atol=1e-3)


def test_another_spacing_than_the_models_is_resampled_with_a_notice(succeed, model, mrc_files, tmp_path):
    outcome = succeed(
        "pick", model, mrc_files / "SIM_0.mrc", "--out", tmp_path / "p.csv", *OPTIONS, "--voxel-spacing", 13
    )
    assert outcome.err.startswith("notice: SIM_0 has voxels of 13 A, the model 10 A")
    assert len(tp.read_picks(tmp_path / "p.csv")) > 0


def test_picks_go_into_the_project_and_others_are_left_alone(succeed, model, project, found, tmp_path):
    before = files_of(project)
    words = ("pick", model, project, "--out", tmp_path / "picks.csv", *OPTIONS, "--runs", "SIM_2", "--write-copick")
    succeed(*words)
    after = files_of(project)
    assert {path: after.get(path) for path in before} == before
    written = set(after) - set(before)
    assert {path.name.split("_")[0] for path in written} == {"tomopick"}
    assert {path.parent.parent.name for path in written} == {"SIM_2"}
    stored = tp.open_project(project / "config.json").picks(run="SIM_2", user="tomopick", session=model.parent.name)
    mine = found.where(run="SIM_2")
    assert len(stored) == len(mine)
    for name in mine.objects:
        assert_same_picks(stored.where(name=name), mine.where(name=name))


def test_sets_in_the_project_are_kept_unless_overwrite(succeed, model, project, tmp_path):
    words = ("pick", model, project, "--out", tmp_path / "picks.csv", "--runs", "SIM_2", "--write-copick")
    succeed(*words, *OPTIONS)
    first = files_of(project)
    fewer = ("--stride", 8, "--threshold", 0.9, "--dtype", "fp32")
    outcome = succeed(*words[:4], tmp_path / "fewer.csv", *words[5:], *fewer)
    assert "were kept; --overwrite replaces them" in outcome.err
    assert files_of(project) == first
    outcome = succeed(*words[:4], tmp_path / "fewer.csv", *words[5:], *fewer, "--overwrite")
    assert "were kept" not in outcome.err
    source = tp.open_project(project / "config.json")
    kept = source.picks(run="SIM_2", user="tomopick")
    assert len(kept) == len(tp.read_picks(tmp_path / "fewer.csv"))
    assert len(source.picks(run="SIM_2")) > 0


def test_finished_picks_reach_the_project_later_too(succeed, model, project, searched, tmp_path):
    words = ("pick", model, project, "--out", tmp_path / "picks.csv", *OPTIONS, "--runs", "SIM_1")
    succeed(*words)
    succeed(*words, "--write-copick")
    assert searched == ["SIM_1"]
    stored = tp.open_project(project / "config.json").picks(run="SIM_1", user="tomopick")
    assert len(stored) == len(tp.read_picks(tmp_path / "picks.csv")) > 0


def test_a_broken_tomogram_does_not_stop_the_others(command, succeed, model, lab, searched, tmp_path):
    whole, mended = tmp_path / "whole.csv", tmp_path / "mended.csv"
    succeed("pick", model, lab, "--out", whole, *OPTIONS)
    good = (lab / "SIM_1.mrc").read_bytes()
    (lab / "SIM_1.mrc").write_bytes(good[: len(good) // 2])
    searched.clear()
    outcome = command("pick", model, lab, "--out", mended, *OPTIONS)
    assert outcome.code == 1
    *_, head, line = outcome.err.splitlines()
    assert head == "failed, 1 in all:"
    assert line.startswith("SIM_1: ")
    assert "truncated" in line
    assert tp.read_picks(mended).runs == ["SIM_0", "SIM_2"]
    (lab / "SIM_1.mrc").write_bytes(good)
    searched.clear()
    succeed("pick", model, lab, "--out", mended, *OPTIONS)
    assert searched == ["SIM_1"]
    assert mended.read_bytes() == whole.read_bytes()


def test_several_processes_give_the_picks_of_one_and_tell_of_what_failed(command, succeed, model, lab, tmp_path):
    one, two = tmp_path / "one.csv", tmp_path / "two.csv"
    succeed("pick", model, lab, "--out", one, *OPTIONS)
    good = (lab / "SIM_1.mrc").read_bytes()
    (lab / "SIM_1.mrc").write_bytes(good[: len(good) // 2])
    outcome = command("pick", model, lab, "--out", two, *OPTIONS, "--workers", 2, "--save-scores", tmp_path / "scores")
    assert outcome.code == 1
    assert "2 processes pick 3 tomograms" in outcome.err
    assert outcome.err.splitlines()[-1].startswith("SIM_1: ")
    assert tp.read_picks(two).runs == ["SIM_0", "SIM_2"]
    assert sorted(path.name for path in (tmp_path / "scores").iterdir()) == ["SIM_0.zarr", "SIM_2.zarr"]
    (lab / "SIM_1.mrc").write_bytes(good)
    again = succeed("pick", model, lab, "--out", two, *OPTIONS, "--workers", 2)
    assert "finished before" in again.out
    assert_same_picks(tp.read_picks(two), tp.read_picks(one))
    records = [json.loads((path.parent / f"{path.name}.progress.json").read_text()) for path in (one, two)]
    assert all(records[0][part] == records[1][part] for part in ("settings", "counts", "plans", "sizes"))


def test_devices_that_one_process_has_share_each_tomogram(succeed, model, phantom, monkeypatch, found, tmp_path):
    """The devices are twice the CPU: what is tried is the sharing."""
    monkeypatch.setattr(pick_command, "devices_together", lambda name: (name, name))
    file = tmp_path / "picks.csv"
    succeed("pick", model, phantom, "--out", file, *OPTIONS, "--device", "cpu", "--save-scores", tmp_path / "scores")
    assert_same_picks(tp.read_picks(file), found, score_digits=4)
    plans = json.loads((tmp_path / "picks.csv.progress.json").read_text())["plans"]
    assert all("2 strips" in plan for plan in plans.values())
    saved = zarr.open(str(tmp_path / "scores" / "SIM_0.zarr"), mode="r")["0"][:]
    scores = tp.score_map(tp.load_model(model), tp.open_project(phantom / "config.json").tomogram("SIM_0", "wbp"), 8)
    np.testing.assert_allclose(saved, scores.array[:-1], atol=1e-4)


def test_an_interrupted_command_goes_on_where_it_stopped(command, succeed, model, lab, monkeypatch, searched, tmp_path):
    whole, resumed = tmp_path / "whole.csv", tmp_path / "resumed.csv"
    succeed("pick", model, lab, "--out", whole, *OPTIONS)
    searched.clear()
    with monkeypatch.context() as patch:
        real = pick_command.pick

        def interrupt(model, tomogram, **options):
            if tomogram.name == "SIM_1":
                raise KeyboardInterrupt
            return real(model, tomogram, **options)

        patch.setattr(pick_command, "pick", interrupt)
        assert command("pick", model, lab, "--out", resumed, *OPTIONS).code == 130
    assert tp.read_picks(resumed).runs == ["SIM_0"]
    succeed("pick", model, lab, "--out", resumed, *OPTIONS)
    assert searched == ["SIM_0", "SIM_1", "SIM_2"]
    assert resumed.read_bytes() == whole.read_bytes()


def test_the_same_command_again_does_nothing_and_says_so(succeed, model, mrc_files, searched, tmp_path):
    words = ("pick", model, mrc_files, "--out", tmp_path / "out" / "picks.csv", *OPTIONS)
    succeed(*words)
    before = files_of(tmp_path / "out")
    searched.clear()
    outcome = succeed(*words)
    assert outcome.out.count("finished before") == 3
    assert searched == []
    assert files_of(tmp_path / "out") == before


def test_more_runs_are_added_to_the_file(succeed, model, phantom, searched, found, tmp_path):
    words = ("pick", model, phantom, "--out", tmp_path / "picks.csv", *OPTIONS, "--runs")
    succeed(*words, "SIM_2")
    succeed(*words, "SIM_2,SIM_0")
    assert searched == ["SIM_2", "SIM_0"]
    expected = tp.Picks.join([found.where(run="SIM_0"), found.where(run="SIM_2")])
    assert_same_picks(tp.read_picks(tmp_path / "picks.csv"), expected, 5)


def test_nothing_found_is_a_result_too(succeed, model, mrc_files, searched, tmp_path):
    for name in ("picks.csv", "picks.star"):
        words = ("pick", model, mrc_files, "--out", tmp_path / name, "--stride", 8, "--threshold", 0.999)
        succeed(*words)
        assert succeed(*words).out.count("finished before, 0 picks") == 3
        assert len(tp.read_picks(tmp_path / name)) == 0
    assert len(searched) == 6


def test_other_options_or_another_model_need_overwrite(refuse, succeed, model, mrc_files, tmp_path):
    out = tmp_path / "picks.csv"
    source = mrc_files / "SIM_0.mrc"
    succeed("pick", model, source, "--out", out, *OPTIONS)
    before = out.read_bytes()
    other = tmp_path / "other.safetensors"
    network = tp.load_model(model)
    network.network.classifier[3].bias[0] += 1
    from tomopick.models.modelfile import save_model

    save_model(other, network)
    says = ("--overwrite", "another model or other options")
    refuse("pick", other, source, "--out", out, *OPTIONS, says=says)
    refuse("pick", model, source, "--out", out, *OPTIONS, "--border", 50, says=says)
    assert out.read_bytes() == before
    succeed("pick", other, source, "--out", out, *OPTIONS, "--overwrite")
    assert out.read_bytes() != before


def test_a_file_of_somebody_else_is_not_replaced(refuse, model, mrc_files, phantom, tmp_path):
    out = tmp_path / "truth.csv"
    shutil.copyfile(phantom / "truth.csv", out)
    refuse("pick", model, mrc_files, "--out", out, *OPTIONS, says=("--overwrite",))
    assert out.read_bytes() == (phantom / "truth.csv").read_bytes()


def test_an_edited_file_is_not_gone_on_with(refuse, succeed, model, mrc_files, tmp_path):
    out = tmp_path / "picks.csv"
    succeed("pick", model, mrc_files / "SIM_0.mrc", "--out", out, *OPTIONS)
    out.write_text("".join(out.read_text().splitlines(keepends=True)[:-1]))
    edited = out.read_bytes()
    refuse("pick", model, mrc_files, "--out", out, *OPTIONS, says=("was changed", "--overwrite"))
    assert out.read_bytes() == edited


@pytest.mark.parametrize("text", ["", "{", "[]", '{"settings": 1}', "null"])
def test_a_damaged_progress_file_is_told(text, refuse, succeed, model, mrc_files, tmp_path):
    out = tmp_path / "picks.csv"
    out.write_text("experiment,particle_type,x,y,z\n")
    (tmp_path / "picks.csv.progress.json").write_text(text)
    refuse("pick", model, mrc_files, "--out", out, *OPTIONS, says=("--overwrite",))


def test_pixels_of_two_sizes_do_not_go_into_one_star_file(command, model, lab, mrc_files, tmp_path):
    from tomopick.io.tomograms import write_mrc

    write_mrc(lab / "SIM_1.mrc", tp.read_tomogram(mrc_files / "SIM_1.mrc")[:, :, :], 10.05)
    outcome = command("pick", model, lab, "--out", tmp_path / "picks.star", *OPTIONS, "--pixels")
    assert outcome.code == 1
    assert "--pixels" in outcome.err.splitlines()[-1]
    assert tp.read_picks(tmp_path / "picks.star").runs == ["SIM_0", "SIM_2"]


def test_a_full_disk_leaves_the_old_picks(refuse, succeed, model, mrc_files, tmp_path):
    out = tmp_path / "out" / "picks.csv"
    succeed("pick", model, mrc_files / "SIM_0.mrc", "--out", out, *OPTIONS)
    before = files_of(out.parent)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        refuse("pick", model, mrc_files, "--out", out, *OPTIONS, says=(str(out), "the old file is kept"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert files_of(out.parent) == before
    succeed("pick", model, mrc_files, "--out", out, *OPTIONS)
    assert tp.read_picks(out).runs == ["SIM_0", "SIM_1", "SIM_2"]


def test_a_disk_that_is_found_full_at_the_end_leaves_the_old_picks(refuse, model, mrc_files, monkeypatch, tmp_path):
    out = tmp_path / "picks.csv"
    out.write_text("old")

    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(os, "fsync", full)
    says = ("cannot write", "No space left on device", "the old file is kept")
    refuse("pick", model, mrc_files / "SIM_0.mrc", "--out", out, *OPTIONS, "--overwrite", says=says)
    assert files_of(tmp_path) == {out: hashlib.sha256(b"old").hexdigest()}
