"""Whether scores mean what they say, and the calibrations that make them: fitted on picks of runs not trained on."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tomopick.calibration import Calibration
from tomopick.errors import DataError
from tomopick.matching import match_all
from tomopick.objects import ParticleObject
from tomopick.picks import Picks

__all__ = [
    "error_of_table",
    "expected_calibration_error",
    "fit_calibration",
    "reliability_table",
    "reliability_tables",
    "right_picks",
]

FLOOR = 0.05  # picks below this are not judged
BINS = 10
LEAST_IN_BIN = 10  # with fewer picks a bin's share of right ones is chance

DIGITS = 6  # scores closer than this are the same
STRAIGHT = 1e-3  # share of the raw score in each calibration, which keeps it rising where the fit is flat
OWN_SPREAD = np.array([0.5, 1.0])  # how far (log slope, offset) of one object stray from those of all
ALL_SPREAD = np.array([1.0, 3.0])  # and those of all from no change
BOUNDS = ((-3.0, 3.0), (-15.0, 15.0))
LOGISTIC_KNOTS = np.linspace(-13.5, 13.5, 109)  # in logits
PSEUDO_PICKS = 50.0  # weight of the logistic fit in the isotonic one
FOLDS = 5
FEWEST = 20  # picks that an isotonic fit is tried on

Floats = NDArray[np.float64]
Bools = NDArray[np.bool_]


class _Logistic(NamedTuple):
    """The probability is the logistic of exp(log_slope) x logit(raw score) + offset."""

    log_slope: float
    offset: float


def right_picks(
    picks: Picks, truth: Picks, objects: Sequence[ParticleObject], runs: Sequence[str] | None = None
) -> tuple[Picks, Bools]:
    """The picks of the runs that count, and which of them are right.

    A pick is right if it is the best scored one within the match distance of some true particle of its object. So the
    right picks at or above any score are as many as the particles that these find (but for a pick that finds two).

    Args:
        runs: the runs that count, with or without true particles; None means the runs of the truth.

    Raises:
        DataError: as `tomopick.matching.match_all`.
    """
    chosen = set(truth.runs if runs is None else runs)
    counted = Picks(picks.table[picks.table["run"].isin(chosen)])
    order = np.argsort(counted.scores(), kind="stable")
    rank = np.empty(len(order))
    rank[order] = np.arange(len(order))
    right = np.zeros(len(order), dtype=bool)
    # with ranks for scores, the best score at a particle says which pick it is
    for by_run in match_all(Picks(counted.table.assign(score=rank)), truth, objects, runs).values():
        for matched in by_run.values():
            right[order[matched.best[matched.nearest >= 0].astype(np.int64)]] = True
    return counted, right


def fit_calibration(
    picks: Picks, truth: Picks, objects: Sequence[ParticleObject], runs: Sequence[str] | None = None
) -> dict[str, Calibration]:
    """A calibration for each object, from raw picks in runs that the model was not trained on.

    Each object gets a logistic fit on the logit of the score (Platt 1999), drawn towards that of all objects together
    so that few picks do not mislead; or, where that predicts held-out picks better, isotonic regression (Zadrozny and
    Elkan 2002) drawn towards the logistic fit. An object without picks gets the fit of all.

    Args:
        picks: with the raw scores of the model, down to the floor of peak finding.
        truth: the annotated particles.
        objects: the model's.
        runs: the runs that count, with or without true particles; None means the runs of the truth.

    Returns:
        Calibrations by object name; none at all where there is no pick.

    Raises:
        DataError: a score is not within 0 to 1, or as `tomopick.matching.match_all`.
    """
    counted, right = right_picks(picks, truth, objects, runs)
    scores, names = np.round(counted.scores(), DIGITS), counted.table["object"].to_numpy()
    if len(scores) == 0:
        return {}
    if scores.min() < 0 or scores.max() > 1:
        raise DataError(
            f"scores from {scores.min():g} to {scores.max():g} cannot be calibrated; give the raw picks of a model, "
            "whose scores lie within 0 to 1"
        )
    common = _fit_logistic(scores, right, _Logistic(0.0, 0.0), ALL_SPREAD)
    return {o.name: _better(scores[names == o.name], right[names == o.name], common) for o in objects}


def _better(scores: Floats, right: Bools, common: _Logistic) -> Calibration:
    """The kind of fit with the lower loss on held-out picks, fitted on all of them."""
    if len(scores) >= FEWEST:
        fold = np.empty(len(scores), dtype=np.int64)
        fold[np.argsort(scores, kind="stable")] = np.arange(len(scores)) % FOLDS
        losses = np.zeros(2)
        for k in range(FOLDS):
            fits = _both(scores[fold != k], right[fold != k], common)
            losses += [_log_loss(fit.apply(scores[fold == k]), right[fold == k]) for fit in fits]
        if losses[1] < losses[0]:
            return _both(scores, right, common)[1]
    return _logistic(_fit_logistic(scores, right, common, OWN_SPREAD))


def _both(scores: Floats, right: Bools, common: _Logistic) -> tuple[Calibration, Calibration]:
    fit = _fit_logistic(scores, right, common, OWN_SPREAD)
    return _logistic(fit), _isotonic(scores, right, fit)


def _log_loss(probability: Floats, right: Bools) -> float:
    """Sum of -log(probability of what was the case), no single pick worth more than 1 in 1,000."""
    p = np.clip(probability, 1e-3, 1 - 1e-3)
    return float(-np.log(np.where(right, p, 1 - p)).sum())


def _logit(scores: Floats) -> Floats:
    from scipy.special import logit

    return np.asarray(logit(np.clip(scores, 10.0**-DIGITS, 1 - 10.0**-DIGITS)))


def _predict(fit: _Logistic, logits: Floats) -> Floats:
    from scipy.special import expit

    return np.asarray(expit(np.exp(fit.log_slope) * logits + fit.offset))


def _fit_logistic(scores: Floats, right: Bools, start: _Logistic, spread: Floats) -> _Logistic:
    """The most probable logistic, where log slope and offset are normal about ``start`` with deviations ``spread``."""
    from scipy.optimize import minimize

    logits, centre = _logit(scores), np.array(start)

    def loss(at: Floats) -> tuple[float, Floats]:
        slope = np.exp(at[0])
        z = slope * logits + at[1]
        excess = _predict(_Logistic(*at), logits) - right
        value = float((np.logaddexp(0, z) - right * z).sum() + 0.5 * (((at - centre) / spread) ** 2).sum())
        return value, np.array([slope * excess @ logits, excess.sum()]) + (at - centre) / spread**2

    found = minimize(loss, centre, jac=True, method="L-BFGS-B", bounds=BOUNDS).x
    return _Logistic(float(found[0]), float(found[1]))


def _through(raw: Floats, probability: Floats) -> Calibration:
    """The calibration through these knots, of which the probabilities need not rise strictly."""
    rising = (1 - STRAIGHT) * probability + STRAIGHT * raw
    return Calibration(raw=tuple(raw.tolist()), probability=tuple(rising.tolist()))


def _logistic(fit: _Logistic) -> Calibration:
    from scipy.special import expit

    between = _predict(fit, LOGISTIC_KNOTS)
    return _through(
        np.concatenate([[0.0], expit(LOGISTIC_KNOTS), [1.0]]), np.concatenate([between[:1], between, between[-1:]])
    )


def _isotonic(scores: Floats, right: Bools, fit: _Logistic) -> Calibration:
    """Isotonic regression, straight from each block's mean score to the next.

    Each pick stands with a share of what the logistic fit expects of it, altogether worth `PSEUDO_PICKS`, so that a
    block of a few picks is not taken at its word.
    """
    from scipy.optimize import isotonic_regression

    raw, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    share = PSEUDO_PICKS / (PSEUDO_PICKS + len(scores))
    seen = np.bincount(place, weights=right) / counts
    found = isotonic_regression((1 - share) * seen + share * _predict(fit, _logit(raw)), weights=counts)
    first = np.asarray(found.blocks)[:-1]
    centres = np.add.reduceat(raw * counts, first) / np.add.reduceat(counts, first)
    values = np.clip(np.asarray(found.x)[first], 0.0, 1.0)
    # raw scores reach from 0 to 1, perhaps with the first and last block
    before, after = np.zeros(int(centres[0] > 0)), np.ones(int(centres[-1] < 1))
    return _through(np.concatenate([before, centres, after]), np.concatenate([before, values, values[-1] * after]))


def _bins(scores: Floats, right: Floats, bins: int) -> pd.DataFrame:
    """The picks in bins of equal count by score: bin (from 1), count, mean score, share right."""
    # picks of one score are exchangeable: their order must not matter
    _, place, counts = np.unique(scores, return_inverse=True, return_counts=True)
    share = (np.bincount(place, weights=right) / np.maximum(counts, 1))[place]
    parts = [p for p in np.array_split(np.argsort(scores, kind="stable"), bins) if len(p)]
    return pd.DataFrame(
        {
            "bin": np.arange(1, len(parts) + 1),
            "count": [len(p) for p in parts],
            "mean score": [float(scores[p].mean()) for p in parts],
            "share right": [float(share[p].mean()) for p in parts],
        }
    ).astype({"count": np.int64, "mean score": np.float64, "share right": np.float64})


def error_of_table(table: pd.DataFrame) -> float:
    """The expected calibration error of a `reliability_table`: mean |mean score - share right|, weighted by count.

    NaN for an empty table.
    """
    apart = (table["mean score"] - table["share right"]).abs()
    return float((apart * table["count"]).sum() / table["count"].sum()) if len(table) else float("nan")


def expected_calibration_error(scores: ArrayLike, right: ArrayLike, bins: int = BINS) -> float:
    """How far scores are from the share of right picks, on average over bins of equal count (Naeini et al. 2015).

    Args:
        scores: (n,) calibrated scores.
        right: (n,) whether each pick is right.
        bins: how many; fewer where there are fewer picks.

    Returns:
        0 for perfect scores, at most 1; NaN where there are no picks.
    """
    return error_of_table(_bins(np.asarray(scores, dtype=np.float64), np.asarray(right, dtype=np.float64), bins))


def reliability_table(
    picks: Picks,
    truth: Picks,
    objects: Sequence[ParticleObject],
    runs: Sequence[str] | None = None,
    floor: float = FLOOR,
) -> pd.DataFrame:
    """What share of the picks is right, by score, over all objects together.

    Picks of at least the floor go by score into ten bins of equal count; into fewer where bins would hold less than
    ten picks.

    Args:
        runs: the runs that count, with or without true particles; None means the runs of the truth.

    Returns:
        A table with the columns bin, count, mean score, share right; the lowest scores first.

    Raises:
        DataError: as `tomopick.matching.match_all`.
    """
    return reliability_tables(picks, truth, objects, runs, floor)["all"]


def reliability_tables(
    picks: Picks,
    truth: Picks,
    objects: Sequence[ParticleObject],
    runs: Sequence[str] | None = None,
    floor: float = FLOOR,
) -> dict[str, pd.DataFrame]:
    """The `reliability_table` of each object that has picks, by name, and of all objects together as "all"."""
    counted, right = right_picks(picks, truth, objects, runs)
    scores, names = counted.scores(), counted.table["object"].to_numpy()
    chosen = {o.name: names == o.name for o in objects} | {"all": np.ones(len(names), dtype=bool)}
    tables = {}
    for name, mine in chosen.items():
        kept = mine & (scores >= floor)
        bins = int(np.clip(kept.sum() // LEAST_IN_BIN, 1, BINS))
        tables[name] = _bins(scores[kept], right[kept].astype(np.float64), bins)
    return {name: table for name, table in tables.items() if len(table) or name == "all"}
