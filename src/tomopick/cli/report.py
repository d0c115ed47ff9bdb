"""Names, options and help of `tomopick report`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomopick.cli.options import Kind, Objects, Runs, Spacing

__all__ = ["report"]


def report(
    picks: Annotated[Path, typer.Option(help="copick project or file of picks.")],
    inputs: Annotated[list[Path] | None, typer.Argument(metavar="INPUT", help="Tomograms to show.")] = None,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("report.html"),
    truth: Annotated[Path | None, typer.Option(help="copick project or file of true particles.")] = None,
    model: Annotated[Path | None, typer.Option(help="Model file, for its card.")] = None,
    training: Annotated[Path | None, typer.Option(help="Folder of its training, for the loss curves.")] = None,
    tomogram: Kind = "",
    voxel_spacing: Spacing = None,
    runs: Runs = None,
    objects: Objects = None,
) -> None:
    """Write one HTML page with scores, curves and slices that show what was found, missed and wrong.

    Example: `tomopick report project/config.json --picks picks.csv --truth truth.csv --model model.safetensors`
    """
    from tomopick.commands.evaluate import report_files
    from tomopick.commands.sources import split_names

    page = report_files(
        out, picks, truth, inputs or [], model=model, training=training, kind=tomogram, spacing=voxel_spacing,
        runs=split_names(runs), objects=objects or [],
    )  # fmt: skip
    typer.echo(f"report: {page.resolve()}")
