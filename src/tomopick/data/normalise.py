"""The one scaling of densities, for training and for use."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tomopick.errors import DataError
from tomopick.recipe import Normalisation
from tomopick.tomogram import Tomogram

__all__ = ["Scaling", "scaling_of"]

PLANES = 16
ROWS = 256  # of these planes that are read at a time: files in chunks unpack many planes for one


@dataclass(frozen=True)
class Scaling:
    """What to subtract from a tomogram's densities, divide them by, and cut them at."""

    centre: float
    scale: float
    clip: float

    def __call__(self, densities: NDArray[np.float32]) -> NDArray[np.float32]:
        """Scaled densities of the same shape."""
        scaled = densities - np.float32(self.centre)
        scaled /= np.float32(self.scale)
        return np.asarray(np.clip(scaled, -self.clip, self.clip, out=scaled))


def scaling_of(tomogram: Tomogram, normalisation: Normalisation) -> Scaling:
    """The scaling of one tomogram, measured on at most 16 of its z planes, evenly spread.

    Raises:
        DataError: all densities looked at are the same.
    """
    depth, height, width = tomogram.shape
    planes = np.unique(np.round(np.linspace(0, depth - 1, min(PLANES, depth))).astype(int))
    # one block, which is given back whole: planes held side by side leave as many holes
    values = np.empty((len(planes), height, width), np.float32)
    for top in range(0, height, ROWS):
        bottom = min(top + ROWS, height)
        for place, z in enumerate(planes):
            values[place, top:bottom] = tomogram.read((z, top, 0), (z + 1, bottom, width))[0]
    centre, scale = float(values.mean()), float(values.std())
    if normalisation.method == "robust":
        median = float(np.median(values))
        values -= np.float32(median)
        spread = 1.4826 * float(np.median(np.abs(values, out=values), overwrite_input=True))
        if spread > 0:  # not where a mask has set most voxels to one value
            centre, scale = median, spread
    if not scale > 0:
        raise DataError(
            f"tomogram '{tomogram.name}' holds one value almost everywhere ({centre:g}): nothing to see in it"
        )
    return Scaling(centre, scale, normalisation.clip)
