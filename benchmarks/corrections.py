"""Does correcting picks pay? A weak model is trained on with and without 50 corrections by a simulated reviewer.

A model is trained for a few minutes. It picks a run that has no annotations, and a reviewer who knows the truth goes
through the picks, object by object those nearest to the threshold first: right picks are accepted, those of another
object relabelled, the others rejected; a fifth of the corrections are missed particles, added. Then the model is
trained for as many minutes more, on its own runs alone and on these with the corrected one, with the same seeds, and
each is judged on a run that none of them has seen. Prints Markdown (also DIR/results.md).
"""

from __future__ import annotations

import argparse
from pathlib import Path
from statistics import mean, stdev

import numpy as np
from machine import Machine
from measure import (
    answer,
    bare_copy,
    make_folder,
    markdown_table,
    recipe_of,
    timed_pick,
    training_arguments,
    write_results,
)

from tomopick.commands.sources import project_at, split_names
from tomopick.commands.train import train_project
from tomopick.evaluation import evaluate
from tomopick.inference.device import chosen_device
from tomopick.inference.engine import chosen_dtype
from tomopick.io.corrections import Correction, Corrections
from tomopick.io.project import Project
from tomopick.matching import keep_above
from tomopick.models.modelfile import Model, load_model
from tomopick.objects import ParticleObject
from tomopick.picks import Picks

FAST = chosen_dtype("auto", "cpu")
ADDED = 0.2  # share of the corrections that are missed particles
LOOKED_AT = 0.3  # picks down to this share of their threshold are looked through


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="copick project with annotated runs")
    training_arguments(parser, minutes=5, epochs=None, patience=None)
    parser.add_argument("--train", default="TS_6_4,TS_6_6", metavar="RUNS", help="of the weak model (%(default)s)")
    parser.add_argument("--val", default="TS_69_2", metavar="RUNS", help="of all models (%(default)s)")
    parser.add_argument("--review", default="TS_73_6", metavar="RUN", help="whose picks are corrected (%(default)s)")
    parser.add_argument("--test", default="TS_86_3", metavar="RUNS", help="where models are judged (%(default)s)")
    parser.add_argument("--corrections", type=int, default=50, help="how many (%(default)s)")
    parser.add_argument("--seeds", type=int, default=3, help="fine-tunings of each kind (%(default)s)")
    return parser.parse_args()


def reviewed(
    found: Picks,
    truth: Picks,
    objects: tuple[ParticleObject, ...],
    thresholds: dict[str, float],
    count: int,
    path: Path,
) -> Corrections:
    """What the reviewer says of one run's picks."""
    said = Corrections(path)
    shown = keep_above(found, {name: LOOKED_AT * value for name, value in thresholds.items()})
    queues = [_nearest_first(shown, one.name, thresholds.get(one.name, 0.0)) for one in objects if one.weight > 0]
    missed = _missed(keep_above(found, thresholds), truth, objects)
    for correction in missed[: round(ADDED * count)]:
        said.say(correction)
    while len(said) < count and any(queues):
        for queue in queues:
            if queue and len(said) < count:
                run, name, x, y, z, score = queue.pop(0)
                real = _what_is_there(truth, objects, (x, y, z), name)
                verdict = "rejected" if real is None else "accepted"
                said.say(Correction(run, real or name, x, y, z, score, verdict, name))
    return said


def _nearest_first(picks: Picks, name: str, threshold: float) -> list[tuple[str, str, float, float, float, float]]:
    table = picks.where(name=name).table
    order = (table["score"] - threshold).abs().argsort(kind="stable")
    return list(table.iloc[order][["run", "object", "x", "y", "z", "score"]].itertuples(index=False, name=None))


def _what_is_there(
    truth: Picks, objects: tuple[ParticleObject, ...], xyz: tuple[float, float, float], name: str
) -> str | None:
    """The object whose particle is within its match distance, the asked one before others; None if there is none."""
    there = [
        one.name
        for one in objects
        if (np.linalg.norm(truth.where(name=one.name).xyz() - xyz, axis=1) <= one.match_distance).any()
    ]
    return name if name in there else next(iter(there), None)


