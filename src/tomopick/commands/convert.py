"""`tomopick convert`: picks from one file format to another."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from tomopick.commands.screen import notice, out
from tomopick.commands.sources import is_project, picks_of, tomograms_of
from tomopick.errors import DataError
from tomopick.io.picks import TomogramSize, picks_format, read_picks, write_picks
from tomopick.io.star import sizes_within
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
    objects: Sequence[str] | None = None,
    min_score: float | None = None,
    place: str | None = None,
) -> Picks:
    """Read picks of a file or a project and write them in the format that the target's name tells.

    Args:
        source: a picks file, or a copick project.
        target: the file to write.
        tomograms: whose sizes centred coordinates (RELION 5) need, or for a STAR file a tomograms.star of RELION's; a
            project brings its own as source, and so does a STAR file that tells them.
        kind: type of tomogram in projects.
        spacing: Angstrom of a pixel, where coordinates are in pixels or tomograms do not say.
        object_name: of the picks, where the source does not name them.
        annotated: of a project, its annotations rather than what tomopick picked.
        pixels: write STAR in pixels of the spacing instead of centred.
        runs: only these.
        objects: only these.
        min_score: only picks of this score or a higher one.
        place: the file or address by which ChimeraX or neuroglancer opens the tomogram; a tomogram's own by default.

    Raises:
        DataError: something cannot be read or written, or a size is needed that is not given.
    """
    form = picks_format(target)
    volumes = [path for path in tomograms if not _is_star(path)] + ([source] if is_project(source) else [])
    sources = tomograms_of(volumes, kind, spacing, spacing or 10.0, None) if volumes else []
    sizes = {one.name: TomogramSize.of(one.open(), place or _from(target, one.file)) for one in sources} or None
    if _is_star(target):  # RELION counts unbinned pixels, other programs the tomogram's own voxels
        for path in filter(_is_star, tomograms if sizes else [source, *tomograms]):
            sizes = {**(sizes or {}), **sizes_within(path)} or None
    if is_project(source):
        picks = picks_of(source, annotated=annotated)
    else:
        picks = read_picks(source, spacing=spacing, tomogram_sizes=sizes, object_name=object_name)
    picks = _chosen(picks, source, runs, objects, min_score)
    if not form.several and len(picks.runs) > 1:
        raise DataError(f"a file of {form.name} is of one tomogram: choose one of {', '.join(picks.runs)} with --runs")
    if place is not None and sizes is None:
        raise DataError("--link tells where others find a tomogram: name yours, too, with --tomograms")
    if pixels and spacing is None:
        raise DataError("--pixels needs the size of a pixel: add --voxel-spacing")
    if not form.angstrom and sizes is None and spacing is None:
        raise DataError(f"{target} needs the size of tomograms (--tomograms), or of a pixel (--voxel-spacing)")
    if not pixels and sizes is None and _is_star(target):
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


def _chosen(
    picks: Picks, source: Path, runs: Sequence[str] | None, objects: Sequence[str] | None, min_score: float | None
) -> Picks:
    """The picks of these runs and objects that have this score; it is an error if there are none."""
    for wanted, there, place in ((runs, picks.runs, "in"), (objects, picks.objects, "of")):
        missing = [name for name in wanted or () if name not in there]
        if missing:
            held = ", ".join(there) or "nothing"
            raise DataError(f"{source} has no picks {place} {', '.join(missing)}; it has some {place} {held}")
    if runs is not None:
        picks = picks.in_runs(runs)
    if objects is not None:
        picks = picks.of_objects(objects)
    kept = picks.where(min_score=min_score)
    if len(picks) and not len(kept):
        raise DataError(f"no pick of {source} has a score of {min_score:g}; the best has {picks.scores().max():.3f}")
    return kept


def _is_star(path: Path) -> bool:
    return path.suffix.lower() == ".star"


def _from(target: Path, file: Path | None) -> str | None:
    """The way from the folder of the file that is written to a tomogram's."""
    return None if file is None else Path(os.path.relpath(file.resolve(), target.resolve().parent)).as_posix()
