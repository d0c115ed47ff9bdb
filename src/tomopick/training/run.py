"""A training from annotated tomograms to a model file: `fit` resolves and fits, `train` measures it, too."""

from __future__ import annotations

import hashlib
import json
import logging
import os
import sys
import time
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypedDict, Unpack

import numpy as np
import pandas as pd
import torch
from pytorch_lightning import Callback, Trainer
from pytorch_lightning.callbacks import EarlyStopping, ModelCheckpoint, RichProgressBar, WeightAveraging
from pytorch_lightning.loggers import TensorBoardLogger
from torch import Tensor

from tomopick.atomic import replacing, writing_into
from tomopick.data.dataset import Annotated
from tomopick.data.normalise import scaling_of
from tomopick.data.sampling import CropShape
from tomopick.errors import DataError, TomopickError
from tomopick.evaluation import Evaluation
from tomopick.inference.engine import chosen_dtype, keep_freed_memory
from tomopick.inference.resample import at_spacing
from tomopick.models.modelfile import Model, ModelSpec, load_model, read_spec, save_model
from tomopick.models.registry import field, lead
from tomopick.objects import ParticleObject, check_objects
from tomopick.picks import Picks
from tomopick.recipe import Recipe
from tomopick.tomogram import Tomogram
from tomopick.training.annotations import TrainingRun, learnable, particles_of
from tomopick.training.start import start_training, told_start
from tomopick.training.task import DenseTask
from tomopick.training.thresholds import CHOICES, raw_picks, settle

__all__ = ["Fitted", "Fitting", "Trained", "TrainingRun", "fit", "train"]

IN_MEMORY = 8 * 2**30  # bytes of float32 tomograms that are held in memory rather than read crop by crop
LAST = "checkpoints/last.ckpt"
RECIPE = "recipe.json"
EVERY = 30.0  # seconds between lines that tell how far an epoch is


class Fitting(TypedDict, total=False):
    """The options of `fit`, for those who hand them on; what they mean stands there."""

    resume: bool
    device: str
    devices: int
    workers: int | None
    progress: bool


@dataclass(frozen=True)
class Fitted:
    """What the fitting of a network leaves: the model file, without thresholds, and the losses by epoch."""

    model: Path
    history: pd.DataFrame


@dataclass(frozen=True)
class Trained:
    """What a training leaves: the model file, the losses by epoch, and how it does on the validation runs.

    Attributes:
        validation_picks: all of them, with calibrated scores.
        validation: their score with the thresholds that were chosen on them.
    """

    model: Path
    history: pd.DataFrame
    validation_picks: Picks
    validation: Evaluation


class _Keep(Callback):  # type: ignore[misc]
    """Writes the model after each epoch, or only where its validation loss is the lowest so far.

    Stands before the EMA, whose weights it keeps.
    """

    def __init__(self, path: Path, spec: ModelSpec, every: bool) -> None:
        self.path, self.spec, self.every = path, spec, every

    def on_validation_epoch_end(self, trainer: Trainer, pl_module: DenseTask) -> None:
        loss = float(np.mean(pl_module.val_losses)) if pl_module.val_losses else float("nan")
        better = loss < pl_module.best
        if trainer.sanity_checking or not (better or self.every):
            return
        if better:
            pl_module.best = loss
        if trainer.is_global_zero:
            found = {"epoch": trainer.current_epoch, "validation_loss": loss}
            provenance = self.spec.provenance | found
            save_model(self.path, Model(pl_module.network, self.spec.model_copy(update={"provenance": provenance})))


