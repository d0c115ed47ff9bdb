"""Train a network on some runs of a copick project, pick others, score them as the CZII challenge does.

Prints Markdown (also DIR/results.md): machine, training time and losses, picking time in float32 and, where the
processor has it, bfloat16, peak memory, scores by object with the thresholds that the training chose, the same with
thresholds for F1, how reliable the scores are, and a blob detector whose thresholds come from the same validation run.
DIR also gets model.safetensors, training_progress.png and report.html.
"""

from __future__ import annotations

import argparse
from dataclasses import asdict, dataclass
from pathlib import Path

import pandas as pd
from machine import Machine, peak_memory_gb
from measure import (
    TimedPicks,
    answer,
    interval_words,
    make_folder,
    markdown_table,
    mean_f1,
    ratio_cells,
    recipe_of,
    timed_pick,
    training_arguments,
    training_lines,
    write_results,
)

from tomopick.blobs import find_blobs
from tomopick.commands.evaluate import card_of
from tomopick.commands.sources import project_at, split_names
from tomopick.commands.train import train_project
from tomopick.curves import best_thresholds, probability_thresholds
from tomopick.evaluation import Evaluation, ObjectScore, evaluate
from tomopick.inference.device import chosen_device
from tomopick.inference.engine import chosen_dtype
from tomopick.inference.peaks import likelier
from tomopick.io.project import Project
from tomopick.matching import keep_above
from tomopick.models.memory import measure_memory
from tomopick.models.modelfile import Model, load_model
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.plots import plot_training
from tomopick.reliability import error_of_table, reliability_table
from tomopick.report import write_report
from tomopick.tomogram import Tomogram

TRAIN, VALIDATION, TEST = "TS_6_4,TS_6_6,TS_69_2,TS_73_6", "TS_86_3", "TS_5_4,TS_99_9"
FAST = chosen_dtype("auto", "cpu")  # what `tomopick pick` uses here
PRECISIONS = tuple(dict.fromkeys(("fp32", FAST)))


@dataclass(frozen=True)
class Tested:
    """What was measured on the test runs.

    Attributes:
        picked: picks and times by run, then by precision.
        scores: evaluation by precision, with the model's own thresholds.
        exclusive: evaluation with the model's own thresholds where one object stays in one place, in the fastest
            precision.
        for_f1: evaluation with beta 1 in the fastest precision, with thresholds for F1 from the validation runs.
        reliability: bins of score and share right, in the fastest precision, over the further runs as well.
        further: names of further projects' runs that were picked for the reliability alone.
        blobs: the blob detector's, with thresholds from the validation runs.
    """

    tomograms: list[Tomogram]
    truth: Picks
    objects: tuple[ParticleObject, ...]
    picked: dict[str, dict[str, TimedPicks]]
    scores: dict[str, Evaluation]
    exclusive: Evaluation
    for_f1: Evaluation
    reliability: pd.DataFrame
    blobs: Evaluation
    further: tuple[str, ...]

    def picks(self, precision: str) -> Picks:
        """All picks on the test runs, whatever their score."""
        return Picks.join(by_precision[precision].picks for by_precision in self.picked.values())


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("config", type=Path, help="copick project with annotated runs")
    training_arguments(parser, minutes=20, epochs=None, patience=None)
    parser.add_argument("--network", default="heatmap-unet", help="as `tomopick train --model` (%(default)s)")
    parser.add_argument("--test-config", type=Path, metavar="CONFIG", help="the project of the test runs, if another")
    parser.add_argument("--further", type=Path, nargs="+", default=[], metavar="CONFIG",
                        help="projects, all of whose runs count for the reliability of scores, too")  # fmt: skip
    for name, runs in (("train", TRAIN), ("val", VALIDATION), ("test", TEST)):
        parser.add_argument(f"--{name}", default=runs, metavar="RUNS", help="separated by commas (%(default)s)")
    parser.add_argument("--tomogram", default="wbp", help="tomogram type (%(default)s)")
    parser.add_argument("--model", type=Path, metavar="PATH", help="test this model file and train none")
    return parser.parse_args()


def trained_model(args: argparse.Namespace) -> Path:
    """The model file that was given, or that of a new training."""
    if args.model is not None:
        return Path(args.model)
    trained = train_project(
        args.config, args.out, recipe_of(args, model=args.network), kind=args.tomogram, spacing=None,
        training=split_names(args.train), validation=split_names(args.val), device=chosen_device(args.device),
        workers=args.workers,
    )  # fmt: skip
    return trained.model


def renamed(picks: Picks, project: str) -> Picks:
    """With the project's name before those of the runs, of which other projects have the same."""
    return Picks(picks.table.assign(run=f"{project}/" + picks.table["run"].astype(str)))


