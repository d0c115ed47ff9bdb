"""Slices through a tomogram with true and found particles drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from tomopick.errors import DataError
from tomopick.geometry import angstrom_from_voxel, voxel_from_angstrom
from tomopick.matching import classify_picks
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.plots import Target, object_color, save_figure
from tomopick.tomogram import Tomogram

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.patches import Circle

__all__ = ["plot_slices"]

Floats = NDArray[np.float64]
Color = str | tuple[float, ...]

STATES: dict[str, tuple[str, str, str]] = {
    "hit": ("#2fd55b", "solid", "found"),
    "missed": ("#ffd92f", "dashed", "missed"),
    "false": ("#ff3b30", "solid", "false (crossed)"),
}
"""Colour, line and words of each circle; misses are dashed and false picks crossed, so colour alone tells nothing."""


def plot_slices(
    tomogram: Tomogram,
    picks: Picks,
    objects: Sequence[ParticleObject],
    target: Target,
    *,
    truth: Picks | None = None,
    slices: int = 3,
    thickness: int = 5,
) -> str:
    """Draw a few z slices with a circle where each particle's sphere crosses the slice.

    With a truth, circles are picks that hit (green), particles missed (yellow, dashed) and false picks (red, crossed),
    as `tomopick.matching.classify_picks` tells them. Without one, picks have the colours of their objects.

    Args:
        tomogram: its name chooses the run of picks and truth.
        picks: what was found; those below their threshold should be left out before.
        objects: the objects with their radii and colours.
        target: path or binary file for the PNG.
        truth: the annotated particles.
        slices: how many slices, spread over the depths where the particles are.
        thickness: voxels averaged in z.

    Returns:
        The caption.

    Raises:
        DataError: as `classify_picks`, or the tomogram holds values that are not finite.
    """
    from matplotlib.figure import Figure

    if slices < 1 or thickness < 1:
        raise DataError(f"slices and thickness must be at least 1, not {slices} and {thickness}")
    shown = _circles(tomogram, picks, truth, objects)
    planes = _planes(shown["z"].to_numpy(np.float64), tomogram.shape[0], slices)
    _, ny, nx = tomogram.shape
    figure = Figure(figsize=(4.2 * len(planes), 4.2 * min(ny / nx, 2) + 0.7), layout="constrained")
    for axes, z in zip(figure.subplots(1, len(planes), squeeze=False)[0], planes, strict=True):
        _draw_slice(axes, tomogram, z, thickness)
        _draw_circles(axes, shown, z)
    figure.legend(
        handles=_legend(shown, objects, truth is not None), loc="outside lower center", ncols=6, frameon=False
    )
    save_figure(figure, target)
    meaning = "found, missed and false particles" if truth is not None else "picks, coloured by object"
    planes_text = f"{tomogram.name}: slices averaged over {min(thickness, tomogram.shape[0])} planes"
    return f"{planes_text} with {meaning}; each circle is the particle's sphere cut at the slice."


def _circles(tomogram: Tomogram, picks: Picks, truth: Picks | None, objects: Sequence[ParticleObject]) -> pd.DataFrame:
    """What to draw in this run: columns object, state (empty without truth), z, y, x, radius (voxels), color."""
    run = tomogram.name
    marked = classify_picks(picks, Picks.empty() if truth is None else truth, objects, [run])
    shown = marked[marked["state"].isin(STATES)].reset_index(drop=True)
    zyx = voxel_from_angstrom(shown[["x", "y", "z"]].to_numpy(np.float64), tomogram.spacing)
    radius = shown["object"].map({o.name: o.radius for o in objects}).astype(np.float64) / tomogram.spacing
    color = shown["object"].map({o.name: object_color(o) for o in objects})
    return pd.DataFrame(
        {
            "object": shown["object"],
            "state": shown["state"] if truth is not None else "",
            "z": zyx[:, 0],
            "y": zyx[:, 1],
            "x": zyx[:, 2],
            "radius": radius,
            "color": color,
        }
    )


def _planes(z: Floats, depth: int, slices: int) -> list[int]:
    """Depths of the slices: in the middle of equal shares of the particles, or of the volume where there are none."""
    shares = (np.arange(slices) + 0.5) / slices
    inside = z[(z >= 0) & (z <= depth - 1)]
    middles = np.quantile(inside, shares) if len(inside) else shares * (depth - 1)
    return [int(i) for i in np.unique(np.rint(middles))]


def _draw_slice(axes: Axes, tomogram: Tomogram, z: int, thickness: int) -> None:
    depth, ny, nx = tomogram.shape
    start = min(max(z - thickness // 2, 0), max(depth - thickness, 0))
    image = tomogram.read((start, 0, 0), (min(start + thickness, depth), ny, nx)).mean(axis=0)
    low, high = np.percentile(image, [0.5, 99.5])
    axes.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="nearest")
    height = angstrom_from_voxel([z, 0, 0], tomogram.spacing)[2]
    axes.set_title(f"z = {height:.0f} Å", fontsize=9)
    axes.set(xticks=[], yticks=[], xlim=(-0.5, nx - 0.5), ylim=(-0.5, ny - 0.5))
    _draw_scale_bar(axes, tomogram)


def _draw_scale_bar(axes: Axes, tomogram: Tomogram) -> None:
    """A bar of about a fifth of the width, its length 1, 2 or 5 times a power of ten Angstrom."""
    _, ny, nx = tomogram.shape
    wanted = nx * tomogram.spacing / 5
    power = 10 ** np.floor(np.log10(wanted))
    length = power * max(step for step in (1, 2, 5) if step * power <= wanted)
    end = length / tomogram.spacing
    box = {"facecolor": "black", "alpha": 0.55, "linewidth": 0, "pad": 2}
    axes.plot([0.04 * nx, 0.04 * nx + end], [0.04 * ny] * 2, color="white", linewidth=3, solid_capstyle="butt")
    axes.text(0.04 * nx, 0.07 * ny, f"{length:g} Å", color="white", fontsize=8, bbox=box)


def _draw_circles(axes: Axes, shown: pd.DataFrame, z: int) -> None:
    cut = np.sqrt(np.maximum(shown["radius"] ** 2 - (shown["z"] - z) ** 2, 0.0))
    places = shown[["x", "y"]].to_numpy(np.float64)
    for (x, y), radius, state, own in zip(places, cut, shown["state"], shown["color"], strict=True):
        if radius <= 0:
            continue
        color, line, _ = STATES.get(state, (own, "solid", ""))
        axes.add_patch(_circle((x, y), float(radius), color, line))
        if state == "false":
            axes.plot(x, y, marker="x", markersize=4, markeredgewidth=1.2, color=color)


def _circle(xy: tuple[float, float], radius: float, color: Color, line: str) -> Circle:
    """A ring with a thin dark rim, so that it shows on bright and dark densities alike."""
    from matplotlib.patches import Circle
    from matplotlib.patheffects import Normal, Stroke

    ring = Circle(xy, radius, fill=False, edgecolor=color, linestyle=line, linewidth=1.4)
    ring.set_path_effects([Stroke(linewidth=2.6, foreground=(0, 0, 0, 0.5)), Normal()])
    return ring


def _legend(shown: pd.DataFrame, objects: Sequence[ParticleObject], has_truth: bool) -> list[Circle]:
    if has_truth:
        rings = [_circle((0, 0), 1, color, line) for color, line, _ in STATES.values()]
        words = [text for _, _, text in STATES.values()]
    else:
        present = [o for o in objects if (shown["object"] == o.name).any()]
        rings = [_circle((0, 0), 1, object_color(o), "solid") for o in present]
        words = [o.name for o in present]
    for ring, text in zip(rings, words, strict=True):
        ring.set_label(text)
    return rings
