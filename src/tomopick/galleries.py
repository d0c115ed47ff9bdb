"""Pictures of single picks, and the means of all: what was taken for a particle, one by one."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd

from tomopick.matching import classify_picks
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.plots import Target, plot_means, save_figure
from tomopick.subtomograms import Mean, box_edge, central_slices, complete, subtomograms
from tomopick.tomogram import Tomogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["means_of", "plot_gallery", "plot_picked_means"]

COLUMNS = 8
MOST_AVERAGED = 200  # picks of an object: enough to see a particle in
STATES = {"hit": "#1e9e4a", "false": "#d93025"}


def plot_gallery(
    tomograms: Sequence[Tomogram],
    picks: Picks,
    particle: ParticleObject,
    target: Target,
    *,
    threshold: float = 0.0,
    truth: Picks | None = None,
) -> str:
    """Draw the picks of an object with the highest scores, those nearest to its threshold, and the lowest above it.

    With a truth, scores of hits are green and those of false picks red and underlined.

    Args:
        tomograms: where to cut them from; picks in other runs are left out.
        picks: what was found, all scores.
        particle: the object.
        target: path or binary file for the PNG.
        threshold: its least score.
        truth: the annotated particles.

    Returns:
        The caption.
    """
    from matplotlib.figure import Figure

    by_name = {t.name: t for t in tomograms}
    rows = _rows(picks, particle, threshold, truth, list(by_name))
    figure = Figure(figsize=(1.35 * COLUMNS, 0.95 * len(rows) + 0.1), layout="constrained")
    for (words, shown), line in zip(rows.items(), figure.subplots(len(rows), COLUMNS, squeeze=False), strict=True):
        for axes in line:
            axes.axis("off")
        for axes, pick in zip(line, shown.to_dict(orient="records"), strict=False):
            xyz = np.array([pick["x"], pick["y"], pick["z"]])
            _draw(axes, by_name[pick["run"]], xyz, particle.radius)
            state = str(pick["state"]) if truth is not None else ""
            text = f"{pick['score']:.2f}" + (" false" if state == "false" else "")
            axes.set_title(text, fontsize=7, pad=2, color=STATES.get(state, "black"))
        line[0].text(-0.06, 0.5, words, rotation=90, va="center", ha="right", fontsize=7, transform=line[0].transAxes)
    save_figure(figure, target)
    return f"{particle.name}: xy and xz slice of single picks, with their scores; 5 planes averaged."


def _rows(
    picks: Picks, particle: ParticleObject, threshold: float, truth: Picks | None, runs: Sequence[str]
) -> dict[str, pd.DataFrame]:
    here = Picks(picks.table[picks.table["run"].isin(runs) & (picks.table["object"] == particle.name)])
    there = Picks.empty() if truth is None else truth.where(name=particle.name)
    marked = classify_picks(here, there, [particle], list(runs))
    table = marked[marked["kind"] == "pick"].sort_values("score", ascending=False, kind="stable")
    kept = table[table["score"] >= threshold]
    near = table.iloc[(table["score"] - threshold).abs().argsort(kind="stable")[:COLUMNS]]
    middle = {"at threshold": near.sort_values("score", ascending=False)} if threshold > 0 else {}
    return {"highest": kept.head(COLUMNS), **middle, "lowest kept": kept.tail(COLUMNS)}


def _draw(axes: Axes, tomogram: Tomogram, xyz: np.ndarray[tuple[int], np.dtype[np.float64]], radius: float) -> None:
    picture = central_slices(tomogram, xyz, radius)
    low, high = np.percentile(picture, [1, 99])
    axes.imshow(picture, cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="nearest")
    axes.axvline(picture.shape[1] / 2 - 0.5, color="white", linewidth=1)


def means_of(tomograms: Sequence[Tomogram], picks: Picks, objects: Sequence[ParticleObject]) -> dict[str, Mean]:
    """The mean subtomogram of each object's picks, the 200 with the highest scores at most, not aligned.

    Tomograms of another voxel spacing than the first are left out, and so are objects without a whole subtomogram.
    """
    spacing = tomograms[0].spacing
    alike = [t for t in tomograms if abs(t.spacing - spacing) <= 1e-3 * spacing]
    means = {}
    for one in objects:
        edge = box_edge(one.radius, spacing)
        whole = Picks.join(complete(t, picks.where(name=one.name), edge) for t in alike)
        best = Picks(whole.table.nlargest(MOST_AVERAGED, "score"))
        mean = Mean.of_edge(edge)
        for tomogram in alike:
            for cut in subtomograms(tomogram, best.where(run=tomogram.name), edge):
                mean.add(cut)
        if mean.count:
            means[one.name] = mean
    return means


def plot_picked_means(means: Mapping[str, Mean], spacing: float, target: Target) -> str:
    """Draw the means of picks, each with how many there are.

    Returns:
        The caption.
    """
    return plot_means({f"{name} ({mean.count})": mean.volume for name, mean in means.items()}, spacing, target)
