"""`tomopick train`: recipe, resuming, several seeds."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest
import torch
from safetensors.torch import load_file

import tomopick as tp
from tomopick.commands.train import read_recipe
from tomopick.errors import TomopickError
from tomopick.models.modelfile import read_spec
from tomopick.training import run as training_run
from tomopick.training.task import DenseTask

SIDES = ("--train-runs", "SIM_0", "--val-runs", "SIM_1")


def test_the_recipe_and_the_options_over_it_are_used(training, succeed, phantom, recipe, tmp_path):
    written = json.loads((training / "recipe.json").read_text())
    assert {key: written[key] for key in json.loads(recipe.read_text())} == json.loads(recipe.read_text())
    words = ("--epochs", 1, "--seed", 7, "--batch-size", 5, "--learning-rate", 0.0005)
    out = succeed("train", phantom, "--out", tmp_path / "out", "--recipe", recipe, *SIDES, *words).out
    changed = json.loads((tmp_path / "out" / "recipe.json").read_text())
    assert {key for key in changed if changed[key] != written[key]} == {"epochs", "seed", "batch_size", "learning_rate"}
    assert [changed[key] for key in ("epochs", "seed", "batch_size", "learning_rate")] == [1, 7, 5, 0.0005]
    assert "training on SIM_0 " in out
    assert len(pd.read_csv(tmp_path / "out" / "history.csv")) == 1


def test_a_training_leaves_model_curve_log_and_says_on_what(training, phantom):
    spec = read_spec(training / "model.safetensors")
    assert (spec.kind, spec.spacing) == ("wbp", 10.0)
    assert list(spec.provenance["training"]) == ["SIM_0"]
    assert list(spec.provenance["validation"]) == ["SIM_1"]
    assert [o.name for o in spec.objects] == [o.name for o in tp.open_project(phantom / "config.json").objects]
    assert (training / "training_progress.png").read_bytes().startswith(b"\x89PNG")
    assert pd.read_csv(training / "history.csv")["epoch"].tolist() == [0, 1]
    assert list((training / "tensorboard").glob("events.*"))


def test_resume_goes_on_to_the_weights_of_an_uninterrupted_training(
    training, command, succeed, refuse, phantom, recipe, monkeypatch, tmp_path
):
    words = ("train", phantom, "--out", tmp_path / "out", *SIDES)
    step = DenseTask.training_step
    with monkeypatch.context() as patch:

        def stop(self: DenseTask, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
            if self.current_epoch == 1:
                raise OSError("the power is cut")
            return step(self, batch, batch_idx)

        patch.setattr(DenseTask, "training_step", stop)
        refuse(*words, "--recipe", recipe, says=("the power is cut",))
    refuse(*words, "--recipe", recipe, says=("--resume",))
    epochs = set()
    with monkeypatch.context() as patch:

        def watch(self: DenseTask, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
            epochs.add(self.current_epoch)
            return step(self, batch, batch_idx)

        patch.setattr(DenseTask, "training_step", watch)
        succeed(*words, "--resume")
    assert epochs == {1}
    one, other = load_file(training / "model.safetensors"), load_file(tmp_path / "out" / "model.safetensors")
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_a_training_goes_on_from_another_model_with_its_network(training, succeed, refuse, phantom, tmp_path):
    """A tuned model keeps the first one's network, its arguments and where it came from, also when it is resumed."""
    first, out = training / "model.safetensors", tmp_path / "out"
    words = ("train", phantom, "--out", out, "--train-runs", "SIM_2", "--val-runs", "SIM_1", "--epochs", 1)
    refuse(*words, "--init", first, "--model", "segresnet", says=("model of cryoet3dcnn", "segresnet"))
    refuse(*words, "--init", phantom / "truth.csv", says=("truth.csv", "not a model file"))
    succeed(*words, "--init", first, "--learning-rate", 1e-9, "--ignore-unlabelled", 200)
    written = json.loads((out / "recipe.json").read_text())
    assert (written["arguments"]["window"], written["ignore_unlabelled"]) == (16, 200)
    assert Path(written["init"]) == first.resolve()
    spec = read_spec(out / "model.safetensors")
    assert list(spec.provenance["init"]["training"]) == ["SIM_0"]
    assert "started from the weights of model 'first'" in " ".join(
        succeed("info", out / "model.safetensors").out.split()
    )
    refuse(*words, "--init", "none", "--resume", says=(f"started from {first.resolve()}", "--init"))
    one, other = load_file(first), load_file(out / "model.safetensors")
    assert max(float((one[n] - other[n]).abs().max()) for n in one if "classifier" in n) < 1e-6


