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
    tomogram: Kind = "wbp",
    voxel_spacing: Spacing = None,
    runs: Runs = None,
    objects: Objects = None,
) -> None:
    """Average what was picked, object by object, without turning it: a first look at whether picks are particles.

    Particles lie in all orientations, so good picks give a round, dark middle of the particle's size; picks of nothing
    give noise.

    Example: `tomopick average project/config.json --picks picks.star --out averages --stacks`
    """
    from tomopick.commands.average import average_picks
    from tomopick.commands.sources import split_names

    average_picks(
        inputs, picks, out, kind=tomogram, spacing=voxel_spacing, runs=split_names(runs), objects=objects or [],
        annotated=annotated, box=box, stacks=stacks,
    )  # fmt: skip
