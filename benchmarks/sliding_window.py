"""Whether tomopick's picks are those of MONAI's sliding window: the same model and thresholds, whole tomograms.

CONFIG is a copick project, all of whose runs are picked twice: as `tomopick pick` does, and from scores that MONAI's
sliding window makes (windows of 128 voxels that overlap by a quarter, Gaussian, float32; the tomogram is mirrored to
multiples of what the network aligns to, else its last windows start between these). A pick differs where the other way
has none of its object within a voxel; those that are likelier right than not are told apart, as low scores pass the
threshold or not for the least change. Prints Markdown, which is also left in DIR/sliding_window.md.
"""

from __future__ import annotations

import argparse
from dataclasses import astuple, dataclass, replace
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


@dataclass(frozen=True)
class Counts:
    """Picks of both ways, and how many of both differ; then the same of those that are likelier right than not."""

    ours: int
    theirs: int
    differ: int
    likely: int
    likely_differ: int


def counts(one: Picks, other: Picks, reach: float) -> Counts:
    """How the picks of both ways differ; a likely one must be there in the other way at all, with whatever score."""
    likely, likely_other = one.where(min_score=0.5), other.where(min_score=0.5)
    return Counts(
        len(one),
        len(other),
        without_partner(one, other, reach) + without_partner(other, one, reach),
        len(likely) + len(likely_other),
        without_partner(likely, other, reach) + without_partner(likely_other, one, reach),
    )


def compared(model: Model, tomogram: Tomogram) -> tuple[Counts, float]:
    """How picks differ, and the mean difference of scores."""
    align = model.network.align
    z, y, x = (-(-n // align) * align for n in tomogram.shape)
    ours = score_map(model, tomogram, dtype="fp32")
    volume = scaling_of(tomogram, model.spec.normalisation)(tomogram.read((0, 0, 0), (z, y, x)))
    theirs = window_scores(model, volume, "cpu")[0].numpy()
    theirs = theirs[(slice(None), *(slice(n) for n in ours.array.shape[1:]))]
    found = counts(picked(model, ours), picked(model, replace(ours, array=theirs)), tomogram.spacing)
    return found, float(np.abs(ours.array - theirs).mean())


def main() -> None:
    """Compare, and print."""
    args = parsed()
    make_folder(args.out)
    model, project = load_model(args.model), project_at(args.config)
    rows, totals = [], np.zeros(5, dtype=int)
    for run in project.runs:
        found, difference = compared(model, project.tomogram(run, "wbp"))
        totals += astuple(found)
        rows.append([run, *map(str, astuple(found)), f"{difference:.2g}"])
        print(" | ".join(rows[-1]), flush=True)
    rows.append(["all", *map(str, totals), ""])
    shares = [totals[2] / max(1, totals[0] + totals[1]), totals[4] / max(1, totals[3])]
    columns = [
        "tomogram", "picks of tomopick", "of the sliding window", "that differ", "of 0.5 and more, both ways",
        "that differ", "mean difference of scores",
    ]  # fmt: skip
    lines = [
        f"# {args.model.name} and a sliding window", "", *Machine().lines(), "",
        *markdown_table(columns, rows), "",
        f"{shares[0]:.2%} of the picks differ, and {shares[1]:.2%} of those of 0.5 and more.",
    ]  # fmt: skip
    with replacing(args.out / "sliding_window.md") as temporary:
        temporary.write_text("\n".join(lines) + "\n")
    print("\n".join(["", *lines]))


if __name__ == "__main__":
    answer(main)