def test_objects_without_a_set_of_annotations_may_be_anywhere(succeed, project, recipe, monkeypatch, tmp_path):
    seen = {}
    annotated = training_run.particles_of

    def watch(run, *others):
        seen[run.tomogram.name] = run.annotated
        return annotated(run, *others)

    monkeypatch.setattr(training_run, "particles_of", watch)
    picks = {run: project / "ExperimentRuns" / run / "Picks" for run in ("SIM_0", "SIM_2")}
    (lost,) = picks["SIM_0"].glob("*_ribosome.json")
    lost.unlink()
    words = ("--recipe", recipe, "--epochs", 1, "--train-runs", "SIM_0,SIM_2", "--val-runs", "SIM_1", "--partial")
    said = succeed("train", project, "--out", tmp_path / "out", *words, user_warnings=True).err
    assert "no training run is annotated for thyroglobulin" in said
    for run, folder in picks.items():
        assert seen[run] == {path.stem.split("_")[-1] for path in folder.glob("*.json")}
    assert "ribosome" in seen["SIM_2"] - seen["SIM_0"]


def test_several_types_of_tomogram_are_trained_on(succeed, refuse, project, recipe, tmp_path):
    made = tp.open_project(project / "config.json")
    for run in ("SIM_0", "SIM_1"):
        seen = made.tomogram(run, "wbp")
        made.add_tomogram(run, "denoised", seen.spacing, 2 * seen[:, :, :])
    words = ("train", project, "--recipe", recipe, "--epochs", 1, "--out", tmp_path / "out")
    sides = ("--train-runs", "SIM_0,SIM_2", "--val-runs", "SIM_1")
    refuse(*words, *sides, "--tomogram", "wbp,raw", says=("no training run", "type raw"))
    refuse(*words, *sides, "--tomogram", "denoised,wbp", says=("SIM_2", "no tomogram 'denoised'"))
    succeed(*words, *sides, "--tomogram", "wbp,denoised")
    spec = read_spec(tmp_path / "out" / "model.safetensors")
    assert spec.kind == "wbp"
    kinds = {run: told["kinds"] for run, told in spec.provenance["training"].items()}
    assert kinds == {"SIM_0": ["wbp", "denoised"], "SIM_2": ["wbp"]}


