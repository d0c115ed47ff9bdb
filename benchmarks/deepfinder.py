"""A network of tomopick beside DeepFinder on the small simulated tomograms that DeepFinder ships for its own tests.

FOLDER holds, for N = 1 to 7, tomoN_data.h5 (data set "dataset"), tomoN_objlist.xml (27 true particles of nine classes,
in voxels) and tomoN_deepfinder_result.xml (what DeepFinder published that it finds there, with cluster sizes).
Trains on tomograms 1 to 5, tests on 6 and 7. With five tomograms none is spared for validation: thresholds, and the
epoch of a network that chooses one, come from a copy of tomogram 5, which the network has seen; `--spare` keeps 5 out
of the training instead.
The files do not say their voxel size, so it is taken as 10 A. A particle is found by a pick of its class within 5
voxels. The lists call the first axis of the arrays x and the last z: so the particles lie on the bundle's label volumes
(tomoN_target.h5).
"""

from __future__ import annotations

import argparse
import xml.etree.ElementTree as ElementTree
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path

import pandas as pd
from machine import Machine, peak_memory_gb
from measure import (
    TimedPicks,
    answer,
    markdown_table,
    recipe_of,
    timed_pick,
    training_arguments,
    training_lines,
    write_results,
)

from tomopick.commands.train import train_project
from tomopick.curves import best_thresholds, f_beta
from tomopick.errors import DataError
from tomopick.evaluation import Evaluation, evaluate
from tomopick.geometry import angstrom_from_voxel
from tomopick.inference.device import chosen_device
from tomopick.io.project import Project, create_project
from tomopick.io.tomograms import read_tomogram
from tomopick.models.modelfile import load_model
from tomopick.objects import ParticleObject, distinct_color
from tomopick.picks import Picks

SPACING = 10.0
KIND = "simulated"
ARRAY_AXES = "xyz"  # what the lists call the axes of the arrays, first to last
TRAINING, VALIDATION, TEST = ["tomo1", "tomo2", "tomo3", "tomo4"], "tomo5", ["tomo6", "tomo7"]
SEEN = "tomo5-seen"  # the copy that epoch and thresholds are chosen on where tomogram 5 is trained on
OBJECTS = tuple(
    ParticleObject(name=f"class-{i}", radius=100, label=i, color=distinct_color(i - 1)) for i in range(1, 10)
)


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path, help="DeepFinder's test tomograms, particles and results")
    training_arguments(parser, minutes=20, epochs=None, patience=None)
    parser.add_argument("--network", default="heatmap-unet", help="as `tomopick train --model` (%(default)s)")
    parser.add_argument("--init", type=Path, metavar="MODEL", help="start from this model, trained on something else")
    parser.add_argument("--window", type=int, help="edge of CryoET3DCNN's window, voxels (64)")
    parser.add_argument("--spare", action="store_true", help="do not train on tomogram 5, which validates")
    return parser.parse_args()


def particles(path: Path, run: str) -> Picks:
    """Particles of one of DeepFinder's XML lists; the score is the cluster size, 1 where there is none.

    Raises:
        DataError: the file cannot be read, or is not such a list.
    """
    try:
        found = list(ElementTree.parse(path).getroot().iter("object"))
        voxels = [[float(one.attrib[axis]) for axis in ARRAY_AXES] for one in found]
        sizes = [float(one.get("cluster_size", 1)) for one in found]
        names = [f"class-{int(one.attrib['class_label'])}" for one in found]
    except OSError as error:
        raise DataError(f"cannot read {path}: {error.strerror}") from error
    except (ElementTree.ParseError, KeyError, ValueError) as error:
        raise DataError(f"{path} is not a list of DeepFinder's objects: {error}") from error
    xyz = angstrom_from_voxel(voxels, SPACING)
    return Picks(pd.DataFrame(xyz, columns=["x", "y", "z"]).assign(run=run, object=names, score=sizes))


def as_project(folder: Path, out: Path) -> Project:
    """A copick project of DeepFinder's tomograms and true particles."""
    project = create_project(out / "project" / "config.json", OBJECTS, name="DeepFinder test tomograms")
    names = {run: run for run in [*TRAINING, VALIDATION, *TEST]} | {SEEN: VALIDATION}
    for run, source in names.items():
        tomogram = read_tomogram(folder / f"{source}_data.h5", voxel_spacing=SPACING, dataset="dataset")
        project.add_tomogram(run, KIND, SPACING, tomogram[:, :, :])
        project.add_picks(particles(folder / f"{source}_objlist.xml", run), "deepfinder", "truth")
    return project


