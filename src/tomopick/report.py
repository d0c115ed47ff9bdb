"""One self-contained HTML page that shows what a model reached."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from html import escape
from io import BytesIO
from pathlib import Path
from typing import IO

import numpy as np
import pandas as pd

from tomopick.curves import pr_curve, threshold_curve
from tomopick.errors import DataError
from tomopick.evaluation import Evaluation
from tomopick.galleries import means_of, plot_gallery, plot_picked_means
from tomopick.layout import SCRIPT, SCRIPT_HASH, plot_depths, plot_neighbours, turning_scatter
from tomopick.matching import MISSED, NOTHING, confusion, keep_above
from tomopick.objects import ParticleObject, check_objects
from tomopick.picks import Picks
from tomopick.plots import plot_memory, plot_pr, plot_reliability, plot_thresholds, plot_training, write_replacing
from tomopick.reliability import reliability_tables
from tomopick.slices import plot_slices
from tomopick.tomogram import Tomogram

__all__ = ["write_report"]

_NONE = "\u2013"
_STYLE = """
:root { color-scheme: light dark; --ink: #1d2125; --soft: #5c6670; --line: #dfe3e7; --paper: #ffffff; --band: #f5f7f8; }
@media (prefers-color-scheme: dark) {
  :root { --ink: #e6e8ea; --soft: #9aa4ae; --line: #343a40; --paper: #16191c; --band: #1f2428; }
}
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 62rem; padding: 1.5rem 1rem 4rem; background: var(--paper); color: var(--ink);
  font: 16px/1.55 system-ui, sans-serif; overflow-wrap: break-word; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0.5rem 0 1rem; }
h2 { font-size: 1.15rem; margin: 2.5rem 0 0.6rem; padding-top: 0.8rem; border-top: 1px solid var(--line); }
p { max-width: 46rem; }
.score { font-size: 2.4rem; font-weight: 600; line-height: 1.1; margin: 0.5rem 0 0; }
.score small { display: block; font-size: 0.95rem; font-weight: 400; line-height: 1.4; color: var(--soft); }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-size: 0.9rem; font-variant-numeric: tabular-nums; }
th, td { padding: 0.3rem 0.5rem; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
thead th { color: var(--soft); font-weight: 600; white-space: normal; vertical-align: bottom; }
tr { background: var(--paper); }
th:first-child { position: sticky; left: 0; padding-left: 0; background: inherit; text-align: left; }
tbody tr:hover { background: var(--band); }
table.words { table-layout: fixed; width: 100%; }
table.words :is(th, td) { text-align: left; vertical-align: top; white-space: normal; overflow-wrap: anywhere; }
table.words th:first-child { width: 40%; }
table.total tbody tr:last-child { font-weight: 600; }
figure { margin: 1rem 0; }
figure img { display: block; max-width: 100%; height: auto; background: #ffffff; border-radius: 6px; padding: 6px; }
canvas { display: block; max-width: 100%; height: auto; background: #ffffff; border-radius: 6px; touch-action: none; }
figcaption, footer, .note { color: var(--soft); font-size: 0.85rem; margin-top: 0.4rem; }
footer { margin-top: 3rem; }
@media print {
  :root { color-scheme: light; --ink: #000000; --soft: #444444; --line: #cccccc; --paper: #ffffff; --band: #ffffff; }
  html { font-size: 12px; }
  body { max-width: none; padding: 0; font-size: 1rem; }
  .scroll { overflow: visible; }
  th, td { padding: 0.2rem 0.35rem; font-size: 0.8rem; }
  th:first-child { position: static; }
  h2 { break-after: avoid; }
  figure, tr { break-inside: avoid; }
  figure img { max-height: 20cm; }
}
"""

# No request, and no script but one: the page shows only what it carries.
_POLICY = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src '{SCRIPT_HASH}'"


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
        sections.append(_section("Training", _figure(draw, "Loss by epoch")))
    if memory is not None:
        sections.append(_memory(memory))
    if times:
        sections.append(_section("Run time", _words(times, "what")))
    if model_card:
        sections.append(_section("Model card", _words(_flat(model_card), "field")))
    return write_replacing(path, _page(title, sections).encode())


def _page(title: str, sections: Sequence[str]) -> str:
    head = (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
    )
    body = "\n".join(sections)
    main = f"<main>\n<h1>{escape(title)}</h1>\n{body}\n</main>\n<footer>Made by tomopick.</footer>"
    script = f"<script>{SCRIPT}</script>\n" if "<canvas" in body else ""
    return f"{head}<body>\n{main}\n{script}</body>\n</html>\n"


def _section(heading: str, *parts: str) -> str:
    return f"<section>\n<h2>{escape(heading)}</h2>\n" + "\n".join(parts) + "\n</section>"


def _text(words: str) -> str:
    return f"<p>{escape(words)}</p>"


def _table(frame: pd.DataFrame, kind: str = "") -> str:
    """The frame, whose cells are text, as an HTML table that scrolls sideways on a narrow screen."""
    return f'<div class="scroll">{frame.to_html(escape=True, border=0, classes=kind.split())}</div>'


def _figure(draw: Callable[[IO[bytes]], str], alt: str) -> str:
    """What ``draw`` writes as PNG, embedded, with the caption that it returns."""
    image = BytesIO()
    caption = draw(image)
    source = f"data:image/png;base64,{b64encode(image.getvalue()).decode()}"
    return f'<figure><img src="{source}" alt="{escape(alt)}"><figcaption>{escape(caption)}</figcaption></figure>'


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
    return f"<section>\n{score}\n{_text(' '.join(sentences))}\n</section>"


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
    return _section("Scores by object", _table(frame, "total"), f'<p class="note">{escape(note)}</p>')


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
        _section("Precision and recall", _figure(draw_pr, "Precision against recall for each object")),
        _section("Score against threshold", _figure(draw_thresholds, f"F{beta:g} against threshold for each object")),
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
    return [_section("Reliability of scores", _figure(draw, "Share of right picks against score for each object"))]


def _confusion(counts: pd.DataFrame) -> str:
    # The corner has no meaning: nothing there, nothing picked.
    cells = counts.map(str).where(counts.to_numpy() > 0, _NONE)
    cells.loc[NOTHING, MISSED] = ""
    words = (
        "Rows: what is there. Columns: what it was picked as. Particles and picks are paired one to one, "
        "the nearest first, whatever their objects."
    )
    frame = cells.rename_axis(index=None, columns="true \\ picked as")
    return _section("Confusion of objects", _text(words), _table(frame))


def _counts(picks: Picks) -> str:
    counts = pd.crosstab(picks.table["run"], picks.table["object"])
    frame = counts.map(str).rename_axis(index=None, columns="tomogram")
    return _section("Picks by tomogram and object", _table(frame) if len(picks) else _text("Nothing was picked."))


def _memory(rows: pd.DataFrame) -> str:
    figure = _figure(partial(plot_memory, rows), "Memory by layer in MB")
    numbers = rows.set_index("name")[["parameters_mb", "computed_mb", "measured_mb"]]
    frame = numbers.map(lambda v: _NONE if np.isnan(v) else f"{v:.3f}")
    frame.columns = pd.Index(
        ["parameters (MB)", "activations, computed (MB)", "activations, measured (MB)"], name="layer"
    )
    return _section("Memory", figure, _table(frame.rename_axis(index=None)))


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
        _figure(
            partial(plot_slices, tomogram, kept, objects, truth=truth if tomogram.name in annotated else None),
            f"Slices through tomogram {tomogram.name} with particles circled",
        )
        for tomogram in tomograms
    ]
    return [_section("Slices", *figures)]


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
    galleries = [_figure(draw, f"Single picks of {o.name}") for draw, o in zip(draws, there, strict=True)]
    sections = [_section("Picks, one by one", *galleries)]
    means = means_of(tomograms, kept, there)
    if means:
        draw_means = partial(plot_picked_means, means, tomograms[0].spacing)
        sections.append(_section("Means of picks", _figure(draw_means, "Mean subtomogram of each object")))
    lie = [
        *(turning_scatter(t, kept, there) for t in tomograms),
        _figure(partial(plot_neighbours, kept, there), "Distances between neighbours"),
        _figure(partial(plot_depths, tomograms, kept, there), "Depths of picks"),
    ]
    return [*sections, _section("Where picks lie", *lie)]


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


def _words(rows: Mapping[str, str], heading: str) -> str:
    """A table of two columns of words."""
    frame = pd.DataFrame({"value": list(rows.values())}, index=list(rows)).rename_axis(columns=heading)
    with pd.option_context("display.max_colwidth", None):
        return _table(frame, "words")
