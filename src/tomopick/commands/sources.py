"""What a user names as input, found: tomograms of files, folders and copick projects; picks of files and projects."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tomopick.errors import DataError
from tomopick.io.picks import read_picks
from tomopick.io.project import TOMOPICK_USER, Project, open_project
from tomopick.io.tomograms import read_tomogram, tomogram_files
from tomopick.objects import CZII_OBJECTS, ParticleObject
from tomopick.picks import Picks
from tomopick.tomogram import Tomogram

__all__ = [
    "Source",
    "held",
    "is_project",
    "objects_for",
    "picks_of",
    "project_at",
    "projects_of",
    "split_names",
    "tomograms_of",
]

IN_MEMORY = 4 * 2**30  # bytes of a tomogram as float32


@dataclass(frozen=True)
class Source:
    """A tomogram that is opened when its turn comes, so that one that fails does not stop the others.

    Attributes:
        name: the run's.
        open: opens it.
        project: the project that it is in, where it is in one.
        file: its file, where it is one of its own.
    """

    name: str
    open: Callable[[], Tomogram]
    project: Project | None = None
    file: Path | None = None


def held(tomogram: Tomogram) -> Tomogram:
    """The tomogram in memory where there is room: for those who read boxes that are smaller than a file's chunks."""
    small = 4 * math.prod(tomogram.shape) <= IN_MEMORY
    return replace(tomogram, array=tomogram[:, :, :]) if small else tomogram


def split_names(text: str | None) -> list[str] | None:
    """The names of a comma-separated option."""
    return [name.strip() for name in text.split(",") if name.strip()] if text else None


def is_project(path: Path) -> bool:
    """Whether this is a copick configuration, or a folder that holds one."""
    return path.suffix.lower() == ".json" or (path.is_dir() and (path / "config.json").is_file())


def project_at(path: Path) -> Project:
    """The copick project of a configuration file, or of a folder that holds a config.json."""
    return open_project(path / "config.json" if path.is_dir() else path)


def projects_of(inputs: Sequence[Path]) -> list[Project]:
    """The copick projects among the inputs."""
    return [project_at(path) for path in inputs if is_project(path)]


def tomograms_of(
    inputs: Sequence[Path], kind: str, spacing: float | None, wanted: float, runs: Sequence[str] | None
) -> list[Source]:
    """All tomograms that the inputs name.

    Args:
        inputs: copick configurations, tomogram files, folders of them.
        kind: tomogram type in projects.
        spacing: voxel spacing asked for, in Angstrom: chooses the tomogram in a project and overrides a file's.
        wanted: voxel spacing to prefer in projects where none is asked for.
        runs: only these.

    Raises:
        DataError: there is nothing, a run is not there, a name stands twice, or no run has a tomogram of this type.
    """
    found: list[Source] = []
    unread: list[str] = []
    for path in inputs:
        if is_project(path):
            project = project_at(path)
            found += _of_project(project, kind, spacing, wanted, runs)
            unread += [run for run in project.runs if runs is not None and run not in runs]
        elif path.is_dir() and path.suffix.lower() != ".zarr":
            found += [_of_file(file, spacing) for file in tomogram_files(path)]
        else:
            found.append(_of_file(path, spacing))
    if runs is not None:
        missing = set(runs) - {source.name for source in found}
        if missing:
            there = ", ".join(sorted([*unread, *(source.name for source in found)])) or "none at all"
            raise DataError(f"no run {', '.join(sorted(missing))} in the input; there is {there}")
        found = [source for source in found if source.name in runs]
    if not found:
        raise DataError(f"{', '.join(map(str, inputs))} has no runs; was its folder moved or emptied?")
    names = [source.name for source in found]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise DataError(f"two tomograms are called {', '.join(twice)}; picks could not tell them apart: rename one")
    return found


def _of_file(path: Path, spacing: float | None) -> Source:
    name = path.name
    for ending in (".zarr", ".ome", ".h5", ".hdf5", ".hdf", ".mrc", ".rec", ".map"):
        name = name.removesuffix(ending)
    return Source(name, lambda: read_tomogram(path, spacing), file=path)


def _of_project(
    project: Project, kind: str, spacing: float | None, wanted: float, runs: Sequence[str] | None
) -> list[Source]:
    names = [run for run in project.runs if runs is None or run in runs]
    kinds = {run: project.tomogram_kinds(run) for run in names}
    if names and not any(k == kind for there in kinds.values() for _, k in there):
        there = sorted({f"'{k}' at {s:g} A" for found in kinds.values() for s, k in found})
        raise DataError(
            f"project {project.path} has no tomogram of type '{kind}'; it has {', '.join(there) or 'none at all'}: "
            "choose one with --tomogram"
        )

    def opener(run: str) -> Callable[[], Tomogram]:
        spacings = [s for s, k in kinds[run] if k == kind]
        near = min(spacings, key=lambda s: abs(s - wanted)) if spacings and spacing is None else spacing
        return lambda: project.tomogram(run, kind, near)

    return [Source(run, opener(run), project) for run in names]


def picks_of(
    path: Path, *, annotated: bool, user: str | None = None, session: str | None = None, spacing: float | None = None
) -> Picks:
    """Picks of a CSV or STAR file, or of a copick project.

    Args:
        path: the file or configuration.
        annotated: of a project, take the annotations; otherwise what tomopick picked.
        user: of a project, take this user's picks instead.
        session: of a project, take this session's.
        spacing: pixel size of STAR coordinates in pixels.
    """
    if is_project(path):
        project = project_at(path)
        found = project.picks(user=user or (None if annotated else TOMOPICK_USER), session=session)
        if not annotated and not len(found):
            raise DataError(
                f"project {path} has no picks by user '{TOMOPICK_USER}'{f' of session {session}' if session else ''}; "
                "`tomopick pick --write-copick` makes some, a picks file does, or --annotated where the command has it"
            )
        return found
    if not path.exists():
        raise DataError(f"there is no file {path}")
    return read_picks(path, spacing=spacing)


def objects_for(paths: Sequence[Path], given: Sequence[str]) -> tuple[ParticleObject, ...]:
    """The objects to evaluate: those given as NAME=RADIUS[:WEIGHT], else a project's, else the six of CZII.

    A weight given for an object of the project replaces the project's.
    """
    base: tuple[ParticleObject, ...] = ()
    for path in paths:
        if not base and is_project(path):
            base = project_at(path).objects
    if not given:
        return base or CZII_OBJECTS
    return tuple(_parsed(text, i, {o.name: o for o in base}) for i, text in enumerate(given))


def _parsed(text: str, index: int, known: dict[str, ParticleObject]) -> ParticleObject:
    name, _, numbers = text.partition("=")
    radius, _, weight = numbers.partition(":")
    try:
        like = known.get(name, ParticleObject(name=name or "?", radius=1, label=index + 1))
        values = {"name": name, "radius": float(radius), "weight": float(weight) if weight else 1.0}
        return ParticleObject.model_validate(like.model_dump() | values)
    except ValueError as error:
        raise DataError(f"--object '{text}' is not NAME=RADIUS or NAME=RADIUS:WEIGHT, as in ribosome=150:1") from error
