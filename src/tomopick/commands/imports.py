"""`tomopick import`: a copick project of a lab's files."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tomopick.commands.screen import notice, progress_bar
from tomopick.commands.screen import out as screen
from tomopick.io.importing import import_project, parse_object

__all__ = ["import_lab"]


def import_lab(
    source: Path, folder: Path, picks: Path | None, objects: Sequence[str], kind: str, voxel_spacing: float | None
) -> None:
    """Make the project and say what is in it."""
    named = dict(parse_object(text) for text in objects)
    with progress_bar("importing") as tell:
        project = import_project(
            folder, source, picks, named or None, voxel_spacing, kind, lambda done, of, _run: tell(done / of)
        )
    counts = project.picks()
    if picks is not None and len(named) == 1 and counts.objects == [next(iter(named.values())).name]:
        notice(f"all {len(counts)} picks are of {counts.objects[0]}, the one object that was named")
    screen.print(
        f"{project.path}: {len(project.runs)} tomograms of type '{kind}', {len(counts)} picks of "
        f"{', '.join(counts.objects) or 'nothing'}",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
