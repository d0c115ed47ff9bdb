"""One self-contained HTML page that shows what a model reached."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import partial
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from tomopick.curves import pr_curve, threshold_curve
from tomopick.errors import DataError
from tomopick.evaluation import Evaluation
from tomopick.galleries import means_of, plot_gallery, plot_picked_means
from tomopick.layout import plot_depths, plot_neighbours, turning_scatter
from tomopick.matching import MISSED, NOTHING, confusion, keep_above
from tomopick.objects import ParticleObject, check_objects
from tomopick.page import data_table, drawing, paragraph, section, whole_page, word_table
from tomopick.picks import Picks
from tomopick.plots import plot_memory, plot_pr, plot_reliability, plot_thresholds, plot_training, write_replacing
from tomopick.reliability import reliability_tables
from tomopick.slices import plot_slices
from tomopick.tomogram import Tomogram

__all__ = ["write_report"]

_NONE = "\u2013"


def write_report(
    path: str | Path,
    *,
    title: str,
    objects: Sequence[ParticleObject],
    evaluation: Evaluation | None = None,
    picks: Picks | None = None,
    truth: Picks | None = None,
    tomograms: Sequence[Tomogram] = (),
    histories: Sequence[pd.DataFrame] = (),
    memory: pd.DataFrame | None = None,
    model_card: Mapping[str, object] | None = None,
    times: Mapping[str, str] | None = None,
    baseline: Evaluation | None = None,
) -> Path:
    """Write one HTML file with everything in it: pictures, tables, style. A section without input is left out.

    Args:
        path: where the page goes; an old one is replaced in one step.
        title: its heading.
        objects: the objects with radii and colours.
        evaluation: the scores; its thresholds and runs also choose the picks of the confusion table and the slices.
        picks: what was found, all scores, so that the curves are whole.
        truth: the annotated particles.
        tomograms: those to show slices of, with picks and truth of the run of the same name.
        histories: training logs, as `tomopick.plots.plot_training` takes them.
        memory: memory by layer, as `tomopick.plots.plot_memory` takes it.
        model_card: what to say about the model, in order; mappings inside are flattened.
        times: how long each thing took.
        baseline: the evaluation of another picker on the same truth, for comparison.

    Returns:
        The path.

    Raises:
        DataError: the inputs do not fit together, or the file cannot be written.
    """
    objects = check_objects(objects)
    if evaluation and baseline and (evaluation.beta, evaluation.runs) != (baseline.beta, baseline.runs):
        raise DataError("the baseline was evaluated with another beta or on other runs; evaluate both in the same way")
    sections = [_summary(evaluation, baseline), _scores(evaluation, baseline)] if evaluation else []
    if picks is not None:
        sections += _of_picks(picks, truth, objects, evaluation)
        sections += _slices(tomograms, picks, truth, objects, evaluation)
        sections += _looks(tomograms, picks, truth, objects, evaluation)
    if histories:
        draw = partial(plot_training, histories, captioned=False)
        sections.append(section("Training", drawing(draw, "Loss by epoch")))
    if memory is not None:
        sections.append(_memory(memory))
    if times:
        sections.append(section("Run time", word_table(times, "what")))
    if model_card:
        sections.append(section("Model card", word_table(_flat(model_card), "field")))
    return write_replacing(path, whole_page(title, sections).encode())


def _interval(interval: tuple[float, float] | None) -> str:
    return f"{interval[0]:.3f} to {interval[1]:.3f}" if interval else _NONE


def _number(value: float | None, digits: int = 3) -> str:
    return _NONE if value is None else f"{value:.{digits}f}"


def _summary(evaluation: Evaluation, baseline: Evaluation | None) -> str:
    total = evaluation.overall
    n_runs = len(evaluation.runs)
    over = f"over {n_runs} tomograms" if n_runs != 1 else "on one tomogram"
    words = f"weighted F{evaluation.beta:g} {over}"
    if evaluation.interval:
        words += f", 95 % interval {_interval(evaluation.interval)}"
    sentences = [
        f"{total.tp} of {total.tp + total.fn} particles were found; "
        f"{max(total.fp, 0)} of {total.tp + total.fp} picks are false."
    ]
    if total.localisation_error_angstrom is not None:
        sentences.append(f"A found particle lies {total.localisation_error_angstrom:.1f} Å from its pick (median).")
    if baseline is not None:
        gain = evaluation.score - baseline.score
        sentences.append(
            f"The baseline scores {baseline.score:.3f}, {abs(gain):.3f} {'less' if gain >= 0 else 'more'}."
        )
    score = f'<p class="score">{evaluation.score:.3f} <small>{escape(words)}</small></p>'
    return f"<section>\n{score}\n{paragraph(' '.join(sentences))}\n</section>"


def _scores(evaluation: Evaluation, baseline: Evaluation | None) -> str:
    f_name = f"F{evaluation.beta:g}"
    rows = {}
    for name, s in {**evaluation.by_object, "all (weighted)": evaluation.overall}.items():
        row = {
            "particles": str(s.tp + s.fn),
            "found": str(s.tp),
            "false picks": str(s.fp),
            "precision": _number(s.precision),
            "recall": _number(s.recall),
            "F1": _number(s.f1),
            f_name: _number(s.f_beta),
            "95 % interval": _interval(s.score_interval),
            "average precision": _number(s.average_precision),
            "error (Å)": _number(s.localisation_error_angstrom, 1),
        }
        if evaluation.thresholds:
            row["threshold"] = _number(evaluation.thresholds.get(name))
        if baseline is not None:
            other = baseline.overall if s is evaluation.overall else baseline.by_object.get(name)
            row[f"baseline {f_name}"] = _number(other.f_beta if other else None)
        rows[name] = row
    frame = pd.DataFrame.from_dict(rows, orient="index").rename_axis(columns="object")
    note = (
        "Intervals come from resampling the tomograms and are rough where these are few. "
        if evaluation.interval
        else ""
    )
    note += "False picks are picks less particles found, and below 0 where one pick lies on two particles."
    return section("Scores by object", data_table(frame, "total"), f'<p class="note">{escape(note)}</p>')


def _of_picks(
    picks: Picks, truth: Picks | None, objects: Sequence[ParticleObject], evaluation: Evaluation | None
) -> list[str]:
    """Curves and confusion where there is a truth, else how many picks there are."""
    beta = evaluation.beta if evaluation else 4
    thresholds = evaluation.thresholds if evaluation else {}
    runs = evaluation.runs if evaluation else None
    kept = keep_above(picks, thresholds)
    if truth is None:
        return [_counts(kept)]
    curves = {o.name: pr_curve(picks, truth, o, runs) for o in objects}
    table = threshold_curve(picks, truth, objects, beta, runs)
    draw_pr = partial(plot_pr, curves, objects)
    draw_thresholds = partial(plot_thresholds, table, objects, beta=beta, thresholds=thresholds)
    return [
        section("Precision and recall", drawing(draw_pr, "Precision against recall for each object")),
        section("Score against threshold", drawing(draw_thresholds, f"F{beta:g} against threshold for each object")),
        *_reliability(picks, truth, objects, runs),
        _confusion(confusion(kept, truth, objects, runs)),
    ]


def _reliability(
    picks: Picks, truth: Picks, objects: Sequence[ParticleObject], runs: Sequence[str] | None
) -> list[str]:
    """Nothing where the scores cannot be probabilities: beyond 0 to 1, or all alike because nobody knew them."""
    scores = picks.scores()
    if len(np.unique(scores)) < 2 or scores.min() < 0 or scores.max() > 1:
        return []
    tables = reliability_tables(picks, truth, objects, runs)
    if tables["all"].empty:
        return []
    draw = partial(plot_reliability, tables, objects)
    return [section("Reliability of scores", drawing(draw, "Share of right picks against score for each object"))]


def _confusion(counts: pd.DataFrame) -> str:
    # The corner has no meaning: nothing there, nothing picked.
    cells = counts.map(str).where(counts.to_numpy() > 0, _NONE)
    cells.loc[NOTHING, MISSED] = ""
    words = (
        "Rows: what is there. Columns: what it was picked as. Particles and picks are paired one to one, "
        "the nearest first, whatever their objects."
    )
    frame = cells.rename_axis(index=None, columns="true \\ picked as")
    return section("Confusion of objects", paragraph(words), data_table(frame))


def _counts(picks: Picks) -> str:
    counts = pd.crosstab(picks.table["run"], picks.table["object"])
    frame = counts.map(str).rename_axis(index=None, columns="tomogram")
    return section(
        "Picks by tomogram and object", data_table(frame) if len(picks) else paragraph("Nothing was picked.")
    )


def _memory(rows: pd.DataFrame) -> str:
    figure = drawing(partial(plot_memory, rows), "Memory by layer in MB")
    numbers = rows.set_index("name")[["parameters_mb", "computed_mb", "measured_mb"]]
    frame = numbers.map(lambda v: _NONE if np.isnan(v) else f"{v:.3f}")
    frame.columns = pd.Index(
        ["parameters (MB)", "activations, computed (MB)", "activations, measured (MB)"], name="layer"
    )
    return section("Memory", figure, data_table(frame.rename_axis(index=None)))


def _annotated(truth: Picks | None, evaluation: Evaluation | None) -> set[str]:
    """Runs whose picks can be false: in a tomogram that nobody annotated they are only unjudged."""
    return set(evaluation.runs if evaluation else truth.runs if truth else ())


def _slices(
    tomograms: Sequence[Tomogram],
    picks: Picks,
    truth: Picks | None,
    objects: Sequence[ParticleObject],
    evaluation: Evaluation | None,
) -> list[str]:
    if not tomograms:
        return []
    kept = keep_above(picks, evaluation.thresholds) if evaluation else picks
    annotated = _annotated(truth, evaluation)
    figures = [
        drawing(
            partial(plot_slices, tomogram, kept, objects, truth=truth if tomogram.name in annotated else None),
            f"Slices through tomogram {tomogram.name} with particles circled",
        )
        for tomogram in tomograms
    ]
    return [section("Slices", *figures)]


def _looks(
    tomograms: Sequence[Tomogram],
    picks: Picks,
    truth: Picks | None,
    objects: Sequence[ParticleObject],
    evaluation: Evaluation | None,
) -> list[str]:
    """Single picks, their means, and how they lie in the tomograms."""
    if not tomograms:
        return []
    thresholds = evaluation.thresholds if evaluation else {}
    runs = [t.name for t in tomograms]
    told = truth if set(runs) <= _annotated(truth, evaluation) else None
    kept = keep_above(picks.in_runs(runs), thresholds)
    there = [o for o in objects if o.name in kept.objects]
    if not there:
        return []
    draws = [
        partial(plot_gallery, tomograms, picks, o, threshold=thresholds.get(o.name, 0.0), truth=told) for o in there
    ]
    galleries = [drawing(draw, f"Single picks of {o.name}") for draw, o in zip(draws, there, strict=True)]
    sections = [section("Picks, one by one", *galleries)]
    means = means_of(tomograms, kept, there)
    if means:
        draw_means = partial(plot_picked_means, means, tomograms[0].spacing)
        sections.append(section("Means of picks", drawing(draw_means, "Mean subtomogram of each object")))
    lie = [
        *(turning_scatter(t, kept, there) for t in tomograms),
        drawing(partial(plot_neighbours, kept, there), "Distances between neighbours"),
        drawing(partial(plot_depths, tomograms, kept, there), "Depths of picks"),
    ]
    return [*sections, section("Where picks lie", *lie)]


def _flat(card: Mapping[str, object], before: str = "") -> dict[str, str]:
    """The card as text by key; keys of mappings inside carry the outer key before them."""
    rows: dict[str, str] = {}
    for key, value in card.items():
        name = f"{before}{key}"
        if isinstance(value, Mapping):
            rows |= _flat(value, f"{name}: ")
        elif isinstance(value, (list, tuple)):
            rows[name] = ", ".join(v if isinstance(v, str) else json.dumps(v, default=str) for v in value)
        else:
            rows[name] = str(value)
    return rows
