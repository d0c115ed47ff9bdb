"""`tomopick convert`: picks from one file format to another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tomopick.commands.screen import notice, out
from tomopick.commands.sources import is_project, picks_of, tomograms_of
from tomopick.errors import DataError
from tomopick.io.picks import TomogramSize, picks_format, read_picks, write_picks
from tomopick.picks import Picks

__all__ = ["convert_picks"]


def convert_picks(
    source: Path,
    target: Path,
    *,
    tomograms: Sequence[Path],
    kind: str,
    spacing: float | None,
    object_name: str | None,
    annotated: bool,
    pixels: bool,
    runs: Sequence[str] | None = None,
    place: str | None = None,
) -> Picks:
    """Read picks of a file or a project and write them in the format that the target's name tells.

    Args:
        source: a picks file, or a copick project.
        target: the file to write.
        tomograms: whose sizes centred coordinates (RELION 5) need; a project as source brings its own.
        kind: type of tomogram in projects.
        spacing: Angstrom of a pixel, where coordinates are in pixels or tomograms do not say.
        object_name: of the picks, where the source does not name them.
        annotated: of a project, its annotations rather than what tomopick picked.
        pixels: write STAR in pixels of the spacing instead of centred.
        runs: only these.
        place: the file or address by which ChimeraX or neuroglancer opens the tomogram; a tomogram's own by default.

    Raises:
        DataError: something cannot be read or written, or a size is needed that is not given.
    """
    form = picks_format(target)
    given = [*tomograms, *([source] if is_project(source) else [])]
    sources = tomograms_of(given, kind, spacing, spacing or 10.0, None) if given else []
    sizes = {one.name: TomogramSize.of(one.open(), place or _from(target, one.file)) for one in sources} or None
    if is_project(source):
        picks = picks_of(source, annotated=annotated)
    else:
        picks = read_picks(source, spacing=spacing, tomogram_sizes=sizes, object_name=object_name)
    if runs is not None:
        missing = [run for run in runs if run not in picks.runs]
        if missing:
            raise DataError(f"{source} has no picks in {', '.join(missing)}; it has some in {', '.join(picks.runs)}")
        picks = picks.in_runs(runs)
    if not form.several and len(picks.runs) > 1:
        raise DataError(f"a file of {form.name} is of one tomogram: choose one of {', '.join(picks.runs)} with --runs")
    if place is not None and sizes is None:
        raise DataError("--link tells where others find a tomogram: name yours, too, with --tomograms")
    if pixels and spacing is None:
        raise DataError("--pixels needs the size of a pixel: add --voxel-spacing")
    if not form.angstrom and sizes is None and spacing is None:
        raise DataError(f"{target} needs the size of tomograms (--tomograms), or of a pixel (--voxel-spacing)")
    if not pixels and sizes is None and target.suffix.lower() == ".star":
        notice(f"{target} is in pixels of {spacing:g} A; with --tomograms it would be in RELION 5's centred Angstrom")
    write_picks(target, picks, spacing=spacing, tomogram_sizes=None if pixels else sizes)
    lost = [
        what
        for what, kept in (
            ("names of objects", form.objects),
            ("angles", form.angles or not picks.has_angles),
            ("scores", form.scores),
        )
        if not kept
    ]
    if lost:
        notice(f"{form.name} keeps no {' and no '.join(lost)}: they are left out")
    out.print(f"{target}: {len(picks)} picks", highlight=False, markup=False, soft_wrap=True)
    return picks


def _from(target: Path, file: Path | None) -> str | None:
    """The way from the folder of the file that is written to a tomogram's."""
    return None if file is None else Path(os.path.relpath(file.resolve(), target.resolve().parent)).as_posix()