@pytest.fixture(scope="module")
def of_seeds(command, phantom, recipe, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("seeds") / "out"
    words = ("--recipe", recipe, "--epochs", 1, "--seed", 3, "--seeds", 2)
    outcome = command("train", phantom, "--out", folder, *SIDES, *words)
    assert outcome.code == 0, outcome
    return folder


def test_annotations_outside_the_volume_are_refused_before_training(refuse, project, recipe, tmp_path):
    opened = tp.open_project(project / "config.json")
    truth = opened.picks()
    opened.write_picks(tp.Picks(truth.table.assign(x=truth.table["x"] * 10)), "nm", True)
    words = ("train", project, "--recipe", recipe, "--out", tmp_path / "out", "--user", "tomopick")
    refuse(*words, says=("outside run 'SIM_0'", "units"))


def test_of_several_seeds_the_best_model_is_copied_up(of_seeds):
    losses = {seed: pd.read_csv(of_seeds / f"seed_{seed}" / "history.csv")["val_loss"].min() for seed in (3, 4)}
    best = min(losses, key=losses.__getitem__)
    models = {seed: (of_seeds / f"seed_{seed}" / "model.safetensors").read_bytes() for seed in (3, 4)}
    assert models[3] != models[4]
    assert (of_seeds / "model.safetensors").read_bytes() == models[best]
    assert (of_seeds / "training_progress.png").read_bytes().startswith(b"\x89PNG")


def test_several_seeds_are_resumed_with_their_recipe(of_seeds, succeed, refuse, phantom, monkeypatch, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(of_seeds / "seed_3", folder / "seed_3")
    refuse("train", phantom, "--out", folder, *SIDES, "--resume", says=("several seeds", "--seeds"))
    trained = set()
    step = DenseTask.training_step

    def watch(self: DenseTask, batch: tuple[torch.Tensor, torch.Tensor], batch_idx: int) -> torch.Tensor:
        trained.add(self.recipe.seed)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(DenseTask, "training_step", watch)
    succeed("train", phantom, "--out", folder, *SIDES, "--resume", "--seeds", 2)
    assert trained == {4}
    one = load_file(of_seeds / "model.safetensors")
    other = load_file(folder / "model.safetensors")
    assert [name for name in one if not torch.equal(one[name], other[name])] == []


def test_a_folder_of_one_seed_does_not_become_one_of_several(training, refuse, phantom):
    before = (training / "model.safetensors").read_bytes()
    refuse("train", phantom, "--out", training, *SIDES, "--seeds", 2, says=("one seed", "--out"))
    assert (training / "model.safetensors").read_bytes() == before


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ('{"epochz": 3}', ("epochz",)),
        ('{"epochs": "many"}', ("epochs",)),
        ('{"augmentation": {"flip": true}}', ("augmentation", "flip")),
        ('{"arguments": {"window": 15}}', ("window", "15")),
        ('{"arguments": {"windw": 16}}', ("windw",)),
        ('{"model": "unet"}', ("unknown network 'unet'", "cryoet3dcnn")),
        ("[1, 2]", ("not a recipe",)),
        ('{"epochs": 3', ("recipe",)),
        ("", ("recipe",)),
    ],
)
def test_a_recipe_that_does_not_hold_is_refused(text, says, refuse, phantom, tmp_path):
    path = tmp_path / "recipe.json"
    path.write_text(text)
    refuse("train", phantom, "--out", tmp_path / "out", "--recipe", path, *SIDES, says=says)
    assert not (tmp_path / "out" / "model.safetensors").exists()


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--train-runs", "SIM_0,SIM_7", "--val-runs", "SIM_1"), ("SIM_7", "SIM_0, SIM_1, SIM_2")),
        (("--val-runs", "SIM_7"), ("SIM_7",)),
        (("--train-runs", "SIM_0,SIM_1", "--val-runs", "SIM_1"), ("SIM_1", "both sides")),
        (("--train-runs", "SIM_0,SIM_1,SIM_2"), ("another to validate on",)),
        (("--tomogram", "denoised"), ("'denoised'", "wbp")),
        (("--voxel-spacing", 7), ("7 A", "wbp")),
        (("--voxel-spacing", 0), ("--voxel-spacing", "above 0")),
        (("--user", "nobody"), ("no annotated particles",)),
        (("--resume",), ("no training to go on with",)),
        (("--device", "gpu"), ("'gpu'", "cuda")),
        (("--recipe", "nothing.json"), ("nothing.json",)),
        (("--precision", "fp8"), ("precision",)),
        (("--time-limit", -1), ("time_limit",)),
        (("--learning-rate", 0), ("learning_rate",)),
        (("--ignore-unlabelled", 0), ("ignore_unlabelled",)),
        (("--ignore-unlabelled", 50), ("--ignore-unlabelled", "no background")),
        (("--init", "nothing.safetensors"), ("nothing.safetensors", "no model file", "simulated or none")),
        (("--init", "simulated", "--model", "segresnet"), ("brings no weights for segresnet",)),
        (("--model", "resnet"), ("resnet",)),
    ],
)
def test_options_that_do_not_fit_are_refused(words, says, refuse, phantom, tmp_path):
    refuse("train", phantom, "--out", tmp_path / "out", *words, says=says)
    assert not (tmp_path / "out" / "model.safetensors").exists()