class _EpochLines(Callback):  # type: ignore[misc]
    """A line for each epoch, and now and then in long ones, where output goes to a file and a bar would fill it."""

    def __init__(self) -> None:
        self.told = time.monotonic()

    def on_train_batch_end(self, trainer: Trainer, pl_module: DenseTask, *_: Any) -> None:
        done, steps = len(pl_module.train_losses), trainer.num_training_batches
        if time.monotonic() - self.told < EVERY or done == steps:
            return
        self.told = time.monotonic()
        print(
            f"epoch {trainer.current_epoch}: {done} of {steps} steps, training loss "
            f"{np.mean(pl_module.train_losses):.4f}, {pl_module.minutes():.1f} minutes",
            flush=True,
        )

    def on_train_epoch_end(self, trainer: Trainer, pl_module: DenseTask) -> None:
        train_loss, val_loss = (
            np.mean(losses or [np.nan]) for losses in (pl_module.train_losses, pl_module.val_losses)
        )
        print(
            f"epoch {trainer.current_epoch}: training loss {train_loss:.4f}, validation loss {val_loss:.4f}, "
            f"{pl_module.minutes():.1f} minutes",
            flush=True,
        )
        self.told = time.monotonic()


def train(
    training: Sequence[TrainingRun],
    validation: Sequence[TrainingRun],
    objects: Sequence[ParticleObject],
    recipe: Recipe,
    out: Path,
    **options: Unpack[Fitting],
) -> Trained:
    """Train a network, and calibrate it and choose its thresholds on the validation runs; arguments as for `fit`.

    Raises:
        TomopickError: as `fit`.
    """
    fitted = fit(training, validation, objects, recipe, out, **options)
    if options.get("progress", True):
        print(f"picking {', '.join(r.tomogram.name for r in validation)} to choose thresholds", flush=True)
    raw = raw_picks(fitted.model, validation, recipe, options.get("device", "cpu"))
    picks, result = settle([fitted.model], raw, validation, recipe)
    return Trained(fitted.model, fitted.history, picks, result)


def fit(
    training: Sequence[TrainingRun],
    validation: Sequence[TrainingRun],
    objects: Sequence[ParticleObject],
    recipe: Recipe,
    out: Path,
    *,
    resume: bool = False,
    device: str = "cpu",
    devices: int = 1,
    workers: int | None = None,
    progress: bool = True,
) -> Fitted:
    """Fit a network and leave the model at ``out/model.safetensors``.

    Beside it: ``recipe.json``, ``history.csv``, ``checkpoints/last.ckpt`` and TensorBoard logs. The recipe says whether
    the model is that of the lowest validation loss or that of the last epoch.

    Args:
        training: runs to learn from.
        validation: other runs, for the choice of the epoch.
        objects: what to find.
        recipe: all choices.
        out: folder, made if need be.
        resume: go on from the last finished epoch of a training in ``out``; one that has finished stays as it is, but
            for what its recipe says of thresholds.
        device: "cpu", "cuda" or "auto".
        devices: how many; more than one trains with DistributedDataParallel.
        workers: processes that cut crops; None: none beside a CPU, which has no time for more, and eight for a GPU, or
            as many as there are cores. Changes nothing but the time.
        progress: show a progress bar.

    Raises:
        TomopickError: no particles to learn from, the same run on both sides, a folder that holds another training.
    """
    keep_freed_memory()
    _check(training, validation, out, resume)
    if resume:
        _check_start(out / RECIPE, recipe)
    model_path = out / "model.safetensors"
    if resume and _finished(model_path, recipe):
        _write_recipe(out, recipe)
        return Fitted(model_path, pd.read_csv(out / "history.csv"))
    torch.manual_seed(recipe.seed)
    objects = check_objects(objects)
    validation = [replace(run, others=()) for run in validation]
    start = start_training(recipe, objects, training[0].tomogram.spacing)
    network, recipe, spacing = start.network, start.recipe, start.spacing
    spec = ModelSpec(
        architecture=recipe.model,
        arguments=start.arguments,
        objects=objects,
        spacing=spacing,
        kind=training[0].tomogram.kind,
        normalisation=recipe.normalisation,
        provenance=_provenance(training, validation, recipe) | start.provenance,
    )
    shape = CropShape(field(network), lead(network), network.stride, recipe.positions, inside=network.context > 0)
    known, budget = learnable(training, objects), [IN_MEMORY]
    sides = [[_annotated(r, objects, known, recipe, spacing, budget) for r in side] for side in (training, validation)]
    if workers is None:
        workers = 0 if device == "cpu" else min(8, os.cpu_count() or 1)
    begun = [o.name in start.known for o in objects]
    task = DenseTask(network, start.learning, recipe, shape, sides[0], sides[1], workers, begun)
    trainer = _trainer(recipe, out, _Keep(model_path, spec, recipe.keep == "last"), device, devices, progress)
    if progress and start.provenance:
        print(f"starting from {told_start(spec.provenance)}", flush=True)
    _write_recipe(out, recipe)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", category=UserWarning, module="pytorch_lightning")
        warnings.filterwarnings("ignore", message=".*LeafSpec.*")
        try:
            trainer.fit(task, ckpt_path=out / LAST if resume and (out / LAST).exists() else None, weights_only=True)
        except SystemExit as error:  # what Lightning makes of a keyboard interrupt
            raise KeyboardInterrupt from error
    history = pd.DataFrame(task.history).astype({"epoch": int})
    with replacing(out / "history.csv") as temporary:
        history.to_csv(temporary, index=False)
    _mark_finished(model_path, {"epochs": len(history), "minutes": round(task.minutes(), 2)})
    return Fitted(model_path, history)


