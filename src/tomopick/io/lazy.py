"""What the lazily read arrays of all tomogram formats share: region, voxel spacing, errors."""

from __future__ import annotations

import math
import warnings
import zlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from numpy.typing import NDArray

from tomopick.errors import DataError, reason
from tomopick.io.remote import storage_errors

__all__ = ["ReadAhead", "reading", "region_slices", "spacing_of"]

ANISOTROPY = 0.01
"""How far apart the voxel sizes along the axes may be, as a fraction."""

KEPT = 2**25
"""Voxels read ahead that are kept, at most: more than 256 planes, as chunks often have, of 184 x 630."""

Region = tuple[slice, slice, slice]


@contextmanager
def reading(where: object) -> Iterator[None]:
    """Turn what the file libraries raise over a file that cannot be read into a DataError naming it."""
    try:
        yield
    except storage_errors(OSError, EOFError, RuntimeError, ValueError, zlib.error) as error:
        raise DataError(f"cannot read {where}: {reason(error)}") from error


def region_slices(region: Sequence[slice], shape: Sequence[int]) -> tuple[slice, slice, slice]:
    """Three slices within the shape (zyx), `0 <= start <= stop <= size`, of three slices with numpy's meaning.

    Raises:
        IndexError: the region is not three slices, or one of them has a step.
    """
    if len(region) != 3 or not all(isinstance(s, slice) and s.step in (None, 1) for s in region):
        raise IndexError(f"a tomogram is read by three slices (zyx) without steps, not {region!r}")
    bounds = [s.indices(size)[:2] for s, size in zip(region, shape, strict=True)]
    z, y, x = (slice(start, max(start, stop)) for start, stop in bounds)
    return z, y, x


def spacing_of(found: Sequence[float] | None, given: float | None, where: object) -> float:
    """The voxel spacing in Angstrom: the given one, else the one found in the file (zyx), the same on each axis.

    Where the sizes found differ a little, their median counts, so that two axes that agree decide. A spacing found to
    be 1 A is taken with a warning, since programs write it where they know none.

    Raises:
        DataError: the given one is not above 0; or none is given and the file has none, or one that differs between
            the axes by more than 1 %.
    """
    if given is not None:
        if not (math.isfinite(given) and given > 0):
            raise DataError(f"a voxel spacing of {given} A was given for {where}; give one above 0")
        return float(given)
    if found is None or not all(math.isfinite(s) and s > 0 for s in found):
        raise DataError(f"{where} does not say its voxel size; pass --voxel-spacing (Angstrom)")
    low, middle, high = sorted(found)
    if high > (1 + ANISOTROPY) * low:
        sizes = " x ".join(f"{s:.4g}" for s in reversed(found))
        raise DataError(
            f"{where} has voxels of {sizes} A (xyz), which are not cubes; resample it, or pass --voxel-spacing if the "
            "header is wrong"
        )
    if abs(middle - 1) < 1e-4:
        warnings.warn(
            f"{where} says its voxels are 1 A, which is likely not set; pass --voxel-spacing", UserWarning, stacklevel=2
        )
    return float(middle)


class ReadAhead:
    """What was read last of an array in chunks, with what follows in the same chunks.

    A chunk is unpacked, or fetched, as a whole, however little of it is asked for; slabs and planes are thinner than
    chunks. Threads may share it. Copies for other processes begin with nothing.
    """

    def __init__(self) -> None:
        self._kept: tuple[Region, NDArray[Any]] | None = None

    def __reduce__(self) -> tuple[type[ReadAhead], tuple[()]]:
        return ReadAhead, ()

    def read(
        self, region: Region, shape: Sequence[int], chunks: Sequence[int], read: Callable[[Region], NDArray[Any]]
    ) -> NDArray[Any]:
        """The voxels in a region (zyx, within the shape) of an array of this shape in chunks of this one.

        Args:
            region: what is asked for.
            shape: of the array.
            chunks: of one of its chunks.
            read: reads a region from the array.
        """
        kept = self._kept
        if kept is None or not _within(region, kept[0]):
            self._kept = kept = None  # before more is read, so that there are never two
            wide = _ahead(region, shape, chunks, KEPT)
            if wide == region:
                return read(region)
            self._kept = kept = (wide, read(wide))
        place = tuple(slice(s.start - w.start, s.stop - w.start) for s, w in zip(region, kept[0], strict=True))
        return kept[1][place].copy()


def _within(region: Region, block: Region) -> bool:
    return all(b.start <= r.start and r.stop <= b.stop for r, b in zip(region, block, strict=True))


def _ahead(region: Region, shape: Sequence[int], chunks: Sequence[int], most: int) -> Region:
    """The region up to the end of its chunks along the axis on which it is the smallest part of a chunk.

    Where that is more than so many voxels, up to as many.
    """
    lengths = [s.stop - s.start for s in region]
    if not all(lengths):
        return region
    parts = [n / min(size, chunk) for n, size, chunk in zip(lengths, shape, chunks, strict=True)]
    axis = min(range(3), key=parts.__getitem__)
    asked = region[axis]
    end = min(shape[axis], math.ceil(asked.stop / chunks[axis]) * chunks[axis])
    room = most // (math.prod(lengths) // lengths[axis])
    z, y, x = (slice(s.start, max(s.stop, min(end, s.start + room))) if i == axis else s for i, s in enumerate(region))
    return z, y, x
