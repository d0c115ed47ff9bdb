"""Reading and writing picks: the formats, told by extension, and what each can carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from tomopick.errors import DataError
from tomopick.io.chimerax import write_cxc
from tomopick.io.cmm import read_cmm, write_cmm
from tomopick.io.csv import read_csv, write_csv
from tomopick.io.dynamo import read_dynamo, write_dynamo
from tomopick.io.imod import read_imod, write_imod
from tomopick.io.ndjson import read_ndjson, write_ndjson
from tomopick.io.neuroglancer_state import write_link, write_state
from tomopick.io.star import TomogramSize
from tomopick.io.star_picks import read_star, write_star
from tomopick.picks import Picks

__all__ = ["FORMATS", "PicksFormat", "TomogramSize", "picks_format", "read_picks", "write_picks"]

Sizes = Mapping[str, TomogramSize]


class Reader(Protocol):
    """Reads a file of one format."""

    def __call__(
        self, path: Path, spacing: float | None, tomogram_sizes: Sizes | None, object_name: str | None
    ) -> Picks: ...


class Writer(Protocol):
    """Writes a file of one format."""

    def __call__(self, path: Path, picks: Picks, spacing: float | None, tomogram_sizes: Sizes | None) -> None: ...


@dataclass(frozen=True)
class PicksFormat:
    """A file format for picks, and what it can carry.

    Attributes:
        extension: how its files' names end, in lower case.
        read: None for what is only written, as other programs' views of a tomogram are.
        scores: whether scores survive.
        angles: whether Euler angles survive.
        angstrom: whether coordinates are in Angstrom from the first voxel; otherwise a pixel size or the tomograms'
            sizes are needed to write it.
        several: whether one file can hold picks of several runs.
        objects: whether the names of objects survive.
    """

    name: str
    extension: str
    read: Reader | None
    write: Writer
    scores: bool
    angles: bool
    angstrom: bool
    several: bool = True
    objects: bool = True


def _read_csv(path: Path, spacing: float | None, tomogram_sizes: Sizes | None, object_name: str | None) -> Picks:
    return read_csv(path, object_name=object_name)


def _write_csv(path: Path, picks: Picks, spacing: float | None, tomogram_sizes: Sizes | None) -> None:
    write_csv(path, picks)


def _read_star(path: Path, spacing: float | None, tomogram_sizes: Sizes | None, object_name: str | None) -> Picks:
    return read_star(path, spacing=spacing, tomogram_sizes=tomogram_sizes, object_name=object_name)


def _write_star(path: Path, picks: Picks, spacing: float | None, tomogram_sizes: Sizes | None) -> None:
    write_star(path, picks, spacing=spacing, tomogram_sizes=tomogram_sizes)


def _read_cmm(path: Path, spacing: float | None, tomogram_sizes: Sizes | None, object_name: str | None) -> Picks:
    return read_cmm(path, object_name=object_name)


def _write_cmm(path: Path, picks: Picks, spacing: float | None, tomogram_sizes: Sizes | None) -> None:
    write_cmm(path, picks)


def _read_imod(path: Path, spacing: float | None, tomogram_sizes: Sizes | None, object_name: str | None) -> Picks:
    return read_imod(path, spacing=_step(path.stem, spacing, tomogram_sizes), object_name=object_name)


def _write_imod(path: Path, picks: Picks, spacing: float | None, tomogram_sizes: Sizes | None) -> None:
    write_imod(path, picks, _known_step(path, _run(picks), spacing, tomogram_sizes))


def _read_ndjson(path: Path, spacing: float | None, tomogram_sizes: Sizes | None, object_name: str | None) -> Picks:
    step = _step(path.stem, spacing, tomogram_sizes)
    if step is None and path.exists():
        raise DataError(f"{path} does not tell its voxel spacing; name its tomogram, or pass --voxel-spacing")
    return read_ndjson(path, spacing=step or 1.0, object_name=object_name)


def _write_ndjson(path: Path, picks: Picks, spacing: float | None, tomogram_sizes: Sizes | None) -> None:
    write_ndjson(path, picks, _known_step(path, _run(picks), spacing, tomogram_sizes))


def _read_dynamo(path: Path, spacing: float | None, tomogram_sizes: Sizes | None, object_name: str | None) -> Picks:
    return read_dynamo(path, spacing=spacing, object_name=object_name)


def _write_dynamo(path: Path, picks: Picks, spacing: float | None, tomogram_sizes: Sizes | None) -> None:
    steps = {run: _known_step(path, run, spacing, tomogram_sizes) for run in picks.runs}
    write_dynamo(path, picks, steps)


def _write_cxc(path: Path, picks: Picks, spacing: float | None, tomogram_sizes: Sizes | None) -> None:
    write_cxc(path, picks, _place(picks, tomogram_sizes))


def _write_state(path: Path, picks: Picks, spacing: float | None, tomogram_sizes: Sizes | None) -> None:
    step = _known_step(path, _run(picks), spacing, tomogram_sizes)
    write_state(path, picks, step, _address(picks, tomogram_sizes))


def _write_link(path: Path, picks: Picks, spacing: float | None, tomogram_sizes: Sizes | None) -> None:
    step = _known_step(path, _run(picks), spacing, tomogram_sizes)
    write_link(path, picks, step, _address(picks, tomogram_sizes))


def _run(picks: Picks) -> str:
    return next(iter(picks.runs), "")


def _place(picks: Picks, tomogram_sizes: Sizes | None) -> str | None:
    size = (tomogram_sizes or {}).get(_run(picks))
    return size.place if size else None


def _address(picks: Picks, tomogram_sizes: Sizes | None) -> str | None:
    """Where neuroglancer finds the tomogram: it reads addresses, not files."""
    place = _place(picks, tomogram_sizes)
    return place if place and "://" in place else None


def _step(run: str, spacing: float | None, tomogram_sizes: Sizes | None) -> float | None:
    size = (tomogram_sizes or {}).get(run)
    return spacing or (size.pixel_size if size else None)


def _known_step(path: Path, run: str, spacing: float | None, tomogram_sizes: Sizes | None) -> float:
    """The voxel spacing of a run's tomogram.

    Raises:
        DataError: nothing tells it.
    """
    step = _step(run, spacing, tomogram_sizes)
    if step is None:
        raise DataError(f"{path} needs the tomogram's voxel spacing: name its tomogram, or pass --voxel-spacing")
    return step


FORMATS = (
    PicksFormat("CSV (CZII submission)", ".csv", _read_csv, _write_csv, scores=True, angles=True, angstrom=True),
    PicksFormat("RELION STAR", ".star", _read_star, _write_star, scores=True, angles=True, angstrom=False),
    PicksFormat("ChimeraX markers", ".cmm", _read_cmm, _write_cmm, scores=True, angles=False, angstrom=True),
    PicksFormat(
        "IMOD model", ".mod", _read_imod, _write_imod, scores=False, angles=False, angstrom=False, several=False
    ),
    PicksFormat(
        "CryoET Data Portal points",
        ".ndjson",
        _read_ndjson,
        _write_ndjson,
        scores=True,
        angles=True,
        angstrom=False,
        several=False,
    ),
    PicksFormat(
        "Dynamo table", ".tbl", _read_dynamo, _write_dynamo, scores=True, angles=True, angstrom=False, objects=False
    ),
    PicksFormat("ChimeraX script", ".cxc", None, _write_cxc, scores=True, angles=False, angstrom=True, several=False),
    PicksFormat(
        "neuroglancer state", ".json", None, _write_state, scores=True, angles=False, angstrom=False, several=False
    ),
    PicksFormat(
        "neuroglancer link", ".url", None, _write_link, scores=True, angles=False, angstrom=False, several=False
    ),
)
"""Every file format for picks; a new one is a module and a row here."""


def picks_format(path: str | Path) -> PicksFormat:
    """The format of a picks file, by its extension.

    Raises:
        DataError: no format has this extension.
    """
    extension = Path(path).suffix.lower()
    for candidate in FORMATS:
        if candidate.extension == extension:
            return candidate
    known = ", ".join(f.extension for f in FORMATS)
    raise DataError(f"{path}: picks files end in {known}; not in '{extension}'")


def read_picks(
    path: str | Path,
    *,
    spacing: float | None = None,
    tomogram_sizes: Sizes | None = None,
    object_name: str | None = None,
) -> Picks:
    """The picks of a file, xyz in Angstrom from the centre of the first voxel.

    Args:
        path: a file whose extension tells its format.
        spacing: pixel size in Angstrom of coordinates in pixels, where the file does not say.
        tomogram_sizes: by run, for coordinates counted from the tomogram's middle (RELION 5), where neither the file
            nor a tomograms.star beside it says.
        object_name: the name of all picks, where the file does not name them.

    Raises:
        DataError: the file cannot be read or lacks what is needed; the message says where and what to do.
    """
    form = picks_format(path)
    if form.read is None:
        raise DataError(f"{path}: a {form.name} is for other programs to show, and is not read")
    return form.read(Path(path), spacing, tomogram_sizes, object_name)


def write_picks(
    path: str | Path,
    picks: Picks,
    *,
    spacing: float | None = None,
    tomogram_sizes: Sizes | None = None,
) -> None:
    """Write picks to a file, whole or not at all.

    Args:
        path: the file; its extension tells the format. STAR files hold RELION 5's centred coordinates where
            `tomogram_sizes` is given, and pixels of `spacing` otherwise.
        picks: what to write.
        spacing: pixel size in Angstrom.
        tomogram_sizes: by run.

    Raises:
        DataError: the file cannot be written (an old one survives), or the format needs a size that is not given.
    """
    picks_format(path).write(Path(path), picks, spacing, tomogram_sizes)
