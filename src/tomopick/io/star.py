"""STAR files: their tables, and RELION 5's list of tomograms."""

from __future__ import annotations

import linecache
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Self

import pandas as pd

from tomopick.atomic import replacing
from tomopick.errors import DataError
from tomopick.tomogram import Tomogram

__all__ = [
    "OBJECT_COLUMN",
    "StarTomogram",
    "TomogramSize",
    "read_blocks",
    "read_tomograms_star",
    "sizes_in",
    "write_blocks",
]

OBJECT_COLUMN = "tomopickObject"
"""Column of the object's name. No RELION label says this (rlnGroupName would change its refinement), and RELION keeps
columns that it does not know."""

SIZE_COLUMNS = ("rlnTomoSizeX", "rlnTomoSizeY", "rlnTomoSizeZ", "rlnTomoTiltSeriesPixelSize")
TEXT_COLUMNS = ["rlnTomoName", "rlnMicrographName", OBJECT_COLUMN]
FORBIDDEN = frozenset("\"'#\t\r\n")


@dataclass(frozen=True)
class TomogramSize:
    """How large a tomogram is: `xyz` pixels along x, y and z, each of `pixel_size` Angstrom.

    RELION 5 counts coordinates from the middle of a tomogram, and gives its size in unbinned tilt-series pixels.

    Attributes:
        place: the file or address by which other programs open the tomogram; None where it has none.
    """

    xyz: tuple[float, float, float]
    pixel_size: float
    place: str | None = None

    @classmethod
    def of(cls, tomogram: Tomogram, place: str | None = None) -> Self:
        """The size of a tomogram, in its own voxels."""
        z, y, x = tomogram.shape
        return cls((x, y, z), tomogram.spacing, place)


@dataclass(frozen=True)
class StarTomogram:
    """One row of a tomograms.star.

    Attributes:
        name: the tomogram's name, rlnTomoName.
        size: its size in unbinned tilt-series pixels; None where the columns are missing.
        spacing: the reconstruction's voxel spacing in Angstrom; None where the columns are missing.
        files: the reconstructions by column, as written (paths from RELION's project folder).
    """

    name: str
    size: TomogramSize | None
    spacing: float | None
    files: Mapping[str, str]


def read_blocks(path: Path) -> dict[str, pd.DataFrame]:
    """The tables of a STAR file by block name; a block of single values is a table of one row.

    Raises:
        DataError: the file cannot be read, or holds no STAR table.
    """
    import starfile

    linecache.checkcache(str(path))  # starfile reads through linecache, which keeps files it has seen
    try:
        blocks = starfile.read(path, always_dict=True, parse_as_string=TEXT_COLUMNS)
    except (OSError, ValueError, TypeError, IndexError) as error:
        raise DataError(f"cannot read {path} as a STAR file: {error}") from error
    if not blocks:
        raise DataError(f"{path} holds no STAR table (no line starts with 'data_'); is it empty or another format?")
    return {name: b if isinstance(b, pd.DataFrame) else pd.DataFrame([b]) for name, b in blocks.items()}


def write_blocks(path: Path, blocks: Mapping[str, pd.DataFrame]) -> None:
    """Write tables as a STAR file, numbers with nine digits.

    Raises:
        DataError: a text holds a character that STAR files cannot carry, or the file cannot be written.
    """
    import starfile

    for table in blocks.values():
        for column in table.select_dtypes(exclude="number"):
            for text in table[column].unique():
                if not text or FORBIDDEN & set(text):
                    raise DataError(f"cannot write {path}: '{text}' has no place in a STAR file; rename it")
    with replacing(path) as temporary:
        starfile.write(dict(blocks), temporary, float_format="%.9g")


def sizes_in(table: pd.DataFrame) -> dict[str, TomogramSize]:
    """Tomogram sizes by rlnTomoName, from a table with rlnTomoSizeX/Y/Z and rlnTomoTiltSeriesPixelSize."""
    if not {"rlnTomoName", *SIZE_COLUMNS} <= set(table.columns):
        return {}
    sizes = {}
    for row in table.drop_duplicates("rlnTomoName").to_dict("records"):
        x, y, z, pixel = (_number(row[c]) for c in SIZE_COLUMNS)
        if min(x, y, z, pixel) > 0:  # also false for NaN
            sizes[str(row["rlnTomoName"])] = TomogramSize((x, y, z), pixel)
    return sizes


def sizes_within(path: Path) -> dict[str, TomogramSize]:
    """Tomogram sizes by name that a STAR file tells, as RELION's tomograms.star does, and tomopick's own picks.

    Raises:
        DataError: the file cannot be read.
    """
    return {name: size for table in read_blocks(path).values() for name, size in sizes_in(table).items()}


def read_tomograms_star(path: Path) -> list[StarTomogram]:
    """The tomograms that a RELION 5 tomograms.star lists.

    Raises:
        DataError: it cannot be read, has no rlnTomoName, or names a tomogram twice.
    """
    tables = [t for t in read_blocks(path).values() if "rlnTomoName" in t.columns]
    if not tables:
        raise DataError(f"{path} has no column rlnTomoName; give a RELION 5 tomograms.star")
    table = tables[0]
    names = table["rlnTomoName"].astype(str)
    if names.duplicated().any():
        raise DataError(f"{path} lists the tomogram '{names[names.duplicated()].iloc[0]}' twice")
    sizes = sizes_in(table)
    file_columns = [c for c in table.columns if str(c).startswith("rlnTomoReconstructedTomogram")]
    return [
        StarTomogram(
            name=str(row["rlnTomoName"]),
            size=sizes.get(str(row["rlnTomoName"])),
            spacing=_spacing(row),
            files={str(c): str(row[c]) for c in file_columns},
        )
        for row in table.to_dict("records")
    ]


def _spacing(row: Mapping[object, object]) -> float | None:
    value = _number(row.get("rlnTomoTiltSeriesPixelSize")) * _number(row.get("rlnTomoTomogramBinning"))
    return value if value > 0 else None


def _number(value: object) -> float:
    try:
        return float(str(value))
    except ValueError:
        return math.nan