def _missed(picks: Picks, truth: Picks, objects: tuple[ParticleObject, ...]) -> list[Correction]:
    """The particles without a pick, those of the objects with the highest weight first."""
    found = []
    for one in sorted(objects, key=lambda o: -o.weight):
        near = picks.where(name=one.name).xyz()
        for run, x, y, z in truth.where(name=one.name).table[["run", "x", "y", "z"]].itertuples(index=False, name=None):
            if one.weight > 0 and not (np.linalg.norm(near - (x, y, z), axis=1) <= one.match_distance).any():
                found.append(Correction(run, one.name, x, y, z, float("nan"), "added", ""))
    return found


def unannotated(project: Project, run: str, folder: Path) -> Path:
    """A configuration of the same project in which one run has no annotations."""
    config = bare_copy(project, folder)
    others = Picks.join(project.picks(run=other) for other in project.runs if other != run)
    project_at(config).add_picks(others, "known", "0")
    return config


def judged(model: Model, project: Project, runs: list[str], device: str) -> float:
    """Weighted F4 on the test runs, with the model's own thresholds."""
    picks = Picks.join(timed_pick(model, project.tomogram(run, "wbp"), FAST, device).picks for run in runs)
    truth = Picks.join(project.picks(run=run) for run in runs)
    return evaluate(picks, truth, model.spec.objects, runs=runs, thresholds=model.spec.thresholds).score


def main() -> None:
    """Run it all and print it."""
    args = parsed()
    make_folder(args.out)
    project = project_at(args.config)
    bare = unannotated(project, args.review, args.out / "project")
    own, held, test = (split_names(names) or [] for names in (args.train, args.val, args.test))
    recipe = recipe_of(args, model="heatmap-unet")
    device = chosen_device(args.device)
    first = train_project(
        bare, args.out / "weak", recipe, kind="wbp", spacing=None, training=own, validation=held, device=device,
        workers=args.workers,
    )  # fmt: skip
    weak = load_model(first.model)
    found = timed_pick(weak, project.tomogram(args.review, "wbp"), FAST, device).picks
    said = reviewed(
        found, project.picks(run=args.review), weak.spec.objects, weak.spec.thresholds, args.corrections,
        args.out / "corrections.csv",
    )  # fmt: skip
    verdicts = [one.verdict for one in said]
    scores: dict[str, list[float]] = {"without": [], "with": []}
    for seed in range(args.seed, args.seed + args.seeds):
        tuned = recipe_of(args, model="heatmap-unet", init=args.out / "weak/model.safetensors", seed=seed)
        for kind in scores:
            more, path = ([args.review], said.path) if kind == "with" else ([], None)
            trained = train_project(
                bare, args.out / f"{kind}_{seed}", tuned, kind="wbp", spacing=None, training=[*own, *more],
                validation=held, corrections=path, device=device, workers=args.workers,
            )  # fmt: skip
            scores[kind].append(judged(load_model(trained.model), project, test, device))
    gains = [b - a for a, b in zip(scores["without"], scores["with"], strict=True)]
    rows = [[str(args.seed + i), *(f"{scores[k][i]:.3f}" for k in scores), f"{g:+.3f}"] for i, g in enumerate(gains)]
    rows.append(["mean", *(f"{mean(values):.3f}" for values in scores.values()), f"{mean(gains):+.3f}"])
    relabelled = sum(one.verdict == "accepted" and one.object != one.was for one in said)
    counts = ", ".join(f"{verdicts.count(v)} {v}" for v in ("accepted", "rejected", "added"))
    lines = [
        f"# {len(verdicts)} corrections of {args.review}, judged on {args.test}",
        "",
        *Machine().lines(),
        f"- {args.minutes:g} minutes of training on {args.train}, and of fine-tuning",
        f"- weighted F4 of the weak model {judged(weak, project, test, device):.3f}",
        f"- corrections: {counts}; {relabelled} of those accepted under another name",
        "",
        *markdown_table(["seed", "without corrections", "with", "gain"], rows),
        "",
        f"Deviation of the gain over seeds: {stdev(gains) if len(gains) > 1 else float('nan'):.3f}.",
    ]
    write_results(args.out, lines, {"scores": scores, "gains": gains}, args.json)


if __name__ == "__main__":
    answer(main)
