"""MRC, REC and MAP files: the header by mrcfile, the densities read region by region."""

from __future__ import annotations

import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from tomopick.atomic import replacing
from tomopick.errors import DataError
from tomopick.io.lazy import reading, region_slices, spacing_of

__all__ = ["MrcArray", "looks_like_mrc", "open_mrc", "stacking", "write_mrc"]

HEADER_BYTES = 1024
IMOD_STAMP = 1146047817
"""Says that IMOD's flags follow (bio3d.colorado.edu/imod/doc/mrc_format.txt); their bit 1: bytes are signed."""


@dataclass(frozen=True)
class MrcArray:
    """The densities of an MRC file, zyx; each region is read from the file when asked for, and nothing is kept.

    It holds no open file, so it can be pickled and shared with worker processes. A memory map would do the same, but
    the pages it has touched count as the process's memory.

    Attributes:
        path: the file.
        shape: size in voxels, zyx.
        dtype: type and byte order in the file.
        offset: where the densities begin in the file, in bytes.
    """

    path: Path
    shape: tuple[int, int, int]
    dtype: np.dtype[Any]
    offset: int

    def __getitem__(self, region: Sequence[slice]) -> NDArray[Any]:
        """The voxels in three slices (zyx, no steps), in the machine's byte order.

        Raises:
            DataError: the file is gone or has become shorter.
        """
        z, y, x = region_slices(region, self.shape)
        _, ny, nx = self.shape
        rows = y.stop - y.start
        part = np.empty((z.stop - z.start, rows, x.stop - x.start), self.dtype.newbyteorder("="))
        with reading(self.path), self.path.open("rb", buffering=0) as file:
            for plane in range(len(part)):
                file.seek(self.offset + ((z.start + plane) * ny + y.start) * nx * self.dtype.itemsize)
                values = np.fromfile(file, self.dtype, rows * nx)
                if values.size < rows * nx:
                    raise DataError(f"{self.path} has become shorter since it was opened; copy it again")
                part[plane] = values.reshape(rows, nx)[:, x]
        return part


def looks_like_mrc(path: Path, head: bytes) -> bool:
    """Whether the first bytes of a file carry the mark of an MRC file."""
    return head[208:211] == b"MAP"


def open_mrc(path: Path, voxel_spacing: float | None, dataset: str | None) -> tuple[MrcArray, float]:
    """The densities and voxel spacing (Angstrom) of an MRC file.

    Modes 0 (signed bytes, unsigned where IMOD's flags say so), 1, 2, 6 and 12 in either byte order, with or without
    an extended header. Files written before the "MAP" mark are read as well.

    Raises:
        DataError: the file is no MRC volume, is truncated, holds complex values or several volumes, has axes in
            another order, or has no voxel size and none is given.
    """
    if dataset is not None:
        raise DataError(f"{path} is an MRC file, which holds one volume; leave out the dataset name '{dataset}'")
    size = path.stat().st_size
    header = _header(path, size)
    shape = (int(header.nz), int(header.ny), int(header.nx))
    dtype = _dtype(header, path)
    _check(header, shape, path)
    array = MrcArray(path, shape, dtype, HEADER_BYTES + int(header.nsymbt))
    expected = array.offset + math.prod(shape) * dtype.itemsize
    if size < expected:
        raise DataError(f"{path} is truncated: its header announces {expected} bytes, it has {size}; copy it again")
    return array, spacing_of(_header_spacing(header), voxel_spacing, path)


def write_mrc(path: str | Path, array_zyx: ArrayLike, spacing: float) -> None:
    """Write a volume (zyx) as float32 with its voxel spacing in Angstrom; an old file is replaced when all is written.

    Raises:
        DataError: the array is not a 3D volume of numbers, the spacing is not above 0, or the file cannot be written.
    """
    import mrcfile

    volume = np.asarray(array_zyx)
    if volume.ndim != 3 or volume.size == 0 or volume.dtype.kind not in "biuf":
        raise DataError(f"cannot write {path}: an MRC volume needs three axes of real numbers, not {volume.shape}")
    spacing = spacing_of(None, spacing, path)
    with replacing(path) as temporary, mrcfile.new(temporary) as file:
        file.set_data(np.ascontiguousarray(volume, dtype=np.float32))
        file.voxel_size = spacing


