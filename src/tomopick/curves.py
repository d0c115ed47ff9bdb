"""Precision, recall and F-beta against the score threshold, and the thresholds that validation data ask for."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tomopick.matching import Match, match_all
from tomopick.objects import ParticleObject
from tomopick.picks import Picks

__all__ = [
    "PLATEAU",
    "PRCurve",
    "average_precision",
    "best_thresholds",
    "curve_of",
    "f_beta",
    "pr_curve",
    "probability_thresholds",
    "threshold_curve",
]

PLATEAU = 0.02
"""How far below the best F-beta still counts as the same plateau: less than one run's sampling noise."""

Floats = NDArray[np.float64]


class PRCurve(NamedTuple):
    """Precision and recall of the picks whose score is at least each threshold; thresholds ascend."""

    thresholds: Floats
    precision: Floats
    recall: Floats


class _Counts(NamedTuple):
    thresholds: Floats
    tp: NDArray[np.int64]
    candidates: NDArray[np.int64]
    references: int


def f_beta(tp: ArrayLike, fp: ArrayLike, fn: ArrayLike, beta: float) -> Floats:
    """F-beta, (1 + b^2) TP / ((1 + b^2) TP + b^2 FN + FP), element by element; 0 where TP is 0.

    With the CZII challenge's counts FP can be negative, and F-beta then passes 1.
    """
    hits = (1 + beta**2) * np.asarray(tp, dtype=np.float64)
    whole = hits + beta**2 * np.asarray(fn, dtype=np.float64) + np.asarray(fp, dtype=np.float64)
    return np.divide(hits, whole, out=np.zeros(np.broadcast_shapes(hits.shape, whole.shape)), where=hits > 0)


def _counts(matches: Iterable[Match]) -> _Counts:
    """TP and candidates at each distinct score, over all runs together.

    A reference is hit at a threshold if the best candidate near it reaches that, so one sort does for all thresholds.
    """
    parts = list(matches)
    scores = np.sort(np.concatenate([np.zeros(0), *[m.scores for m in parts]]))
    best = np.sort(np.concatenate([np.zeros(0), *[m.best for m in parts]]))
    thresholds = np.unique(scores)
    tp = len(best) - np.searchsorted(best, thresholds, side="left")
    candidates = len(scores) - np.searchsorted(scores, thresholds, side="left")
    return _Counts(thresholds, tp, candidates, len(best))


def curve_of(matches: Iterable[Match]) -> PRCurve:
    """The curve of one object from its matches, one for each run; see `pr_curve`."""
    counts = _counts(matches)
    precision = np.minimum(1.0, counts.tp / counts.candidates)
    return PRCurve(counts.thresholds, precision, counts.tp / max(counts.references, 1))


def pr_curve(picks: Picks, truth: Picks, particle: ParticleObject, runs: Sequence[str] | None = None) -> PRCurve:
    """Precision and recall of one object against the score threshold, one point for each distinct score.

    Counts are summed over runs: those named, or those of the whole truth, so that a run without this object still
    counts its false picks. Precision is TP / candidates, clipped to 1 (one candidate can hit two references); recall
    is 0 throughout where there are no references.

    Raises:
        DataError: two true particles of this object stand at the same place in a run.
    """
    chosen = truth.runs if runs is None else runs
    name = particle.name
    return curve_of(match_all(picks.where(name=name), truth.where(name=name), [particle], chosen)[name].values())


def average_precision(curve: PRCurve) -> float:
    """The area under precision against recall, in steps without interpolation: sum of (rise in recall) x precision."""
    recall = curve.recall[::-1]
    return float(np.sum(np.diff(recall, prepend=0.0) * curve.precision[::-1]))


def threshold_curve(
    picks: Picks,
    truth: Picks,
    objects: Sequence[ParticleObject],
    beta: float = 4,
    runs: Sequence[str] | None = None,
) -> pd.DataFrame:
    """F-beta of each object against the score threshold, one row for each distinct score.

    Returns:
        A table with the columns object, threshold (ascending within an object), f_beta.

    Raises:
        DataError: an object that is not among ``objects``, or two true particles at the same place in a run.
    """
    parts = []
    for name, by_run in match_all(picks, truth, objects, runs).items():
        t, tp, candidates, references = _counts(by_run.values())
        value = f_beta(tp, candidates - tp, references - tp, beta)
        parts.append(pd.DataFrame({"object": name, "threshold": t, "f_beta": value}))
    return pd.concat(parts, ignore_index=True)


def _middle_of_plateau(thresholds: Floats, values: Floats) -> float:
    """The middle of the plateau around the highest value; of equal peaks the one at the lower threshold.

    F-beta is a step function: any threshold above one score and up to the next gives the same picks, and below the
    lowest score there is nothing more to lose, down to 0.
    """
    peak = int(np.argmax(values))
    below = np.flatnonzero(values < values[peak] - PLATEAU)
    first = int(below[below < peak].max(initial=-1)) + 1
    last = int(below[below > peak].min(initial=len(values))) - 1
    low = thresholds[first - 1] if first else min(0.0, float(thresholds[0]))
    middle = float((low + thresholds[last]) / 2)
    return middle if middle > low else float(thresholds[last])


def best_thresholds(
    picks: Picks,
    truth: Picks,
    objects: Sequence[ParticleObject],
    beta: float = 4,
    runs: Sequence[str] | None = None,
) -> dict[str, float]:
    """The score threshold of each object that validation data ask for: keep picks with score >= threshold.

    F-beta against threshold is flat near its top, and the very best point is chance. So this takes the middle of the
    plateau: the unbroken stretch of thresholds around the best one whose F-beta is within `PLATEAU` of it. An object
    without a single hit says nothing about its threshold and is left out.

    Raises:
        DataError: an object that is not among ``objects``, or two true particles at the same place in a run.
    """
    curves = threshold_curve(picks, truth, objects, beta, runs)
    return {
        str(name): _middle_of_plateau(part["threshold"].to_numpy(np.float64), part["f_beta"].to_numpy(np.float64))
        for name, part in curves.groupby("object", sort=False)
        if part["f_beta"].max() > 0
    }


def probability_thresholds(
    picks: Picks,
    truth: Picks,
    objects: Sequence[ParticleObject],
    beta: float = 4,
    runs: Sequence[str] | None = None,
) -> dict[str, float]:
    """The threshold of each object for scores that are probabilities: the best F-beta reached, over 1 + beta^2.

    A pick that is right with probability p raises an F-beta of F if p exceeds F / (1 + beta^2) (for beta 1: Lipton et
    al. 2014). This asks of validation data only how good the best is, not where on a flat top it lies by chance. An
    object without a single hit is left out.

    Raises:
        DataError: an object that is not among ``objects``, or two true particles at the same place in a run.
    """
    curves = threshold_curve(picks, truth, objects, beta, runs)
    best = curves.groupby("object", sort=False)["f_beta"].max()
    return {str(name): min(1.0, float(value)) / (1 + beta**2) for name, value in best.items() if value > 0}
