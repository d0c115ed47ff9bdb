"""The one table of picks that every room takes and gives."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from typing import Self

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike, NDArray

from tomopick.errors import DataError
from tomopick.geometry import voxel_from_angstrom
from tomopick.tomogram import Tomogram

__all__ = ["EULER", "Picks", "check_inside"]

COLUMNS = ("run", "object", "x", "y", "z", "score")
EULER = ("rot", "tilt", "psi")


@dataclass(frozen=True, eq=False)
class Picks:
    """Particles found, or annotated, in any number of runs.

    Attributes:
        table: columns run, object (text), x, y, z (Angstrom, from the first voxel), score (1 where unknown), and
            perhaps rot, tilt, psi (degrees, RELION's intrinsic ZYZ Euler angles). Its index is 0..n-1.
    """

    table: pd.DataFrame

    def __post_init__(self) -> None:
        missing = [c for c in COLUMNS if c not in self.table.columns and c != "score"]
        if missing:
            raise DataError(f"picks need the columns {', '.join(COLUMNS[:5])}; missing: {', '.join(missing)}")
        table = self.table.reset_index(drop=True)
        if "score" not in table.columns:
            table = table.assign(score=1.0)
        angles = [c for c in EULER if c in table.columns]
        if angles and len(angles) < len(EULER):
            raise DataError(f"Euler angles come as rot, tilt and psi together; found only {', '.join(angles)}")
        table = table[[*COLUMNS, *angles]].astype({"run": str, "object": str})
        for column in [*COLUMNS[2:], *angles]:
            table[column] = pd.to_numeric(table[column], errors="coerce").astype(np.float64)
        bad = ~np.isfinite(table[[*COLUMNS[2:]]].to_numpy()).all(axis=1)
        if bad.any():
            row = int(np.flatnonzero(bad)[0])
            raise DataError(
                f"picks row {row + 1}: x, y, z and score must be finite numbers ({int(bad.sum())} rows are not)"
            )
        object.__setattr__(self, "table", table)

    @classmethod
    def of(
        cls,
        run: str,
        name: str,
        xyz: ArrayLike,
        score: ArrayLike = 1.0,
        euler: ArrayLike | None = None,
    ) -> Self:
        """Picks of one object in one run: xyz (n, 3) in Angstrom, score (n,) or one, euler (n, 3) in degrees."""
        xyz_array = np.asarray(xyz, dtype=np.float64).reshape(-1, 3)
        table = pd.DataFrame(xyz_array, columns=["x", "y", "z"])
        table = table.assign(run=run, object=name, score=np.broadcast_to(np.asarray(score, float), len(table)))
        if euler is not None:
            table[list(EULER)] = np.asarray(euler, dtype=np.float64).reshape(-1, 3)
        return cls(table)

    @classmethod
    def empty(cls) -> Self:
        """No picks at all."""
        return cls.of("", "", np.zeros((0, 3)))

    @classmethod
    def join(cls, parts: Iterable[Picks]) -> Self:
        """All picks of the parts, in their order; angles are kept only where every part that holds picks has them."""
        tables = [p.table for p in parts if len(p)]
        return cls(pd.concat(tables, join="inner", ignore_index=True)) if tables else cls.empty()

    def __len__(self) -> int:
        return len(self.table)

    @property
    def runs(self) -> list[str]:
        """Names of the runs that hold picks, sorted."""
        return sorted(self.table["run"].unique())

    @property
    def objects(self) -> list[str]:
        """Names of the objects that were picked, sorted."""
        return sorted(self.table["object"].unique())

    @property
    def has_angles(self) -> bool:
        """Whether each pick has Euler angles."""
        return EULER[0] in self.table.columns

    def where(self, run: str | None = None, name: str | None = None, min_score: float | None = None) -> Picks:
        """The picks of this run, of this object, of at least this score; each one optional."""
        keep = np.ones(len(self.table), dtype=bool)
        if run is not None:
            keep &= (self.table["run"] == run).to_numpy()
        if name is not None:
            keep &= (self.table["object"] == name).to_numpy()
        if min_score is not None:
            keep &= (self.table["score"] >= min_score).to_numpy()
        return Picks(self.table[keep])

    def in_runs(self, runs: Collection[str]) -> Picks:
        """The picks of these runs."""
        return Picks(self.table[self.table["run"].isin(list(runs))])

    def of_objects(self, names: Collection[str]) -> Picks:
        """The picks of these objects."""
        return Picks(self.table[self.table["object"].isin(list(names))])

    def xyz(self) -> NDArray[np.float64]:
        """Coordinates (n, 3), xyz in Angstrom."""
        return self.table[["x", "y", "z"]].to_numpy(np.float64)

    def scores(self) -> NDArray[np.float64]:
        """Scores (n,)."""
        return self.table["score"].to_numpy(np.float64)

    def euler(self) -> NDArray[np.float64]:
        """Euler angles (n, 3) rot, tilt, psi in degrees; (0, 3) where the picks have none."""
        return self.table[list(EULER)].to_numpy(np.float64) if self.has_angles else np.zeros((0, 3))


def check_inside(picks: Picks, tomogram: Tomogram, slack: float = 0.0) -> None:
    """Refuse picks of the tomogram's run that lie outside of it, as those in wrong units do.

    Args:
        picks: of any runs.
        tomogram: its voxels reach half a voxel beyond their centres.
        slack: Angstrom beyond that which are let pass.

    Raises:
        DataError: it names the first of them, and the size of the volume.
    """
    part = picks.where(tomogram.name)
    voxel = voxel_from_angstrom(part.xyz(), tomogram.spacing)
    beyond = 0.5 + slack / tomogram.spacing
    outside = ((voxel < -beyond) | (voxel > np.array(tomogram.shape) - 1 + beyond)).any(axis=1)
    if outside.any():
        row = part.table.iloc[int(np.flatnonzero(outside)[0])]
        size = " x ".join(f"{n * tomogram.spacing:.0f}" for n in reversed(tomogram.shape))
        count = int(outside.sum())
        raise DataError(
            f"{count} pick{'s lie' if count > 1 else ' lies'} outside run '{tomogram.name}': {row['object']} at x, y, "
            f"z = {row['x']:.1f}, {row['y']:.1f}, {row['z']:.1f} A, but the volume is {size} A; are the units or pixel "
            "size right?"
        )
