"""How few annotations do? Models that start from several weights learn from few particles of each object.

Each training is given so many annotated particles of each object of one run (drawn by the seed; the run's others are
unlabelled, and background counts only near the labelled), and as many of a second run, from which a network that keeps
its last epoch takes nothing but thresholds. A start that is a model is judged without any training, too: no labels at
all. Judged on other runs, by the weighted F4 and the mean F1 of the objects that have a weight, with the best threshold
of each object on the judged particles, so that the choice of thresholds plays no part. Prints Markdown (also
DIR/results.md).
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from machine import Machine
from measure import (
    answer,
    at_best,
    bare_copy,
    make_folder,
    markdown_table,
    mean_f1,
    recipe_of,
    timed_pick,
    training_arguments,
    write_results,
)

from tomopick.commands.sources import project_at, split_names
from tomopick.commands.train import train_project
from tomopick.inference.device import chosen_device
from tomopick.inference.engine import chosen_dtype
from tomopick.io.project import Project
from tomopick.models.modelfile import load_model
from tomopick.picks import Picks

FAST = chosen_dtype("auto", "cpu")
NEAR = 300.0  # Angstrom around a labelled particle where background counts


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="copick project with annotated runs")
    training_arguments(parser, minutes=6, epochs=None, patience=None)
    parser.add_argument("--starts", nargs="+", default=["simulated"], metavar="MODEL",
                        help="weights to start from: model files, simulated, none (%(default)s)")  # fmt: skip
    parser.add_argument("--labels", type=int, nargs="+", default=[5], help="of each object (%(default)s)")
    parser.add_argument("--train", default="TS_73_6", metavar="RUN", help="to learn from (%(default)s)")
    parser.add_argument("--val", default="TS_86_3", metavar="RUN", help="for thresholds (%(default)s)")
    parser.add_argument("--test", default="TS_6_4,TS_6_6,TS_69_2", metavar="RUNS", help="judged on (%(default)s)")
    return parser.parse_args()


def labelled(project: Project, runs: Sequence[str], count: int, seed: int, folder: Path) -> Path:
    """A copy of the project where so many particles of each object of each of these runs are annotated, no others."""
    config = bare_copy(project, folder)
    rng = np.random.default_rng(seed)
    tables = []
    for run in runs:
        for _, rows in project.picks(run=run).table.groupby("object"):
            tables.append(rows.iloc[np.sort(rng.permutation(len(rows))[:count])])
    project_at(config).add_picks(Picks(pd.concat(tables, ignore_index=True)), "few", "0")
    return config


def judged(path: Path, project: Project, runs: list[str], device: str) -> list[str]:
    """Weighted F4, mean F1, and F4 by object of a model, as cells of a table."""
    model = load_model(path)
    picks = Picks.join(timed_pick(model, project.tomogram(run, "wbp"), FAST, device).picks for run in runs)
    truth = Picks.join(project.picks(run=run) for run in runs)
    f4, f1 = (at_best(picks, truth, project.objects, runs, beta) for beta in (4, 1))
    each = [f"{score.f_beta:.2f}" for score in f4.by_object.values()]
    return [f"{f4.score:.3f}", f"{mean_f1(f1, project.objects):.3f}", *each]


def main() -> None:
    """Train what is asked for, and print the table."""
    args = parsed()
    make_folder(args.out)
    project, device = project_at(args.config), chosen_device(args.device)
    runs = split_names(args.test) or []
    configs = {
        count: labelled(project, [args.train, args.val], count, args.seed, args.out / f"project-{count}")
        for count in args.labels
    }
    rows = []
    for number, start in enumerate(args.starts):
        if Path(start).is_file():
            rows.append([start, "0", *judged(Path(start), project, runs, device)])
        for count, config in configs.items():
            recipe = recipe_of(args, model="heatmap-unet", init=start, ignore_unlabelled=NEAR)
            trained = train_project(
                config, args.out / f"{number}-{count}", recipe, kind="wbp", spacing=None, training=[args.train],
                validation=[args.val], device=device, workers=args.workers,
            )  # fmt: skip
            rows.append([start, str(count), *judged(trained.model, project, runs, device)])
    columns = ["start", "labels", "F4", "mean F1", *(f"F4 {one.name}" for one in project.objects)]
    lines = [
        f"# Few labels, judged on {args.test}",
        "",
        *Machine().lines(),
        f"- {args.minutes:g} minutes of training on {args.train}, seed {args.seed}",
        "",
        *markdown_table(columns, rows),
    ]
    write_results(args.out, lines, {"columns": columns, "rows": rows}, args.json)


if __name__ == "__main__":
    answer(main)
