"""copick projects: objects, tomograms and picks of many runs, on any storage that copick knows."""

from __future__ import annotations

import json
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from pydantic import ValidationError

from tomopick.atomic import replacing
from tomopick.errors import DataError, reason
from tomopick.io.copick_objects import objects_from_copick, objects_to_copick
from tomopick.io.copick_picks import PickSet, agreed_picks, check_run_name, copick_name, sets_of_run, store_picks
from tomopick.io.omezarr import open_zarr_store
from tomopick.io.remote import storage_errors
from tomopick.objects import ParticleObject, object_named
from tomopick.picks import Picks
from tomopick.tomogram import Tomogram

__all__ = ["REVIEW_SESSION", "RUNS", "TOMOPICK_USER", "PickSet", "Project", "create_project", "open_project"]

TOMOPICK_USER = "tomopick"
"""The copick user under which tomopick writes picks; the session is the model's name."""

REVIEW_SESSION = "review"
"""The copick session under which a person's corrections are kept."""

RUNS = "ExperimentRuns"
"""What copick calls the folder of all runs."""

SPACING_TOLERANCE = 0.01
"""How far a tomogram's voxel spacing may be from the one asked for (folders say 10.000 A where voxels are 10.012 A)."""


@dataclass(frozen=True)
class Project:
    """A copick project.

    Attributes:
        root: copick's own object for the project.
        path: its configuration file.
        weights: weights in the score by object name; the objects of the CZII challenge have theirs, others 1.
    """

    root: Any
    path: Path
    weights: Mapping[str, float] = field(default_factory=dict)

    @property
    def runs(self) -> list[str]:
        """Names of the runs, sorted.

        Raises:
            DataError: the storage cannot be reached.
        """
        try:
            return sorted(run.name for run in self.root.runs)
        except storage_errors(OSError) as error:
            raise DataError(f"cannot list the runs of {self.path}: {reason(error)}") from error

    @property
    def objects(self) -> tuple[ParticleObject, ...]:
        """The particles that the configuration names (not the objects picked as segmentations).

        Raises:
            DataError: there are none, one has no radius, two share a name or a label, or a weight is for none of them.
        """
        return objects_from_copick(self.root.config.pickable_objects, self.weights, self.path)

    def tomogram_kinds(self, run: str) -> list[tuple[float, str]]:
        """Voxel spacing (Angstrom, as its folder says) and type of each tomogram of a run, sorted."""
        return sorted((s.voxel_size, t.tomo_type) for s in self._run(run).voxel_spacings for t in s.tomograms)

    def tomogram(self, run: str, kind: str, spacing: float | None = None) -> Tomogram:
        """One tomogram, read lazily at full resolution; its spacing is the one its own metadata give.

        The coarser levels of its pyramid are not offered: their voxels are means of eight, so they do not start at
        the same point.

        Args:
            run: the run's name.
            kind: the tomogram's type ("wbp", "denoised").
            spacing: Angstrom, within 1 %; without it, the finest tomogram of this type.

        Raises:
            DataError: there is none; the message lists what the run has.
        """
        found = [t for s in self._run(run).voxel_spacings for t in s.tomograms if t.tomo_type == kind]
        found.sort(key=lambda t: abs(t.voxel_spacing.voxel_size - (spacing or 0)))
        if not found or not _near(found[0].voxel_spacing.voxel_size, spacing):
            there = ", ".join(f"{k} at {s:g} A" for s, k in self.tomogram_kinds(run)) or "none"
            at = f" at {spacing:g} A" if spacing else ""
            raise DataError(f"run '{run}' has no tomogram '{kind}'{at}; it has: {there}")
        folder = found[0].voxel_spacing.voxel_size
        array, own = open_zarr_store(found[0].zarr(), f"tomogram {kind} at {folder:g} A of run {run}", None)
        return Tomogram(array, own if _near(own, folder) else folder, run, kind)

    def picks(
        self,
        run: str | None = None,
        user: str | None = None,
        session: str | None = None,
        objects: Sequence[str] | None = None,
    ) -> Picks:
        """Picks of the project's objects; by default all that tomopick has not made itself (the annotations).

        Args:
            run: one run; all of them without it.
            user: copick's user id; "tomopick" for tomopick's own picks.
            session: copick's session id; a model's name among tomopick's own picks.
            objects: names of the objects wanted; all that the configuration names without it.

        Raises:
            DataError: a run or object is unknown, a set cannot be read, or two sets of the same object in a run differ
                and neither `user` nor `session` says which one counts.
        """
        names = [object_named(o, self.objects).name for o in objects or [o.name for o in self.objects]]
        parts = []
        for one in [run] if run is not None else self.runs:
            sets = [p for p in sets_of_run(self._run(one)) if _wanted(p, user, session)]
            for name in names:
                parts.append(agreed_picks([p for p in sets if p.pickable_object_name == name]))
        return Picks.join(parts)

    def annotated(self, run: str, user: str | None = None, session: str | None = None) -> frozenset[str]:
        """Names of the objects that a run has a set of picks of, an empty one too, chosen as `picks` does.

        Raises:
            DataError: the run is unknown.
        """
        sets = [p for p in sets_of_run(self._run(run)) if _wanted(p, user, session)]
        return frozenset(p.pickable_object_name for p in sets) & {o.name for o in self.objects}

    def write_picks(
        self,
        picks: Picks,
        model_name: str,
        overwrite: bool = False,
        runs: Sequence[str] | None = None,
        objects: Sequence[str] | None = None,
    ) -> list[PickSet]:
        """Write picks with the user "tomopick" and the model's name as session; nobody else's picks are touched.

        A set is written for each run and object, also where nothing was found, so that this is on record.

        Args:
            picks: what was found.
            model_name: made a copick name if it is not one (underscores become dashes).
            overwrite: replace sets of this model that are there; without it they are kept.
            runs: the runs that were searched; those that hold picks without it.
            objects: the objects that were looked for; those that hold picks without it.

        Returns:
            what was written, and what was kept, for each run and object.

        Raises:
            DataError: a run or object is not in the project (nothing is written), or a file cannot be written.
        """
        return self._store(picks, TOMOPICK_USER, copick_name(model_name), overwrite, runs, objects)

    def add_picks(self, picks: Picks, user: str, session: str) -> list[PickSet]:
        """Add annotations under a user and session; sets that are there are kept.

        Raises:
            DataError: a run or object is not in the project (nothing is written), or a file cannot be written.
        """
        return self._store(picks, copick_name(user), copick_name(session), False, None, None)

    def write_review(self, picks: Picks, user: str, run: str) -> list[PickSet]:
        """Write what a person says is in a run as that user's session "review", in place of what it held.

        Raises:
            DataError: the user is tomopick itself, the run or an object is not in the project, or a file cannot be
                written.
        """
        if copick_name(user) == TOMOPICK_USER:
            raise DataError(f"picks of the user '{TOMOPICK_USER}' are the models'; give your own user id")
        names = [o.name for o in self.objects]
        return self._store(picks.where(run), copick_name(user), REVIEW_SESSION, True, [run], names)

    def _store(
        self,
        picks: Picks,
        user: str,
        session: str,
        overwrite: bool,
        runs: Sequence[str] | None,
        objects: Sequence[str] | None,
    ) -> list[PickSet]:
        found = {run: self._run(run) for run in (picks.runs if runs is None else runs)}
        names = [object_named(o, self.objects).name for o in (picks.objects if objects is None else objects)]
        left = (set(picks.runs) - set(found)) | (set(picks.objects) - set(names))
        if left:
            raise DataError(f"there are picks of {', '.join(sorted(left))}, which was not to be written")
        done = []
        for run, copick_run in found.items():
            there = {p.pickable_object_name for p in copick_run.get_picks(user_id=user, session_id=session)}
            for name in names:
                part = picks.where(run, name)
                kept = name in there and not overwrite
                if not kept:
                    store_picks(copick_run, name, user, session, part)
                done.append(PickSet(run, name, len(part), kept))
        return done

    def add_tomogram(self, run: str, kind: str, spacing: float, array: ArrayLike) -> None:
        """Add a tomogram, zyx, as float32 OME-Zarr with three levels; the run is made if it is new.

        Raises:
            DataError: the names cannot be used, the tomogram is there already, or it cannot be written (what was
                written of it is removed).
        """
        check_run_name(run)
        volume = Tomogram(np.asarray(array), spacing, run, copick_name(kind))
        try:
            spacings = self.root.new_run(run, exist_ok=True).new_voxel_spacing(spacing, exist_ok=True)
            if spacings.get_tomogram(volume.kind) is not None:
                raise DataError(f"run '{run}' already has a tomogram '{volume.kind}' at {spacing:g} A")
            tomogram = spacings.new_tomogram(volume.kind)
        except storage_errors(OSError) as error:
            raise DataError(f"cannot write to the project {self.path}: {reason(error)}") from error
        try:
            tomogram.from_numpy(volume.array, levels=3)
        except BaseException as error:
            tomogram.delete()
            if isinstance(error, storage_errors(OSError)):
                raise DataError(f"cannot write a tomogram of run '{run}': {reason(error)}") from error
            raise

    def _run(self, name: str) -> Any:
        if name not in self.runs:
            raise DataError(f"{self.path} has no run '{name}'; it has: {', '.join(self.runs) or 'none'}")
        return self.root.get_run(name)


