"""Options that several commands share, by the same name and with the same meaning."""

from __future__ import annotations

import math
from typing import Annotated

import typer

__all__ = [
    "NETWORKS",
    "Annotations",
    "Annotator",
    "Device",
    "Kind",
    "Objects",
    "Overwrite",
    "Runs",
    "Session",
    "Spacing",
    "above_zero",
]

NETWORKS = "cryoet3dcnn, heatmap-unet, segresnet or dynunet"


def above_zero(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"{value:g} is not a number above 0")
    return value


Kind = Annotated[str, typer.Option("--tomogram", help="Tomogram type in copick projects, such as wbp or denoised.")]
Spacing = Annotated[
    float | None,
    typer.Option("--voxel-spacing", help="Angstrom; overrides what files say.", callback=above_zero),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps, or auto: a CUDA GPU where there is one, else the CPU.")]
Objects = Annotated[
    list[str] | None, typer.Option("--object", help="NAME=RADIUS or NAME=RADIUS:WEIGHT (radius in A); repeatable.")
]
Runs = Annotated[str | None, typer.Option("--runs", help="Only these, separated by commas.")]
Annotations = Annotated[
    bool, typer.Option("--annotated", help="Of a project, its annotations rather than tomopick's picks.")
]
Annotator = Annotated[str | None, typer.Option("--user", help="Whose annotations; needed where several differ.")]
Session = Annotated[str | None, typer.Option("--session", help="Which session's annotations.")]
