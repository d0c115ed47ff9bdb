"""Show which particles a model misses, and what it takes for particles, with pictures.

Picks the runs of a copick project with the model's own thresholds. Prints a Markdown table (also DIR/results.md): for
each object how many particles are missed, and of these how many lie where another object was picked, how many have a
pick of their own below the threshold, and how many nothing at all; and how many of those missed, and of all, lie in the
outer parts of the tomogram in x, which the steeper tilts do not show. DIR also gets missed.png and false.png: central
slices of up to so many of each object, those with the lowest score first for the missed, the highest for the false.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from machine import Machine
from measure import answer, make_folder, markdown_table, timed_pick, write_results
from numpy.typing import NDArray

from tomopick.commands.sources import project_at, split_names
from tomopick.geometry import voxel_from_angstrom
from tomopick.matching import classify_picks, keep_above
from tomopick.models.modelfile import load_model
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.plots import save_figure
from tomopick.tomogram import Tomogram

OUTER = 184  # voxels from the middle in x: beyond, the steepest tilts of the phantom show no specimen
THICK = 5  # planes averaged
WIDE = 1.8  # half the edge of a picture, in radii
Floats = NDArray[np.float64]


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model file")
    parser.add_argument("config", type=Path, help="copick project with annotated runs")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for table and pictures")
    parser.add_argument("--runs", default="TS_5_4,TS_99_9", metavar="RUNS", help="separated by commas (%(default)s)")
    parser.add_argument("--tomogram", default="wbp", help="tomogram type (%(default)s)")
    parser.add_argument("--most", type=int, default=8, help="pictures of each object (%(default)s)")
    return parser.parse_args()


def explained(marked: pd.DataFrame, every: Picks, kept: Picks, objects: Sequence[ParticleObject]) -> pd.DataFrame:
    """The true particles of `classify_picks` with why and own, the best score of their own object nearby."""
    real = marked[marked["kind"] == "truth"].reset_index(drop=True)
    reach = {o.name: o.match_distance for o in objects}
    own, why = [], []
    for one in real.itertuples():
        at = np.array([one.x, one.y, one.z])
        near = [_near(picks.where(run=one.run), at, reach[one.object]) for picks in (every, kept)]
        mine = near[0].loc[near[0]["object"] == one.object, "score"]
        own.append(mine.max() if len(mine) else 0.0)
        other = len(near[1]) > 0
        why.append("other" if other else "below" if len(mine) else "nothing")
    return real.assign(own=own, why=why)


def _near(picks: Picks, at: Floats, reach: float) -> pd.DataFrame:
    return picks.table[np.linalg.norm(picks.xyz() - at, axis=1) <= reach]


def miss_lines(real: pd.DataFrame, outer: NDArray[np.bool_], objects: Sequence[ParticleObject]) -> list[str]:
    """How many of each object are missed, why, and where, as a Markdown table."""
    rows = []
    for obj in objects:
        mine = (real["object"] == obj.name).to_numpy()
        missed = mine & (real["state"] == "missed").to_numpy()
        reasons = [int((missed & (real["why"] == why).to_numpy()).sum()) for why in ("other", "below", "nothing")]
        counts = [mine.sum(), missed.sum(), *reasons, (missed & outer).sum(), (mine & outer).sum()]
        rows.append([obj.name, *(str(int(n)) for n in counts)])
    columns = ["particles", "missed", "another was picked there", "below the threshold", "nothing there"]
    return markdown_table(["object", *columns, "missed, outer", "particles, outer"], rows)


def draw(
    shown: pd.DataFrame, tomograms: dict[str, Tomogram], objects: Sequence[ParticleObject], most: int, path: Path
) -> None:
    """A row of central slices for each object: xy, and xz below it."""
    from matplotlib.figure import Figure

    present = [o for o in objects if (shown["object"] == o.name).any()]
    if not present:
        return
    figure = Figure(figsize=(1.25 * most + 1.2, 2.75 * len(present)), layout="constrained")
    grid = figure.subplots(2 * len(present), most, squeeze=False)
    for axes in grid.ravel():
        axes.set(xticks=[], yticks=[], frame_on=False)
    for row, obj in enumerate(present):
        mine = shown[shown["object"] == obj.name].head(most)
        grid[2 * row, 0].set_ylabel(f"{obj.name}\nxy", fontsize=7)
        grid[2 * row + 1, 0].set_ylabel("xz", fontsize=7)
        for column, one in enumerate(mine.itertuples()):
            tomogram = tomograms[str(one.run)]
            for k, image in enumerate(slices(tomogram, np.array([one.x, one.y, one.z]), obj.radius)):
                axes = grid[2 * row + k, column]
                low, high = np.percentile(image, [1, 99])
                axes.imshow(image, cmap="gray", vmin=low, vmax=high, origin="lower", interpolation="nearest")
            grid[2 * row, column].set_title(f"{one.run}\n{one.shown:.2f} {one.note}", fontsize=6)
    save_figure(figure, path)


def slices(tomogram: Tomogram, xyz: Floats, radius: float) -> list[NDArray[np.float32]]:
    """The central xy and xz slices about a place, each averaged over a few planes."""
    centre = np.round(voxel_from_angstrom(xyz[None], tomogram.spacing)[0]).astype(int)
    half = round(WIDE * radius / tomogram.spacing)
    low, high = centre - half, centre + half + 1
    box = tomogram.read(tuple(low.tolist()), tuple(high.tolist()))
    thick = slice(half - THICK // 2, half + THICK // 2 + 1)
    return [box[thick].mean(axis=0), box[:, thick].mean(axis=1)]


def main() -> None:
    """Pick, sort the failures, draw and print."""
    args = parsed()
    make_folder(args.out)
    model, project, runs = load_model(args.model), project_at(args.config), split_names(args.runs) or []
    objects = model.spec.objects
    tomograms = {run: project.tomogram(run, args.tomogram) for run in runs}
    every = Picks.join(timed_pick(model, one, "auto").picks for one in tomograms.values())
    truth = Picks.join(project.picks(run=run) for run in runs)
    kept = keep_above(every, model.spec.thresholds)
    marked = classify_picks(kept, truth, objects)
    real = explained(marked, every, kept, objects)
    middle = {run: (t.shape[2] - 1) / 2 * t.spacing for run, t in tomograms.items()}
    spacing = next(iter(tomograms.values())).spacing
    outer = (real["x"] - real["run"].map(middle)).abs().to_numpy() > OUTER * spacing
    missed = real[real["state"] == "missed"].sort_values("own", kind="stable")
    false = marked[marked["state"] == "false"].sort_values("score", ascending=False, kind="stable")
    draw(missed.assign(shown=missed["own"], note=missed["why"]), tomograms, objects, args.most, args.out / "missed.png")
    draw(false.assign(shown=false["score"], note=""), tomograms, objects, args.most, args.out / "false.png")
    lines = [
        f"# What {model.name} misses in {', '.join(runs)}",
        "",
        *Machine().lines(),
        "",
        f"Outer: more than {OUTER} voxels from the middle in x.",
        "",
        *miss_lines(real, outer, objects),
    ]
    write_results(args.out, lines, {}, None)


if __name__ == "__main__":
    answer(main)
