"""Names, options and help of `tomopick info`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomopick.cli.options import Spacing

__all__ = ["info"]


def info(
    path: Annotated[Path, typer.Argument(help="Tomogram, picks file, copick project or model.")],
    voxel_spacing: Spacing = None,
) -> None:
    """Say what a file holds: size and spacing of a tomogram, counts of picks, runs of a project, a model's card.

    Examples: `tomopick info ts.mrc`, `tomopick info model.safetensors`
    """
    from tomopick.commands.info import describe

    describe(path, voxel_spacing)
