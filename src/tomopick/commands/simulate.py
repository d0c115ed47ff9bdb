"""`tomopick simulate`: an annotated project of phantom tomograms."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator
from pathlib import Path

from tomopick.atomic import replacing
from tomopick.commands.screen import progress_bar
from tomopick.errors import DataError
from tomopick.io.project import Project, create_project
from tomopick.objects import CZII_OBJECTS
from tomopick.picks import Picks
from tomopick.simulate import Scope, simulate_runs
from tomopick.tomogram import Tomogram

__all__ = ["simulate_project"]


def simulate_project(
    folder: Path,
    runs: int,
    shape: tuple[int, int, int],
    seed: int,
    settings: Scope | None = None,
    *,
    vary: bool = False,
    jobs: int = 1,
) -> tuple[Project, Picks]:
    """Simulate runs into a new copick project, ``folder/config.json``, and their truth into ``folder/truth.csv``.

    `settings`, `vary` and `jobs` are those of `simulate_runs`.
    """
    if (folder / "config.json").exists() or (folder / "ExperimentRuns").exists():
        raise DataError(f"{folder} holds a project already; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {folder}: {error.strerror}") from error
    try:
        return _fill(folder, runs, simulate_runs(runs, shape, seed, settings, vary, jobs))
    except BaseException:  # also a keyboard interrupt: half a project would pass for a whole one
        (folder / "config.json").unlink(missing_ok=True)
        shutil.rmtree(folder / "ExperimentRuns", ignore_errors=True)
        raise


def _fill(folder: Path, runs: int, simulated: Iterator[tuple[Tomogram, Picks]]) -> tuple[Project, Picks]:
    project = create_project(folder / "config.json", CZII_OBJECTS, name="tomopick phantom")
    truths = []
    with progress_bar(f"simulating {runs} tomograms") as tell:
        for done, (tomogram, picks) in enumerate(simulated, start=1):
            project.add_tomogram(tomogram.name, tomogram.kind, tomogram.spacing, tomogram[:, :, :])
            project.add_picks(picks, "simulation", "0")
            truths.append(picks)
            tell(done / runs)
    truth = Picks.join(truths)
    with replacing(folder / "truth.csv") as temporary, temporary.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["run", "object", "x", "y", "z"])
        for run, name, x, y, z in truth.table[["run", "object", "x", "y", "z"]].itertuples(index=False):
            rows.writerow([run, name, f"{x:.4f}", f"{y:.4f}", f"{z:.4f}"])
    return project, truth
