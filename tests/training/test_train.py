"""Training from end to end on a bright blob in noise: it learns, it finds, and an interruption leaves no trace."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

from tomopick.errors import DataError, TomopickError
from tomopick.evaluation import evaluate
from tomopick.models.modelfile import load_model, save_model
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.recipe import Augmentation, Recipe
from tomopick.tomogram import Tomogram
from tomopick.training import run as training_run
from tomopick.training import task as training_task
from tomopick.training.run import Trained, TrainingRun, train

SPACING = 10.0
SIZE = 48
BLOB = ParticleObject(name="blob", radius=80, label=1)
RECIPE = Recipe(
    arguments={"window": 16},
    epochs=4,
    batch_size=8,
    positions=1,
    background=1.0,
    learning_rate=1e-3,
    warmup=0.1,
    ema=0.5,
    hard_negatives=0.5,
    mine_from=1,
    mine_every=1,
    augmentation=Augmentation(noise=0.1),
    precision="fp32",
)


def blobs(name: str, seed: int) -> TrainingRun:
    """Eight Gaussian blobs, one somewhere in each octant, in unit noise."""
    rng = np.random.default_rng(seed)
    octants = np.stack(np.meshgrid([0, 1], [0, 1], [0, 1], indexing="ij"), axis=-1).reshape(-1, 3)
    centres = octants * SIZE / 2 + rng.uniform(9, 15, (8, 3))
    grid = np.stack(np.meshgrid(*[np.arange(SIZE)] * 3, indexing="ij"), axis=-1)
    volume = rng.normal(size=(SIZE, SIZE, SIZE))
    for centre in centres:
        volume += 6 * np.exp(-((grid - centre) ** 2).sum(axis=-1) / (2 * 3.0**2))
    picks = Picks.of(name, BLOB.name, centres[:, ::-1] * SPACING)
    return TrainingRun(Tomogram(volume.astype(np.float32), SPACING, name, "wbp"), picks)


TRAINING = [blobs("a", 1), blobs("b", 2)]
VALIDATION = [blobs("c", 3)]


def fit(out: Path, *, resume: bool = False) -> Trained:
    return train(TRAINING, VALIDATION, [BLOB], RECIPE, out, resume=resume, progress=False)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """A training of four epochs in one go."""
    out = tmp_path_factory.mktemp("whole")
    return out, fit(out)


@pytest.fixture(scope="module")
def resumed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Trained]:
    """The same training, stopped in the middle of its third epoch and taken up again."""
    out = tmp_path_factory.mktemp("resumed")
    step = training_task.DenseTask.training_step

    def stop(self: training_task.DenseTask, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        if self.current_epoch == 2 and batch_idx == 1:
            raise RuntimeError("the power is cut")
        return step(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_task.DenseTask, "training_step", stop)
        with pytest.raises(RuntimeError, match="power"):
            fit(out)
    assert (out / training_run.LAST).exists()
    epochs: set[int] = set()

    def watch(self: training_task.DenseTask, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        epochs.add(self.current_epoch)
        return step(self, batch, batch_idx)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(training_task.DenseTask, "training_step", watch)
        trained = fit(out, resume=True)
    assert epochs == {2, 3}
    return out, trained


@pytest.mark.parametrize("keep", ["best", "last"])
def test_the_model_is_that_of_the_epoch_that_the_recipe_keeps(tmp_path, monkeypatch, keep):
    def judged(self: training_task.DenseTask, *_: object) -> None:
        self.val_losses = [[3.0, 1.0, 2.0, 4.0][self.current_epoch]]
        self.log("val_loss", self.val_losses[0], batch_size=1)

    monkeypatch.setattr(training_task.DenseTask, "validation_step", judged)
    recipe = RECIPE.model_copy(update={"keep": keep})
    kept = []
    monkeypatch.setattr(training_run, "save_model", lambda path, model: kept.append(model) or save_model(path, model))
    fitted = training_run.fit(TRAINING, VALIDATION, [BLOB], recipe, tmp_path, progress=False)
    told = load_model(fitted.model).spec.provenance
    assert (told["epoch"], told["validation_loss"]) == {"best": (1, 1.0), "last": (3, 4.0)}[keep]
    assert len(kept) == {"best": 2, "last": 4}[keep] + 1  # and once more when the training has finished


@pytest.mark.parametrize("every", [0.0, 3600.0])
def test_a_long_epoch_tells_how_far_it_is(tmp_path, monkeypatch, capsys, every):
    monkeypatch.setattr(training_run, "EVERY", every)
    fitted = training_run.fit(TRAINING, VALIDATION, [BLOB], RECIPE.model_copy(update={"epochs": 1}), tmp_path)
    *steps, epoch = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch 0: ")]
    told = [re.fullmatch(r"epoch 0: (\d) of 4 steps, training loss ([\d.]+), [\d.]+ minutes", line) for line in steps]
    assert [line and line[1] for line in told] == (["1", "2", "3"] if every == 0 else [])
    assert f"training loss {fitted.history['train_loss'][0]:.4f}, validation loss" in epoch


def test_the_loss_falls_and_the_blobs_are_found(whole):
    _, trained = whole
    assert trained.history["train_loss"].iloc[-1] < 0.5 * trained.history["train_loss"].iloc[0]
    spec = load_model(trained.model).spec
    truth = VALIDATION[0].picks
    result = evaluate(trained.validation_picks, truth, [BLOB], runs=["c"], thresholds=spec.thresholds)
    assert result.score > 0.9


def test_the_model_file_holds_what_its_use_needs(whole):
    spec = load_model(whole[1].model).spec
    assert (spec.spacing, spec.kind, spec.objects) == (SPACING, "wbp", (BLOB,))
    assert set(spec.thresholds) == {"blob"}
    assert set(spec.provenance["training"]) == {"a", "b"}
    assert set(spec.provenance["validation"]) == {"c"}
    assert Recipe.model_validate(spec.provenance["recipe"]) == RECIPE
    assert json.loads((whole[0] / "recipe.json").read_text()) == spec.provenance["recipe"]


def test_other_thresholds_of_a_finished_training_change_nothing_else(whole, tmp_path):
    out = tmp_path / "again"
    shutil.copytree(whole[0], out)
    before, history = load_model(out / "model.safetensors"), (out / "history.csv").read_text()
    recipe = RECIPE.model_copy(update={"threshold_share": 0.5})
    trained = train(TRAINING, VALIDATION, [BLOB], recipe, out, resume=True, progress=False)
    after = load_model(trained.model)
    assert after.spec.thresholds == {"blob": pytest.approx(0.5 * before.spec.thresholds["blob"])}
    for key, value in before.network.state_dict().items():
        assert torch.equal(value, after.network.state_dict()[key]), key
    assert (out / "history.csv").read_text() == history
    assert Recipe.model_validate(after.spec.provenance["recipe"]) == recipe
    assert Recipe.model_validate_json((out / "recipe.json").read_text()) == recipe


@pytest.mark.parametrize("training", ["whole", "resumed"])
def test_the_history_has_a_row_for_each_epoch(training, request):
    out, trained = request.getfixturevalue(training)
    table = pd.read_csv(out / "history.csv")
    assert table["epoch"].tolist() == [0, 1, 2, 3]
    assert np.isfinite(table.to_numpy()).all()
    assert table["minutes"].is_monotonic_increasing
    pd.testing.assert_frame_equal(table, trained.history, check_exact=False)


def test_an_interruption_leaves_no_trace_in_the_losses(whole, resumed):
    columns = ["train_loss", "train_loss_sd", "val_loss", "val_loss_sd", "rate"]
    pd.testing.assert_frame_equal(whole[1].history[columns], resumed[1].history[columns], check_exact=True)


def test_an_interruption_leaves_no_trace_in_the_weights(whole, resumed):
    one, other = load_file(whole[1].model), load_file(resumed[1].model)
    assert one.keys() == other.keys()
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_an_interruption_leaves_no_trace_in_the_picks(whole, resumed):
    pd.testing.assert_frame_equal(whole[1].validation_picks.table, resumed[1].validation_picks.table, check_exact=True)


def test_hard_negatives_were_mined(whole):
    state = torch.load(whole[0] / training_run.LAST, weights_only=True)
    assert sum(len(found) for found in state["tomopick"]["hard"]) > 0


def test_a_folder_that_holds_a_training_is_refused(whole):
    before = (whole[0] / "model.safetensors").read_bytes()
    with pytest.raises(TomopickError, match="--resume"):
        fit(whole[0])
    assert (whole[0] / "model.safetensors").read_bytes() == before


def test_a_run_on_both_sides_is_refused(tmp_path):
    with pytest.raises(DataError, match="both sides"):
        train(TRAINING, [*VALIDATION, TRAINING[1]], [BLOB], RECIPE, tmp_path, progress=False)


@pytest.mark.parametrize(
    ("training", "validation", "said"),
    [
        ([], VALIDATION, "no annotated particles"),
        ([TrainingRun(TRAINING[0].tomogram, Picks.empty())], VALIDATION, "no annotated particles"),
        (TRAINING, [], "no validation run"),
    ],
)
def test_nothing_to_learn_from_is_refused(training, validation, said, tmp_path):
    with pytest.raises(DataError, match=said):
        train(training, validation, [BLOB], RECIPE, tmp_path, progress=False)


def test_a_particle_of_an_unknown_object_is_refused(tmp_path):
    other = TrainingRun(TRAINING[0].tomogram, Picks.of("a", "ribosome", [[100.0, 100.0, 100.0]]))
    with pytest.raises(DataError, match="unknown object 'ribosome'"):
        train([other], VALIDATION, [BLOB], RECIPE, tmp_path, progress=False)


def test_two_trainings_with_the_same_seed_find_the_same_picks(tmp_path):
    # everything random that a heatmap network's training may use: turned, leaning, mixed, filtered and noisy crops
    random = Augmentation(turn=30, lean=10, scale=0.1, noise=0.1, spectrum=0.3, wedge=40, rotations="z")
    recipe = Recipe(
        model="heatmap-unet", arguments={"size": "tiny"}, epochs=8, positions=12, mixup=1.0, keep="last",
        object_weight=64, learning_rate=3e-3, augmentation=random, seed=7,
    )  # fmt: skip
    runs = [train(TRAINING, VALIDATION, [BLOB], recipe, tmp_path / name, progress=False) for name in ("a", "b")]
    assert len(runs[0].validation_picks) > 0
    pd.testing.assert_frame_equal(runs[0].validation_picks.table, runs[1].validation_picks.table, check_exact=True)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize("model", ["cryoet3dcnn", "heatmap-unet"])
def test_a_gpu_learns_as_the_cpu_does(model, tmp_path):
    own = {"arguments": {"size": "tiny"}, "positions": 8} if model == "heatmap-unet" else {}
    recipe = RECIPE.model_copy(update={"model": model, "epochs": 8, "precision": "auto", **own})
    trained = train(TRAINING, VALIDATION, [BLOB], recipe, tmp_path, device="cuda", progress=False)
    assert trained.history["train_loss"].iloc[-1] < 0.9 * trained.history["train_loss"].iloc[0]
    spec = load_model(trained.model).spec
    found = evaluate(trained.validation_picks, VALIDATION[0].picks, [BLOB], runs=["c"], thresholds=spec.thresholds)
    assert found.score > 0.9