def _finished(path: Path, recipe: Recipe) -> bool:
    """Whether a training with this recipe has come to its end, whatever it says of thresholds."""
    if not path.is_file():
        return False
    told = read_spec(path).provenance
    chosen = recipe.model_dump(mode="json", include=CHOICES)
    return "minutes" in told and told["recipe"] | chosen == recipe.model_dump(mode="json")


def _write_recipe(out: Path, recipe: Recipe) -> None:
    with replacing(out / RECIPE) as temporary:
        temporary.write_text(recipe.model_dump_json(indent=2) + "\n")


def _mark_finished(path: Path, facts: dict[str, Any]) -> None:
    model = load_model(path)
    spec = model.spec.model_copy(update={"provenance": model.spec.provenance | facts})
    save_model(path, Model(model.network, spec, model.name))


def _check(training: Sequence[TrainingRun], validation: Sequence[TrainingRun], out: Path, resume: bool) -> None:
    if not training or not any(len(r.picks) for r in training):
        raise DataError("there are no annotated particles in the training runs; check --train-runs and the picks")
    if not validation:
        raise DataError("there is no validation run; name at least one with --val-runs")
    both = {r.tomogram.name for r in training} & {r.tomogram.name for r in validation}
    if both:
        raise DataError(f"runs {', '.join(sorted(both))} stand on both sides; a run is for training or for validation")
    with writing_into(out):
        (out / "checkpoints").mkdir(exist_ok=True)
    if (out / LAST).exists() and not resume:
        raise TomopickError(f"{out} holds a training already; add --resume to go on with it, or give another --out")


def _check_start(path: Path, recipe: Recipe) -> None:
    """A training goes on from its checkpoint, and must not be said to have started from other weights."""
    if not path.is_file():
        return
    begun = json.loads(path.read_text()).get("init")
    if begun != recipe.model_dump(mode="json")["init"]:
        raise TomopickError(
            f"{path.parent} started from {begun or 'fresh weights'}; leave out --init, or give another --out"
        )


def _annotated(
    run: TrainingRun,
    objects: Sequence[ParticleObject],
    known: frozenset[str],
    recipe: Recipe,
    spacing: float,
    budget: list[int],
) -> Annotated:
    tomogram, *others = (_held(t, spacing, budget) for t in (run.tomogram, *run.others))
    for other in others:
        if np.abs(np.subtract(other.shape, tomogram.shape)).max() > 1:
            raise DataError(
                f"run '{tomogram.name}': '{other.kind}' has {other.shape} voxels (zyx) of {other.spacing:g} A, and "
                f"'{tomogram.kind}' {tomogram.shape} of {tomogram.spacing:g} A; they must show the same volume"
            )
    particles = particles_of(run, objects, known, recipe, tomogram.spacing)
    seen = [(t, scaling_of(t, recipe.normalisation)) for t in (tomogram, *others)]
    return Annotated(*seen[0], particles, tuple(seen[1:]))


