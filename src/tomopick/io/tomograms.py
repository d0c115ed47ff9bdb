"""Read a tomogram from a file of any format known here."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tomopick.errors import DataError
from tomopick.io.hdf5 import looks_like_hdf5, open_hdf5
from tomopick.io.lazy import reading
from tomopick.io.mrc import looks_like_mrc, open_mrc, write_mrc
from tomopick.io.omezarr import looks_like_zarr, open_zarr
from tomopick.tomogram import LazyArray, Tomogram

__all__ = ["read_tomogram", "tomogram_files", "write_mrc"]


@dataclass(frozen=True)
class _Format:
    """A file format: its file endings, whether a path and its first bytes are of it, and how to open one."""

    endings: tuple[str, ...]
    holds: Callable[[Path, bytes], bool]
    open: Callable[[Path, float | None, str | None], tuple[LazyArray, float]]


_FORMATS = (
    _Format((".mrc", ".rec", ".map"), looks_like_mrc, open_mrc),
    _Format((".ome.zarr", ".zarr"), looks_like_zarr, open_zarr),
    _Format((".h5", ".hdf5"), looks_like_hdf5, open_hdf5),
)
_ENDINGS = tuple(ending for known in _FORMATS for ending in known.endings)
_COMPRESSED = {b"\x1f\x8b": "gunzip", b"BZh": "bunzip2", b"\xfd7zXZ": "unxz"}


def read_tomogram(path: str | Path, voxel_spacing: float | None = None, dataset: str | None = None) -> Tomogram:
    """Open a tomogram; its densities are read region by region when they are asked for.

    The format (MRC, OME-Zarr or HDF5) is told by the content, else by the file ending. The tomogram is named after the
    file, without the ending. It can be pickled and read in worker processes.

    Args:
        path: a file, or the folder of a zarr volume.
        voxel_spacing: Angstrom; overrides what the file says, and picks the level of an OME-Zarr file.
        dataset: path of the dataset in an HDF5 file, or of the group or array in a zarr store.

    Raises:
        DataError: the file cannot be read, is of no known format, is damaged, holds no real 3D volume, or does not say
            its voxel spacing where none is given.

    Warns:
        UserWarning: the file says 1 A, which programs write where they know no voxel size.
    """
    path = Path(path)
    with reading(path):
        array, spacing = _format_of(path).open(path.absolute(), voxel_spacing, dataset)
    if array.dtype.kind not in "biuf":
        raise DataError(f"{path} holds values of type {array.dtype}; a tomogram holds real numbers")
    if array.shape[0] == 1:
        raise DataError(f"{path} is a 2D image of {array.shape[1]} x {array.shape[2]} (yx); give a 3D tomogram")
    return Tomogram(array, spacing, name=_name(path))


def tomogram_files(folder: str | Path) -> list[Path]:
    """The tomograms that a folder holds (not its subfolders), known by their endings, sorted by name.

    Raises:
        DataError: the folder cannot be read, or holds none.
    """
    with reading(folder):
        files = sorted(p for p in Path(folder).iterdir() if _ending(p) and not p.name.startswith("."))
    if not files:
        raise DataError(f"{folder} holds no tomograms; their names end in {', '.join(_ENDINGS)}")
    return files


def _ending(path: Path) -> str:
    """The known ending of a name as it is written there, empty where there is none."""
    found = next((e for e in _ENDINGS if path.name.lower().endswith(e)), "")
    return path.name[len(path.name) - len(found) :]


def _name(path: Path) -> str:
    path = path.absolute()
    return path.name.removesuffix(_ending(path))


def _format_of(path: Path) -> _Format:
    head = b""
    if not path.is_dir():
        with path.open("rb") as file:
            head = file.read(1024)
        if not head:
            raise DataError(f"{path} is empty (0 bytes)")
        for mark, program in _COMPRESSED.items():
            if head.startswith(mark):
                raise DataError(f"{path} is compressed; unpack it first ({program})")
    for known in _FORMATS:
        if known.holds(path, head):
            return known
    for known in _FORMATS:
        if _ending(path).lower() in known.endings:
            return known
    what = "a folder without zarr metadata" if path.is_dir() else "neither MRC nor HDF5"
    raise DataError(f"{path} is not a tomogram: {what}; known endings: {', '.join(_ENDINGS)}")
