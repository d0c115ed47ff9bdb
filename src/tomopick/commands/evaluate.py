"""`tomopick evaluate` and `tomopick report`: picks against the truth, as numbers and as a page."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

import pandas as pd

from tomopick.atomic import replacing
from tomopick.commands.journal import picking_seconds
from tomopick.commands.screen import notice, out, table
from tomopick.commands.sources import is_project, objects_for, picks_of, project_at, tomograms_of
from tomopick.errors import DataError
from tomopick.evaluation import Evaluation, evaluate
from tomopick.io.project import Project
from tomopick.models.memory import measure_memory
from tomopick.models.modelfile import load_model, read_spec
from tomopick.models.registry import field
from tomopick.objects import ParticleObject
from tomopick.picks import Picks, check_inside
from tomopick.report import write_report

__all__ = ["card_of", "evaluate_files", "memory_of", "print_evaluation", "report_files"]

CROP = 64  # voxels along the edge of an input whose memory is told, of networks without a window of their own


def evaluate_files(
    truth_path: Path,
    picks_path: Path,
    *,
    beta: float,
    runs: list[str] | None,
    objects: Sequence[str],
    user: str | None = None,
    session: str | None = None,
    json_path: Path | None = None,
) -> Evaluation:
    """Evaluate a picks file or project against a truth file or project, print it, and perhaps write it as JSON."""
    known = objects_for([truth_path, picks_path], objects)
    truth = picks_of(truth_path, annotated=True, user=user)
    picks = picks_of(picks_path, annotated=False, session=session)
    counted = runs or truth.runs
    for path in dict.fromkeys((truth_path, picks_path)):
        if is_project(path):
            _check_inside(project_at(path), truth, picks, counted, max(o.radius for o in known))
    if objects:
        truth, picks = _only(known, truth, picks)
    _check_runs(counted, [truth, picks], [truth_path, picks_path])
    _tell_of_runs(counted, picks, truth, chosen=runs is not None)
    result = evaluate(picks, truth, known, beta=beta, runs=runs)
    _tell_of_absent(result, known)
    print_evaluation(result)
    if json_path:
        with replacing(json_path) as temporary:
            temporary.write_text(json.dumps(result.to_json(), indent=2) + "\n")
    return result


def _check_runs(wanted: Sequence[str], tables: Sequence[Picks], paths: Sequence[Path]) -> None:
    """A run may hold no particles at all, but somewhere it must be."""
    there = {run for table in tables for run in table.runs}
    there |= {run for path in paths if is_project(path) for run in project_at(path).runs}
    missing = [run for run in wanted if run not in there]
    if missing:
        raise DataError(f"no run {', '.join(missing)} in picks or truth; there is {', '.join(sorted(there)) or 'none'}")


def _check_inside(project: Project, truth: Picks, picks: Picks, runs: Sequence[str], slack: float) -> None:
    """Refuse a truth that is not in a project's tomograms, and tell of picks that are not: they count as false."""
    for run in project.runs:
        there = project.tomogram_kinds(run) if run in runs else []
        if there:
            spacing, kind = there[0]
            tomogram = project.tomogram(run, kind, spacing)
            check_inside(truth, tomogram, slack)
            try:
                check_inside(picks, tomogram, slack)
            except DataError as error:
                notice(f"{error} They count as false")


def _only(objects: Sequence[ParticleObject], truth: Picks, picks: Picks) -> tuple[Picks, Picks]:
    """The picks of these objects, the others left out.

    Raises:
        DataError: none of them is in either.
    """
    there = {*truth.objects, *picks.objects}
    names = [o.name for o in objects]
    left = sorted(there - set(names))
    if left and there.isdisjoint(names):
        raise DataError(f"unknown object {', '.join(names)}: truth and picks have only {', '.join(left)}")
    if left:
        notice(f"left out, since --object does not name them: {', '.join(left)}")
    return truth.of_objects(names), picks.of_objects(names)


def _few(names: Sequence[str], most: int = 6) -> str:
    """The names, or the first of them where they are many."""
    return ", ".join(names[:most]) + (f" and {len(names) - most} more" if len(names) > most else "")


def _tell_of_runs(counted: Sequence[str], picks: Picks, truth: Picks, *, chosen: bool) -> None:
    """Say where picks and truth are not of the same runs, for names that differ look like a bad score."""
    silent = [run for run in counted if run not in picks.runs]
    unused = [run for run in picks.runs if run not in counted]
    if silent and unused and len(silent) == len(counted):
        notice(
            f"no pick counts: the picks are of {_few(unused)}, the truth of {_few(counted)}; are the runs called "
            "the same in both?"
        )
        return
    if silent:
        hint = "" if chosen else "; choose runs with --runs"
        notice(f"no picks in {_few(silent)}: all their particles count as missed{hint}")
    if unused and not chosen:
        notice(f"picks in {_few(unused)} do not count, as the truth has no particles there; choose runs with --runs")
    bare = [run for run in counted if run not in truth.runs and run in picks.runs]
    if bare:
        notice(f"the truth has no particles in {_few(bare)}: all picks there count as false")


