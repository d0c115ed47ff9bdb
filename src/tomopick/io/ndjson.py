"""Picks as the CryoET Data Portal's annotation points: one JSON object to a line."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from tomopick.atomic import replacing
from tomopick.errors import DataError, reason
from tomopick.geometry import angstrom_from_voxel, voxel_from_angstrom
from tomopick.io.orientation import euler_from_rotation, rotation_from_euler
from tomopick.picks import Picks

__all__ = ["read_ndjson", "write_ndjson"]

EXTRA = ("object", "score")
"""What the portal keeps elsewhere: a line of ours holds it, too, and other readers pass it over."""


def write_ndjson(path: Path, picks: Picks, spacing: float) -> None:
    """Write the picks of one tomogram, in voxels from the centre of the first; with angles, as oriented points.

    Args:
        path: the file.
        picks: of one run, whose name is not kept.
        spacing: the tomogram's voxel spacing in Angstrom.

    Raises:
        DataError: the picks are of several runs, or the file cannot be written; an old one survives.
    """
    if len(picks.runs) > 1:
        raise DataError(f"{path}: annotation points are of one tomogram, and these are of {', '.join(picks.runs)}")
    lines = []
    matrices = rotation_from_euler(picks.euler()) if picks.has_angles else None
    rows = zip(voxel_from_angstrom(picks.xyz(), spacing), picks.table["object"], picks.scores(), strict=True)
    for i, ((z, y, x), name, score) in enumerate(rows):
        line: dict[str, Any] = {"type": "point", "location": {"x": float(x), "y": float(y), "z": float(z)}}
        if matrices is not None:
            line |= {"type": "orientedPoint", "xyz_rotation_matrix": matrices[i].tolist()}
        lines.append(json.dumps(line | {"object": str(name), "score": float(score)}))
    with replacing(path) as temporary:
        temporary.write_text("".join(f"{line}\n" for line in lines))


def read_ndjson(path: Path, *, spacing: float, object_name: str | None = None) -> Picks:
    """Annotation points as picks of a run that is called like the file.

    Args:
        path: the file; points without a score get 1.
        spacing: the tomogram's voxel spacing in Angstrom.
        object_name: the object, where the lines do not tell it.

    Raises:
        DataError: the file cannot be read, a line is no point, or no object is told.
    """
    try:
        lines = [line for line in path.read_text(encoding="utf-8").splitlines() if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"cannot read {path}: {reason(error)}") from error
    found = [_point(line, number, path) for number, line in enumerate(lines, start=1)]
    if not found:
        return Picks.empty()
    names = [told.get("object", object_name) for told in found]
    if None in names:
        raise DataError(f"{path} does not tell which object its points are; say it with --object")
    xyz = angstrom_from_voxel([told["zyx"] for told in found], spacing)
    turned = [told["turn"] for told in found if told["turn"] is not None]
    if turned and len(turned) < len(found):
        raise DataError(f"{path} mixes points with and without a rotation; split them into two files")
    euler = euler_from_rotation(np.array(turned)) if turned else [None] * len(found)
    return Picks.join(
        Picks.of(path.stem, str(name), [place], [told.get("score", 1.0)], None if turn is None else [turn])
        for told, name, place, turn in zip(found, names, xyz, euler, strict=True)
    )


def _point(line: str, number: int, path: Path) -> dict[str, Any]:
    """A line's place (zyx in voxels), rotation (None without one), and what else it tells."""
    try:
        told = json.loads(line)
        zyx = [float(told["location"][axis]) for axis in "zyx"]
        turn = told.get("xyz_rotation_matrix")
        matrix = None if turn is None else np.asarray(turn, dtype=np.float64).reshape(3, 3)
        return {"zyx": zyx, "turn": matrix} | {key: told[key] for key in EXTRA if key in told}
    except (ValueError, TypeError, LookupError, AttributeError) as error:
        raise DataError(f"cannot read {path}: line {number} is not a point of the CryoET Data Portal") from error
