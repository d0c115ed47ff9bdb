"""`tomopick simulate`: an annotated project of phantom tomograms."""

from __future__ import annotations

import csv
import shutil
from collections.abc import Sequence
from hashlib import sha256
from pathlib import Path

from tomopick.atomic import replacing
from tomopick.commands.screen import notice, progress_bar
from tomopick.errors import DataError
from tomopick.io.picks import read_picks
from tomopick.io.project import RUNS, Project, create_project, open_project
from tomopick.objects import CZII_OBJECTS, CZII_WEIGHTS, ParticleObject, distinct_color
from tomopick.picks import Picks
from tomopick.simulate import simulate_runs
from tomopick.structures import Structure

__all__ = ["simulate_project"]

UNFINISHED = "unfinished.json"
"""The project's configuration as long as runs are missing."""


def simulate_project(
    folder: Path,
    runs: int,
    shape: tuple[int, int, int],
    seed: int,
    *,
    vary: bool = False,
    jobs: int = 1,
    structures: Sequence[Structure] = (),
) -> tuple[Project, Picks]:
    """Simulate runs into a new copick project, ``folder/config.json``, and their truth into ``folder/truth.csv``.

    The configuration gets its name when all runs are there: half a project would pass for a whole one. Where it was
    stopped before, the runs that were finished are kept, and so the same project is made. `vary`, `jobs` and
    `structures` are those of `simulate_runs`; structures are objects by their radii.

    Raises:
        DataError: the folder holds a project, or the half of another one, or cannot be written.
    """
    order = _order(runs, shape, seed, vary, structures)
    project, truth = _begun(folder, order) or (_begin(folder, order, _objects(structures)), Picks.empty())
    done = 1 + max((int(run.removeprefix("SIM_")) for run in truth.runs), default=-1)
    try:
        simulated = simulate_runs(runs, shape, seed, None, vary, jobs, structures, first=done)
        with progress_bar(f"simulating {runs} tomograms") as tell:
            for tomogram, picks in simulated:
                shutil.rmtree(folder / RUNS / tomogram.name, ignore_errors=True)
                project.add_tomogram(tomogram.name, tomogram.kind, tomogram.spacing, tomogram[:, :, :])
                project.add_picks(picks, "simulation", "0")
                truth = Picks.join([truth, picks])
                _write_truth(folder / "truth.csv", truth)
                done += 1
                tell(done / runs)
    except BaseException:  # also a keyboard interrupt
        if done:
            notice(f"{done} of {runs} tomograms are kept: the same command goes on with the others")
        else:
            project.path.unlink()
            shutil.rmtree(folder / RUNS, ignore_errors=True)
        raise
    if absent := [one.name for one in project.objects if one.name not in truth.objects]:
        notice(f"no {', '.join(absent)} fits into the tomograms; give a larger --shape")
    project.path.rename(folder / "config.json")
    return open_project(folder / "config.json"), truth


def _order(runs: int, shape: Sequence[int], seed: int, vary: bool, structures: Sequence[Structure]) -> str:
    """What tells one simulation from another."""
    size = " x ".join(map(str, shape))
    particles = [f"{s.name} {sha256(s.density.tobytes()).hexdigest()[:16]} at {s.spacing:g} A" for s in structures]
    return "; ".join([f"{runs} phantoms of {size} voxels", f"seed {seed}", *["varied"] * vary, *particles])


def _begun(folder: Path, order: str) -> tuple[Project, Picks] | None:
    """The project and the truth that an earlier simulation of the same order left unfinished, if there is one."""
    if not (folder / UNFINISHED).exists():
        if any((folder / name).exists() for name in ("config.json", RUNS, "truth.csv")):
            raise DataError(f"{folder} holds a project already; choose another folder")
        return None
    project = open_project(folder / UNFINISHED)
    if project.root.config.description != order:
        raise DataError(
            f"{folder} holds an unfinished project of other settings: {project.root.config.description}; "
            "give these, or choose another folder"
        )
    truth = folder / "truth.csv"
    return project, read_picks(truth) if truth.exists() else Picks.empty()


def _begin(folder: Path, order: str, objects: Sequence[ParticleObject]) -> Project:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {folder}: {error.strerror}") from error
    return create_project(folder / UNFINISHED, objects, "tomopick phantom", order)


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


def _write_truth(path: Path, truth: Picks) -> None:
    with replacing(path) as temporary, temporary.open("w", newline="") as file:
        rows = csv.writer(file)
        rows.writerow(["run", "object", "x", "y", "z"])
        for run, name, x, y, z in truth.table[["run", "object", "x", "y", "z"]].itertuples(index=False):
            rows.writerow([run, name, f"{x:.4f}", f"{y:.4f}", f"{z:.4f}"])
