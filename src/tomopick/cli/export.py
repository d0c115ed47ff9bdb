"""Names, options and help of `tomopick export`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomopick.cli.options import Kind, Runs, Spacing

__all__ = ["export"]


def export(
    model: Annotated[Path, typer.Argument(help="Model file.")],
    out: Annotated[Path, typer.Option(help="File to write; .onnx or .xml is added if need be.")],
    form: Annotated[str, typer.Option("--format", help="onnx or openvino.")] = "onnx",
    project: Annotated[
        Path | None, typer.Option(help="copick project to compare on.  [default: simulated tomograms]")
    ] = None,
    tomogram: Kind = "",
    voxel_spacing: Spacing = None,
    runs: Runs = None,
) -> None:
    """Write a model's network for ONNX Runtime or OpenVINO, and compare what it finds with PyTorch.

    The network takes scaled densities (1, 1, z, y, x) of any size and gives logits, background last; what else the
    model file holds is written beside it as JSON. Picks are compared until there are 500; that more than 1 of 100
    changed is an error. Needs `pip install 'tomopick[export]'`.

    Examples:

    `tomopick export model.safetensors --out model.onnx`

    `tomopick export model.safetensors --format openvino --out model.xml --project project/config.json --runs TS_5`
    """
    from tomopick.commands.export import export_model
    from tomopick.commands.sources import split_names

    export_model(model, form, out, project, tomogram, voxel_spacing, split_names(runs))
