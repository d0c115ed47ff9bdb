"""What the benchmarks share: arguments of a training, timed picking, figures of a training, results as files."""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from shutil import copytree, ignore_patterns

import numpy as np
import pandas as pd

from tomopick.atomic import replacing
from tomopick.commands.screen import progress_bar
from tomopick.commands.train import read_recipe
from tomopick.curves import best_thresholds
from tomopick.errors import DataError, TomopickError
from tomopick.evaluation import Evaluation, ObjectScore, evaluate
from tomopick.inference.picking import pick
from tomopick.io.project import Project
from tomopick.models.modelfile import Model, ModelSpec
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.recipe import Recipe
from tomopick.tomogram import Tomogram

__all__ = [
    "STRIDE",
    "Losses",
    "TimedPicks",
    "answer",
    "at_best",
    "bare_copy",
    "interval_words",
    "make_folder",
    "markdown_table",
    "mean_f1",
    "ratio_cells",
    "recipe_of",
    "timed_pick",
    "training_arguments",
    "training_lines",
    "write_results",
]

STRIDE = 4
"""Voxels between scores: the default of `tomopick pick` for networks that are not finer by themselves."""


@dataclass(frozen=True)
class TimedPicks:
    """All picks of a tomogram, whatever their score, and the seconds from opening it to having them.

    Attributes:
        positions: window positions, which is the number of scores.
    """

    picks: Picks
    seconds: float
    positions: int

    @property
    def milliseconds(self) -> float:
        """Milliseconds for each window position."""
        return 1000 * self.seconds / self.positions


@dataclass(frozen=True)
class Losses:
    """Losses of a training by epoch; the deviations are over the batches of an epoch, mean of all epochs."""

    first: float
    last: float
    lowest: float
    deviation: float

    @classmethod
    def of(cls, history: pd.DataFrame, side: str) -> Losses:
        """Of the "train" or the "val" side of a history."""
        values = history[f"{side}_loss"]
        deviation = history[f"{side}_loss_sd"].mean()
        return cls(*(float(v) for v in (values.iloc[0], values.iloc[-1], values.min(), deviation)))


def training_arguments(
    parser: argparse.ArgumentParser, minutes: float, epochs: int | None, patience: int | None
) -> None:
    """Add --out, --json, --minutes, --epochs, --patience, --seed, --recipe, --device and --workers."""
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for all results")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write all figures there too")
    parser.add_argument("--minutes", type=float, default=minutes, help="time limit of the training (%(default)s)")
    parser.add_argument("--epochs", type=int, default=epochs, help="most epochs (%(default)s; None: what fits)")
    parser.add_argument(
        "--patience",
        type=int,
        default=patience,
        help="epochs without a better validation loss (%(default)s; None: the network's)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (%(default)s)")
    parser.add_argument("--recipe", type=Path, metavar="FILE", help="JSON file of the other training choices")
    parser.add_argument("--device", default="cpu", help="cpu, cuda or auto (%(default)s)")
    parser.add_argument("--workers", type=int, help="processes that cut crops (0, or up to 8 for a GPU)")


def recipe_of(args: argparse.Namespace, **changes: object) -> Recipe:
    """The recipe that the arguments of `training_arguments` ask for."""
    asked = {"time_limit": args.minutes, "epochs": args.epochs, "patience": args.patience, "seed": args.seed}
    return read_recipe(args.recipe, asked | changes)


