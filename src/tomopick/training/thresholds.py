"""What picks on runs that a model was not trained on say of its scores: calibration and thresholds, for its file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tomopick.calibration import calibrated, threshold_for_precision
from tomopick.curves import probability_thresholds
from tomopick.evaluation import Evaluation, evaluate
from tomopick.inference.engine import score_parts
from tomopick.inference.peaks import find_peaks
from tomopick.models.modelfile import Model, load_model, read_spec, save_model
from tomopick.picks import Picks
from tomopick.recipe import Recipe
from tomopick.reliability import fit_calibration
from tomopick.training.annotations import TrainingRun, judged

__all__ = ["CHOICES", "raw_picks", "settle"]

CHOICES = {"beta", "threshold_share", "at_precision"}
"""What of a recipe is for thresholds alone, which come after the fitting."""
UNKNOWN = 0.5
"""The F-beta that is supposed to be within reach of an object that validation runs say nothing about."""


def raw_picks(path: Path, runs: Sequence[TrainingRun], recipe: Recipe, device: str = "cpu") -> Picks:
    """The picks of a model in runs, down to the floor of peak finding, that their annotations can judge.

    Scores are those of the network, not calibrated.
    """
    model = load_model(path)
    parts = (score_parts(model, r.tomogram, device=device, dtype=recipe.precision) for r in runs)
    found = [find_peaks(of_run, model.spec.objects) for of_run in parts]
    return judged(Picks.join(found), runs, recipe.ignore_unlabelled)


def settle(models: Sequence[Path], raw: Picks, runs: Sequence[TrainingRun], recipe: Recipe) -> tuple[Picks, Evaluation]:
    """Fit a calibration and choose thresholds on picks in runs not trained on, and write both into the models' files.

    Args:
        models: one model, or those of all folds, whose scores are then taken to be alike.
        raw: of `raw_picks`, each run's by a model that was not trained on it.
        runs: all that were picked.
        recipe: tells what thresholds are for.

    Returns:
        The picks with calibrated scores, and what they are worth with these thresholds.
    """
    objects = read_spec(models[0]).objects
    names = [run.tomogram.name for run in runs]
    truth = judged(Picks.join(run.picks for run in runs), runs, recipe.ignore_unlabelled)
    calibration = fit_calibration(raw, truth, objects, names)
    picks = calibrated(raw, calibration)
    if recipe.at_precision is not None:
        thresholds = threshold_for_precision(picks, objects, recipe.at_precision)
    else:
        # an object that was not found at all tells nothing about its threshold
        unknown = {o.name: UNKNOWN / (1 + recipe.beta**2) for o in objects}
        best = unknown | probability_thresholds(picks, truth, objects, recipe.beta, names)
        share = recipe.threshold_share if recipe.beta > 1 else 1.0
        thresholds = {name: share * threshold for name, threshold in best.items()}
    result = evaluate(picks, truth, objects, beta=recipe.beta, runs=names, thresholds=thresholds)
    for path in models:
        model = load_model(path)
        told = model.spec.provenance | {"validation_beta": recipe.beta, "validation_score": result.score}
        told["recipe"] = told["recipe"] | recipe.model_dump(mode="json", include=CHOICES)
        spec = model.spec.model_copy(update={"thresholds": thresholds, "calibration": calibration, "provenance": told})
        save_model(path, Model(model.network, spec, model.name))
    return picks, result
