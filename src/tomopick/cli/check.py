"""Names, options and help of `tomopick check`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomopick.cli.options import Annotator, Kind, Runs, Session, Spacing

__all__ = ["check"]


def check(
    project: Annotated[Path, typer.Argument(help="copick project.")],
    tomogram: Kind = "wbp",
    voxel_spacing: Spacing = None,
    runs: Runs = None,
    user: Annotator = None,
    session: Session = None,
    json_file: Annotated[Path | None, typer.Option("--json", metavar="FILE", help="Write the findings here.")] = None,
) -> None:
    """Look through a project before training: tomograms, annotations, and whether they fit each other.

    Told of are voxel spacings that disagree, NaN and constant planes, one tomogram under two names, picks outside,
    picks that stand twice or are of two objects, objects with too few, bright particles, picks mirrored along z. Exit
    code 1 if there is an error among them.

    Example: `tomopick check project/config.json`
    """
    from tomopick.commands.check import check_project
    from tomopick.commands.sources import split_names

    found = check_project(
        project, kind=tomogram, spacing=voxel_spacing, runs=split_names(runs), json_path=json_file, user=user,
        session=session,
    )  # fmt: skip
    raise typer.Exit(1 if any(one.level == "error" for one in found) else 0)
