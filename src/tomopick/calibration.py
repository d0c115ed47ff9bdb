"""From raw scores to probabilities: a score of 0.8 is to mean that 80 of 100 such picks are right.

Only the use of calibrations; `tomopick.reliability` fits and judges them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, FiniteFloat, model_validator

from tomopick.errors import DataError
from tomopick.objects import ParticleObject
from tomopick.picks import Picks

__all__ = ["Calibration", "calibrated", "threshold_for_precision"]

ROUNDING = 1e-9  # sums of scores are no more exact than this
Float = TypeVar("Float", bound=np.floating[Any])
Knots = tuple[FiniteFloat, ...]


class Calibration(BaseModel):
    """How often a pick of one object is right, by its raw score: straight lines between knots.

    It rises strictly from raw score 0 to 1, so it never changes the order of picks. It comes out of model files, so it
    checks itself.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    raw: Knots = Field(min_length=2, description="Raw scores of the knots, rising from 0 to 1.")
    probability: Knots = Field(description="Probability that the pick is right at each knot, rising, 0 to 1.")

    @model_validator(mode="after")
    def _rises_within_bounds(self) -> Self:
        if len(self.raw) != len(self.probability):
            raise ValueError(f"{len(self.raw)} raw scores for {len(self.probability)} probabilities")
        for what, values in (("raw scores", self.raw), ("probabilities", self.probability)):
            if min(values) < 0 or max(values) > 1:
                raise ValueError(f"{what} must lie within 0 to 1")
            if not (np.diff(values) > 0).all():
                raise ValueError(f"{what} must rise from each knot to the next")
        if (self.raw[0], self.raw[-1]) != (0.0, 1.0):
            raise ValueError(f"raw scores must reach from 0 to 1, not from {self.raw[0]:g} to {self.raw[-1]:g}")
        return self

    def apply(self, scores: NDArray[Float]) -> NDArray[Float]:
        """The probabilities of raw scores of any shape, as their float type; those beyond 0 to 1 count as the end."""
        probability: NDArray[Float] = np.interp(scores, self.raw, self.probability).astype(scores.dtype)
        return probability


def calibrated(picks: Picks, calibrations: Mapping[str, Calibration]) -> Picks:
    """The picks, in their order, with calibrated scores; objects without a calibration keep theirs."""
    scores, names = picks.scores().copy(), picks.table["object"].to_numpy()
    for name, calibration in calibrations.items():
        mine = names == name
        scores[mine] = calibration.apply(scores[mine])
    return Picks(picks.table.assign(score=scores))


def threshold_for_precision(picks: Picks, objects: Sequence[ParticleObject], precision: float) -> dict[str, float]:
    """The least score of each object down to which this share of the picks is expected to be right.

    The expected precision of the picks at or above a score is the mean of their scores, which must be calibrated. It
    holds for these picks: another tomogram, with more or fewer particles in it, has another threshold.

    Args:
        picks: with calibrated scores.
        objects: those that get a threshold.
        precision: above 0, at most 1. Where even the best pick falls short, the threshold is this, and keeps none.

    Raises:
        DataError: the precision is out of range.
    """
    if not 0 < precision <= 1:
        raise DataError(f"the expected precision is {precision}; give a number above 0 and at most 1")
    thresholds = {}
    for particle in objects:
        scores, counts = np.unique(picks.where(name=particle.name).scores(), return_counts=True)
        scores, counts = scores[::-1], counts[::-1]
        expected = np.cumsum(scores * counts) / np.cumsum(counts)
        enough = scores[expected >= precision - ROUNDING]
        thresholds[particle.name] = float(enough[-1]) if len(enough) else float(precision)
    return thresholds
