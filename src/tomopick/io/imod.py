"""Picks as IMOD models: scattered points, one IMOD object for each of ours."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from tomopick.atomic import replacing
from tomopick.errors import DataError, reason
from tomopick.geometry import angstrom_from_imod, imod_from_angstrom
from tomopick.objects import named_alone
from tomopick.picks import Picks

__all__ = ["read_imod", "write_imod"]

ANGSTROM = -10  # IMOD's code for the unit of a model's pixel size


def write_imod(path: Path, picks: Picks, spacing: float) -> None:
    """Write the picks of one tomogram; its name is not kept, and neither are scores or angles.

    Args:
        path: the model file.
        picks: of one run.
        spacing: the tomogram's voxel spacing in Angstrom, which the model keeps.

    Raises:
        DataError: the picks are of several runs, or the file cannot be written; an old one survives.
    """
    from imodmodel import ImodModel
    from imodmodel.models import Contour, ModelHeader, Object, ObjectFlags, ObjectHeader

    if len(picks.runs) > 1:
        raise DataError(f"{path}: an IMOD model is of one tomogram, and these picks are of {', '.join(picks.runs)}")
    objects = []
    for particle in named_alone(picks.objects):
        red, green, blue = (c / 255 for c in particle.color[:3])
        header = ObjectHeader(
            name=particle.name, red=red, green=green, blue=blue, flags=ObjectFlags(scattered=True),
            pdrawsize=round(particle.radius / spacing),
        )  # fmt: skip
        points = imod_from_angstrom(picks.where(name=particle.name).xyz(), spacing)
        objects.append(Object(header=header, contours=[Contour(points=points)]))
    model = ImodModel(header=ModelHeader(pixelsize=spacing, units=ANGSTROM), objects=objects)
    with replacing(path) as temporary:
        model.to_file(temporary)


def read_imod(path: Path, *, spacing: float | None = None, object_name: str | None = None) -> Picks:
    """The points of a model, as picks of a run that is called like the file, with a score of 1.

    Args:
        path: the model file.
        spacing: the tomogram's voxel spacing in Angstrom, where the model does not tell it.
        object_name: the object of all points, where IMOD's objects have no names.

    Raises:
        DataError: the file is no IMOD model, or tells no object or no voxel spacing.
    """
    from imodmodel import ImodModel

    try:
        model = ImodModel.from_file(path)
    except Exception as error:  # whatever a file that is something else makes of the parser
        raise DataError(f"cannot read {path} as an IMOD model: {reason(error)}") from error
    step = spacing or (model.header.pixelsize if model.header.units == ANGSTROM else None)
    if step is None:
        raise DataError(f"{path} does not tell its voxel spacing in Angstrom; pass --voxel-spacing")
    parts = []
    for number, one in enumerate(model.objects, start=1):
        name = one.header.name.strip("\0 ") or object_name
        if not name:
            raise DataError(f"{path}: IMOD object {number} has no name; say what it is with --object")
        points = np.concatenate([np.zeros((0, 3)), *(contour.points for contour in one.contours)])
        parts.append(Picks.of(path.stem, name, angstrom_from_imod(points, step)))
    return Picks.join(parts)
