"""Training in folds: each run is picked once by a model that never saw it, and these picks decide for all models."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Unpack

import pandas as pd

from tomopick.curves import threshold_curve
from tomopick.errors import DataError
from tomopick.evaluation import Evaluation, evaluate
from tomopick.models.modelfile import read_spec
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.recipe import Recipe
from tomopick.training.annotations import TrainingRun, judged
from tomopick.training.run import Fitting, fit
from tomopick.training.thresholds import raw_picks, settle

__all__ = ["Folds", "split_folds", "train_folds"]


@dataclass(frozen=True)
class Folds:
    """What a training in folds leaves.

    Attributes:
        models: files, one for each fold, all with the same calibration and thresholds.
        histories: losses by epoch, of each fold.
        picks: out-of-fold picks of all runs, with calibrated scores.
        pooled: what they are worth together, with the thresholds that were chosen on them.
        by_fold: the same for each fold's runs.
        curves: F-beta against threshold on them, as `tomopick.curves.threshold_curve` gives it.
    """

    models: tuple[Path, ...]
    histories: tuple[pd.DataFrame, ...]
    picks: Picks
    pooled: Evaluation
    by_fold: tuple[Evaluation, ...]
    curves: pd.DataFrame


def split_folds(runs: Sequence[str], folds: int) -> list[list[str]]:
    """The runs that each fold keeps back: every run once, fold sizes as alike as can be.

    Raises:
        DataError: fewer than two folds, or fewer runs than folds.
    """
    if folds < 2:
        raise DataError(f"{folds} folds cannot keep runs back in turn; give at least 2")
    if len(runs) < folds:
        raise DataError(f"{folds} folds need as many runs, and there are {len(runs)}; give at most {len(runs)}")
    return [list(runs[k::folds]) for k in range(folds)]


def train_folds(
    runs: Sequence[TrainingRun],
    folds: int,
    objects: Sequence[ParticleObject],
    recipe: Recipe,
    out: Path,
    *,
    tell: Callable[[int, list[str]], None] | None = None,
    **options: Unpack[Fitting],
) -> Folds:
    """Train one model for each fold, at ``out/fold_0`` and so on, and settle scores on the out-of-fold picks.

    Each fold trains on the runs of the others. One calibration and one threshold for each object come from the picks
    of all runs together, each made by the model that was not trained on its run, and are written into every model.

    Args:
        runs: all of them.
        folds: how many, at most one for each run.
        objects: what to find.
        recipe: all choices; a time limit is each fold's.
        out: folder, made if need be.
        tell: called before each fold, with its number and the runs that it keeps back.
        options: as for `tomopick.training.run.fit`, for each fold; a fold that was not begun starts, resumed or not.

    Raises:
        TomopickError: as `split_folds` and `tomopick.training.run.fit`.
    """
    by_name = {run.tomogram.name: run for run in runs}
    kept_back = split_folds(list(by_name), folds)
    fitted, raw = [], []
    for k, names in enumerate(kept_back):
        if tell is not None:
            tell(k, names)
        held = [by_name[name] for name in names]
        rest = [run for name, run in by_name.items() if name not in names]
        where = out / f"fold_{k}"
        own: Fitting = {**options, "resume": options.get("resume", False) and where.exists()}
        fitted.append(fit(rest, held, objects, recipe, where, **own))
        raw.append(raw_picks(fitted[-1].model, held, recipe, options.get("device", "cpu")))
    whole = [replace(run, others=()) for run in runs]
    picks, pooled = settle([f.model for f in fitted], Picks.join(raw), whole, recipe)
    truth = judged(Picks.join(run.picks for run in runs), runs, recipe.ignore_unlabelled)
    found = read_spec(fitted[0].model).objects
    by_fold = (
        evaluate(picks, truth, found, beta=recipe.beta, runs=names, thresholds=pooled.thresholds) for names in kept_back
    )
    curves = threshold_curve(picks, truth, found, recipe.beta, list(by_name))
    models, histories = (f.model for f in fitted), (f.history for f in fitted)
    return Folds(tuple(models), tuple(histories), picks, pooled, tuple(by_fold), curves)
