"""HDF5 files: one 3D dataset, its voxel spacing in an attribute or given."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomopick.errors import DataError
from tomopick.io.lazy import reading, region_slices, spacing_of

__all__ = ["Hdf5Array", "looks_like_hdf5", "open_hdf5"]

SPACING_ATTRIBUTES = {"voxel_spacing": 1.0, "pixel_size": 1.0, "element_size_um": 1e4}
"""Attributes that may hold the voxel size, one number or three (zyx), and how many Angstrom their unit is."""


@dataclass(frozen=True)
class Hdf5Array:
    """A dataset in an HDF5 file, zyx; the file is opened for each region, so it can be pickled and shared.

    Attributes:
        path: the file.
        dataset: the dataset's path in it.
        shape: size in voxels, zyx.
        dtype: type in the file.
    """

    path: Path
    dataset: str
    shape: tuple[int, ...]
    dtype: np.dtype[Any]

    def __getitem__(self, region: Sequence[slice]) -> NDArray[Any]:
        """The voxels in three slices (zyx, no steps)."""
        slices = region_slices(region, self.shape)
        with reading(self.path), _open(self.path) as file:
            return np.asarray(file[self.dataset][slices])


def looks_like_hdf5(path: Path, head: bytes) -> bool:
    """Whether the first bytes of a file are those of HDF5."""
    return head.startswith(b"\x89HDF\r\n\x1a\n")


def open_hdf5(path: Path, voxel_spacing: float | None, dataset: str | None) -> tuple[Hdf5Array, float]:
    """The dataset of this name, or the only 3D one, and its voxel spacing in Angstrom.

    The spacing comes from the attribute `voxel_spacing` or `pixel_size` (Angstrom) or `element_size_um` (micrometre)
    of the dataset or of the file.

    Raises:
        DataError: there is no such dataset, or there are several 3D ones; or no spacing is found and none is given.
    """
    with reading(path), _open(path) as file:
        chosen = file[_choose(path, _volumes(file), dataset)]
        where = f"{path}, dataset {chosen.name}"
        spacing = spacing_of(_attribute_spacing(chosen.attrs, file.attrs), voxel_spacing, where)
        return Hdf5Array(path, chosen.name, tuple(chosen.shape), chosen.dtype), spacing


def _open(path: Path) -> Any:
    import h5py

    # Some cluster file systems refuse locks, which a reader does not need.
    return h5py.File(path, "r", locking=False)


def _volumes(file: Any) -> dict[str, tuple[int, ...]]:
    """Path and shape of the file's 3D datasets."""
    import h5py

    found: dict[str, tuple[int, ...]] = {}

    def note(name: str, item: Any) -> None:
        if isinstance(item, h5py.Dataset) and item.ndim == 3:
            found[name] = tuple(item.shape)

    file.visititems(note)
    return found


def _choose(path: Path, volumes: dict[str, tuple[int, ...]], dataset: str | None) -> str:
    listing = ", ".join(f"{name} {shape}" for name, shape in volumes.items())
    if not volumes:
        raise DataError(f"{path} holds no 3D dataset")
    if dataset is not None:
        if dataset.strip("/") not in volumes:
            raise DataError(f"{path} has no 3D dataset '{dataset}'; it holds {listing}")
        return dataset
    if len(volumes) > 1:
        raise DataError(f"{path} holds several 3D datasets: {listing}; name the one to read")
    return next(iter(volumes))


def _attribute_spacing(own: Any, whole: Any) -> tuple[float, ...] | None:
    """Voxel sizes zyx in Angstrom from the attributes of the dataset, else of the file; None where they say none."""
    for attributes in (own, whole):
        for key, unit in SPACING_ATTRIBUTES.items():
            if key in attributes:
                try:
                    values = np.broadcast_to(np.asarray(attributes[key], dtype=np.float64) * unit, 3)
                except (TypeError, ValueError):
                    return None
                return tuple(values.tolist())
    return None
