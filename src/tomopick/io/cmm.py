"""Picks as ChimeraX marker sets."""

from __future__ import annotations

from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pandas as pd

from tomopick.atomic import replacing
from tomopick.errors import DataError
from tomopick.objects import named_alone
from tomopick.picks import Picks

__all__ = ["read_cmm", "write_cmm"]

SEPARATOR = ": "


def write_cmm(path: Path, picks: Picks) -> None:
    """Write picks as marker sets, one for each run and object, called "run: object".

    Coordinates are Angstrom from the first voxel, as ChimeraX has them of a tomogram whose origin is 0. Markers have
    the radius of the CZII challenge's objects, or 50 A, a colour for each object, and the score as an attribute of
    their own. Angles are not kept.

    Raises:
        DataError: the file cannot be written; an old one survives.
    """
    particles = {o.name: o for o in named_alone(picks.objects)}
    root = ET.Element("marker_sets")
    for run, name in picks.table[["run", "object"]].drop_duplicates().itertuples(index=False):
        part = picks.where(str(run), str(name))
        group = ET.SubElement(root, "marker_set", name=f"{run}{SEPARATOR}{name}")
        red, green, blue = (f"{c / 255:.4g}" for c in particles[str(name)].color[:3])
        look = {"r": red, "g": green, "b": blue, "radius": f"{particles[str(name)].radius:g}"}
        for number, (xyz, score) in enumerate(zip(part.xyz(), part.scores(), strict=True), start=1):
            place = dict(zip("xyz", (f"{v:.4f}" for v in xyz), strict=True))
            ET.SubElement(group, "marker", {"id": str(number), **place, **look, "score": f"{score:.6g}"})
    ET.indent(root)
    with replacing(path) as temporary:
        ET.ElementTree(root).write(temporary, encoding="utf-8")


def read_cmm(path: Path, *, object_name: str | None = None) -> Picks:
    """Picks of ChimeraX marker sets: run and object from their names, "run: object".

    Args:
        path: the file; markers without a score get 1.
        object_name: the object of sets whose names do not tell one; their run is the file's name.

    Raises:
        DataError: the file is not XML of marker sets, or does not tell an object.
    """
    try:
        text = path.read_text(encoding="utf-8")
        if "<!" in text:  # entities can grow without bound; ChimeraX writes none
            raise DataError(f"{path} has XML declarations that marker files do not need; it is not read")
        root = ET.fromstring(text)
    except (OSError, UnicodeDecodeError, ET.ParseError) as error:
        raise DataError(f"cannot read {path} as ChimeraX markers: {error}") from error
    groups = [root] if root.tag == "marker_set" else root.findall("marker_set")
    if not groups and root.tag != "marker_sets":
        raise DataError(f"{path} holds no marker_set; it is not a file of ChimeraX markers")
    rows = []
    for group in groups:
        run, told, name = group.get("name", "").rpartition(SEPARATOR)
        if not told:
            run, name = path.stem, object_name or ""
        if not name:
            raise DataError(
                f"{path}: marker set '{group.get('name', '')}' does not tell its object; call it 'run: object'"
            )
        for marker in group.findall("marker"):
            rows.append({"run": run, "object": name, "score": marker.get("score", "1")} | _place(marker, path))
    columns = ["run", "object", "x", "y", "z", "score"]
    return Picks(pd.DataFrame(rows, columns=columns)) if rows else Picks.empty()


def _place(marker: ET.Element, path: Path) -> dict[str, float]:
    try:
        place = {axis: float(marker.attrib[axis]) for axis in "xyz"}
    except (KeyError, ValueError) as error:
        raise DataError(f"{path}: marker {marker.get('id', '?')} has no x, y, z that are numbers") from error
    if not np.isfinite(list(place.values())).all():
        raise DataError(f"{path}: marker {marker.get('id', '?')} has a coordinate that is not finite")
    return place
