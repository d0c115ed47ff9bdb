"""Train a network with each choice of its recipe changed in turn, for the same short time, and judge all alike.

Each trial trains on four runs of CONFIG for so many minutes on one core and is judged on one other run, in CONFIG and,
if given, in JUDGE_CONFIG (the same run as a whole tomogram): by the weighted F4, and the mean F1 of the objects that
have a weight, with the best threshold of each object on that very run, so that the choice of thresholds plays no part.
The validation run is the judged one; the default recipe takes nothing from it but thresholds, which are not used here.
Test runs are not touched. Trials that finished are kept in DIR and not repeated; the table, in Markdown, shows all.
"""

from __future__ import annotations

import argparse
import json
import re
from collections.abc import Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from multiprocessing import get_context
from pathlib import Path
from typing import Self

import numpy as np
import torch
from machine import Machine
from measure import answer, make_folder, markdown_table, mean_f1

from tomopick.atomic import replacing
from tomopick.commands.sources import project_at
from tomopick.commands.train import read_recipe, train_project
from tomopick.curves import best_thresholds
from tomopick.evaluation import Evaluation, evaluate
from tomopick.inference.engine import score_map
from tomopick.inference.peaks import find_peaks
from tomopick.models.modelfile import Model, load_model

TRAIN, JUDGED = ["TS_6_4", "TS_6_6", "TS_69_2", "TS_73_6"], "TS_86_3"
SPHERES = {"positive_radius": 8.0, "positive_share": 0.5, "tversky": 1.0, "object_weight": None, "balance": 0.5}
VARIANTS: dict[str, dict[str, object]] = {
    "default": {},
    "object weight 16": {"object_weight": 16},
    "object weight 256": {"object_weight": 256},
    "centres of 2 voxels": {"positive_radius": 2.0},
    "spheres of 0.5 r, Tversky + CE": SPHERES,
    "focal loss, gamma 2": {"gamma": 2.0},
    "mixup 1.0": {"mixup": 1.0},
    "no moving average": {"ema": 0.0},
    "no spectrum, no tilts lost": {"augmentation": {"spectrum": 0.0, "wedge": 0.0}},
    "no spectrum": {"augmentation": {"spectrum": 0.0}},
    "no tilts lost": {"augmentation": {"wedge": 0.0}},
    "quarter turns about z": {"augmentation": {"rotations": "z"}},
    "turned freely about z": {"augmentation": {"turn": 180.0, "lean": 8.0, "scale": 0.08}},
    "turned by 15 degrees": {"augmentation": {"turn": 15.0, "lean": 8.0, "scale": 0.08}},
    "size tiny": {"arguments": {"size": "tiny"}},
    "size base": {"arguments": {"size": "base"}},
    "crops of 96": {"positions": 48, "batch_size": 2},
    "crops of 48": {"positions": 24, "batch_size": 8},
    "SegResNet": {"model": "segresnet"},
    "DynUNet": {"model": "dynunet"},
}


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="copick project with the runs of the CZII challenge")
    parser.add_argument("--judge-config", type=Path, metavar="CONFIG", help="project with the judged run as a whole")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for all trials")
    parser.add_argument("--minutes", type=float, default=6, help="training time of a trial (%(default)s)")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1], help="(%(default)s)")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS), metavar="NAME")
    parser.add_argument("--jobs", type=int, default=2, help="trials at a time, each on one core (%(default)s)")
    return parser.parse_args()


@dataclass(frozen=True)
class Reached:
    """What the best thresholds reach on the judged run: weighted F4, mean F1, and F4 by object."""

    f4: float
    f1: float
    by_object: dict[str, float]


@dataclass(frozen=True)
class Trial:
    """One training and what it reached, by the name of the project it was judged in."""

    variant: str
    seed: int
    epochs: int
    reached: dict[str, Reached]

    @classmethod
    def read(cls, path: Path) -> Self:
        """One that finished before."""
        facts = json.loads(path.read_text())
        return cls(**facts | {"reached": {place: Reached(**r) for place, r in facts["reached"].items()}})


