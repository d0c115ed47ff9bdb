"""Names, options and help of `tomopick memory`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomopick.cli.options import NETWORKS, Device

__all__ = ["memory"]


def memory(
    out: Annotated[Path, typer.Option(help="Folder for memory.json, memory.csv and memory_usage.png.")],
    model: Annotated[str, typer.Option(help=f"Network: {NETWORKS}.")] = "cryoet3dcnn",
    window: Annotated[int, typer.Option(help="Edge of the input in voxels.", min=1)] = 64,
    batch: Annotated[int, typer.Option(help="Inputs at a time.", min=1)] = 1,
    classes: Annotated[int, typer.Option(help="Objects and background.", min=2)] = 7,
    device: Device = "auto",
) -> None:
    """Measure the memory of a network by layer, in training and in use, beside what its shapes say.

    Example: `tomopick memory --model cryoet3dcnn --window 64 --batch 1 --classes 7 --out memory`
    """
    from tomopick.commands.memory import measure
    from tomopick.inference.device import chosen_device

    measure(out, model, window, batch, classes, chosen_device(device))
