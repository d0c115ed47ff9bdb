"""`tomopick train --folds`: every annotated run judges a model that never saw it."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomopick.commands.screen import out, table
from tomopick.commands.sources import project_at
from tomopick.commands.train import check_known, opened_runs
from tomopick.errors import DataError
from tomopick.io.picks import write_picks
from tomopick.objects import ParticleObject
from tomopick.plots import plot_thresholds, plot_training
from tomopick.recipe import Recipe
from tomopick.training.folds import Folds, train_folds

__all__ = ["train_project_in_folds"]


def train_project_in_folds(
    config: Path,
    folder: Path,
    recipe: Recipe,
    folds: int,
    *,
    kind: str,
    spacing: float | None,
    runs: list[str] | None,
    user: str | None = None,
    session: str | None = None,
    partial: bool = False,
    resume: bool = False,
    device: str = "cpu",
    devices: int = 1,
    workers: int | None = None,
) -> Folds:
    """Train a model for each fold of a project's runs and leave them, their out-of-fold picks and curves in a folder.

    Options as for `tomopick.commands.train.train_project`. The folder is one that `tomopick pick` takes for MODEL.
    """
    _check_folder(folder, folds)
    project = project_at(config)
    check_known(project.runs, runs or [])
    names = project.runs if runs is None else [run for run in project.runs if run in runs]
    opened = opened_runs(project, names, names, kind, spacing, recipe.init, user, session, partial)

    def tell(fold: int, held: list[str]) -> None:
        counts = {name: len(run.picks) for name, run in opened.items()}
        rest = sum(n for name, n in counts.items() if name not in held)
        out.print(
            f"fold {fold}, {fold + 1} of {folds}: training on {rest} particles, keeping back {', '.join(held)} "
            f"({sum(counts[name] for name in held)})",
            highlight=False,
        )

    result = train_folds(
        list(opened.values()), folds, project.objects, recipe, folder, resume=resume, device=device, devices=devices,
        workers=workers, tell=tell,
    )  # fmt: skip
    write_picks(folder / "out_of_fold.csv", result.picks)
    caption = plot_training(list(result.histories), folder / "training_progress.png")
    plot_thresholds(
        result.curves, project.objects, folder / "thresholds.png", beta=recipe.beta,
        thresholds=result.pooled.thresholds,
    )  # fmt: skip
    _say(result, project.objects, folder, caption)
    return result


def _check_folder(folder: Path, folds: int) -> None:
    others = [path for path in ("recipe.json", "seed_*/recipe.json") if any(folder.glob(path))]
    if others:
        raise DataError(f"{folder} holds a training without folds; leave out --folds, or give another --out")
    beyond = [path.parent.name for path in folder.glob("fold_*/recipe.json")]
    beyond = [name for name in beyond if int(name.partition("_")[2]) >= folds]
    if beyond:
        raise DataError(f"{folder} holds more folds than {folds} ({', '.join(sorted(beyond))}); give another --out")


def _say(result: Folds, objects: tuple[ParticleObject, ...], folder: Path, caption: str) -> None:
    beta, rows = result.pooled.beta, []
    for o in objects:
        each = [score.by_object[o.name] for score in result.by_fold]
        values = np.array([s.f_beta for s in each if s.tp + s.fn])
        pooled = result.pooled.by_object[o.name]
        spread = f"{values.mean():.3f} ± {values.std():.3f}" if len(values) else ""
        rows.append(
            [o.name, f"{result.pooled.thresholds[o.name]:.3f}", str(pooled.tp + pooled.fn), f"{pooled.f_beta:.3f}",
             spread]
        )  # fmt: skip
    table("Out-of-fold picks", ["object", "threshold", "particles", f"F{beta:g}", f"F{beta:g} by fold"], rows)
    scores = np.array([score.score for score in result.by_fold])
    out.print(
        f"weighted F{beta:g} of all out-of-fold picks {result.pooled.score:.3f}; by fold {scores.mean():.3f} ± "
        f"{scores.std():.3f} ({', '.join(f'{s:.3f}' for s in scores)})\n"
        f"models  {folder}  (one in each fold; `tomopick pick` takes the folder)\n"
        f"picks   {folder / 'out_of_fold.csv'}  (calibrated, down to the lowest score)\n"
        f"curves  {folder / 'thresholds.png'}, {folder / 'training_progress.png'}  ({caption})",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