def trial(name: str, seed: int, minutes: float, configs: Mapping[str, Path], folder: Path) -> Trial:
    """Train one variant with one seed and judge it; the facts, also in FOLDER/trial.json."""
    torch.set_num_threads(1)
    make_folder(folder)
    recipe = read_recipe(None, {"model": "heatmap-unet", "time_limit": minutes, "seed": seed} | VARIANTS[name])
    trained = train_project(
        configs["crop"], folder, recipe, kind="wbp", spacing=None, training=TRAIN, validation=[JUDGED], resume=True
    )
    model = load_model(trained.model)
    found = Trial(name, seed, len(trained.history), {place: reached(model, at) for place, at in configs.items()})
    with replacing(folder / "trial.json") as temporary:
        temporary.write_text(json.dumps(asdict(found), indent=2) + "\n")
    return found


def reached(model: Model, config: Path) -> Reached:
    """The best F4 and F1 that any thresholds reach on the judged run of a project."""
    project = project_at(config)
    truth, objects = project.picks(run=JUDGED), model.spec.objects
    picks = find_peaks(score_map(model, project.tomogram(JUDGED, "wbp")), objects)

    def best(beta: float) -> Evaluation:
        thresholds = best_thresholds(picks, truth, objects, beta=beta, runs=[JUDGED])
        return evaluate(picks, truth, objects, beta=beta, runs=[JUDGED], thresholds=thresholds)

    f4 = best(4)
    return Reached(f4.score, mean_f1(best(1), objects), {n: s.f_beta for n, s in f4.by_object.items()})


def table_lines(trials: Sequence[Trial], places: Sequence[str]) -> list[str]:
    """Means over seeds and each seed's value, by variant, as a Markdown table; the best F4 in the last place first."""
    last = places[-1]
    by_variant = {name: [t for t in trials if t.variant == name] for name in VARIANTS}
    tried = {name: mine for name, mine in by_variant.items() if mine}
    best = sorted(tried, key=lambda name: -float(np.mean([t.reached[last].f4 for t in tried[name]])))
    objects = list(trials[0].reached[last].by_object)
    rows = []
    for name in best:
        mine = tried[name]
        scores = [[t.reached[p].f4 for t in mine] for p in places] + [[t.reached[p].f1 for t in mine] for p in places]
        each = [np.mean([t.reached[last].by_object[o] for t in mine]) for o in objects]
        epochs = str(round(np.mean([t.epochs for t in mine])))
        rows.append([name, *(_with_spread(s) for s in scores), *(f"{v:.2f}" for v in each), epochs])
    columns = [f"{measure}, {place}" for measure in ("F4", "F1") for place in places]
    return markdown_table(["variant", *columns, *(f"F4 {o}" for o in objects), "epochs"], rows)


def _with_spread(values: Sequence[float]) -> str:
    return f"{np.mean(values):.3f} ({', '.join(f'{v:.3f}' for v in values)})"


def main() -> None:
    """Run what trials are missing, and print the table."""
    args = parsed()
    make_folder(args.out)
    configs = {"crop": args.config} | ({"whole": args.judge_config} if args.judge_config else {})
    wanted = [
        (name, seed, args.out / f"{re.sub('[^a-z0-9]+', '_', name.lower())}-{seed}")
        for seed in args.seeds
        for name in args.variants
    ]
    with ProcessPoolExecutor(args.jobs, mp_context=get_context("spawn"), max_tasks_per_child=1) as pool:
        running = [
            pool.submit(trial, name, seed, args.minutes, configs, folder)
            for name, seed, folder in wanted
            if not (folder / "trial.json").exists()
        ]
        for done in as_completed(running):
            one = done.result()
            told = ", ".join(f"{place} F4 {r.f4:.3f} F1 {r.f1:.3f}" for place, r in one.reached.items())
            print(f"{one.variant}, seed {one.seed}: {told}", flush=True)
    found = [Trial.read(path) for path in sorted(args.out.glob("*/trial.json"))]
    print("\n".join([*Machine().lines(), "", *table_lines(found, list(configs))]))


if __name__ == "__main__":
    answer(main)
