"""Names, options and help of `tomopick demo`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["demo"]


def demo(
    out: Annotated[Path, typer.Option(help="Folder for everything the demo makes.")] = Path("runs/demo"),
    minutes: Annotated[float, typer.Option(help="Minutes of training.", min=0.1)] = 3.0,
    seed: int = 0,
) -> None:
    """Simulate, train, pick, evaluate and report: the whole way in under 8 minutes on two cores.

    Example: `tomopick demo`
    """
    from tomopick.commands.demo import run_demo

    page = run_demo(out, minutes, seed)
    typer.echo(f"report: {page.resolve()}")