def open_project(config_path: str | Path, weights: Mapping[str, float] | None = None) -> Project:
    """Open a copick project by its configuration file.

    Where none of its folders is where the file says, as after a move to another machine, those of the same names beside
    the file are taken, with a warning.

    Args:
        config_path: copick's JSON file; the project itself may be anywhere that copick reaches.
        weights: weights in the score by object name, instead of the built-in ones.

    Raises:
        DataError: the file cannot be read or is not a copick configuration, or its storage cannot be reached.
    """
    import copick

    path = Path(config_path)
    try:
        data = json.loads(path.read_text())
        if not isinstance(data, dict) or "pickable_objects" not in data:
            raise DataError(f'{path} is not a copick configuration: it has no "pickable_objects"')
        data = _found_again(data, path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", UserWarning)  # copick warns of names that it then refuses
            root = copick.from_string(json.dumps({"config_type": "filesystem", **data}))
        return Project(root, path, dict(weights or {}))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise DataError(f"{path} is not a copick configuration: not JSON ({error})") from error
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(p) for p in first["loc"])
        raise DataError(f"{path} is not a copick configuration: {where}: {first['msg']}") from error
    except storage_errors(OSError, ValueError, ImportError) as error:
        raise DataError(f"cannot open the project {path}: {reason(error)}") from error