def scored(picks: Picks, truth: Picks, thresholds: Mapping[str, float]) -> Evaluation:
    """F1 and counts on the test tomograms."""
    return evaluate(picks, truth, OBJECTS, beta=1, runs=TEST, thresholds=thresholds)


def pooled_f1(result: Evaluation) -> float:
    """F1 of the counts of all classes together."""
    every = result.overall
    return float(f_beta(every.tp, every.fp, every.fn, 1))


def f1_lines(results: Mapping[str, Evaluation]) -> list[str]:
    """F1 by class and in all, a column for each picker, as a Markdown table."""
    rows = [[o.name, *(f"{r.by_object[o.name].f1:.3f}" for r in results.values())] for o in OBJECTS]
    rows.append(["**all**", *(f"**{pooled_f1(r):.3f}**" for r in results.values())])
    return markdown_table(["F1", *results], rows)


def count_lines(results: Mapping[str, Evaluation]) -> list[str]:
    """Hits, false picks, misses and localisation error of each picker, as a Markdown table."""
    rows = []
    for name, result in results.items():
        every = result.overall
        error = every.localisation_error_angstrom
        distance = "" if error is None else f"{error / SPACING:.2f}"
        precision = every.tp / max(every.tp + every.fp, 1)
        recall = every.tp / max(every.tp + every.fn, 1)
        rows.append(
            [name, *(str(n) for n in (every.tp, every.fp, every.fn)), f"{precision:.3f}", f"{recall:.3f}", distance]
        )
    return markdown_table(["picker", "hits", "false", "missed", "precision", "recall", "median error (voxels)"], rows)


def result_lines(
    name: str, results: Mapping[str, Evaluation], timed: Mapping[str, TimedPicks], training: list[str], validated: str
) -> list[str]:
    """The whole page of results, as Markdown."""
    seconds = ", ".join(f"{run} {t.seconds:.1f} s ({t.milliseconds:.3f} ms a position)" for run, t in timed.items())
    return [
        f"# {name} and DeepFinder on {' and '.join(TEST)}",
        "",
        *Machine().lines(),
        f"- peak memory {peak_memory_gb():.2f} GB",
        *training,
        "",
        "A hit is a true particle with a pick of its class within 5 voxels; counts are those of both test tomograms.",
        f"{name}'s thresholds are the best on {validated} for F1, and for F4 (those in the model file).",
        "DeepFinder's picks are all those that it published, with no threshold on the cluster size;",
        "its network may have been trained on these tomograms.",
        "",
        *f1_lines(results),
        "",
        *count_lines(results),
        "",
        f"Picking in fp32: {seconds}.",
    ]


def main() -> None:
    """Train, test, and print both beside each other."""
    args = parsed()
    published = Picks.join(particles(args.folder / f"{run}_deepfinder_result.xml", run) for run in TEST)
    network: dict[str, object] = {"init": args.init} if args.init else {"model": args.network}
    recipe = recipe_of(args, **network | ({"arguments": {"window": args.window}} if args.window else {}))
    project = as_project(args.folder, args.out)
    validation, device = [VALIDATION if args.spare else SEEN], chosen_device(args.device)
    trained = train_project(
        project.path,
        args.out / "training",
        recipe,
        kind=KIND,
        spacing=SPACING,
        training=TRAINING if args.spare else [*TRAINING, VALIDATION],
        validation=validation,
        device=device,
        workers=args.workers,
    )
    model = load_model(trained.model)
    timed = {run: timed_pick(model, project.tomogram(run, KIND), device=device) for run in TEST}
    picks = Picks.join(t.picks for t in timed.values())
    truth = Picks.join(project.picks(run=run) for run in TEST)
    known = Picks.join(project.picks(run=run) for run in validation)
    own = model.spec.thresholds  # stands in for a class that was not found in validation
    for_f1 = own | best_thresholds(trained.validation_picks, known, OBJECTS, beta=1, runs=validation)
    results = {
        recipe.model: scored(picks, truth, for_f1),
        f"{recipe.model}, F4 thresholds": scored(picks, truth, own),
        "DeepFinder": scored(published, truth, {}),
    }
    facts = {
        "machine": asdict(Machine()),
        "peak_memory_gb": peak_memory_gb(),
        "model": model.spec.model_dump(mode="json"),
        "history": trained.history.to_dict(orient="list"),
        "seconds": {run: t.seconds for run, t in timed.items()},
        "pooled_f1": {name: pooled_f1(result) for name, result in results.items()},
        "scores": {name: result.to_json() for name, result in results.items()},
    }
    lines = result_lines(recipe.model, results, timed, training_lines(model.spec, trained.history), validation[0])
    write_results(args.out, lines, facts, args.json)


if __name__ == "__main__":
    answer(main)
