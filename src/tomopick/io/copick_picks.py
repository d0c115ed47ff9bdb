"""Pick sets of a copick project: what copick calls picks, and how they are read and stored."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomopick.atomic import replacing
from tomopick.errors import DataError, reason
from tomopick.io.orientation import euler_from_rotation, rotation_from_euler
from tomopick.io.remote import storage_errors
from tomopick.picks import Picks

__all__ = ["PickSet", "agreed_picks", "check_run_name", "copick_name", "sets_of_run", "store_picks"]


@dataclass(frozen=True)
class PickSet:
    """What became of one pick set: one object in one run.

    Attributes:
        run: the run's name.
        object: the object's name.
        count: how many picks were given for it.
        kept: whether a set that was there before was left as it is, so that these picks were not written.
    """

    run: str
    object: str
    count: int
    kept: bool


def copick_name(text: str) -> str:
    """`text` as a copick user, session or tomogram type: without underscores, spaces, slashes and the like.

    Raises:
        DataError: nothing is left of it.
    """
    from copick.util.escape import sanitize_name

    try:
        name = str(sanitize_name(text, suppress_warnings=True)).lstrip(".")
    except ValueError:
        name = ""
    if not name:
        raise DataError(f"'{text}' cannot be a name in a copick project; use letters and digits")
    return name


def check_run_name(name: str) -> None:
    """A run is a folder, which must stay inside the project and be found again by copick's patterns.

    Raises:
        DataError: the name could not be one.
    """
    if not name or name.startswith(".") or any(c in '/\\*?[]:"<>|' or not c.isprintable() for c in name):
        raise DataError(f"'{name}' cannot be a run's name; use letters, digits, dots, dashes and underscores")


def _set_name(pick_set: Any) -> str:
    """A copick pick set's user and session, as they are given on the command line."""
    return f"--user {pick_set.user_id} --session {pick_set.session_id}"


def sets_of_run(run: Any) -> list[Any]:
    """The pick sets of a copick run, by object, user and session.

    Raises:
        DataError: they cannot be listed.
    """
    try:
        return sorted(run.picks, key=lambda p: (p.pickable_object_name, p.user_id, p.session_id))
    except storage_errors(OSError, IndexError) as error:  # copick splits each file's name at its underscores
        raise DataError(
            f"cannot list the picks of run '{run.name}'; their names are user_session_object.json ({reason(error)})"
        ) from error


def _picks_of(pick_set: Any) -> Picks:
    """One copick pick set as a table: centres (location and shift) in Angstrom, scores, Euler angles.

    There are angles where the set's orientations are to be trusted and one of them is not the identity, which copick
    writes where no orientation is known.

    Raises:
        DataError: the set cannot be read.
    """
    run, name = pick_set.run.name, pick_set.pickable_object_name
    try:
        points = pick_set.points
        _, transforms = pick_set.numpy()
        xyz, scores = pick_set.full_positions(), pick_set.scores()
    except storage_errors(OSError, ValueError, TypeError) as error:
        raise DataError(
            f"cannot read the picks of {name} in run '{run}' ({_set_name(pick_set)}): {reason(error)}"
        ) from error
    if not points:
        return Picks.empty()
    rotations = transforms[:, :3, :3]
    known = pick_set.trust_orientation and not np.allclose(rotations, np.eye(3))
    return Picks.of(run, name, xyz, scores, euler_from_rotation(rotations) if known else None)


def agreed_picks(sets: Sequence[Any]) -> Picks:
    """The picks of the only copick set of an object in a run, or of several that hold the same; none of no set.

    Raises:
        DataError: a set cannot be read, or two differ.
    """
    tables = [_picks_of(s) for s in sets]
    if not all(_same_places(tables[0], t) for t in tables[1:]):
        there = ", or ".join(_set_name(s) for s in sets)
        run, name = sets[0].run.name, sets[0].pickable_object_name
        raise DataError(f"run '{run}' has several sets of {name}; choose one: {there}")
    return tables[0] if tables else Picks.empty()


def _same_places(one: Picks, other: Picks) -> bool:
    """Whether two tables hold the same coordinates, in any order (to 1e-3 Angstrom)."""
    return len(one) == len(other) and np.allclose(_in_order(one), _in_order(other), atol=1e-3, rtol=0)


def _in_order(picks: Picks) -> NDArray[np.float64]:
    xyz = picks.xyz()
    return xyz[np.lexsort(xyz.round(2).T)]


def store_picks(run: Any, name: str, user: str, session: str, picks: Picks) -> None:
    """Store picks of one object as the copick set `user`, `session` of a run, in place of one that is there.

    A local file is replaced whole or not at all; remote stores get the whole file in one call. Without angles, the
    set says that its orientations are not to be trusted.

    Raises:
        DataError: it cannot be written.
    """
    from copick.impl.filesystem import CopickPicksFSSpec
    from copick.models import CopickPicksFile

    if run.root.config.config_type == "mlcroissant":  # copick itself keeps an index of these files
        stored = run.new_picks(object_name=name, user_id=user, session_id=session, exist_ok=True)
        stored.meta.trust_orientation = picks.has_angles
        stored.from_numpy(picks.xyz(), _transforms(picks), scores=picks.scores())
        return
    file = CopickPicksFile(
        pickable_object_name=name,
        user_id=user,
        session_id=session,
        run_name=run.name,
        points=_points(picks),
        trust_orientation=picks.has_angles,
    )
    target = CopickPicksFSSpec(run=run, file=file)
    _put(target.fs, target.directory, target.path, json.dumps(file.model_dump(), indent=4))
    run.refresh_picks()


def _put(fs: Any, directory: str, path: str, text: str) -> None:
    try:
        fs.makedirs(directory, exist_ok=True)
        if "file" in fs.protocol:
            with replacing(Path(path)) as temporary:
                temporary.write_text(text)
        else:
            fs.pipe_file(path, text.encode())
    except storage_errors(OSError) as error:
        raise DataError(f"cannot write {path}: {reason(error)}") from error


def _transforms(picks: Picks) -> NDArray[np.float64]:
    transforms = np.tile(np.eye(4), (len(picks), 1, 1))
    if picks.has_angles:
        transforms[:, :3, :3] = rotation_from_euler(picks.euler())
    return transforms


def _points(picks: Picks) -> Sequence[Any]:
    from copick.models import CopickLocation, CopickPoint

    return [
        CopickPoint(location=CopickLocation(x=x, y=y, z=z), transformation_=transform, score=score)
        for (x, y, z), transform, score in zip(
            picks.xyz().tolist(), _transforms(picks).tolist(), picks.scores().tolist(), strict=True
        )
    ]
