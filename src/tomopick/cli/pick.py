"""Names, options and help of `tomopick pick`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomopick.cli.options import Device, Kind, Overwrite, Runs, Spacing

__all__ = ["pick"]


def pick(
    model: Annotated[
        Path,
        typer.Argument(help="Model file, or a folder of models in fold_0, fold_1 and so on."),
    ],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="copick project, tomogram file or folder.")],
    out: Annotated[
        Path, typer.Option(help="Picks file: .csv (CZII form and score), .star (RELION) or .cmm (ChimeraX).")
    ],
    tomogram: Kind = "",
    voxel_spacing: Spacing = None,
    runs: Runs = None,
    others: Annotated[
        list[Path] | None,
        typer.Option("--with", metavar="MODEL", help="Pick with this model too: scores are averaged. Repeatable."),
    ] = None,
    weights: Annotated[
        str | None,
        typer.Option(help="What MODEL and each --with count, such as 2,1; a folder's is that of each of its models."),
    ] = None,
    augment: Annotated[
        int, typer.Option(help="Average over this many of the ways in which training turned crops.", min=1)
    ] = 1,
    stride: Annotated[
        int | None,
        typer.Option(help="Voxels between scores: 8 (fast), 4, 2 or 1; heatmap networks: 2, 1.  [default: 4, or 2]"),
    ] = None,
    threshold: Annotated[
        float | None, typer.Option(help="Least score for all objects, instead of the model's.")
    ] = None,
    precision: Annotated[
        float | None, typer.Option(help="Keep picks down to this expected precision, such as 0.9, instead.")
    ] = None,
    exclusive: Annotated[
        bool, typer.Option("--exclusive", help="Where two objects are found in one place, keep the likelier alone.")
    ] = False,
    mask: Annotated[Path | None, typer.Option(help="Volume of the tomogram's shape, above 0 where to look.")] = None,
    border: Annotated[float, typer.Option(help="Angstrom to keep clear at each face.", min=0)] = 0.0,
    dtype: Annotated[str, typer.Option(help="Numbers: fp32 (exact), bf16, fp16, or auto: the fastest.")] = "auto",
    device: Device = "auto",
    backend: Annotated[
        str,
        typer.Option(
            help="torch, openvino or onnx; or auto: the fastest here for heatmap networks, compared once and kept."
        ),
    ] = "torch",
    memory: Annotated[
        float,
        typer.Option(help="GB that heatmap networks should stay below with one tomogram; thinner slabs do.", min=0),
    ] = 1.1,
    workers: Annotated[
        int | None,
        typer.Option(
            help="Processes, each with a tomogram and --memory of its own; they share the threads.  [default: 1, or "
            "one for each CUDA GPU]",
            min=1,
        ),
    ] = None,
    save_scores: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write score maps here as well, as OME-Zarr by tomogram.")
    ] = None,
    pixels: Annotated[
        bool, typer.Option("--pixels", help="STAR in the tomogram's own pixels, not RELION 5's centred A.")
    ] = False,
    write_copick: Annotated[
        bool, typer.Option("--write-copick", help="Also into the project, as user tomopick.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Find particles in tomograms and write them as CSV, STAR or ChimeraX markers, and into copick projects.

    Each tomogram's picks are written as it finishes. A tomogram that fails is reported at the end and does not stop
    the others; started again, the command goes on with what is not finished.

    Examples:

    `tomopick pick model.safetensors project/config.json --out picks.csv --runs TS_5,TS_6`

    `tomopick pick model.safetensors tomograms/ --out picks.star --voxel-spacing 10`

    `tomopick pick model.safetensors ts.mrc --out picks.star --precision 0.9`

    `tomopick pick first.safetensors project/config.json --out picks.csv --with second.safetensors --augment 4`
    """
    from tomopick.commands.pick import pick_all
    from tomopick.commands.sources import split_names
    from tomopick.commands.team import PickOptions, read_weights
    from tomopick.inference.device import chosen_device

    where = chosen_device(device, backend)
    options = PickOptions(
        kind=tomogram, spacing=voxel_spacing, stride=stride, threshold=threshold, border=border, mask=mask, dtype=dtype,
        expected_precision=precision, device=where, pixels=pixels, augment=augment, exclusive=exclusive, memory=memory,
        backend=backend,
    )  # fmt: skip
    failures = pick_all(
        [model, *(others or [])], inputs, out, options, weights=read_weights(weights), runs=split_names(runs),
        write_copick=write_copick, overwrite=overwrite, scores=save_scores, workers=workers,
    )  # fmt: skip
    typer.echo(f"picks: {out}" if out.exists() else "no picks were written")
    if failures:
        typer.echo("\n".join(["", f"failed, {len(failures)} in all:", *failures]), err=True)
        raise typer.Exit(1)
