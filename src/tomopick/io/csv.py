"""Picks as CSV: the CZII submission form, and the plainer form of truth tables."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from tomopick.atomic import replacing
from tomopick.errors import DataError
from tomopick.picks import EULER, Picks

__all__ = ["read_csv", "write_csv"]

AXES = ("x", "y", "z")
RUN_COLUMNS = ("experiment", "run")
OBJECT_COLUMNS = ("particle_type", "object")


def read_csv(path: Path, *, object_name: str | None = None) -> Picks:
    """Picks of a CSV file with columns experiment (or run), particle_type (or object), x, y, z in Angstrom.

    Columns score, and rot, tilt and psi in degrees, are read where they are; others are left aside. `object_name`
    names the picks of a file without a particle_type column.

    Raises:
        DataError: the file cannot be read, lacks a column, or has a field that is not what its column holds.
    """
    table = _text_table(path)
    run = _first_column(table, RUN_COLUMNS, path)
    columns: dict[str, pd.Series[Any]] = {"run": _names(table, run, path)}
    if object_name is not None and not set(OBJECT_COLUMNS) & set(table.columns):
        columns["object"] = pd.Series(object_name, index=table.index)
    else:
        columns["object"] = _names(table, _first_column(table, OBJECT_COLUMNS, path), path)
    for axis in AXES:
        columns[axis] = _numbers(table, _first_column(table, (axis,), path), path)
    for optional in ("score", *EULER):
        if optional in table.columns:
            columns[optional] = _numbers(table, optional, path)
    return Picks(pd.DataFrame(columns))


def write_csv(path: Path, picks: Picks) -> None:
    """Write picks in the CZII submission form, id, experiment, particle_type, x, y, z, and a score column.

    Coordinates are in Angstrom with four decimals; rot, tilt and psi follow where the picks have them.

    Raises:
        DataError: the file cannot be written; an old one survives.
    """
    table = picks.table
    out = pd.DataFrame({"id": np.arange(len(table)), "experiment": table["run"], "particle_type": table["object"]})
    forms = dict.fromkeys(AXES, ".4f") | {"score": ".6g"} | dict.fromkeys(EULER if picks.has_angles else (), ".4f")
    for column, form in forms.items():
        out[column] = [format(value, form) for value in table[column]]
    with replacing(path) as temporary:
        out.to_csv(temporary, index=False)


def _text_table(path: Path) -> pd.DataFrame:
    """The file as text, so that nothing (a run called 001 or NA) is taken for something else."""
    try:
        with warnings.catch_warnings():
            # pandas only warns where rows are longer than the header, and drops what is over
            warnings.simplefilter("error", pd.errors.ParserWarning)
            table = pd.read_csv(path, dtype=str, keep_default_na=False, index_col=False, encoding="utf-8-sig")
    except pd.errors.EmptyDataError as error:
        raise DataError(f"{path} is empty; a picks file needs at least a header line") from error
    except (OSError, UnicodeDecodeError, pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise DataError(f"cannot read {path} as CSV: {str(error).strip()}") from error
    table = table.fillna("")
    return table.rename(columns={c: str(c).strip() for c in table.columns})


def _first_column(table: pd.DataFrame, wanted: tuple[str, ...], path: Path) -> str:
    for column in wanted:
        if column in table.columns:
            return column
    raise DataError(f"{path} has no column {' or '.join(wanted)}; it has: {', '.join(map(str, table.columns))}")


def _names(table: pd.DataFrame, column: str, path: Path) -> pd.Series[str]:
    names = table[column].str.strip()
    empty = np.flatnonzero((names == "").to_numpy())
    if len(empty):
        raise DataError(f"{path}, row {empty[0] + 1}: no {column}")
    return names


def _numbers(table: pd.DataFrame, column: str, path: Path) -> pd.Series[float]:
    numbers = pd.to_numeric(table[column].str.strip(), errors="coerce").astype(np.float64)
    bad = np.flatnonzero(~np.isfinite(numbers.to_numpy()))
    if len(bad):
        raise DataError(f"{path}, row {bad[0] + 1}: {column} is '{table[column].iloc[bad[0]]}', not a finite number")
    return numbers
