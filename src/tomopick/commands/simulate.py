"""`tomopick simulate`: an annotated project of phantom tomograms."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

from tomopick.atomic import replacing
from tomopick.commands.screen import notice, progress_bar
from tomopick.errors import DataError
from tomopick.io.project import Project, create_project
from tomopick.objects import CZII_OBJECTS, CZII_WEIGHTS, ParticleObject, distinct_color
from tomopick.picks import Picks
from tomopick.simulate import Scope, simulate_runs
from tomopick.structures import Structure
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
    structures: Sequence[Structure] = (),
) -> tuple[Project, Picks]:
    """Simulate runs into a new copick project, ``folder/config.json``, and their truth into ``folder/truth.csv``.

    `settings`, `vary`, `jobs` and `structures` are those of `simulate_runs`; structures are objects by their radii.
    """
    if (folder / "config.json").exists() or (folder / "ExperimentRuns").exists():
        raise DataError(f"{folder} holds a project already; choose another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {folder}: {error.strerror}") from error
    try:
        simulated = simulate_runs(runs, shape, seed, settings, vary, jobs, structures)
        return _fill(folder, _objects(structures), runs, simulated)
    except BaseException:  # also a keyboard interrupt: half a project would pass for a whole one
        (folder / "config.json").unlink(missing_ok=True)
        shutil.rmtree(folder / "ExperimentRuns", ignore_errors=True)
        raise


def _objects(structures: Sequence[Structure]) -> tuple[ParticleObject, ...]:
    if not structures:
        return CZII_OBJECTS
    return tuple(
        ParticleObject(
            name=structure.name,
            radius=round(structure.radius),
            weight=CZII_WEIGHTS.get(structure.name, 1.0),
            label=i + 1,
            color=distinct_color(i),
        )
        for i, structure in enumerate(structures)
    )


def _fill(
    folder: Path, objects: Sequence[ParticleObject], runs: int, simulated: Iterator[tuple[Tomogram, Picks]]
) -> tuple[Project, Picks]:
    project = create_project(folder / "config.json", objects, name="tomopick phantom")
    truths = []
    with progress_bar(f"simulating {runs} tomograms") as tell:
        for done, (tomogram, picks) in enumerate(simulated, start=1):
            project.add_tomogram(tomogram.name, tomogram.kind, tomogram.spacing, tomogram[:, :, :])
            project.add_picks(picks, "simulation", "0")
            truths.append(picks)
            tell(done / runs)
    truth = Picks.join(truths)
    if absent := [one.name for one in objects if one.name not in truth.objects]:
        notice(f"no {', '.join(absent)} fits into the tomograms; give a larger --shape")
    with replacing(folder / "truth.csv") as temporary, temporary.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["run", "object", "x", "y", "z"])
        for run, name, x, y, z in truth.table[["run", "object", "x", "y", "z"]].itertuples(index=False):
            rows.writerow([run, name, f"{x:.4f}", f"{y:.4f}", f"{z:.4f}"])
    return project, truth
