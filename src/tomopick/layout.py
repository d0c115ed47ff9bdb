"""How picks lie: how near to each other, how deep in the ice, and in space, as a drawing that turns."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Sequence
from html import escape

import numpy as np
from numpy.typing import NDArray

from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.plots import Target, object_color, one_axes, save_figure
from tomopick.tomogram import Tomogram

__all__ = ["SCRIPT", "SCRIPT_HASH", "neighbour_distances", "plot_depths", "plot_neighbours", "turning_scatter"]

SCRIPT = """
for (const canvas of document.querySelectorAll("canvas.turning")) {
  const { size, points } = JSON.parse(canvas.dataset.points);
  let about = 0.6, tilt = 1.1;
  const pen = canvas.getContext("2d");
  function draw() {
    const wide = canvas.width, high = canvas.height;
    const scale = 0.62 * Math.min(wide, high) / Math.max(...size);
    const place = ([x, y, z]) => {
      const [a, b, c] = [x - size[0] / 2, y - size[1] / 2, z - size[2] / 2];
      const u = a * Math.cos(about) - b * Math.sin(about), v = a * Math.sin(about) + b * Math.cos(about);
      const up = c * Math.sin(tilt) + v * Math.cos(tilt), near = v * Math.sin(tilt) - c * Math.cos(tilt);
      return [wide / 2 + u * scale, high / 2 - up * scale, near];
    };
    pen.clearRect(0, 0, wide, high);
    pen.strokeStyle = "#9aa0a6";
    pen.beginPath();
    for (let corner = 0; corner < 8; corner++) {
      for (const axis of [1, 2, 4]) {
        if (corner & axis) continue;
        const ends = [corner, corner | axis].map((c) => [0, 1, 2].map((k) => (c >> k & 1) * size[k]));
        const [[ax, ay], [bx, by]] = ends.map(place);
        pen.moveTo(ax, ay);
        pen.lineTo(bx, by);
      }
    }
    pen.stroke();
    const placed = points.flatMap(({ color, radius, xyz }) => xyz.map((p) => [...place(p), radius, color]));
    placed.sort((a, b) => b[2] - a[2]);
    for (const [x, y, , radius, color] of placed) {
      pen.beginPath();
      pen.arc(x, y, Math.max(1.5, radius * scale), 0, 7);
      pen.fillStyle = color;
      pen.fill();
      pen.stroke();
    }
  }
  canvas.addEventListener("pointermove", (event) => {
    if (!event.buttons) return;
    about += event.movementX / 150;
    tilt = Math.min(1.57, Math.max(0, tilt + event.movementY / 150));
    draw();
  });
  canvas.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: [-0.1, 0], ArrowRight: [0.1, 0], ArrowUp: [0, -0.1], ArrowDown: [0, 0.1] }[event.key];
    if (!step) return;
    about += step[0];
    tilt = Math.min(1.57, Math.max(0, tilt + step[1]));
    event.preventDefault();
    draw();
  });
  draw();
}
"""
"""What turns the drawings of a page; it is the same on each, so that a page can allow this script and no other."""

SCRIPT_HASH = f"sha256-{b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()}"

Floats = NDArray[np.float64]


def neighbour_distances(picks: Picks, name: str) -> Floats:
    """Angstrom from each pick of an object to the nearest other one of it in its run; none where it is alone."""
    from scipy.spatial import cKDTree

    found = []
    for run in picks.runs:
        xyz = picks.where(run, name).xyz()
        if len(xyz) > 1:
            found.append(np.asarray(cKDTree(xyz).query(xyz, k=2)[0])[:, 1])
    return np.concatenate([np.zeros(0), *found])


def plot_neighbours(picks: Picks, objects: Sequence[ParticleObject], target: Target) -> str:
    """Draw how far picks of an object are from their nearest neighbour, in units of its radius.

    Returns:
        The caption.
    """
    figure, axes = one_axes(6.0, 3.2)
    bins = np.linspace(0, 8, 33)
    for one in objects:
        distances = neighbour_distances(picks, one.name) / one.radius
        if len(distances):
            counts = np.histogram(np.minimum(distances, bins[-1]), bins)[0]
            axes.stairs(counts, bins, color=object_color(one), label=one.name, linewidth=1.4)
    axes.axvline(1, color="#5f6368", linestyle=":", linewidth=1)
    axes.set(xlabel="distance to the nearest pick of the object (radii; the last bar: 8 and more)", ylabel="picks")
    _legend(axes)
    save_figure(figure, target)
    return "Left of the dotted line two picks are nearer than a radius: one particle picked twice, most likely."


def plot_depths(tomograms: Sequence[Tomogram], picks: Picks, objects: Sequence[ParticleObject], target: Target) -> str:
    """Draw at which depth picks lie, as a share of their tomogram's.

    Returns:
        The caption.
    """
    figure, axes = one_axes(6.0, 3.2)
    bins = np.linspace(0, 1, 26)
    for one in objects:
        parts = [picks.where(t.name, one.name).xyz()[:, 2] / (t.spacing * max(t.shape[0] - 1, 1)) for t in tomograms]
        depths = np.concatenate([np.zeros(0), *parts])
        if len(depths):
            counts = np.histogram(depths, bins)[0]
            axes.stairs(counts, bins, color=object_color(one), label=one.name, linewidth=1.4)
    axes.set(xlabel="depth z, as a share of the tomogram's", ylabel="picks", xlim=(0, 1))
    _legend(axes)
    save_figure(figure, target)
    return "Picks by depth: the specimen's faces show as edges, and picks beyond them as what they are."


def _legend(axes: object) -> None:
    from matplotlib.axes import Axes

    assert isinstance(axes, Axes)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8)


def turning_scatter(tomogram: Tomogram, picks: Picks, objects: Sequence[ParticleObject]) -> str:
    """A drawing of a tomogram's picks, as HTML, that `SCRIPT` turns under the mouse and the arrow keys."""
    size = [n * tomogram.spacing for n in tomogram.shape[::-1]]
    points = []
    names = []
    for one in objects:
        xyz = picks.where(tomogram.name, one.name).xyz()
        if len(xyz):
            color = one.hex_color
            points.append({"color": color, "radius": one.radius, "xyz": xyz.round().astype(int).tolist()})
            names.append(f'<span style="color:{color}">&#9679;</span> {escape(one.name)} ({len(xyz)})')
    data = escape(json.dumps({"size": size, "points": points}, separators=(",", ":")))
    label = escape(f"Picks in {tomogram.name}, in space")
    return (
        f'<figure><canvas class="turning" width="900" height="520" tabindex="0" role="img" aria-label="{label}" '
        f'data-points="{data}"></canvas><figcaption>{escape(tomogram.name)}: {" ".join(names)}. Balls have the '
        "particles' radii. Drag, or use the arrow keys, to turn.</figcaption></figure>"
    )