def timed_pick(model: Model, tomogram: Tomogram, dtype: str = "fp32", device: str = "cpu") -> TimedPicks:
    """Pick one tomogram as `tomopick pick` does, but keep the picks below the thresholds too."""
    positions, stride = 1, min(STRIDE, model.network.stride)
    for voxels in tomogram.shape:
        positions *= -(-round(voxels * tomogram.spacing / model.spec.spacing) // stride)
    started = time.perf_counter()
    with progress_bar(f"{tomogram.name}, {dtype}") as tell:
        picks = pick(model, tomogram, stride=stride, thresholds={}, device=device, dtype=dtype, progress=tell)
    return TimedPicks(picks, time.perf_counter() - started, positions)


def training_lines(spec: ModelSpec, history: pd.DataFrame) -> list[str]:
    """What a training took and reached, as Markdown: a list of facts and a table of losses."""
    told = spec.provenance
    minutes, epochs = float(told["minutes"]), int(told["epochs"])
    below = int((history["val_loss"] < history["train_loss"]).sum())
    rows = [
        [label, *(f"{v:.4f}" for v in (found.first, found.last, found.lowest, found.deviation))]
        for label, found in (("training", Losses.of(history, "train")), ("validation", Losses.of(history, "val")))
    ]
    counts = [sum(run["picks"] for run in told[side].values()) for side in ("training", "validation")]
    return [
        f"- trained on {', '.join(told['training'])} ({counts[0]} particles), "
        f"validated on {', '.join(told['validation'])} ({counts[1]})",
        f"- seed {told['recipe']['seed']}, {minutes:.1f} minutes, {epochs} epochs of {60 * minutes / epochs:.1f} s, "
        f"the model is that of epoch {told['epoch']} (counted from 0)",
        f"- weighted F{told['validation_beta']:g} on the validation run {told['validation_score']:.3f}",
        f"- validation loss below training loss in {below} of {len(history)} epochs",
        "",
        *markdown_table(["loss", "first epoch", "last", "lowest", "sd over batches, mean of epochs"], rows),
    ]


def markdown_table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """The lines of a Markdown table: the first column text, the others numbers."""
    rule = ["---", *["---:"] * (len(columns) - 1)]
    return [f"| {' | '.join(cells)} |" for cells in (columns, rule, *rows)]


def ratio_cells(score: ObjectScore) -> list[str]:
    """Precision, recall, F1, F-beta and the interval of F-beta, as cells of a table."""
    ratios = [f"{v:.3f}" for v in (score.precision, score.recall, score.f1, score.f_beta)]
    return [*ratios, "{:.3f} to {:.3f}".format(*score.score_interval) if score.score_interval else ""]


def interval_words(score: Evaluation) -> str:
    """The interval of the whole score, to stand behind it; nothing without one."""
    return " (95 % over runs, rough with so few: {:.3f} to {:.3f})".format(*score.interval) if score.interval else ""


def mean_f1(score: Evaluation, objects: Sequence[ParticleObject]) -> float:
    """The mean F1 of the objects that have a weight."""
    return float(np.mean([score.by_object[o.name].f1 for o in objects if o.weight > 0]))


def at_best(
    picks: Picks, truth: Picks, objects: Sequence[ParticleObject], runs: Sequence[str], beta: float
) -> Evaluation:
    """What the best threshold of each object on these very picks reaches, so that the choice of one plays no part."""
    thresholds = best_thresholds(picks, truth, objects, beta=beta, runs=runs)
    return evaluate(picks, truth, objects, beta=beta, runs=runs, thresholds=thresholds)


def bare_copy(project: Project, folder: Path) -> Path:
    """The configuration of a copy of a project on disk, in this folder and without any annotations."""
    root = Path(str(project.root.config.overlay_root).removeprefix("local://"))
    copytree(root, folder / "overlay", ignore=ignore_patterns("Picks"))
    text = project.path.read_text().replace(str(root), str((folder / "overlay").resolve()))
    (folder / "config.json").write_text(text)
    return folder / "config.json"


def write_results(folder: Path, lines: Sequence[str], facts: dict[str, object], json_file: Path | None) -> None:
    """Print the lines, and write them to ``results.md`` in the folder and the facts to the JSON file, if any."""
    text = "\n".join(lines) + "\n"
    with replacing(folder / "results.md") as temporary:
        temporary.write_text(text)
    if json_file:
        with replacing(json_file) as temporary:
            temporary.write_text(json.dumps(facts, indent=2) + "\n")
    print(text)


def answer(benchmark: Callable[[], None]) -> None:
    """Run a benchmark. A mistake in what it was given is one line on standard error and exit code 2."""
    try:
        benchmark()
    except TomopickError as error:
        print(f"error: {' '.join(str(error).split())}", file=sys.stderr)
        raise SystemExit(2) from None


def make_folder(folder: Path) -> None:
    """Make a folder, and those it lies in.

    Raises:
        DataError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {folder}: {error.strerror}") from error