def create_project(
    config_path: str | Path,
    objects: Sequence[ParticleObject],
    name: str = "tomopick",
    description: str = "made by tomopick",
) -> Project:
    """Make a copick project: a configuration file whose folder will hold the runs.

    The file says where that folder is by its absolute path, since copick takes others from the current folder.

    Raises:
        DataError: there is such a file already, the objects or their names cannot be used, or it cannot be written.
    """
    import copick

    path = Path(config_path)
    if path.exists():
        raise DataError(f"{path} is there already; choose another folder")
    config = {
        "config_type": "filesystem",
        "name": name,
        "description": description,
        "version": copick.__version__,
        "pickable_objects": objects_to_copick(objects),
        "overlay_root": f"local://{path.parent.resolve()}",
        "overlay_fs_args": {"auto_mkdir": True},
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise DataError(f"cannot make the folder {path.parent}: {error.strerror or error}") from error
    with replacing(path) as temporary:
        temporary.write_text(json.dumps(config, indent=4))
    return open_project(path)


def _found_again(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """The configuration, with folders that lie beside its file where those that it names are all gone."""
    named = {key: str(config[key]) for key in ("static_root", "overlay_root") if config.get(key)}
    local = {key: root.removeprefix("local://").removeprefix("file://") for key, root in named.items()}
    if any("://" in root or Path(root).exists() for root in local.values()):
        return config
    folders = {key: Path(root) for key, root in local.items()}
    here = path.parent.resolve()
    all_here = (here / RUNS).is_dir()
    beside = {
        key: here if all_here and not (here / folder.name).is_dir() else here / folder.name
        for key, folder in folders.items()
    }
    held = next((key for key, folder in beside.items() if (folder / RUNS).is_dir()), None)
    if held is None:
        return config
    text = f"{path} says that runs are in {folders[held]}, which is not there; taken from {beside[held]}"
    warnings.warn(text, stacklevel=3)
    return config | {key: f"local://{folder}" for key, folder in beside.items()}


def _near(found: float, wanted: float | None) -> bool:
    return wanted is None or abs(found - wanted) <= SPACING_TOLERANCE * wanted


def _wanted(pick_set: Any, user: str | None, session: str | None) -> bool:
    by_user = pick_set.user_id != TOMOPICK_USER if user is None else pick_set.user_id == user
    return by_user and session in (None, pick_set.session_id)