def test_a_recipe_starts_from_its_network_and_a_time_limit_decides_alone(tmp_path):
    assert read_recipe(None, {}).epochs == 50
    heatmap = read_recipe(None, {"model": "heatmap-unet", "learning_rate": 0.5})
    assert (heatmap.object_weight, heatmap.learning_rate) == (64.0, 0.5)
    file = tmp_path / "recipe.json"
    file.write_text('{"model": "heatmap-unet", "object_weight": 8}')
    assert (read_recipe(file, {}).object_weight, read_recipe(file, {}).class_balanced) == (8.0, True)
    assert read_recipe(None, {"time_limit": 5.0}).epochs > 10_000
    assert read_recipe(None, {"time_limit": 5.0, "epochs": 7}).epochs == 7
    assert (heatmap.init, read_recipe(None, {"model": "heatmap-unet", "init": "none"}).init) == ("simulated", None)
    with pytest.raises(TomopickError, match="unknown network 'unet'; known: cryoet3dcnn, "):
        read_recipe(None, {"model": "unet"})


@pytest.fixture(scope="module")
def in_folds(command, phantom, recipe, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("folds") / "out"
    outcome = command("train", phantom, "--out", folder, "--recipe", recipe, "--epochs", 1, "--folds", 3)
    assert (outcome.code, outcome.complaints) == (0, []), outcome
    assert "fold 2, 3 of 3" in outcome.out
    assert "keeping back SIM_2" in outcome.out
    assert "out_of_fold.csv" in outcome.out
    return folder


def test_a_training_in_folds_leaves_models_that_pick_together(in_folds, succeed, phantom, tmp_path):
    held = [list(read_spec(in_folds / f"fold_{k}" / "model.safetensors").provenance["validation"]) for k in range(3)]
    assert held == [["SIM_0"], ["SIM_1"], ["SIM_2"]]
    assert tp.read_picks(in_folds / "out_of_fold.csv").runs == ["SIM_0", "SIM_1", "SIM_2"]
    for picture in ("training_progress.png", "thresholds.png"):
        assert (in_folds / picture).read_bytes().startswith(b"\x89PNG")
    succeed(
        "pick", in_folds, phantom, "--out", tmp_path / "picks.csv", "--runs", "SIM_0", "--threshold", 0, "--stride", 8
    )
    together = tp.read_picks(tmp_path / "picks.csv")
    assert together.runs == ["SIM_0"]


def test_a_training_in_folds_is_resumed_and_not_mixed_up(in_folds, succeed, refuse, phantom, tmp_path):
    folder = tmp_path / "out"
    shutil.copytree(in_folds, folder)
    words = ("train", phantom, "--out", folder)
    refuse(*words, "--resume", says=("in folds", "--folds"))
    refuse(*words, "--resume", "--folds", 2, says=("more folds than 2", "fold_2"))
    refuse(*words, "--folds", 3, says=("holds a training already", "--resume"))
    refuse(*words, "--folds", 3, "--val-runs", "SIM_1", says=("--val-runs",))
    refuse(*words, "--folds", 4, "--resume", says=("4 folds", "at most 3"))
    refuse("train", phantom, "--out", tmp_path / "new", "--folds", 2, "--train-runs", "SIM_9,SIM_0", says=("SIM_9",))
    models = [(folder / f"fold_{k}" / "model.safetensors").read_bytes() for k in range(3)]
    succeed(*words, "--folds", 3, "--resume")
    assert [(folder / f"fold_{k}" / "model.safetensors").read_bytes() for k in range(3)] == models
    assert (folder / "out_of_fold.csv").read_bytes() == (in_folds / "out_of_fold.csv").read_bytes()


def test_thresholds_are_for_what_was_asked(training, succeed, refuse, phantom, recipe, tmp_path):
    """More weight on misses lowers them; a precision takes the place of both."""
    words = ("train", phantom, "--recipe", recipe, *SIDES, "--epochs", 1)
    asked = {"f1": ("--beta", 1), "f4": (), "precise": ("--at-precision", 1)}
    found = {}
    for name, more in asked.items():
        succeed(*words, "--out", tmp_path / name, *more)
        found[name] = read_spec(tmp_path / name / "model.safetensors").thresholds
    assert all(found["f4"][o] < found["f1"][o] <= found["precise"][o] for o in found["f1"])
    refuse(*words, "--out", tmp_path / "bad", "--at-precision", 1.5, says=("at_precision",))
