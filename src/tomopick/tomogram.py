"""A tomogram: a lazily read zyx array with its voxel spacing and name."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from tomopick.errors import DataError
from tomopick.geometry import reflect_indices

__all__ = ["LazyArray", "Tomogram"]

Triple = tuple[int, int, int]


class LazyArray(Protocol):
    """What a tomogram's array must do: tell its shape and type, and read a region given as three slices."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    @property
    def dtype(self) -> Any: ...

    def __getitem__(self, region: Any, /) -> Any: ...


@dataclass(frozen=True)
class Tomogram:
    """One reconstruction of one run.

    Attributes:
        array: zyx densities; a region is read when it is asked for.
        spacing: voxel spacing in Angstrom, the same along each axis.
        name: the run's name, as in picks tables.
        kind: the reconstruction type ("wbp", "denoised"), empty where files have none.
    """

    array: LazyArray
    spacing: float
    name: str
    kind: str = ""

    def __post_init__(self) -> None:
        if len(self.array.shape) != 3:
            raise DataError(
                f"tomogram '{self.name}' has {len(self.array.shape)} dimensions {tuple(self.array.shape)}; "
                "a tomogram is a 3D volume (zyx)"
            )
        if min(self.array.shape) < 1:
            raise DataError(f"tomogram '{self.name}' is empty: shape {tuple(self.array.shape)}")
        if not (np.isfinite(self.spacing) and self.spacing > 0):
            raise DataError(f"tomogram '{self.name}' has a voxel spacing of {self.spacing} A; give one above 0")

    @property
    def shape(self) -> Triple:
        """Size in voxels, zyx."""
        z, y, x = (int(n) for n in self.array.shape)
        return z, y, x

    def read(self, start: Triple, stop: Triple) -> NDArray[np.float32]:
        """The float32 region ``start <= voxel < stop`` (zyx), mirrored where it reaches beyond the tomogram.

        Only the voxels needed are read from the array.

        Raises:
            DataError: the region holds values that are not finite.
        """
        index = [reflect_indices(a, b, n) for a, b, n in zip(start, stop, self.shape, strict=True)]
        low = [int(i.min()) for i in index]
        high = [int(i.max()) + 1 for i in index]
        part = np.asarray(self.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
        if np.iscomplexobj(part):
            raise DataError(f"tomogram '{self.name}' holds complex values; give a real-space volume")
        part = part.astype(np.float32, copy=False)
        finite = np.isfinite(part)
        if not finite.all():
            at = [int(n) + a for n, a in zip(np.argwhere(~finite)[0], low, strict=True)]
            raise DataError(f"tomogram '{self.name}' holds NaN or infinite values, the first at voxel {at} (zyx)")
        for axis, (i, a, b) in enumerate(zip(index, low, high, strict=True)):
            if len(i) != b - a or i[0] != a or i[-1] != b - 1:
                part = np.take(part, i - a, axis=axis)
        return np.ascontiguousarray(part)

    def __getitem__(self, region: tuple[slice, slice, slice]) -> NDArray[np.float32]:
        """A region as float32, zyx, with the meaning of numpy slices (no mirroring)."""
        return np.asarray(self.array[region]).astype(np.float32, copy=False)
