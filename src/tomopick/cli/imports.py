"""Names, options and help of `tomopick import`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomopick.cli.options import Kind, Spacing

__all__ = ["import_"]


def import_(
    source: Annotated[Path, typer.Argument(help="A folder of tomogram files, or a RELION 5 tomograms.star.")],
    out: Annotated[Path, typer.Argument(help="Folder of the new copick project.")],
    picks: Annotated[Path | None, typer.Option(help="CSV or STAR file of annotations.")] = None,
    objects: Annotated[
        list[str] | None,
        typer.Option("--object", help="NAME=RADIUS, or NAME_IN_PICKS:NAME=RADIUS (radius in A); repeatable."),
    ] = None,
    kind: Kind = "wbp",
    voxel_spacing: Spacing = None,
) -> None:
    """Make a copick project of what a lab has: tomogram files and picks.

    STAR picks may be RELION 5's rlnCenteredCoordinateX/Y/ZAngst, or rlnCoordinateX/Y/Z in pixels, whose size the file
    tells, or else the tomograms; rlnTomoName or rlnMicrographName says which. CSV picks have the columns experiment, x,
    y, z (Angstrom from the first voxel) and particle_type. Picks are of the objects that particle_type, tomopickObject
    (STAR) or, with several objects, rlnClassNumber tells; of the one object that is named where a file tells none.

    Examples:

    `tomopick import tomograms/ project/ --picks picks.star --object ribosome=150`

    `tomopick import tomograms.star project/ --picks particles.star --object "80S:ribosome=150"`
    """
    from tomopick.commands.imports import import_lab

    import_lab(source, out, picks, objects or [], kind, voxel_spacing)
