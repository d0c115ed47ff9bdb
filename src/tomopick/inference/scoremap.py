"""The score map: one type, the same from every network."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

__all__ = ["Part", "ScoreMap"]


@dataclass(frozen=True, eq=False)
class ScoreMap:
    """Class probabilities on a regular grid over a tomogram.

    Attributes:
        array: float32 (objects + 1, z, y, x), 0 to 1; the last class is background. Of one model they sum to 1 over
            the first axis. Of several, those of objects are calibrated, each on its own, and background is not, so
            that they need not.
        stride: voxels between grid points.
        offset: voxel (zyx) of grid point 0; grid point i sits at voxel ``offset + stride * i``.
        spacing: voxel spacing in Angstrom of those voxels.
        objects: names of the objects, in the order of ``array``.
        name: the run.
        plan: how a network went over the tomogram, in words.
    """

    array: NDArray[np.float32]
    stride: int
    offset: tuple[float, float, float]
    spacing: float
    objects: tuple[str, ...]
    name: str
    plan: str = ""


@dataclass(frozen=True, eq=False)
class Part:
    """A piece of a score map, with some of what lies around it in the map.

    Attributes:
        scores: the piece; its offset tells where it sits.
        start: grid point (zyx) of the map at which the piece begins.
        core: what is the part's own, as slices of the piece; the cores of all parts of a map cover it once.
        counts: grid points (zyx) of the map.
    """

    scores: ScoreMap
    start: tuple[int, int, int]
    core: tuple[slice, slice, slice]
    counts: tuple[int, int, int]

    @property
    def own(self) -> NDArray[np.float32]:
        """Scores (objects + 1, z, y, x) of what is the part's own."""
        return self.scores.array[(slice(None), *self.core)]

    @property
    def own_start(self) -> tuple[int, int, int]:
        """Grid point (zyx) of the map at which that begins."""
        z, y, x = (first + within.start for first, within in zip(self.start, self.core, strict=True))
        return z, y, x

    @classmethod
    def whole(cls, scores: ScoreMap) -> Self:
        """All of a map as one part."""
        depth, height, width = scores.array.shape[1:]
        core = (slice(0, depth), slice(0, height), slice(0, width))
        return cls(scores, (0, 0, 0), core, (depth, height, width))
