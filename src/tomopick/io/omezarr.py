"""OME-Zarr volumes (and plain zarr arrays): choose the level by its voxel spacing."""

from __future__ import annotations

import math
from collections.abc import Mapping, MutableMapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomopick.errors import DataError
from tomopick.io.lazy import ReadAhead, Region, reading, region_slices, spacing_of

__all__ = ["Level", "ZarrArray", "looks_like_zarr", "open_zarr", "open_zarr_store"]

UNITS = {"angstrom": 1.0, "picometer": 1e-2, "nanometer": 10.0, "micrometer": 1e4, "millimeter": 1e7, "meter": 1e10}
"""Angstrom in each length unit of OME-NGFF that a tomogram may have; the specification asks for these names."""

LEVEL_TOLERANCE = 0.05
"""How far the level's voxel spacing may be from the one asked for, as a fraction."""

MARKS = (".zgroup", ".zarray", "zarr.json")


@dataclass(frozen=True)
class ZarrArray:
    """A zarr array as a volume, zyx; a region is read when asked for, with what follows in its chunks (`ReadAhead`).

    Attributes:
        array: the zarr array: zyx, perhaps after axes of length 1 (time, channel).
        where: what to call it in messages.
    """

    array: Any
    where: str
    _ahead: ReadAhead = field(default_factory=ReadAhead, init=False, repr=False, compare=False)

    @property
    def shape(self) -> tuple[int, ...]:
        """Size in voxels, zyx."""
        return tuple(self.array.shape[-3:])

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type in the store."""
        dtype: np.dtype[Any] = np.dtype(self.array.dtype)
        return dtype

    def __getitem__(self, region: Sequence[slice]) -> NDArray[Any]:
        """The voxels in three slices (zyx, no steps)."""
        slices = region_slices(region, self.shape)
        with reading(self.where):
            return self._ahead.read(slices, self.shape, self.array.chunks[-3:], self._read)

    def _read(self, region: Region) -> NDArray[Any]:
        return np.asarray(self.array[(*(0,) * (self.array.ndim - 3), *region)])


@dataclass(frozen=True)
class Level:
    """One resolution in a multiscale group: its path, and its voxel sizes (zyx, Angstrom) if it says them."""

    path: str
    spacing: tuple[float, ...] | None


def looks_like_zarr(path: Path, head: bytes) -> bool:
    """Whether this is a folder with zarr metadata."""
    return any((path / mark).is_file() for mark in MARKS)


def open_zarr(path: Path, voxel_spacing: float | None, dataset: str | None) -> tuple[ZarrArray, float]:
    """As `open_zarr_store`, for a folder.

    Raises:
        DataError: the folder is not zarr or cannot be read, or `open_zarr_store` raises.
    """
    if not looks_like_zarr(path, b""):
        raise DataError(f"{path} is not zarr: it has no {', '.join(MARKS[:-1])} or {MARKS[-1]}")
    if not (path / "zarr.json").is_file():
        return open_zarr_store(str(path), str(path), voxel_spacing, dataset)
    import zarr

    if int(zarr.__version__.split(".")[0]) < 3:
        raise DataError(f"{path} is zarr version 3, the installed zarr is {zarr.__version__}; install zarr 3")
    return open_zarr_store(str(path), str(path), voxel_spacing, dataset)


def open_zarr_store(
    store: str | MutableMapping[str, bytes], where: str, voxel_spacing: float | None, dataset: str | None = None
) -> tuple[ZarrArray, float]:
    """The array and voxel spacing (Angstrom) of a zarr store, such as copick gives.

    In an OME-Zarr group the level is the one whose voxel spacing is nearest to the one given, at most 5 % off, or the
    finest if none is given. The spacing given is the one returned, since it overrides what a file says.

    Args:
        store: a folder or a zarr store.
        where: what to call it in messages.
        voxel_spacing: Angstrom; needed for an array without OME-NGFF metadata.
        dataset: path of a group or array in the store.

    Raises:
        DataError: there is no such array or level (the message lists those there are), or no voxel spacing.
    """
    import zarr

    with reading(where):
        node = zarr.open(store, mode="r")
        if dataset is not None:
            node = _member(node, dataset, where)
        if isinstance(node, zarr.Array):
            return _volume(node, where), spacing_of(None, voxel_spacing, where)
        levels = _levels(node.attrs.asdict(), where)
        if not levels:
            arrays = dict(node.arrays())
            if len(arrays) != 1:
                raise DataError(f"{where} has no OME-Zarr levels and {len(arrays)} arrays; {_listing(node)}")
            return _volume(next(iter(arrays.values())), where), spacing_of(None, voxel_spacing, where)
        level = _choose(levels, voxel_spacing, where)
        array = _volume(_member(node, level.path, where), where)
        return array, spacing_of(level.spacing, voxel_spacing, where)


def _member(group: Any, path: str, where: str) -> Any:
    try:
        return group[path]
    except (KeyError, IndexError) as error:
        raise DataError(f"{where} has no array or group '{path}'; {_listing(group)}") from error


def _listing(group: Any) -> str:
    names = sorted(group) if hasattr(group, "arrays") else []
    return f"it holds {', '.join(names) or 'nothing'}; name the one to read"


def _volume(array: Any, where: str) -> ZarrArray:
    shape = tuple(array.shape)
    if len(shape) < 3 or math.prod(shape[:-3]) != 1:
        raise DataError(f"{where} holds an array of shape {shape}; a tomogram is one 3D volume (zyx)")
    return ZarrArray(array, where)


def _levels(attributes: Mapping[str, Any], where: str) -> list[Level]:
    """The levels of a group with OME-NGFF metadata, with voxel sizes where scale and units are known, else none.

    Source: OME-NGFF 0.4 and 0.5, "multiscales" metadata: a level's scale is followed by the group's.
    """
    try:
        multiscales = attributes.get("ome", attributes).get("multiscales")
        if multiscales is None:
            return []
        multiscale = multiscales[0]
        axes = [a if isinstance(a, dict) else {"name": a} for a in multiscale.get("axes", ["z", "y", "x"])]
        names = [a["name"] for a in axes]
        if names[-3:] != ["z", "y", "x"]:
            raise DataError(f"{where} has the axes {', '.join(names)}; a tomogram ends in z, y, x")
        units = [UNITS.get(a.get("unit", "angstrom"), math.nan) for a in axes[-3:]]
        whole = _scale(multiscale.get("coordinateTransformations", []))
        levels = []
        for entry in multiscale["datasets"]:
            scale = _scale(entry.get("coordinateTransformations", []))
            sizes = None if scale is None else [s * u for s, u in zip(scale, units, strict=True)]
            if sizes and whole:
                sizes = [a * b for a, b in zip(sizes, whole, strict=True)]
            known = sizes is not None and all(math.isfinite(s) and s > 0 for s in sizes)
            levels.append(Level(str(entry["path"]), tuple(sizes) if sizes and known else None))
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise DataError(f"{where} has OME-Zarr metadata that cannot be understood ({error!r})") from error
    if not levels:
        raise DataError(f"{where} has OME-Zarr metadata without any level")
    return levels


def _scale(transformations: Sequence[Mapping[str, Any]]) -> list[float] | None:
    """The scale of the last three axes (zyx), None where there is none."""
    for transformation in transformations:
        if transformation["type"] == "scale":
            return [float(s) for s in transformation["scale"][-3:]]
    return None


def _choose(levels: Sequence[Level], voxel_spacing: float | None, where: str) -> Level:
    """The level nearest to the spacing, the finest without one, the first where no level says its spacing."""
    known = [(float(np.median(level.spacing)), level) for level in levels if level.spacing is not None]
    if not known:
        return levels[0]
    if voxel_spacing is None:
        return min(known, key=lambda pair: pair[0])[1]
    spacing, level = min(known, key=lambda pair: abs(pair[0] - voxel_spacing))
    if not abs(spacing - voxel_spacing) <= LEVEL_TOLERANCE * voxel_spacing:
        there = ", ".join(f"{s:g}" for s, _ in known)
        raise DataError(f"{where} has no level of {voxel_spacing:g} A; there are {there} A")
    return level
