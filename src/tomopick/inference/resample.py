"""A tomogram seen at another voxel spacing, computed region by region; and values of one grid on another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform, gaussian_filter

from tomopick.tomogram import Tomogram

__all__ = ["at_spacing", "on_grid"]

TOLERANCE = 0.02  # spacings this close count as one: 10.012 A voxels are used by a model of 10 A as they are


@dataclass(frozen=True)
class _Resampled:
    """Densities of a tomogram between its voxels; index i here is voxel ``i * factor`` there."""

    source: Tomogram
    factor: float

    @property
    def shape(self) -> tuple[int, int, int]:
        z, y, x = (int(np.floor((n - 1) / self.factor)) + 1 for n in self.source.shape)
        return z, y, x

    @property
    def dtype(self) -> Any:
        return np.dtype(np.float32)

    def __getitem__(self, region: tuple[slice, slice, slice]) -> NDArray[np.float32]:
        bounds = [s.indices(n)[:2] for s, n in zip(region, self.shape, strict=True)]
        first = np.array([a for a, _ in bounds]) * self.factor
        shape = tuple(max(b - a, 0) for a, b in bounds)
        margin = int(np.ceil(4 * self.factor)) + 2
        low = np.floor(first).astype(int) - margin
        high = np.ceil(first + np.array(shape) * self.factor).astype(int) + margin
        z0, y0, x0 = (int(v) for v in low)
        z1, y1, x1 = (int(v) for v in high)
        part = self.source.read((z0, y0, x0), (z1, y1, x1))
        if self.factor > 1:
            part = gaussian_filter(part, 0.5 * np.sqrt(self.factor**2 - 1))  # what is finer than the new voxels
        return affine_transform(part, np.full(3, self.factor), offset=first - low, output_shape=shape, order=1)


def at_spacing(tomogram: Tomogram, spacing: float) -> Tomogram:
    """The tomogram at this voxel spacing (A), or itself where it has that spacing within 2 %.

    Coarser voxels are smoothed first; values are interpolated linearly. The first voxel stays where it is, so a
    position in Angstrom is the same in both.
    """
    factor = spacing / tomogram.spacing
    if abs(factor - 1) <= TOLERANCE:
        return tomogram
    return replace(tomogram, array=_Resampled(tomogram, factor), spacing=spacing)


def on_grid(values: NDArray[np.float32], factor: float, counts: tuple[int, int, int]) -> NDArray[np.float32]:
    """Values (z, y, x) of a grid on another of these counts, whose point i sits at index ``i * factor`` of the first.

    Interpolated linearly; beyond the last point its value goes on.
    """
    if factor == 1 and values.shape == counts:
        return values
    found: NDArray[np.float32] = affine_transform(
        values, np.full(3, factor), output_shape=counts, order=1, mode="nearest"
    )
    return found