@contextmanager
def stacking(path: Path, count: int, edge: int, spacing: float) -> Iterator[Any]:
    """A stack of so many cubes of float32 to be filled one by one; the file is there, whole, when the block ends well.

    It is an MRC volume stack (space group 401), in RELION's words a 3D stack of subtomograms.

    Raises:
        DataError: the file cannot be written.
    """
    import mrcfile

    with replacing(path) as temporary, mrcfile.new_mmap(temporary, (count, edge, edge, edge), mrc_mode=2) as file:
        file.voxel_size = spacing
        yield file.data


def _header(path: Path, size: int) -> Any:
    """The header as mrcfile reads it, in the file's byte order; oddities that are checked below go without warning."""
    import mrcfile

    if size < HEADER_BYTES:
        raise DataError(f"{path} is not an MRC file: it has {size} bytes, and the header alone takes {HEADER_BYTES}")
    with path.open("rb") as file:
        nsymbt = file.read(HEADER_BYTES)[92:96]
    # mrcfile sets the extended header's room aside before it finds that the file is shorter.
    extended = min(int.from_bytes(nsymbt, "little"), int.from_bytes(nsymbt, "big"))
    if extended > size:
        raise DataError(f"{path} is not an MRC file, or truncated: an extended header of {extended} bytes in {size}")
    with warnings.catch_warnings(), reading(path):
        warnings.simplefilter("ignore", RuntimeWarning)
        with mrcfile.open(path, permissive=True, header_only=True) as file:
            return file.header


def _check(header: Any, shape: tuple[int, int, int], path: Path) -> None:
    from mrcfile.utils import spacegroup_is_volume_stack

    if min(shape) < 1:
        raise DataError(f"{path} is not an MRC file: its header has a size of {shape} voxels (zyx)")
    order = (int(header.mapc), int(header.mapr), int(header.maps))
    if order != (1, 2, 3):
        raise DataError(
            f"{path} has its axes in the order {order}, not (1, 2, 3); rewrite it with x fastest, z slowest"
        )
    if spacegroup_is_volume_stack(int(header.ispg)) and 1 < int(header.mz) < shape[0]:
        raise DataError(f"{path} is a stack of volumes ({shape[0]} planes, {int(header.mz)} in each); give one volume")


def _dtype(header: Any, path: Path) -> np.dtype[Any]:
    """The type of the densities in the file."""
    from mrcfile.utils import data_dtype_from_header

    mode = int(header.mode)
    if mode in (3, 4):
        raise DataError(f"{path} holds complex values (MRC mode {mode}); give a real-space volume")
    try:
        dtype: np.dtype[Any] = np.dtype(data_dtype_from_header(header))
    except ValueError as error:
        if bytes(header.map)[:3] != b"MAP":
            raise DataError(f"{path} is not an MRC file: it has no MRC header") from error
        raise DataError(f"{path} has MRC mode {mode}; modes 0, 1, 2, 6 and 12 can be read") from error
    if mode == 0:
        order = header.mode.dtype.byteorder
        stamp, flags = np.frombuffer(header.extra2.tobytes(), np.dtype(np.int32).newbyteorder(order))[10:12]
        if stamp == IMOD_STAMP and not flags & 1:
            return np.dtype(np.uint8)
    return dtype


def _header_spacing(header: Any) -> tuple[float, float, float]:
    """Voxel sizes zyx in Angstrom, NaN where the header has none."""
    x = _voxel_size(float(header.cella.x), int(header.mx))
    y = _voxel_size(float(header.cella.y), int(header.my))
    # Stacks have mz = 1, and some programs give them the cell of all planes none the less.
    along_z = [_voxel_size(float(header.cella.z), int(n)) for n in (header.mz, header.nz)]
    z = min(along_z, key=lambda size: abs(size - x)) if along_z[0] > 0 else math.nan
    return z, y, x


def _voxel_size(cell: float, count: int) -> float:
    """Cell length over voxels as the shortest number that gives the same float32 cell: 10.012, not 10.0120001."""
    if not (count > 0 and math.isfinite(cell) and cell > 0):
        return math.nan
    size = cell / count
    shorter = (float(f"{size:.{digits}g}") for digits in range(1, 9))
    return next((s for s in shorter if np.float32(s * count) == np.float32(cell)), size)
