"""The command line: names, options and help of each command; what they do is in `tomopick.commands`.

Nothing heavy is imported here: `tomopick --help` answers at once.
"""

from __future__ import annotations

import math
import os
import sys
import warnings
from pathlib import Path
from typing import Annotated, NoReturn

import typer

from tomopick.errors import TomopickError

__all__ = ["app", "main"]

app = typer.Typer(
    name="tomopick",
    help="Find and classify protein particles in cryo-electron tomograms.\n\n"
    "The usual way: import (or simulate) a project, train on its annotated runs, pick the others, evaluate, report. "
    "`tomopick demo` does all of it in a few minutes.",
    add_completion=False,
    pretty_exceptions_enable=False,
    rich_markup_mode="markdown",
    context_settings={"help_option_names": ["-h", "--help"]},
)

INTERRUPTED = 130
"""The exit code after a keyboard interrupt, as shells have it."""

NETWORKS = "cryoet3dcnn, heatmap-unet, segresnet or dynunet"


def _above_zero(value: float | None) -> float | None:
    if value is not None and not 0 < value < math.inf:
        raise typer.BadParameter(f"{value:g} is not a number above 0")
    return value


Kind = Annotated[str, typer.Option("--tomogram", help="Tomogram type in copick projects, such as wbp or denoised.")]
Spacing = Annotated[
    float | None,
    typer.Option("--voxel-spacing", help="Angstrom; overrides what files say.", callback=_above_zero),
]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Replace results that are there.")]
Device = Annotated[str, typer.Option(help="cpu, cuda, mps or auto.")]
Objects = Annotated[
    list[str] | None, typer.Option("--object", help="NAME=RADIUS or NAME=RADIUS:WEIGHT (radius in A); repeatable.")
]
Runs = Annotated[str | None, typer.Option("--runs", help="Only these, separated by commas.")]
Annotations = Annotated[
    bool, typer.Option("--annotated", help="Of a project, its annotations rather than tomopick's picks.")
]
Annotator = Annotated[str | None, typer.Option("--user", help="Whose annotations; needed where several differ.")]
Session = Annotated[str | None, typer.Option("--session", help="Which session's annotations.")]


def _print_version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"tomopick {version('tomopick')}")
        raise typer.Exit