def further_picks(config: Path, model: Model, kind: str, device: str) -> tuple[Picks, Picks]:
    """All picks of a further project in the fastest precision, and the true ones."""
    project = project_at(config)
    found = [timed_pick(model, project.tomogram(run, kind), FAST, device).picks for run in project.runs]
    known = [project.picks(run=run) for run in project.runs]
    name = str(config.parent)  # whole: folders elsewhere may be called the same
    return renamed(Picks.join(found), name), renamed(Picks.join(known), name)


def tested(
    projects: tuple[Project, Project],
    model: Model,
    runs: list[str],
    held: list[str],
    kind: str,
    device: str,
    further: list[Path],
) -> Tested:
    """Pick the test runs (of the second project) in each precision, and score them and the blob detector."""
    training, testing = projects
    tomograms = [testing.tomogram(run, kind) for run in runs]
    validation = [training.tomogram(run, kind) for run in held]
    picked = {t.name: {p: timed_pick(model, t, p, device) for p in PRECISIONS} for t in tomograms}
    objects = model.spec.objects
    asked = Picks.join(testing.picks(run=run) for run in runs)
    known = Picks.join(training.picks(run=run) for run in held)
    found = {p: Picks.join(picked[run][p].picks for run in runs) for p in PRECISIONS}
    scores = {p: evaluate(found[p], asked, objects, runs=runs, thresholds=model.spec.thresholds) for p in PRECISIONS}
    alone = likelier(keep_above(found[FAST], model.spec.thresholds), objects)
    seen = Picks.join(timed_pick(model, t, FAST, device).picks for t in validation)
    for_f1 = model.spec.thresholds | probability_thresholds(seen, known, objects, beta=1, runs=held)
    more = [further_picks(config, model, kind, device) for config in further]
    pooled, true = (Picks.join(parts) for parts in zip((found[FAST], asked), *more, strict=True))
    further_runs = tuple(run for _, known in more for run in known.runs)
    blobs = {t.name: find_blobs(t, objects) for t in [*validation, *tomograms]}
    thresholds = best_thresholds(Picks.join(blobs[r] for r in held), known, objects, runs=held)
    return Tested(
        tomograms, asked, objects, picked, scores,
        exclusive=evaluate(alone, asked, objects, runs=runs),
        for_f1=evaluate(found[FAST], asked, objects, beta=1, runs=runs, thresholds=for_f1),
        reliability=reliability_table(pooled, true, objects, runs=[*runs, *further_runs]),
        blobs=evaluate(Picks.join(blobs[r] for r in runs), asked, objects, runs=runs, thresholds=thresholds),
        further=further_runs,
    )  # fmt: skip


def speed_lines(found: Tested) -> list[str]:
    """Seconds for each test tomogram, as a Markdown table."""
    rows = []
    for tomogram in found.tomograms:
        timed = found.picked[tomogram.name]
        cells = [f(timed[p]) for p in PRECISIONS for f in (_seconds, _milliseconds)]
        size = " x ".join(str(n) for n in tomogram.shape)
        rows.append([tomogram.name, size, str(timed[PRECISIONS[0]].positions), *cells])
    timings = [f"{p} ({unit})" for p in PRECISIONS for unit in ("s", "ms a position")]
    return markdown_table(["run", "voxels, zyx", "window positions", *timings], rows)


def _seconds(timed: TimedPicks) -> str:
    return f"{timed.seconds:.1f}"


def _milliseconds(timed: TimedPicks) -> str:
    return f"{timed.milliseconds:.3f}"


def score_lines(found: Tested) -> list[str]:
    """Scores by object beside those of the blob detector, as a Markdown table."""
    network, blobs = found.scores["fp32"], found.blobs
    rows = [
        [name, *_score_cells(score), f"{network.thresholds.get(name, 0):.3f}", f"{blobs.by_object[name].f_beta:.3f}"]
        for name, score in network.by_object.items()
    ]
    rows.append(["all (weighted)", *_score_cells(network.overall), "", f"{blobs.score:.3f}"])
    columns = ["object", "particles", "TP", "FP", "FN", "precision", "recall", "F1", "F4", "F4, 95 %", "AP"]
    return markdown_table([*columns, "error (A)", "threshold", "blobs F4"], rows)


def f1_lines(found: Tested) -> list[str]:
    """Scores with the thresholds for F1, as a Markdown table."""
    rows = [
        [name, *ratio_cells(score)[:3], f"{found.for_f1.thresholds[name]:.3f}"]
        for name, score in found.for_f1.by_object.items()
    ]
    return markdown_table(["object", "precision", "recall", "F1", "threshold"], rows)


