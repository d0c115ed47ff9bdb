"""Training in folds: no run is judged by a model that saw it, and all runs decide together."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomopick.calibration import calibrated
from tomopick.curves import probability_thresholds
from tomopick.errors import DataError
from tomopick.inference.engine import score_map
from tomopick.inference.peaks import find_peaks
from tomopick.models.modelfile import load_model
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.recipe import Recipe
from tomopick.tomogram import Tomogram
from tomopick.training.annotations import TrainingRun
from tomopick.training.folds import Folds, split_folds, train_folds
from tomopick.training.thresholds import raw_picks, settle

HOLE = ParticleObject(name="hole", radius=60, label=1)
RECIPE = Recipe(
    model="heatmap-unet", arguments={"size": "tiny"}, epochs=6, positions=8, batch_size=4, gamma=0.0, background=0.5,
    object_weight=64.0, learning_rate=3e-3, ema=0.8, clear=0.0, precision="fp32",
)  # fmt: skip


def run_of(name: str, seed: int) -> TrainingRun:
    """Six dark balls at random places of their own, in unit noise."""
    rng = np.random.default_rng(seed)
    octants = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)[:6]
    centres = octants * 24 + rng.uniform(8, 16, (6, 3))
    grid = np.stack(np.meshgrid(*[np.arange(48)] * 3, indexing="ij"), axis=-1)
    volume = rng.normal(size=(48, 48, 48))
    for centre in centres:
        volume -= 4.0 * (np.linalg.norm(grid - centre, axis=-1) < 5)
    return TrainingRun(
        Tomogram(volume.astype(np.float32), 10.0, name, "wbp"), Picks.of(name, "hole", centres[:, ::-1] * 10.0)
    )


RUNS = [run_of(name, seed) for seed, name in enumerate("abc")]


@pytest.fixture(scope="module")
def folds(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Folds]:
    out = tmp_path_factory.mktemp("folds")
    return out, train_folds(RUNS, 3, [HOLE], RECIPE, out, progress=False)


@given(names=st.lists(st.text(min_size=1), min_size=2, max_size=12, unique=True), data=st.data())
def test_each_run_is_kept_back_once_and_folds_are_alike_in_size(names, data):
    folds = data.draw(st.integers(2, len(names)))
    split = split_folds(names, folds)
    assert sorted(run for fold in split for run in fold) == sorted(names)
    assert len(split) == folds
    assert max(map(len, split)) - min(map(len, split)) <= 1


@pytest.mark.parametrize(("folds", "said"), [(1, "at least 2"), (4, "at most 3")])
def test_folds_that_cannot_be_made_are_refused(folds, said, tmp_path):
    with pytest.raises(DataError, match=said):
        train_folds(RUNS, folds, [HOLE], RECIPE, tmp_path, progress=False)


def test_each_model_learns_from_the_other_runs_only(folds):
    told = [load_model(path).spec.provenance for path in folds[1].models]
    assert [list(t["validation"]) for t in told] == [["a"], ["b"], ["c"]]
    assert [sorted(t["training"]) for t in told] == [["b", "c"], ["a", "c"], ["a", "b"]]


def test_each_runs_picks_are_those_of_the_model_that_did_not_see_it(folds):
    for run, path in zip(RUNS, folds[1].models, strict=True):
        model = load_model(path)
        raw = find_peaks(score_map(model, run.tomogram, dtype="fp32"), [HOLE])
        expected = calibrated(raw, model.spec.calibration).table
        found = folds[1].picks.where(run=run.tomogram.name).table
        pd.testing.assert_frame_equal(found.reset_index(drop=True), expected.reset_index(drop=True))


def test_all_models_get_the_calibration_and_the_thresholds_of_all_runs(folds):
    specs = [load_model(path).spec for path in folds[1].models]
    assert specs[0].calibration
    assert all(spec.calibration == specs[0].calibration for spec in specs)
    truth = Picks.join(run.picks for run in RUNS)
    expected = probability_thresholds(folds[1].picks, truth, [HOLE], beta=4)
    assert [spec.thresholds for spec in specs] == [pytest.approx(expected)] * 3


@pytest.mark.parametrize(("beta", "share"), [(4.0, 0.4), (1.0, 1.0)])
def test_where_misses_weigh_more_a_share_of_the_best_threshold_is_taken(folds, beta, share, tmp_path):
    model = Path(shutil.copy(folds[1].models[0], tmp_path))
    recipe = RECIPE.model_copy(update={"threshold_share": 0.4, "beta": beta})
    picks, _ = settle([model], raw_picks(model, RUNS[:1], recipe), RUNS[:1], recipe)
    expected = probability_thresholds(picks, RUNS[0].picks, [HOLE], beta=beta)["hole"]
    assert load_model(model).spec.thresholds == {"hole": pytest.approx(share * expected)}


def test_what_is_found_out_of_fold_is_scored_together_and_by_fold(folds):
    pooled, by_fold = folds[1].pooled.by_object["hole"], [s.by_object["hole"] for s in folds[1].by_fold]
    assert pooled.tp + pooled.fn == 18
    for count in ("tp", "fp", "fn"):
        assert getattr(pooled, count) == sum(getattr(one, count) for one in by_fold)
    assert folds[1].pooled.score > 0.9


def test_folds_that_were_interrupted_end_alike(folds, tmp_path, monkeypatch):
    """The second of three folds stops in its middle; the first is not trained again."""
    from tomopick.training.task import DenseTask

    trained, step = [], DenseTask.training_step

    def watched(self: DenseTask, batch: object, batch_idx: int) -> object:
        if stops and len(trained) > 1.4 * steps:
            raise RuntimeError("the power is cut")
        trained.append(sorted(p.name for p in tmp_path.glob("fold_*"))[-1])
        return step(self, batch, batch_idx)

    monkeypatch.setattr(DenseTask, "training_step", watched)
    steps = RECIPE.epochs * len(range(0, 18, RECIPE.batch_size))
    stops = True
    with pytest.raises(RuntimeError, match="power"):
        train_folds(RUNS, 3, [HOLE], RECIPE, tmp_path, progress=False)
    stops = False
    trained.clear()
    ended = train_folds(RUNS, 3, [HOLE], RECIPE, tmp_path, resume=True, progress=False)
    assert set(trained) == {"fold_1", "fold_2"}
    pd.testing.assert_frame_equal(ended.picks.table, folds[1].picks.table, check_exact=True)
    assert ended.pooled.thresholds == folds[1].pooled.thresholds
