"""How good picks are: the score of the CZII challenge and what stands behind it.

The module is not called ``evaluate``, because importing it would then hide the function ``tomopick.evaluate``.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tomopick.curves import average_precision, best_thresholds, curve_of, f_beta, pr_curve, threshold_curve
from tomopick.errors import DataError
from tomopick.matching import Match, classify_picks, confusion, keep_above, match_all
from tomopick.objects import CZII_OBJECTS, ParticleObject, check_objects, object_named
from tomopick.picks import Picks

__all__ = [
    "Evaluation",
    "ObjectScore",
    "best_thresholds",
    "classify_picks",
    "confusion",
    "evaluate",
    "keep_above",
    "pr_curve",
    "threshold_curve",
]

CONFIDENCE = 0.95
Interval = tuple[float, float]


@dataclass(frozen=True)
class ObjectScore:
    """What was reached for one object, counts summed over runs.

    Attributes:
        tp: true particles hit by at least one pick.
        fp: picks - TP; negative where one pick hits two particles.
        fn: true particles - TP.
        precision: TP / (TP + FP), 0 without picks.
        recall: TP / (TP + FN), 0 without true particles.
        f1: F-beta with beta 1.
        f_beta: F-beta with the evaluation's beta.
        average_precision: area under precision against recall over all scores, thresholds apart; None without true
            particles.
        localisation_error_angstrom: median distance of a hit particle to its nearest pick; None without hits.
        score_interval: 95 % bootstrap interval of f_beta over runs; None for a single run.
    """

    tp: int
    fp: int
    fn: int
    precision: float
    recall: float
    f1: float
    f_beta: float
    average_precision: float | None
    localisation_error_angstrom: float | None
    score_interval: Interval | None


@dataclass(frozen=True)
class Evaluation:
    """Picks against the truth.

    Attributes:
        score: sum(weight x F-beta) / sum(weight) over all objects.
        beta: the beta of F-beta.
        by_object: the score of each object, by name.
        overall: counts summed over all objects; ratios and average precision as weighted means over objects, like the
            score (an undefined average precision counts as 0); the localisation error over all hits.
        interval: 95 % bootstrap interval of the score over runs; None for a single run.
        runs: the runs that counted.
        thresholds: the score thresholds that the picks had to pass, by object.
    """

    score: float
    beta: float
    by_object: dict[str, ObjectScore]
    overall: ObjectScore
    interval: Interval | None
    runs: tuple[str, ...]
    thresholds: dict[str, float]

    def to_json(self) -> dict[str, Any]:
        """Everything as plain dicts, lists and numbers, None where a figure is not defined."""
        return asdict(self) | {"runs": list(self.runs)}

    def table(self) -> pd.DataFrame:
        """One row for each object and one called "all"; the interval as the columns score_low and score_high."""
        rows = {}
        for name, score in {**self.by_object, "all": self.overall}.items():
            row = asdict(score)
            row["score_low"], row["score_high"] = row.pop("score_interval") or (np.nan, np.nan)
            rows[name] = {k: np.nan if v is None else v for k, v in row.items()}
        table = pd.DataFrame.from_dict(rows, orient="index")
        table.index.name = "object"
        return table.astype(dict.fromkeys(("tp", "fp", "fn"), np.int64))


def evaluate(
    picks: Picks,
    truth: Picks,
    objects: Sequence[ParticleObject] = CZII_OBJECTS,
    *,
    beta: float = 4,
    runs: Sequence[str] | None = None,
    thresholds: Mapping[str, float] | None = None,
    bootstrap: int = 1000,
    seed: int = 0,
) -> Evaluation:
    """Score picks against the truth as the CZII challenge does (official notebook "czi-cryoet-84969").

    A true particle is hit if any pick of its object lies within the match distance (half the radius, inclusive). TP is
    the number of particles hit, FP the picks less TP, FN the particles not hit; they are summed over runs for each
    object. The weight of every object given stays in the denominator, as in the official code: one that the truth
    does not hold scores 0. Give only the objects that you expect if you do not want that.

    Args:
        picks: what was found; picks in other runs than ``runs`` are dropped.
        truth: the annotated particles.
        objects: the objects with their radii and weights.
        beta: weight of recall against precision.
        runs: the runs of the experiment, with or without true particles; None means the runs of the truth.
        thresholds: least score by object; objects not named keep all their picks.
        bootstrap: resamples of the runs for the intervals, 0 for none. A resample that happens to lack an object's
            particles says nothing of it, and leaves it out.
        seed: seed of the resampling.

    Raises:
        DataError: picks, truth or thresholds name an unknown object; two true particles share a place in a run; the
            weights are all 0; beta is not above 0.
    """
    limits = dict(thresholds or {})
    weights = _checked_weights(objects, beta, limits)
    whole = match_all(picks, truth, objects, runs)
    matches = match_all(keep_above(picks, limits), truth, objects, runs) if limits else whole
    chosen = tuple(matches[objects[0].name])
    counts = np.array([[m.counts for m in matches[o.name].values()] for o in objects], dtype=np.int64)
    counts = counts.reshape(len(objects), len(chosen), 3)
    by_object, interval = _intervals(counts, weights, beta, bootstrap, seed)
    scores = {}
    for particle, by_run, score_interval in zip(objects, counts, by_object, strict=True):
        area = average_precision(curve_of(whole[particle.name].values()))
        error = _median_error(matches[particle.name].values())
        scores[particle.name] = _object_score(by_run, beta, area, error, score_interval)
    error = _median_error(m for by_run in matches.values() for m in by_run.values())
    overall = _overall(list(scores.values()), weights, error, interval)
    return Evaluation(overall.f_beta, float(beta), scores, overall, interval, chosen, limits)


def _checked_weights(
    objects: Sequence[ParticleObject], beta: float, thresholds: Mapping[str, float]
) -> NDArray[np.float64]:
    if not (np.isfinite(beta) and beta > 0):
        raise DataError(f"beta is {beta}; give a number above 0 (the CZII challenge has 4)")
    weights = np.array([o.weight for o in check_objects(objects)], dtype=np.float64)
    if weights.sum() == 0:
        raise DataError("the weights of the objects sum to 0; give at least one a weight above 0")
    for name in thresholds:
        object_named(name, objects)
    return weights


def _median_error(matches: Iterable[Match]) -> float | None:
    """Median distance of the hit references to their nearest candidate."""
    distances = np.concatenate([np.zeros(0), *[m.distance[m.nearest >= 0] for m in matches]])
    return float(np.median(distances)) if len(distances) else None


def _object_score(
    by_run: NDArray[np.int64], beta: float, area: float, error: float | None, interval: Interval | None
) -> ObjectScore:
    tp, fp, fn = (int(n) for n in by_run.sum(axis=0))
    return ObjectScore(
        tp=tp,
        fp=fp,
        fn=fn,
        precision=tp / (tp + fp) if tp + fp else 0.0,
        recall=tp / (tp + fn) if tp + fn else 0.0,
        f1=float(f_beta(tp, fp, fn, 1)),
        f_beta=float(f_beta(tp, fp, fn, beta)),
        average_precision=area if tp + fn else None,
        localisation_error_angstrom=error,
        score_interval=interval,
    )


def _overall(
    scores: Sequence[ObjectScore], weights: NDArray[np.float64], error: float | None, interval: Interval | None
) -> ObjectScore:
    def mean(values: Iterable[float]) -> float:
        return float(np.dot(weights, np.array(list(values))) / weights.sum())

    return ObjectScore(
        tp=sum(s.tp for s in scores),
        fp=sum(s.fp for s in scores),
        fn=sum(s.fn for s in scores),
        precision=mean(s.precision for s in scores),
        recall=mean(s.recall for s in scores),
        f1=mean(s.f1 for s in scores),
        f_beta=mean(s.f_beta for s in scores),
        average_precision=mean(s.average_precision or 0.0 for s in scores),
        localisation_error_angstrom=error,
        score_interval=interval,
    )


def _intervals(
    counts: NDArray[np.int64], weights: NDArray[np.float64], beta: float, bootstrap: int, seed: int
) -> tuple[list[Interval | None], Interval | None]:
    """Percentile intervals, by object and of the score, from counts (objects, runs, tp-fp-fn) resampled by run."""
    n_runs = counts.shape[1]
    if n_runs < 2 or bootstrap < 1:
        return [None] * len(counts), None
    times = np.random.default_rng(seed).multinomial(n_runs, np.full(n_runs, 1 / n_runs), size=bootstrap)
    tp, fp, fn = np.einsum("br,orc->cbo", times, counts)
    values = f_beta(tp, fp, fn, beta)
    # an object that no run holds counts in the score, as in every resample; one that only some hold is absent by chance
    nowhere = counts[:, :, [0, 2]].sum(axis=(1, 2)) == 0
    told = (tp + fn > 0) | nowhere
    shares = np.where(told, weights, 0.0)
    whole = shares.sum(axis=1)
    scores = (values * shares).sum(axis=1)[whole > 0] / whole[whole > 0]
    return [_interval(column[has]) for column, has in zip(values.T, told.T, strict=True)], _interval(scores)


def _interval(samples: NDArray[np.float64]) -> Interval | None:
    if not len(samples):
        return None
    low, high = np.quantile(samples, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return float(low), float(high)
