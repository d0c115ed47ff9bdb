"""Whether tomopick's picks are those of MONAI's sliding window: the same model and thresholds, whole tomograms.

CONFIG is a copick project, all of whose runs are picked twice: as `tomopick pick` does, and from scores that MONAI's
sliding window makes (windows of 128 voxels that overlap by a quarter, Gaussian, float32). A pick differs where the
other way has none of its object within a voxel. Prints Markdown, which is also left in DIR/sliding_window.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
from machine import Machine
from measure import answer, make_folder, markdown_table
from scipy.spatial import cKDTree
from speed import window_scores

from tomopick.atomic import replacing
from tomopick.calibration import calibrated
from tomopick.commands.sources import project_at
from tomopick.data.normalise import scaling_of
from tomopick.inference.engine import score_map
from tomopick.inference.peaks import find_peaks
from tomopick.inference.scoremap import ScoreMap
from tomopick.models.modelfile import Model, load_model
from tomopick.picks import Picks
from tomopick.tomogram import Tomogram


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path, help="model file of a heatmap network")
    parser.add_argument("config", type=Path, help="copick project with tomograms of type wbp")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for the table")
    return parser.parse_args()


def picked(model: Model, scores: ScoreMap) -> Picks:
    """The picks of a score map, by the model's own calibration and thresholds."""
    objects = model.spec.objects
    found = calibrated(find_peaks(scores, objects), model.spec.calibration)
    return Picks.join(found.where(name=o.name, min_score=model.spec.thresholds[o.name]) for o in objects)


def without_partner(picks: Picks, others: Picks, reach: float) -> int:
    """How many picks have no pick of their object among the others within reach (Angstrom)."""
    count = 0
    for name in picks.objects:
        here, there = picks.where(name=name).xyz(), others.where(name=name).xyz()
        count += int((cKDTree(there).query(here)[0] > reach).sum()) if len(there) else len(here)
    return count


def compared(model: Model, tomograms: Iterator[Tomogram]) -> Iterator[tuple[str, int, int, int, float]]:
    """For each tomogram its name, picks of both ways, how many of both differ, and the largest difference of scores."""
    for tomogram in tomograms:
        ours = score_map(model, tomogram, dtype="fp32")
        volume = scaling_of(tomogram, model.spec.normalisation)(tomogram[:, :, :])
        theirs = window_scores(model, volume, "cpu")[0].numpy()
        theirs = theirs[(slice(None), *(slice(n) for n in ours.array.shape[1:]))]
        one, other = picked(model, ours), picked(model, replace(ours, array=theirs))
        reach = tomogram.spacing
        differ = without_partner(one, other, reach) + without_partner(other, one, reach)
        yield tomogram.name, len(one), len(other), differ, float(np.abs(ours.array - theirs).max())


def main() -> None:
    """Compare, and print."""
    args = parsed()
    make_folder(args.out)
    model, project = load_model(args.model), project_at(args.config)
    tomograms = (project.tomogram(run, "wbp") for run in project.runs)
    rows, totals = [], np.zeros(3, dtype=int)
    for name, one, other, differ, most in compared(model, tomograms):
        totals += (one, other, differ)
        rows.append([name, str(one), str(other), str(differ), f"{most:.2g}"])
        print(" | ".join(rows[-1]), flush=True)
    share = totals[2] / max(1, totals[0] + totals[1])
    rows.append(["all", *map(str, totals), ""])
    columns = ["tomogram", "picks of tomopick", "of the sliding window", "that differ", "largest difference of scores"]
    lines = [
        f"# {args.model.name} and a sliding window", "", *Machine().lines(), "",
        *markdown_table(columns, rows), "", f"{share:.2%} of the picks differ.",
    ]  # fmt: skip
    with replacing(args.out / "sliding_window.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    print("\n".join(["", *lines]))


if __name__ == "__main__":
    answer(main)
