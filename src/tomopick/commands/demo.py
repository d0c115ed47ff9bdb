"""`tomopick demo`: the whole way, from simulated tomograms to a report, in a few minutes on a laptop."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tomopick.atomic import writing_into
from tomopick.blobs import find_blobs
from tomopick.commands.evaluate import card_of, memory_of, print_evaluation
from tomopick.commands.screen import out, progress_bar
from tomopick.commands.simulate import simulate_project
from tomopick.commands.train import FRESH, read_recipe, train_project
from tomopick.curves import best_thresholds
from tomopick.errors import DataError
from tomopick.evaluation import Evaluation, evaluate
from tomopick.inference.picking import pick
from tomopick.io.picks import write_picks
from tomopick.io.project import Project
from tomopick.matching import keep_above
from tomopick.models.modelfile import Model, load_model
from tomopick.picks import Picks
from tomopick.report import write_report
from tomopick.slices import plot_slices

__all__ = ["run_demo"]

RUNS = 9
VALIDATION = 2
SHAPE = (96, 192, 192)
PLAIN = {"turn": 0.0, "lean": 0.0, "scale": 0.0, "shot_noise": 0.0}
MARK = ".tomopick-demo"


def run_demo(folder: Path, minutes: float, seed: int) -> Path:
    """Simulate, train, pick a tomogram that was not trained on, evaluate beside a blob detector, report.

    Thresholds of both come from the same validation tomograms. A folder of an earlier demo is made anew.
    """
    _clear(folder)
    out.rule("1 of 4: simulate annotated tomograms")
    project, truth = simulate_project(folder / "project", RUNS, SHAPE, seed)
    *annotated, held = project.runs
    training, validation = annotated[:-VALIDATION], annotated[-VALIDATION:]
    out.print(f"{len(truth)} particles of {len(truth.objects)} kinds in {RUNS} tomograms", highlight=False)
    out.rule(f"2 of 4: train HeatmapUNet for {minutes:g} minutes")
    # from fresh weights, since those that tomopick brings know these phantoms; and so short that turns and noise only
    # slow it; the tomograms are all alike, so that thresholds need not allow for harder ones
    changes = {"model": "heatmap-unet", "init": FRESH, "time_limit": minutes, "seed": seed, "augmentation": PLAIN}
    recipe = read_recipe(None, changes | {"threshold_share": 1.0})
    trained = train_project(
        project.path, folder / "training", recipe, kind="wbp", spacing=10.0, training=training, validation=validation
    )
    out.rule(f"3 of 4: pick {held}, which was not trained on")
    model = load_model(trained.model)
    tomogram = project.tomogram(held, "wbp", 10.0)
    with progress_bar(held) as tell:
        picks = pick(model, tomogram, thresholds={}, progress=tell)
    kept = keep_above(picks, model.spec.thresholds)
    write_picks(folder / "picks.csv", kept)
    project.write_picks(kept, "demo", overwrite=True, runs=[held], objects=[o.name for o in project.objects])
    out.rule("4 of 4: evaluate")
    mine = truth.where(run=held)
    network = evaluate(picks, mine, project.objects, runs=[held], thresholds=model.spec.thresholds)
    blobs = _blob_detector(project, truth, validation, held)
    print_evaluation(blobs, f"Difference of Gaussians on {held}")
    print_evaluation(network, f"HeatmapUNet on {held}")
    out.print(f"blob detector: weighted F4 {blobs.score:.3f}; HeatmapUNet: {network.score:.3f}", highlight=False)
    return _report(folder, project, model, picks, mine, network, blobs, trained.history, held)


def _blob_detector(project: Project, truth: Picks, validation: Sequence[str], held: str) -> Evaluation:
    objects = project.objects
    found = {run: find_blobs(project.tomogram(run, "wbp", 10.0), objects) for run in (*validation, held)}
    thresholds = best_thresholds(Picks.join(found.values()), truth, objects, runs=validation)
    return evaluate(found[held], truth.where(run=held), objects, runs=[held], thresholds=thresholds)


def _report(
    folder: Path,
    project: Project,
    model: Model,
    picks: Picks,
    truth: Picks,
    network: Evaluation,
    blobs: Evaluation,
    history: pd.DataFrame,
    held: str,
) -> Path:
    tomogram = project.tomogram(held, "wbp", 10.0)
    kept = keep_above(picks, model.spec.thresholds)
    plot_slices(tomogram, kept, project.objects, folder / "slices.png", truth=truth)
    return write_report(
        folder / "report.html",
        title=f"tomopick demo: HeatmapUNet on {held}",
        objects=project.objects,
        evaluation=network,
        picks=picks,
        truth=truth,
        tomograms=[tomogram],
        histories=[history],
        memory=memory_of(folder / "training" / "model.safetensors"),
        model_card=card_of(folder / "training" / "model.safetensors"),
        baseline=blobs,
    )


def _clear(folder: Path) -> None:
    """Remove what an earlier demo made, and nothing else."""
    mark = folder / MARK
    if folder.exists() and any(folder.iterdir()):
        if not mark.exists():
            raise DataError(f"{folder} holds something that is not an earlier demo; choose another --out")
        shutil.rmtree(folder)
    with writing_into(folder):
        mark.touch()
