"""Names, options and help of `tomopick simulate`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["simulate"]


def simulate(
    out: Annotated[Path, typer.Argument(help="Folder of the new project.")],
    runs: Annotated[int, typer.Option(help="How many tomograms.", min=1)] = 3,
    shape: Annotated[tuple[int, int, int], typer.Option(metavar="Z Y X", help="Voxels along z, y and x.")] = (
        96,
        192,
        192,
    ),
    particle: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME=FILE[:KDA]",
            help="A particle to simulate instead of CZII's six, by its atomic model (PDB, mmCIF; its first biological "
            "assembly) or a map (MRC, bright particle, with its mass in kDa); repeatable.",
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Another seed makes other tomograms.", min=0)] = 0,
    vary: Annotated[
        bool,
        typer.Option(
            "--vary",
            help="Each tomogram has a microscope, a noise and a crowding of its own: for training networks that shall "
            "know others than one.",
        ),
    ] = False,
    jobs: Annotated[
        int, typer.Option(help="Tomograms made at a time, each by a process; they stay the same.", min=1)
    ] = 1,
) -> None:
    """Make a project of phantom tomograms with known particles: OUT/config.json and OUT/truth.csv.

    The same shape and seed make the same tomograms. `tomopick demo` trains on those of its own seed (0) and the
    shape 96 192 192: to try its model on tomograms that it has not seen, give another seed. Where it was stopped, the
    same command goes on after the last tomogram that was finished.

    Example: `tomopick simulate phantom --runs 3 --shape 96 192 192 --seed 0`

    Example: `tomopick simulate many --runs 12 --shape 128 256 256 --vary --jobs 4`

    With your own particles it makes something to train on before, or without, annotations:

    Example: `tomopick simulate mine --runs 12 --shape 128 256 256 --vary --particle ribosome=6qzp.cif --particle
    complex=average.mrc:650`

    What is trained on them (`tomopick train mine/config.json --out start --model heatmap-unet`) is a start for training
    on real tomograms (`--init start/model.safetensors`). Voxels are of 10 A, and a training needs two tomograms.
    """
    from tomopick.commands.simulate import simulate_project
    from tomopick.io.structures import parse_structure

    structures = [parse_structure(text) for text in particle or []]
    for one in structures:
        typer.echo(f"{one.name}: {one.mass:.4g} kDa, radius {one.radius:.0f} A")
    _, truth = simulate_project(out, runs, shape, seed, vary=vary, jobs=jobs, structures=structures)
    typer.echo(f"{out / 'config.json'}: {runs} tomograms with {len(truth)} particles; truth in {out / 'truth.csv'}")