def _tell_of_absent(result: Evaluation, objects: Sequence[ParticleObject]) -> None:
    """Say which objects pull the score down because the truth has none of them."""
    score = result.by_object
    absent = [o.name for o in objects if o.weight > 0 and score[o.name].tp + score[o.name].fn == 0]
    if absent:
        notice(
            f"the truth has no {_few(absent)}: each scores 0 and its weight stays in the weighted score, as in CZII's; "
            "to leave it out, name the other objects with --object"
        )


def print_evaluation(result: Evaluation, title: str = "") -> None:
    """The scores as a table, and the weighted score in a line of its own."""
    rows = []
    for name, s in result.by_object.items():
        error = "" if s.localisation_error_angstrom is None else f"{s.localisation_error_angstrom:.1f}"
        counts = [str(s.tp), str(s.fp), str(s.fn)]
        ratios = [f"{v:.3f}" for v in (s.precision, s.recall, s.f1, s.f_beta)]
        ratios.append("" if s.average_precision is None else f"{s.average_precision:.3f}")
        rows.append([name, *counts, *ratios, error])
    columns = ["object", "TP", "FP", "FN", "precision", "recall", "F1", f"F{result.beta:g}", "AP", "error (A)"]
    runs = "1 run" if len(result.runs) == 1 else f"{len(result.runs)} runs"
    table(title or f"Picks in {runs}", columns, rows)
    spread = ""
    if result.interval is not None:
        spread = f"  (95 % over runs: {result.interval[0]:.4f} to {result.interval[1]:.4f})"
    out.print(f"weighted F{result.beta:g}: {result.score:.4f}{spread}", highlight=False)


def memory_of(path: Path) -> pd.DataFrame:
    """Memory of a model by layer, for one of its windows, or a crop where it takes any size."""
    model = load_model(path)
    edge = CROP if model.network.context else field(model.network) - 2 * model.network.halo
    return measure_memory(model.network, (1, 1, edge, edge, edge)).bars


def card_of(model: Path) -> dict[str, object]:
    """What a report says about a model."""
    spec = read_spec(model)
    return {
        "file": model.name,
        "network": spec.architecture,
        "arguments": spec.arguments,
        "objects": ", ".join(o.name for o in spec.objects),
        "voxel spacing": f"{spec.spacing:g} A",
        "tomogram type": spec.kind or "not said",
        "thresholds": {k: round(v, 4) for k, v in spec.thresholds.items()},
        "training": spec.provenance,
    }


def report_files(
    page: Path,
    picks_path: Path,
    truth_path: Path | None,
    inputs: Sequence[Path],
    *,
    model: Path | None,
    training: Path | None,
    kind: str,
    spacing: float | None,
    runs: list[str] | None,
    objects: Sequence[str],
    most: int = 3,
) -> Path:
    """Write report.html of picks, with whatever else is given: truth, tomograms, model, training folder."""
    known = objects_for([*inputs, *([truth_path] if truth_path else []), picks_path], objects)
    picks = picks_of(picks_path, annotated=False)
    truth = picks_of(truth_path, annotated=True) if truth_path else None
    if truth is None and inputs and is_project(inputs[0]):
        truth = project_at(inputs[0]).picks()
        truth = truth if len(truth) else None
    if objects:
        particles, picks = _only(known, truth or Picks.empty(), picks)
        truth = None if truth is None else particles
    shown = runs or picks.runs
    _check_runs(shown, [picks, *([truth] if truth else [])], [*inputs, picks_path])
    left = [run for run in (truth.runs if truth else []) if run not in shown]
    if left and not runs:
        notice(f"no picks in {', '.join(left)}, so the page leaves them out; choose runs with --runs")
    spec = read_spec(model) if model else None
    wanted = spec.spacing if spec else 10.0
    sources = (
        tomograms_of(inputs, kind or (spec.kind if spec else "") or "wbp", spacing, wanted, None) if inputs else []
    )
    tomograms = [source.open() for source in sources if source.name in shown][:most]
    histories = [pd.read_csv(training / "history.csv")] if training and (training / "history.csv").is_file() else []
    if training and not histories:
        raise DataError(f"{training} has no history.csv; give the folder that `tomopick train --out` made")
    return write_report(
        page,
        title="Particle picks" if truth is None else "Particle picks against the truth",
        objects=known,
        evaluation=evaluate(picks, truth, known, runs=shown) if truth is not None else None,
        picks=picks,
        truth=truth,
        tomograms=tomograms,
        histories=histories,
        memory=memory_of(model) if model else None,
        model_card=card_of(model) if model else None,
        times=_times(picks_path, shown, histories),
    )


def _times(picks_path: Path, runs: Sequence[str], histories: Sequence[pd.DataFrame]) -> dict[str, str]:
    """What took how long, as far as files beside the picks and the training's log tell."""
    told = {f"picking {run}": f"{s:g} s" for run, s in picking_seconds(picks_path).items() if run in runs}
    for history in histories:
        told["training"] = f"{history['minutes'].iloc[-1]:.1f} minutes, {len(history)} epochs"
    return told
