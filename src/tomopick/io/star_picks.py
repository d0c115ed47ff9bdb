"""Picks as RELION STAR files: pixel coordinates, and RELION 5's centred Angstrom.

Pixels count from the centre of the first voxel, as in RELION and Warp; nothing is shifted by one.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path, PurePosixPath

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tomopick.errors import DataError
from tomopick.geometry import angstrom_from_centred, angstrom_from_voxel, centred_from_angstrom, voxel_from_angstrom
from tomopick.io.orientation import euler_from_rotation, rotation_from_euler
from tomopick.io.star import (
    OBJECT_COLUMN,
    SIZE_COLUMNS,
    TomogramSize,
    read_blocks,
    sizes_in,
    sizes_within,
    write_blocks,
)
from tomopick.picks import EULER, Picks

__all__ = ["read_star", "write_star"]

PIXELS = ["rlnCoordinateX", "rlnCoordinateY", "rlnCoordinateZ"]
CENTRED = ["rlnCenteredCoordinateXAngst", "rlnCenteredCoordinateYAngst", "rlnCenteredCoordinateZAngst"]
ORIGIN = ["rlnOriginXAngst", "rlnOriginYAngst", "rlnOriginZAngst"]
ANGLES = ["rlnAngleRot", "rlnAngleTilt", "rlnAnglePsi"]
FRAME_ANGLES = ["rlnTomoSubtomogramRot", "rlnTomoSubtomogramTilt", "rlnTomoSubtomogramPsi"]
SCORE = "rlnAutopickFigureOfMerit"
PIXEL_SIZES = ("rlnTomoTiltSeriesPixelSize", "rlnPixelSize", "rlnDetectorPixelSize", "rlnImagePixelSize")
FILE_ENDINGS = (".tomostar", ".mrc", ".rec", ".map", ".st")

Floats = NDArray[np.float64]


def read_star(
    path: Path,
    *,
    spacing: float | None = None,
    tomogram_sizes: Mapping[str, TomogramSize] | None = None,
    object_name: str | None = None,
) -> Picks:
    """Picks of a STAR file, with RELION's refined shifts and angles applied where it has them.

    Args:
        path: the file; a tomograms.star beside it gives the sizes that centred coordinates need.
        spacing: Angstrom of a pixel of rlnCoordinateX/Y/Z, where the file does not say (by tilt-series, image,
            detector or plain pixel size, in its table or among its optics).
        tomogram_sizes: by run, for rlnCenteredCoordinateX/Y/ZAngst; before what the file or a tomograms.star says.
        object_name: the name of all picks, where the file has no tomopickObject column. Without it, the class
            numbers are the names.

    Raises:
        DataError: the file cannot be read, or lacks what turns its coordinates into Angstrom.
    """
    blocks = read_blocks(path)
    table = _particles(blocks, path)
    runs = _runs(table, path)
    if set(CENTRED) <= set(table.columns):
        xyz = _from_centred(table, runs, _sizes(table, runs, path, tomogram_sizes), path)
    else:
        pixel = _pixel_sizes(table, blocks.get("optics"), path, spacing)
        xyz = angstrom_from_voxel(_numbers(table, PIXELS, path)[:, ::-1], 1.0) * pixel[:, None]
    frame = rotation_from_euler(_numbers(table, FRAME_ANGLES, path)) if FRAME_ANGLES[0] in table.columns else None
    if ORIGIN[0] in table.columns:
        shift = _numbers(table, ORIGIN, path)
        xyz = xyz - (shift if frame is None else np.einsum("nij,nj->ni", frame, shift))
    columns = pd.DataFrame(xyz, columns=["x", "y", "z"])
    columns = columns.assign(run=runs, object=_objects(table, path, object_name))
    if SCORE in table.columns:
        columns["score"] = _numbers(table, [SCORE], path)[:, 0]
    angles = _angles(table, frame, path)
    if angles is not None:
        columns[list(EULER)] = angles
    return Picks(columns)


def write_star(
    path: Path,
    picks: Picks,
    *,
    spacing: float | None = None,
    tomogram_sizes: Mapping[str, TomogramSize] | None = None,
) -> None:
    """Write picks as RELION 5's centred coordinates where `tomogram_sizes` are given, else in pixels of `spacing`.

    The sizes, or the pixel size, stand in the table as well, so that the file can be read by itself. The object's
    name is in tomopickObject, its number among the sorted names in rlnClassNumber.

    Raises:
        DataError: neither is given, a run's size is missing, or the file cannot be written.
    """
    if tomogram_sizes is not None:
        out = _centred_table(picks, tomogram_sizes, path)
    elif spacing is not None:
        out = pd.DataFrame(voxel_from_angstrom(picks.xyz(), spacing)[:, ::-1], columns=PIXELS)
        out = out.assign(rlnPixelSize=float(spacing))
    else:
        raise DataError(
            f"cannot write {path}: STAR coordinates need the tomograms' sizes or a pixel size; pass --voxel-spacing"
        )
    out.insert(0, "rlnTomoName", picks.table["run"])
    if picks.has_angles:
        out[ANGLES] = picks.euler()
    out[SCORE] = picks.scores()
    numbers = {name: i + 1 for i, name in enumerate(picks.objects)}
    out["rlnClassNumber"] = [numbers[name] for name in picks.table["object"]]
    out[OBJECT_COLUMN] = picks.table["object"]
    write_blocks(path, {"particles": out})


def _centred_table(picks: Picks, sizes: Mapping[str, TomogramSize], path: Path) -> pd.DataFrame:
    centred = np.zeros((len(picks), 3))
    columns = np.zeros((len(picks), 4))
    for run in picks.runs:
        if run not in sizes:
            raise DataError(f"cannot write {path}: the size of tomogram '{run}' is not known")
        rows = (picks.table["run"] == run).to_numpy()
        centred[rows] = centred_from_angstrom(picks.xyz()[rows], sizes[run].xyz, sizes[run].pixel_size)
        columns[rows] = (*sizes[run].xyz, sizes[run].pixel_size)
    return pd.DataFrame(np.hstack([centred, columns]), columns=[*CENTRED, *SIZE_COLUMNS])


def _particles(blocks: Mapping[str, pd.DataFrame], path: Path) -> pd.DataFrame:
    for table in blocks.values():
        if set(CENTRED) <= set(table.columns) or set(PIXELS) <= set(table.columns):
            return table
    raise DataError(f"{path} holds no picks: no table with {', '.join(PIXELS)} or {', '.join(CENTRED)}")


def _runs(table: pd.DataFrame, path: Path) -> list[str]:
    if "rlnTomoName" in table.columns:
        return [str(name) for name in table["rlnTomoName"]]
    if "rlnMicrographName" not in table.columns:
        raise DataError(f"{path} has neither rlnTomoName nor rlnMicrographName to say which tomogram a pick is in")
    names = [PurePosixPath(str(name)).name for name in table["rlnMicrographName"]]
    return [next((n.removesuffix(e) for e in FILE_ENDINGS if n.endswith(e)), n) for n in names]


def _objects(table: pd.DataFrame, path: Path, object_name: str | None) -> list[str]:
    if OBJECT_COLUMN in table.columns:
        return [str(name) for name in table[OBJECT_COLUMN]]
    if object_name is not None:
        return [object_name] * len(table)
    if "rlnClassNumber" in table.columns:
        return [f"{int(number)}" for number in _numbers(table, ["rlnClassNumber"], path)[:, 0]]
    raise DataError(f"{path} does not say which object its picks are; name it")


def _angles(table: pd.DataFrame, frame: Floats | None, path: Path) -> Floats | None:
    if ANGLES[0] not in table.columns:
        return None if frame is None else euler_from_rotation(frame)
    angles = _numbers(table, ANGLES, path)
    return angles if frame is None else euler_from_rotation(frame @ rotation_from_euler(angles))


def _from_centred(table: pd.DataFrame, runs: list[str], sizes: Mapping[str, TomogramSize], path: Path) -> Floats:
    centred = _numbers(table, CENTRED, path)
    xyz = np.zeros_like(centred)
    for run in set(runs):
        rows = np.array([r == run for r in runs])
        xyz[rows] = angstrom_from_centred(centred[rows], sizes[run].xyz, sizes[run].pixel_size)
    return xyz


def _sizes(
    table: pd.DataFrame, runs: list[str], path: Path, given: Mapping[str, TomogramSize] | None
) -> Mapping[str, TomogramSize]:
    sizes = {**sizes_in(table), **(given or {})}
    beside = path.with_name("tomograms.star")
    if set(runs) - set(sizes) and beside.is_file():
        sizes = {**sizes_within(beside), **sizes}
    missing = sorted(set(runs) - set(sizes))
    if missing:
        known = f" (of {', '.join(sorted(sizes))} it is: are they called the same?)" if sizes else ""
        raise DataError(
            f"{path} has RELION 5 coordinates, counted from the tomogram's middle, but the size of "
            f"{', '.join(missing)} is not known{known}; put RELION's tomograms.star beside it, or take the sizes of "
            "your tomograms: `tomopick convert` with --tomograms"
        )
    return sizes


def _pixel_sizes(table: pd.DataFrame, optics: pd.DataFrame | None, path: Path, spacing: float | None) -> Floats:
    """Angstrom of a coordinate's pixel, for each pick.

    RELION counts in unbinned tilt-series pixels even where images are binned, so that size comes first.
    """
    if optics is not None and "rlnOpticsGroup" in table.columns and "rlnOpticsGroup" in optics.columns:
        new = [c for c in optics.columns if c == "rlnOpticsGroup" or c not in table.columns]
        table = table.merge(optics[new].drop_duplicates("rlnOpticsGroup"), on="rlnOpticsGroup", how="left")
    elif optics is not None and len(optics) == 1:
        table = table.assign(**{str(c): optics[c].iloc[0] for c in optics.columns if c not in table.columns})
    for column in PIXEL_SIZES:
        if column not in table.columns:
            continue
        size = _numbers(table, [column], path)[:, 0]
        if column == "rlnDetectorPixelSize" and "rlnMagnification" in table.columns:
            size = size * 1e4 / _numbers(table, ["rlnMagnification"], path)[:, 0]  # micrometres on the detector
        if (size > 0).all():
            return size
    if spacing is None:
        raise DataError(
            f"{path} does not say how large a pixel of its coordinates is; pass --voxel-spacing, which "
            "`tomopick convert` has"
        )
    return np.full(len(table), float(spacing))


def _numbers(table: pd.DataFrame, columns: list[str], path: Path) -> Floats:
    """Columns as numbers (n, columns)."""
    missing = [c for c in columns if c not in table.columns]
    if missing:
        raise DataError(f"{path} has no column {', '.join(missing)}")
    values = np.stack([pd.to_numeric(table[c], errors="coerce").to_numpy(np.float64) for c in columns], axis=1)
    bad = np.argwhere(~np.isfinite(values))
    if len(bad):
        row, column = bad[0]
        found = table[columns[column]].iloc[row]
        raise DataError(f"{path}, row {row + 1}: {columns[column]} is '{found}', not a finite number")
    return values