def reliability_lines(table: pd.DataFrame) -> list[str]:
    """How often picks of each bin of scores are right, as a Markdown table."""
    rows = [
        [str(int(one["bin"])), str(int(one["count"])), f"{one['mean score']:.3f}", f"{one['share right']:.3f}"]
        for one in table.to_dict(orient="records")
    ]
    return markdown_table(["bin", "picks", "mean score", "share right"], rows)


def _score_cells(score: ObjectScore) -> list[str]:
    counts = [str(n) for n in (score.tp + score.fn, score.tp, score.fp, score.fn)]
    precision = "" if score.average_precision is None else f"{score.average_precision:.3f}"
    error = "" if score.localisation_error_angstrom is None else f"{score.localisation_error_angstrom:.1f}"
    return [*counts, *ratio_cells(score), precision, error]


def result_lines(name: str, found: Tested, training: list[str], memory: list[str]) -> list[str]:
    """The whole page of results, as Markdown."""
    network = found.scores["fp32"]
    return [
        f"# {name} on {', '.join(network.runs)}",
        "",
        f"Weighted F4 **{network.score:.3f}**{interval_words(network)}; "
        f"in {FAST} {found.scores[FAST].score:.3f}; blob detector {found.blobs.score:.3f}.",
        "",
        *Machine().lines(),
        *memory,
        *training,
        "",
        *score_lines(found),
        "",
        f"With one object in one place, the likelier (`pick --exclusive`), in {FAST}: weighted F4 "
        f"{found.exclusive.score:.3f}.",
        "",
        f"With thresholds for F1, in {FAST}: mean F1 of the objects that have a weight "
        f"**{mean_f1(found.for_f1, found.objects):.3f}**.",
        "",
        *f1_lines(found),
        "",
        f"Expected calibration error **{error_of_table(found.reliability):.3f}** over "
        f"{int(found.reliability['count'].sum())} picks of score 0.05 and more, in bins of equal count, in {FAST}"
        + (f", of these runs and {', '.join(found.further)}." if found.further else "."),
        "",
        *reliability_lines(found.reliability),
        "",
        "Picking, from opening the tomogram to having its picks.",
        "",
        *speed_lines(found),
    ]


def facts_of(found: Tested, spec: dict[str, object], history: pd.DataFrame | None) -> dict[str, object]:
    """Every figure, as JSON holds it."""
    timings = {
        run: {p: {"seconds": t.seconds, "positions": t.positions} for p, t in by_precision.items()}
        for run, by_precision in found.picked.items()
    }
    return {
        "machine": asdict(Machine()),
        "model": spec,
        "history": None if history is None else history.to_dict(orient="list"),
        "picking": timings,
        "scores": {precision: score.to_json() for precision, score in found.scores.items()},
        "exclusive": found.exclusive.to_json(),
        "for_f1": found.for_f1.to_json(),
        "reliability": found.reliability.to_dict(orient="list"),
        "blobs": found.blobs.to_json(),
    }


def main() -> None:
    """Train, test, print, and write the report."""
    args = parsed()
    make_folder(args.out)
    project = project_at(args.config)
    testing = project_at(args.test_config or args.config)
    path = trained_model(args)
    model = load_model(path)
    after_training = peak_memory_gb()
    runs, held = (split_names(names) or [] for names in (args.test, args.val))
    found = tested((project, testing), model, runs, held, args.tomogram, chosen_device(args.device), args.further)
    peaks = {"training_gb": None if args.model else after_training, "whole_gb": peak_memory_gb()}
    memory = [
        f"- peak memory {peaks['whole_gb']:.2f} GB"
        + ("" if args.model else f", {after_training:.2f} GB up to the end of training")
    ]
    log = path.parent / "history.csv"
    history = pd.read_csv(log) if log.is_file() else None
    training = [] if history is None else training_lines(model.spec, history)
    if history is not None:
        plot_training([history], args.out / "training_progress.png")
    name = model.spec.architecture
    window = model.spec.arguments.get("window", 64)
    write_report(
        args.out / "report.html",
        title=f"{name} on {args.test.replace(',', ', ')}",
        objects=project.objects,
        evaluation=found.scores["fp32"],
        picks=found.picks("fp32"),
        truth=found.truth,
        tomograms=found.tomograms,
        histories=[] if history is None else [history],
        memory=measure_memory(model.network, (1, 1, window, window, window)).bars,
        model_card=card_of(path),
        baseline=found.blobs,
    )
    facts = facts_of(found, model.spec.model_dump(mode="json"), history) | {"peak_memory": peaks}
    write_results(args.out, result_lines(name, found, training, memory), facts, args.json)


if __name__ == "__main__":
    answer(main)
