"""The one place where voxels turn into Angstrom, and array order (zyx) into coordinate order (xyz).

Voxel index ``i`` sits at ``i * spacing`` Angstrom along its axis: the centre of the first voxel is the origin.
Nothing is rounded or truncated here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

__all__ = [
    "angstrom_from_centred",
    "angstrom_from_corner",
    "angstrom_from_dynamo",
    "angstrom_from_imod",
    "angstrom_from_voxel",
    "centred_from_angstrom",
    "corner_from_angstrom",
    "dynamo_from_angstrom",
    "imod_from_angstrom",
    "reflect_indices",
    "voxel_from_angstrom",
    "voxel_from_grid",
]

Floats = NDArray[np.float64]


def _rows_of_three(values: ArrayLike) -> Floats:
    rows = np.asarray(values, dtype=np.float64)
    if rows.size == 0:
        return rows.reshape(0, 3)
    if rows.shape[-1] != 3:
        raise ValueError(f"coordinates need three columns, not shape {rows.shape}")
    return rows


def voxel_from_angstrom(xyz_angstrom: ArrayLike, spacing: float) -> Floats:
    """Fractional voxel indices, zyx, of coordinates (..., 3), xyz in Angstrom."""
    return _rows_of_three(xyz_angstrom)[..., ::-1] / spacing


def angstrom_from_voxel(zyx_voxel: ArrayLike, spacing: float) -> Floats:
    """Coordinates, xyz in Angstrom, of (fractional) voxel indices (..., 3), zyx."""
    return _rows_of_three(zyx_voxel)[..., ::-1] * spacing


def corner_from_angstrom(xyz_angstrom: ArrayLike, spacing: float) -> Floats:
    """neuroglancer's coordinates, xyz in voxels, which count from the corner of the first voxel, not its centre."""
    return _rows_of_three(xyz_angstrom) / spacing + 0.5


def angstrom_from_corner(xyz_voxel: ArrayLike, spacing: float) -> Floats:
    """The inverse of `corner_from_angstrom`."""
    return (_rows_of_three(xyz_voxel) - 0.5) * spacing


IMOD_ORIGIN = np.array([0.5, 0.5, 0.0])
"""Where IMOD has the centre of the first voxel, xyz in voxels: it counts x and y from the corner, z from the middle."""


def imod_from_angstrom(xyz_angstrom: ArrayLike, spacing: float) -> Floats:
    """IMOD's model coordinates, xyz in voxels."""
    model: Floats = _rows_of_three(xyz_angstrom) / spacing + IMOD_ORIGIN
    return model


def angstrom_from_imod(xyz_model: ArrayLike, spacing: float) -> Floats:
    """The inverse of `imod_from_angstrom`."""
    xyz: Floats = (_rows_of_three(xyz_model) - IMOD_ORIGIN) * spacing
    return xyz


def dynamo_from_angstrom(xyz_angstrom: ArrayLike, spacing: ArrayLike) -> Floats:
    """Dynamo's coordinates (n, 3), xyz in voxels, which count from 1, of spacings for all or each (n,)."""
    pixel: Floats = _rows_of_three(xyz_angstrom) / np.asarray(spacing, dtype=np.float64)[..., None] + 1
    return pixel


def angstrom_from_dynamo(xyz_pixel: ArrayLike, spacing: ArrayLike) -> Floats:
    """The inverse of `dynamo_from_angstrom`."""
    xyz: Floats = (_rows_of_three(xyz_pixel) - 1) * np.asarray(spacing, dtype=np.float64)[..., None]
    return xyz


def voxel_from_grid(index_zyx: ArrayLike, stride: int, offset: tuple[float, float, float]) -> Floats:
    """Voxel indices, zyx, of (fractional) indices into a score map of this stride and offset (voxels, zyx)."""
    return _rows_of_three(index_zyx) * stride + np.asarray(offset, dtype=np.float64)


def centred_from_angstrom(xyz_angstrom: ArrayLike, size_xyz: ArrayLike, unbinned_spacing: float) -> Floats:
    """RELION 5's centred coordinates (xyz, Angstrom) of coordinates counted from the first voxel.

    RELION 5 counts from half the tomogram's size, the size given in unbinned tilt-series pixels
    (``rlnTomoSizeX/Y/Z``) of ``unbinned_spacing`` Angstrom (``rlnTomoTiltSeriesPixelSize``). So in 631 pixels of
    10 A, x = 3160 A is 5 A centred.
    """
    return _rows_of_three(xyz_angstrom) - np.asarray(size_xyz, dtype=np.float64) / 2 * unbinned_spacing


def angstrom_from_centred(xyz_centred: ArrayLike, size_xyz: ArrayLike, unbinned_spacing: float) -> Floats:
    """The inverse of `centred_from_angstrom`."""
    return _rows_of_three(xyz_centred) + np.asarray(size_xyz, dtype=np.float64) / 2 * unbinned_spacing


def reflect_indices(start: int, stop: int, size: int) -> NDArray[np.int64]:
    """Indices ``start..stop-1`` folded into ``0..size-1`` by mirroring at the first and last voxel.

    The mirror voxel itself is not repeated (index -1 is voxel 1), and folding goes on as often as needed, so that a
    region larger than the tomogram is filled as well.
    """
    index = np.arange(start, stop, dtype=np.int64)
    if size == 1:
        return np.zeros_like(index)
    period = 2 * (size - 1)
    index = np.mod(index, period)
    return np.where(index >= size, period - index, index)
