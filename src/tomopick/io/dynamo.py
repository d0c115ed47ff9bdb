"""Picks as Dynamo tables, with the map beside them that says which tomogram is which."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from tomopick.atomic import replacing
from tomopick.errors import DataError, reason
from tomopick.geometry import angstrom_from_dynamo, dynamo_from_angstrom
from tomopick.io.orientation import dynamo_from_euler, euler_from_dynamo
from tomopick.picks import EULER, Picks

__all__ = ["read_dynamo", "write_dynamo"]

ANGLES = ["tdrot", "tilt", "narot"]
MAP = ".doc"


def write_dynamo(path: Path, picks: Picks, steps: Mapping[str, float]) -> None:
    """Write a table of 42 columns, and beside it, as ``.doc``, the map of tomogram numbers to ``RUN.mrc``.

    Objects become classes, numbered from 1 in the order of their names, which the table cannot hold.

    Args:
        path: the table.
        picks: of any number of runs.
        steps: each run's voxel spacing in Angstrom.

    Raises:
        DataError: a file cannot be written; an old one survives.
    """
    import dynamotable

    runs, objects = picks.runs, picks.objects
    number = {run: i for i, run in enumerate(runs, start=1)}
    step = picks.table["run"].map(dict(steps)).to_numpy(np.float64)
    table = pd.DataFrame(dynamo_from_angstrom(picks.xyz(), step), columns=list("xyz"))
    angles = dynamo_from_euler(picks.euler()) if picks.has_angles else 0.0
    table[ANGLES] = angles
    table = table.assign(
        cc=picks.scores(), ftype=1, tomo=picks.table["run"].map(number), apix=step,
        **{"class": [objects.index(name) + 1 for name in picks.table["object"]]},
    )  # fmt: skip
    with replacing(path) as temporary:
        dynamotable.write(table, str(temporary))
    with replacing(path.with_suffix(MAP)) as temporary:
        temporary.write_text("".join(f"{i} {run}.mrc\n" for run, i in number.items()))


def read_dynamo(path: Path, *, spacing: float | None = None, object_name: str | None = None) -> Picks:
    """The particles of a table, its shifts applied; runs are called like the tomograms of the map beside it.

    Without a map, runs are called by their numbers, or like the file where there is only one.

    Args:
        path: the table.
        spacing: the tomograms' voxel spacing in Angstrom, where the table (column 36) does not tell it.
        object_name: the object of all particles; classes are called class-1 and so on without it.

    Raises:
        DataError: the file is no table, or does not tell the voxel spacing.
    """
    table = _table(path)
    if table is None:
        return Picks.empty()
    told = table["apix"].to_numpy(np.float64) if "apix" in table else np.zeros(len(table))
    step = np.full(len(table), spacing) if spacing else told
    if not (step > 0).all():
        raise DataError(f"{path} does not tell its voxel spacing (column 36); pass --voxel-spacing")
    voxel = table[list("xyz")].to_numpy(np.float64) + table[["dx", "dy", "dz"]].to_numpy(np.float64)
    picks = pd.DataFrame(angstrom_from_dynamo(voxel, step), columns=list("xyz"))
    kinds = [f"class-{number:g}" for number in table["class"]]
    picks = picks.assign(run=_runs(path, table), object=object_name or kinds, score=table["cc"])
    angles = table[ANGLES].to_numpy(np.float64)
    if angles.any():
        picks[list(EULER)] = euler_from_dynamo(angles)
    return Picks(picks)


def _table(path: Path) -> pd.DataFrame | None:
    """The table; None of an empty file, as which no particles are written."""
    import dynamotable

    try:
        if path.stat().st_size == 0:
            return None
        table: pd.DataFrame = dynamotable.read(str(path))
        needed = table[["x", "y", "z", "dx", "dy", "dz", "cc", "tomo", "class", *ANGLES]]
        if not np.isfinite(needed.to_numpy(np.float64)).all():
            raise ValueError("a cell of it is not finite")
    except KeyError as error:
        raise DataError(f"cannot read {path} as a Dynamo table: it has fewer than 26 columns") from error
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"cannot read {path} as a Dynamo table: {reason(error)}") from error
    return table


def _runs(path: Path, table: pd.DataFrame) -> list[str]:
    """Each particle's run."""
    import dynamotable.io

    try:
        beside = dynamotable.io.read_table_map(str(path.with_suffix(MAP)))
        names = {int(number): Path(str(file)).stem for number, file in beside.itertuples(index=False)}
    except (OSError, ValueError):
        names = {}
    numbers = set(table["tomo"])
    if not names and len(numbers) == 1:
        names = {int(numbers.pop()): path.stem}
    return [names.get(int(number), f"{number:g}") for number in table["tomo"]]
