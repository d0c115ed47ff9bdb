"""Names, options and help of `tomopick train`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from tomopick.cli.options import NETWORKS, Annotator, Device, Session, Spacing

__all__ = ["train"]


def train(
    project: Annotated[Path, typer.Argument(help="copick configuration (JSON), or the folder it lies in.")],
    out: Annotated[Path, typer.Option(help="Folder for the model, its log and its checkpoints.")],
    model: Annotated[
        str | None, typer.Option(help=f"Network: {NETWORKS}. heatmap-unet finds most.  [default: cryoet3dcnn]")
    ] = None,
    init: Annotated[
        str | None,
        typer.Option(
            metavar="MODEL",
            help="Model file to start from, of its network; it may know other objects. simulated: weights that "
            "tomopick brings, trained on its phantoms; none: fresh weights. Left out: simulated for heatmap-unet, "
            "else none.",
        ),
    ] = None,
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
    recipe: Annotated[
        Path | None,
        typer.Option(help="JSON file of training choices, as OUT/recipe.json; docs/recipe.md explains all."),
    ] = None,
    epochs: Annotated[
        int | None,
        typer.Option(
            help="Epochs; with --time-limit as many as fit.  [default: 50; 100 for networks of score maps]", min=1
        ),
    ] = None,
    time_limit: Annotated[
        float | None,
        typer.Option(help="Minutes of training, to which the schedule is fitted; start and thresholds take some more."),
    ] = None,
    batch_size: Annotated[int | None, typer.Option(help="Crops in a step.  [default: 4]", min=1)] = None,
    learning_rate: Annotated[
        float | None, typer.Option(help="Highest rate.  [default: 0.001; 0.003 for networks of score maps]")
    ] = None,
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
    resume: Annotated[
        bool,
        typer.Option(
            "--resume",
            help="Go on from the last finished epoch in OUT; of a finished training choose thresholds again.",
        ),
    ] = False,
    device: Device = "auto",
    devices: Annotated[int, typer.Option(help="GPUs; several train together (DDP).", min=1)] = 1,
    workers: Annotated[
        int | None, typer.Option(help="Processes that prepare crops.  [default: 0, or up to 8 for a GPU]", min=0)
    ] = None,
) -> None:
    """Train a network on annotated runs; the best model is left at OUT/model.safetensors.

    Runs are split whole: a run is for training or for validation. Calibration and score thresholds stored in the model
    come from the validation runs. With --folds each run validates once, and all of them decide together: OUT then
    holds a model in each fold_0, fold_1 and so on, and `tomopick pick OUT` picks with all.

    Examples:

    `tomopick train project/config.json --out runs/first --model heatmap-unet --val-runs TS_3 --time-limit 30`

    `tomopick train project/config.json --out runs/first --model heatmap-unet --val-runs TS_3 --time-limit 30 --resume`

    `tomopick train project/config.json --out runs/folds --model heatmap-unet --folds 5 --time-limit 20`

    `tomopick train project/config.json --out runs/tuned --init runs/first/model.safetensors --ignore-unlabelled 300`

    `tomopick train project/config.json --out runs/second --init runs/first/model.safetensors --corrections
    picks.corrections.csv --train-runs TS_1,TS_2,TS_4 --val-runs TS_3`
    """
    from tomopick.commands.sources import project_at, split_names

    project_at(project)  # what is not there is told at once: what follows takes seconds to import
    from tomopick.commands.folds import train_project_in_folds
    from tomopick.commands.train import read_recipe, resumed_recipe, train_project
    from tomopick.errors import DataError
    from tomopick.inference.device import chosen_device

    changes = {
        "model": model, "epochs": epochs, "time_limit": time_limit, "batch_size": batch_size,
        "learning_rate": learning_rate, "precision": precision, "seed": seed,
        "init": init, "ignore_unlabelled": ignore_unlabelled, "beta": beta,
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
