"""Names, options and help of `tomopick view`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomopick.cli.options import Kind, Objects, Runs, Spacing

__all__ = ["view"]


def view(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="copick project, tomogram file or folder.")],
    picks: Annotated[Path | None, typer.Option(help="copick project or file of picks.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="copick project or file of true particles: shows precision and recall.")
    ] = None,
    model: Annotated[Path | None, typer.Option(help="Model file, for its objects and thresholds.")] = None,
    compare: Annotated[
        Path | None, typer.Option(metavar="PICKS", help="Another model's picks: the gallery sorts by disagreement.")
    ] = None,
    scores: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Score maps of `pick --save-scores`, laid over the tomogram.")
    ] = None,
    copick_user: Annotated[
        str | None,
        typer.Option("--write-copick", metavar="USER", help="Keep accepted and added picks in the project, too."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="CSV of corrections.  [default: beside the picks; goes on with it if there]")
    ] = None,
    tomogram: Kind = "",
    voxel_spacing: Spacing = None,
    runs: Runs = None,
    objects: Objects = None,
    port: Annotated[
        int,
        typer.Option(
            help="The page's; the viewer takes the next one.  [default: any free]", min=0, max=65534, show_default=False
        ),
    ] = 0,
    browser: Annotated[bool, typer.Option("--open", help="Open the page in a browser.")] = False,
) -> None:
    """Look at tomograms and picks in a browser, and accept, reject, relabel and add picks.

    The page is served on this machine alone, with a secret in its address. What you say of picks is saved at once,
    beside the picks and never over them; started again, the page goes on with it. On a distant machine, give a port and
    bring it and the next one here: `ssh -L 8000:127.0.0.1:8000 -L 8001:127.0.0.1:8001 MACHINE`.

    Examples:

    `tomopick view project/config.json --picks picks.star --open`

    `tomopick view tomograms/ --picks picks.csv --truth truth.csv --port 8000`
    """
    from tomopick.commands.sources import split_names
    from tomopick.commands.view import view_picks

    view_picks(
        inputs, picks, truth_path=truth, model=model, compared=compare, scores=scores, copick_user=copick_user, out=out,
        kind=tomogram, spacing=voxel_spacing, runs=split_names(runs), objects=objects or [], port=port, browser=browser,
    )  # fmt: skip