@app.callback()
def _front(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """What is said before any command."""


@app.command()
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


@app.command("import")
def import_(
    source: Annotated[Path, typer.Argument(help="A folder of tomogram files, or a RELION 5 tomograms.star.")],
    out: Annotated[Path, typer.Argument(help="Folder of the new copick project.")],
    picks: Annotated[Path | None, typer.Option(help="CSV or STAR file of annotations.")] = None,
    objects: Annotated[
        list[str] | None,
        typer.Option("--object", help="NAME=RADIUS, or NAME_IN_PICKS:NAME=RADIUS (radius in A); repeatable."),
    ] = None,
    kind: Kind = "wbp",
    voxel_spacing: Spacing = None,
) -> None:
    """Make a copick project of what a lab has: tomogram files and picks.

    STAR picks may be RELION 5's rlnCenteredCoordinateX/Y/ZAngst, or rlnCoordinateX/Y/Z in pixels of the tomogram;
    rlnTomoName or rlnMicrographName says which. CSV picks have the columns experiment, x, y, z (Angstrom from the first
    voxel) and particle_type. Picks are of the objects that particle_type, tomopickObject (STAR) or, with several
    objects, rlnClassNumber tells; of the one object that is named where a file tells none.

    Examples:

    `tomopick import tomograms/ project/ --picks picks.star --object ribosome=150`

    `tomopick import tomograms.star project/ --picks particles.star --object "80S:ribosome=150"`
    """
    from tomopick.commands.imports import import_lab

    import_lab(source, out, picks, objects or [], kind, voxel_spacing)


@app.command()
def simulate(
    out: Annotated[Path, typer.Argument(help="Folder of the new project.")],
    runs: Annotated[int, typer.Option(help="How many tomograms.", min=1)] = 3,
    shape: Annotated[tuple[int, int, int], typer.Option(metavar="Z Y X", help="Voxels along z, y and x.")] = (
        96,
        192,
        192,
    ),
    seed: Annotated[int, typer.Option(help="Another seed makes other tomograms.", min=0)] = 0,
) -> None:
    """Make a project of phantom tomograms with known particles: OUT/config.json and OUT/truth.csv.

    The same shape and seed make the same tomograms. `tomopick demo` trains on those of its own seed (0) and the
    shape 96 192 192: to try its model on tomograms that it has not seen, give another seed.

    Example: `tomopick simulate phantom --runs 3 --shape 96 192 192 --seed 0`
    """
    from tomopick.commands.simulate import simulate_project

    _, truth = simulate_project(out, runs, shape, seed)
    typer.echo(f"{out / 'config.json'}: {runs} tomograms with {len(truth)} particles; truth in {out / 'truth.csv'}")


@app.command()
def train(
    project: Annotated[Path, typer.Argument(help="copick configuration (JSON), or the folder it lies in.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, its log and its checkpoints.")],
    model: Annotated[str | None, typer.Option(help=f"Network: {NETWORKS}.  [default: cryoet3dcnn]")] = None,
    init: Annotated[Path | None, typer.Option(help="Model file to start from; it may know other objects.")] = None,
    tomogram: Annotated[
        str,
        typer.Option(help="Tomogram type, such as wbp; more, as in wbp,denoised, vary what training sees of a run."),
    ] = "wbp",
    voxel_spacing: Spacing = None,
    train_runs: Annotated[str | None, typer.Option(help="Runs to learn from.  [default: all others]")] = None,
    val_runs: Annotated[str | None, typer.Option(help="Runs to validate on.  [default: the last fifth]")] = None,
    user: Annotator = None,
    session: Session = None,
    partial: Annotated[
        bool, typer.Option("--partial", help="A run may hold objects that it has no set of annotations of.")
    ] = False,
    ignore_unlabelled: Annotated[
        float | None,
        typer.Option(
            metavar="RADIUS",
            help="Not all particles are annotated: learn only from within this many A of those that are.",
        ),
    ] = None,
    corrections: Annotated[
        Path | None, typer.Option(metavar="FILE", help="What `tomopick view` wrote: corrected runs teach that, too.")
    ] = None,
    recipe: Annotated[Path | None, typer.Option(help="JSON file of training choices, as OUT/recipe.json.")] = None,
    epochs: Annotated[
        int | None,
        typer.Option(help="Epochs; with --time-limit as many as fit.  [default: 50]", min=1),
    ] = None,
    time_limit: Annotated[
        float | None, typer.Option(help="Minutes of training; the schedule is fitted to them.")
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Crops in a step.  [default: 4]", min=1)] = None,
    learning_rate: Annotated[float | None, typer.Option(help="Highest rate.  [default: 0.001]")] = None,
    precision: Annotated[str | None, typer.Option(help="auto, fp32, bf16 or fp16.  [default: auto]")] = None,
    seed: Annotated[int | None, typer.Option(help="Seed of everything random.  [default: 0]", min=0)] = None,
    seeds: Annotated[int, typer.Option(help="Train this often, with seeds counting up.", min=1)] = 1,
    folds: Annotated[
        int | None,
        typer.Option(help="Train this many models, each keeping other runs back; scores are settled on those.", min=2),
    ] = None,
    beta: Annotated[float | None, typer.Option(help="Thresholds are for the best F-beta.  [default: 4.0]")] = None,
    at_precision: Annotated[
        float | None, typer.Option(help="Thresholds are for this expected precision, such as 0.9, instead.")
    ] = None,
    resume: Annotated[bool, typer.Option("--resume", help="Go on from the last finished epoch in OUT.")] = False,
    device: Device = "cpu",
    devices: Annotated[int, typer.Option(help="GPUs; several train together (DDP).", min=1)] = 1,
    workers: Annotated[int, typer.Option(help="Processes that prepare crops.", min=0)] = 0,
) -> None:
    """Train a network on annotated runs; the best model is left at OUT/model.safetensors.

    Runs are split whole: a run is for training or for validation. Calibration and score thresholds stored in the model
    come from the validation runs. With --folds each run validates once, and all of them decide together: OUT then
    holds a model in each fold_0, fold_1 and so on, and `tomopick pick OUT` picks with all.

    Examples:

    `tomopick train project/config.json --out runs/first --train-runs TS_1,TS_2 --val-runs TS_3 --time-limit 30`

    `tomopick train project/config.json --out runs/first --val-runs TS_3 --resume`

    `tomopick train project/config.json --out runs/folds --model heatmap-unet --folds 5 --time-limit 20`

    `tomopick train project/config.json --out runs/tuned --init runs/first/model.safetensors --ignore-unlabelled 300`

    `tomopick train project/config.json --out runs/second --init runs/first/model.safetensors --corrections
    picks.corrections.csv --train-runs TS_1,TS_2,TS_4 --val-runs TS_3`
    """
    from tomopick.commands.folds import train_project_in_folds
    from tomopick.commands.sources import split_names
    from tomopick.commands.train import read_recipe, resumed_recipe, train_project
    from tomopick.errors import DataError
    from tomopick.inference.device import chosen_device

    changes = {
        "model": model, "epochs": epochs, "time_limit": time_limit, "batch_size": batch_size,
        "learning_rate": learning_rate, "precision": precision, "seed": seed,
        "init": init and init.resolve(), "ignore_unlabelled": ignore_unlabelled, "beta": beta,
        "at_precision": at_precision,
    }  # fmt: skip
    written = recipe or (resumed_recipe(out) if resume else None)
    chosen = read_recipe(written, dict(changes))
    if folds is not None:
        if val_runs or seeds > 1 or corrections:
            raise DataError(
                "with --folds each run validates in its turn: leave out --val-runs, --seeds and --corrections"
            )
        train_project_in_folds(
            project, out, chosen, folds, kind=tomogram, spacing=voxel_spacing, runs=split_names(train_runs), user=user,
            session=session, partial=partial, resume=resume, device=chosen_device(device), devices=devices,
            workers=workers,
        )  # fmt: skip
        return
    train_project(
        project, out, chosen, kind=tomogram, spacing=voxel_spacing,
        training=split_names(train_runs), validation=split_names(val_runs), user=user, session=session,
        partial=partial, corrections=corrections, seeds=seeds, resume=resume, device=chosen_device(device),
        devices=devices, workers=workers,
    )  # fmt: skip


@app.command()
def pick(
    model: Annotated[
        Path,
        typer.Argument(help="Model file, or a folder of models in fold_0, fold_1 and so on."),
    ],
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="copick project, tomogram file or folder.")],
    out: Annotated[Path, typer.Option(help="Picks file: .csv (CZII form and score) or .star (RELION).")],
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
    device: Device = "cpu",
    memory: Annotated[
        float,
        typer.Option(help="GB that heatmap networks should stay below with one tomogram; thinner slabs do.", min=0),
    ] = 1.5,
    save_scores: Annotated[
        Path | None, typer.Option(metavar="FOLDER", help="Write score maps here as well, as OME-Zarr by tomogram.")
    ] = None,
    pixels: Annotated[bool, typer.Option("--pixels", help="STAR in pixels instead of RELION 5's centred A.")] = False,
    write_copick: Annotated[
        bool, typer.Option("--write-copick", help="Also into the project, as user tomopick.")
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Find particles in tomograms and write them as CSV or STAR, and into copick projects.

    Each tomogram's picks are written as it finishes. A tomogram that fails is reported at the end and does not stop
    the others; started again, the command goes on with what is not finished.

    Examples:

    `tomopick pick model.safetensors project/config.json --out picks.csv --runs TS_5,TS_6`

    `tomopick pick model.safetensors tomograms/ --out picks.star --voxel-spacing 10`

    `tomopick pick model.safetensors ts.mrc --out picks.star --precision 0.9`

    `tomopick pick first.safetensors project/config.json --out picks.csv --with second.safetensors --augment 4`
    """
    from tomopick.commands.pick import PickOptions, pick_all, read_weights
    from tomopick.commands.sources import split_names
    from tomopick.inference.device import chosen_device

    where = chosen_device(device)
    options = PickOptions(
        kind=tomogram, spacing=voxel_spacing, stride=stride, threshold=threshold, border=border, mask=mask, dtype=dtype,
        expected_precision=precision, device=where, pixels=pixels, augment=augment, exclusive=exclusive, memory=memory,
    )  # fmt: skip
    failures = pick_all(
        [model, *(others or [])], inputs, out, options, weights=read_weights(weights), runs=split_names(runs),
        write_copick=write_copick, overwrite=overwrite, scores=save_scores,
    )  # fmt: skip
    typer.echo(f"picks: {out}" if out.exists() else "no picks were written")
    if failures:
        typer.echo("\n".join(["", f"failed, {len(failures)} in all:", *failures]), err=True)
        raise typer.Exit(1)


@app.command()
def evaluate(
    truth: Annotated[Path, typer.Option(help="copick project, CSV or STAR of true particles.")],
    picks: Annotated[Path, typer.Option(help="copick project, CSV or STAR of picks.")],
    json_file: Annotated[Path | None, typer.Option("--json", help="Write all figures there too.")] = None,
    beta: Annotated[
        float, typer.Option(help="Recall counts beta times as much as precision.", callback=_above_zero)
    ] = 4.0,
    runs: Runs = None,
    objects: Objects = None,
    user: Annotated[str | None, typer.Option(help="Of a project's truth: this user's picks.")] = None,
    session: Annotated[str | None, typer.Option(help="Of a project's picks: this model's.")] = None,
) -> None:
    """Score picks against the truth as the CZII challenge does (weighted F-beta), with precision, recall and more.

    Examples:

    `tomopick evaluate --truth project/config.json --picks picks.csv --runs TS_5,TS_6`

    `tomopick evaluate --truth truth.csv --picks picks.csv --object mine=80 --json scores.json`
    """
    from tomopick.commands.evaluate import evaluate_files
    from tomopick.commands.sources import split_names

    evaluate_files(
        truth, picks, beta=beta, runs=split_names(runs), objects=objects or [], user=user, session=session,
        json_path=json_file,
    )  # fmt: skip


@app.command()
def report(
    picks: Annotated[Path, typer.Option(help="copick project, CSV or STAR of picks.")],
    inputs: Annotated[list[Path] | None, typer.Argument(metavar="INPUT", help="Tomograms to show.")] = None,
    out: Annotated[Path, typer.Option(help="The page.")] = Path("report.html"),
    truth: Annotated[Path | None, typer.Option(help="copick project, CSV or STAR of true particles.")] = None,
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


@app.command()
def memory(
    out: Annotated[Path, typer.Option(help="Folder for memory.json, memory.csv and memory_usage.png.")],
    model: Annotated[str, typer.Option(help=f"Network: {NETWORKS}.")] = "cryoet3dcnn",
    window: Annotated[int, typer.Option(help="Edge of the input in voxels.", min=1)] = 64,
    batch: Annotated[int, typer.Option(help="Inputs at a time.", min=1)] = 1,
    classes: Annotated[int, typer.Option(help="Objects and background.", min=2)] = 7,
    device: Device = "cpu",
) -> None:
    """Measure the memory of a network by layer, in training and in use, beside what its shapes say.

    Example: `tomopick memory --model cryoet3dcnn --window 64 --batch 1 --classes 7 --out memory`
    """
    from tomopick.commands.memory import measure
    from tomopick.inference.device import chosen_device

    measure(out, model, window, batch, classes, chosen_device(device))


@app.command()
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


@app.command()
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


@app.command()
def average(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="copick project, tomogram file or folder.")],
    picks: Annotated[Path, typer.Option(help="copick project, CSV or STAR of picks.")],
    out: Annotated[Path, typer.Option(help="Folder for OBJECT.mrc and averages.png.")],
    annotated: Annotations = False,
    box: Annotated[
        float | None,
        typer.Option(help="Edge of a subtomogram in A.  [default: three radii]", callback=_above_zero),
    ] = None,
    stacks: Annotated[bool, typer.Option("--stacks", help="Write the subtomograms, too, as OBJECT_stack.mrc.")] = False,
    tomogram: Kind = "wbp",
    voxel_spacing: Spacing = None,
    runs: Runs = None,
    objects: Objects = None,
) -> None:
    """Average what was picked, object by object, without turning it: a first look at whether picks are particles.

    Particles lie in all orientations, so good picks give a round, dark middle of the particle's size; picks of nothing
    give noise.

    Example: `tomopick average project/config.json --picks picks.star --out averages --stacks`
    """
    from tomopick.commands.average import average_picks
    from tomopick.commands.sources import split_names

    average_picks(
        inputs, picks, out, kind=tomogram, spacing=voxel_spacing, runs=split_names(runs), objects=objects or [],
        annotated=annotated, box=box, stacks=stacks,
    )  # fmt: skip


@app.command()
def convert(
    source: Annotated[Path, typer.Argument(metavar="IN", help="CSV, STAR, CMM or MOD of picks, or a copick project.")],
    target: Annotated[
        Path, typer.Argument(metavar="OUT", help=".csv (CZII form), .star (RELION), .cmm (ChimeraX) or .mod (IMOD).")
    ],
    tomograms: Annotated[
        list[Path] | None,
        typer.Option(help="Tomograms, whose sizes RELION 5's centred coordinates need; repeatable."),
    ] = None,
    tomogram: Kind = "wbp",
    voxel_spacing: Spacing = None,
    object_name: Annotated[str | None, typer.Option("--object", help="The object, where IN does not name any.")] = None,
    annotated: Annotations = False,
    pixels: Annotated[bool, typer.Option("--pixels", help="STAR in pixels of --voxel-spacing, not centred.")] = False,
    runs: Runs = None,
) -> None:
    """Write picks in another format, which the name of OUT tells. Coordinates and scores are kept.

    Examples:

    `tomopick convert picks.csv picks.star --tomograms project/config.json`

    `tomopick convert picks.star picks.cmm --tomograms tomograms/`, to open with the tomogram in ChimeraX

    `tomopick convert picks.csv TS_1.mod --tomograms tomograms/ --runs TS_1`, for `3dmod TS_1.mrc TS_1.mod`
    """
    from tomopick.commands.convert import convert_picks
    from tomopick.commands.sources import split_names

    convert_picks(
        source, target, tomograms=tomograms or [], kind=tomogram, spacing=voxel_spacing, object_name=object_name,
        annotated=annotated, pixels=pixels, runs=split_names(runs),
    )  # fmt: skip


@app.command()
def view(
    inputs: Annotated[list[Path], typer.Argument(metavar="INPUT", help="copick project, tomogram file or folder.")],
    picks: Annotated[Path | None, typer.Option(help="copick project, CSV or STAR of picks.")] = None,
    truth: Annotated[
        Path | None, typer.Option(help="copick project, CSV or STAR of true particles: shows precision and recall.")
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
        int, typer.Option(help="The page's; the viewer takes the next one.  [default: any free]", min=0, max=65534)
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


@app.command()
def info(
    path: Annotated[Path, typer.Argument(help="Tomogram, picks file, copick project or model.")],
    voxel_spacing: Spacing = None,
) -> None:
    """Say what a file holds: size and spacing of a tomogram, counts of picks, runs of a project, a model's card.

    Examples: `tomopick info ts.mrc`, `tomopick info model.safetensors`
    """
    from tomopick.commands.info import describe

    describe(path, voxel_spacing)


def _one_line(message: Warning | str, category: type[Warning], *_: object, **__: object) -> None:
    if issubclass(category, UserWarning):
        print(f"notice: {' '.join(str(message).split())}", file=sys.stderr)


def _refuse(reason: str) -> NoReturn:
    print(f"error: {' '.join(reason.split())}", file=sys.stderr)
    raise SystemExit(2) from None


def main() -> None:
    """Run the command line. Bad input is one line on standard error and exit code 2."""
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    warnings.showwarning = _one_line
    try:
        code = app(args=sys.argv[1:] or ["--help"], prog_name="tomopick", standalone_mode=False)
    except TomopickError as error:
        _refuse(str(error))
    except typer.TyperException as error:  # options and arguments that do not hold
        command = getattr(getattr(error, "ctx", None), "command_path", "tomopick")
        _refuse(f"{error.format_message().rstrip('.')}; see {command} --help")
    except OSError as error:
        _refuse(f"{error.strerror or error}{f' ({error.filename})' if error.filename else ''}")
    except MemoryError as error:
        _refuse(f"not enough memory: {error}")
    if code == INTERRUPTED:
        print("interrupted; `pick` started again and `train --resume` go on where they stopped", file=sys.stderr)
    raise SystemExit(code if isinstance(code, int) else 0)


if __name__ == "__main__":
    main()
