"""What a particle looks like: its density, as an atomic model or an averaged map tells."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from tomopick.errors import DataError

__all__ = ["Structure"]

_MOST = 0.98  # share of the mass that lies within the radius


@dataclass(frozen=True, eq=False)
class Structure:
    """The density of one kind of particle.

    Attributes:
        name: of the particle, as in picks.
        density: kDa in each voxel, zyx, none below zero.
        spacing: of the voxels, in Angstrom.

    Raises:
        DataError: there is nothing in it, or the spacing is not above 0.
    """

    name: str
    density: NDArray[np.float32]
    spacing: float

    def __post_init__(self) -> None:
        if not self.density.any():
            raise DataError(f"the structure of {self.name} is empty: no density above zero")
        if not self.spacing > 0:
            raise DataError(f"the structure of {self.name} has a voxel spacing of {self.spacing} A; give one above 0")

    @cached_property
    def mass(self) -> float:
        """Of the whole particle, in kDa."""
        return float(self.density.sum(dtype=np.float64))

    @cached_property
    def centre(self) -> NDArray[np.float64]:
        """Centre of mass, zyx in voxels."""
        profiles = [self.density.sum(axis=axes, dtype=np.float64) for axes in ((1, 2), (0, 2), (0, 1))]
        return np.array([profile @ np.arange(len(profile)) for profile in profiles]) / self.mass

    @cached_property
    def radius(self) -> float:
        """Of the sphere about the centre of mass that holds 98 percent of it, in Angstrom."""
        axes = np.ogrid[tuple(slice(n) for n in self.density.shape)]
        distances = np.sqrt(sum((axis - c) ** 2 for axis, c in zip(axes, self.centre, strict=True))).ravel()
        order = np.argsort(distances)
        inside = np.cumsum(self.density.ravel()[order], dtype=np.float64)
        return float(distances[order[np.searchsorted(inside, _MOST * inside[-1])]] * self.spacing)