def _held(tomogram: Tomogram, spacing: float, budget: list[int]) -> Tomogram:
    """The tomogram at this voxel spacing, in memory as long as there is room."""
    tomogram = at_spacing(tomogram, spacing)
    size = 4 * int(np.prod(tomogram.shape))
    if size > budget[0]:
        return tomogram
    budget[0] -= size
    return replace(tomogram, array=tomogram.read((0, 0, 0), tomogram.shape))


def _trainer(recipe: Recipe, out: Path, keep: _Keep, device: str, devices: int, progress: bool) -> Trainer:
    callbacks: list[Callback] = [
        keep,
        WeightAveraging(avg_fn=moving_average(recipe.ema)),
        ModelCheckpoint(
            out / "checkpoints", filename="last", enable_version_counter=False, save_on_train_epoch_end=True
        ),
    ]
    if recipe.keep == "best":
        callbacks.append(EarlyStopping("val_loss", patience=recipe.patience, check_on_train_epoch_end=True))
    bar = progress and sys.stdout.isatty()
    if bar:
        callbacks.append(RichProgressBar())
    elif progress:
        callbacks.append(_EpochLines())
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    return Trainer(
        max_epochs=recipe.epochs,
        accelerator=device,
        devices=devices,
        strategy="ddp" if devices > 1 else "auto",
        precision=lightning_precision(recipe.precision, device),
        callbacks=callbacks,
        logger=TensorBoardLogger(out, name="tensorboard", version=""),
        enable_progress_bar=bar,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        reload_dataloaders_every_n_epochs=1,
        log_every_n_steps=5,
        default_root_dir=out,
    )


def moving_average(decay: float) -> Callable[[Tensor, Tensor, Tensor], Tensor]:
    """How the average moves with each step: by 1 - decay, and faster at first, so that it leaves the start behind."""

    def moved(average: Tensor, current: Tensor, steps: Tensor) -> Tensor:
        kept = min(decay, float(1 + steps) / float(10 + steps))
        return kept * average + (1 - kept) * current

    return moved


def lightning_precision(precision: str, device: str) -> str:
    """Lightning's name of a recipe's precision on a device."""
    return {"fp32": "32-true", "bf16": "bf16-mixed", "fp16": "16-mixed"}[chosen_dtype(precision, device)]


def _provenance(training: Sequence[TrainingRun], validation: Sequence[TrainingRun], recipe: Recipe) -> dict[str, Any]:
    return {
        "recipe": recipe.model_dump(mode="json"),
        "training": {r.tomogram.name: _digest(r) for r in training},
        "validation": {r.tomogram.name: _digest(r) for r in validation},
        "versions": {name: version(name) for name in ("tomopick", "torch", "pytorch-lightning", "numpy", "monai")},
    }


def _digest(run: TrainingRun) -> dict[str, Any]:
    """Hashes of a run's data: of its middle plane, which changes with any reconstruction, and of all its picks."""
    depth, height, width = run.tomogram.shape
    plane = run.tomogram.read((depth // 2, 0, 0), (depth // 2 + 1, height, width))
    picks = run.picks.table.to_csv(index=False, float_format="%.4f")
    return {
        "shape": list(run.tomogram.shape),
        "spacing": run.tomogram.spacing,
        "kinds": [t.kind for t in (run.tomogram, *run.others)],
        "middle_plane_sha256": hashlib.sha256(plane.tobytes()).hexdigest(),
        "picks": len(run.picks),
        "picks_sha256": hashlib.sha256(picks.encode()).hexdigest(),
    }
