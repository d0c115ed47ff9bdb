"""Test-time augmentation: a tomogram as the model's training may have turned it, with the same voxels scored."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from tomopick.errors import DataError
from tomopick.models.modelfile import Model
from tomopick.recipe import Augmentation
from tomopick.symmetry import Orientation, orientations, turned
from tomopick.tomogram import Tomogram

__all__ = ["Readable", "TurnedTomogram", "trained_orientations"]

Triple = tuple[int, int, int]


class Readable(Protocol):
    """What networks ask of a tomogram: a region, mirrored where it reaches beyond."""

    def read(self, start: Triple, stop: Triple) -> NDArray[np.float32]: ...


@dataclass(frozen=True)
class TurnedTomogram:
    """What a network reads of a tomogram that is turned, region by region.

    Voxel j along a reversed axis is the tomogram's ``last - j``. Let that be the last voxel with a score: then turned
    scores stand at the voxels of those not turned, whatever the stride and the tomogram's size. Beyond it, at negative
    indices, comes what the tomogram itself has there.

    Attributes:
        source: the tomogram as it is.
        last: where reversed axes begin, zyx voxels of it.
        orientation: how it is turned.
    """

    source: Tomogram
    last: Triple
    orientation: Orientation

    def read(self, start: Triple, stop: Triple) -> NDArray[np.float32]:
        """The float32 region ``start <= voxel < stop``, in turned axes, mirrored where the tomogram ends."""
        axes, reverse = self.orientation
        low, high = [0, 0, 0], [0, 0, 0]
        for axis, a, b in zip(axes, start, stop, strict=True):
            last = self.last[axis]
            low[axis], high[axis] = (last - b + 1, last - a + 1) if reverse[axis] else (a, b)
        part = self.source.read((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        return np.ascontiguousarray(turned(part, self.orientation))


def trained_orientations(model: Model, count: int) -> list[Orientation]:
    """The first orientations, of those that the model's training turned its crops to; the very first is none.

    Raises:
        DataError: there are not so many, or the model does not say how it was trained.
    """
    none: Orientation = ((0, 1, 2), (False, False, False))
    if count == 1:
        return [none]
    try:
        told = model.spec.provenance["recipe"]["augmentation"]
        found = orientations(Augmentation(flips=told["flips"], rotations=told["rotations"]))
    except (KeyError, TypeError, ValueError) as error:
        raise DataError(
            f"the model '{model.name}' does not say how its training turned crops; do not augment"
        ) from error
    if not 1 <= count <= len(found):
        raise DataError(
            f"the training of model '{model.name}' turned crops in {len(found)} ways, so augment by 1 to {len(found)}, "
            f"not {count}"
        )
    return found[:count]
