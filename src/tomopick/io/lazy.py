"""What the lazily read arrays of all tomogram formats share: region, voxel spacing, errors."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tomopick.errors import DataError, reason
from tomopick.io.remote import storage_errors

__all__ = ["reading", "region_slices", "spacing_of"]

ANISOTROPY = 0.01
"""How far apart the voxel sizes along the axes may be, as a fraction."""


@contextmanager
def reading(where: object) -> Iterator[None]:
    """Turn what the file libraries raise over a file that cannot be read into a DataError naming it."""
    try:
        yield
    except storage_errors(OSError, RuntimeError, ValueError) as error:
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
