"""Names, options and help of `tomopick average`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomopick.cli.options import Annotations, Kind, Objects, Runs, Spacing, above_zero

__all__ = ["average"]


def average(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="copick project, tomogram file or folder.")],
    picks: Annotated[Path, typer.Option(help="copick project or file of picks.")],
    out: Annotated[Path, typer.Option(help="Folder for OBJECT.mrc and averages.png.")],
    annotated: Annotations = False,
    box: Annotated[
        float | None,
        typer.Option(help="Edge of a subtomogram in A.  [default: three radii]", callback=above_zero),
    ] = None,
    stacks: Annotated[bool, typer.Option("--stacks", help="Write the subtomograms, too, as OBJECT_stack.mrc.")] = False,
    align: Annotated[
        bool,
        typer.Option("--align", help="Turn the 200 best of each object onto one another, too: OBJECT_aligned.mrc."),
    ] = False,
    tomogram: Kind = "wbp",
    voxel_spacing: Spacing = None,
    runs: Runs = None,
    objects: Objects = None,
) -> None:
    """Average what was picked, object by object, as it lies: a first look at whether picks are particles.

    Particles lie in all orientations, so good picks give a round, dark middle of the particle's size; picks of nothing
    give noise. `--align` turns them onto one another, quickly (15 degrees apart, not moved): a second look, which shows
    the shape of large particles, and no map to keep; aligned.csv has the picks with their angles, for tools that refine
    them.

    Example: `tomopick average project/config.json --picks picks.star --out averages --stacks`
    """
    from tomopick.commands.average import average_picks
    from tomopick.commands.sources import split_names

    average_picks(
        inputs, picks, out, kind=tomogram, spacing=voxel_spacing, runs=split_names(runs), objects=objects or [],
        annotated=annotated, box=box, stacks=stacks, aligned=align,
    )  # fmt: skip
