"""Subtomograms about picks, and their means."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import affine_transform

from tomopick.geometry import voxel_from_angstrom
from tomopick.picks import Picks
from tomopick.tomogram import Tomogram

__all__ = ["Mean", "box_edge", "central_slices", "complete", "subtomograms"]

ROOM = 3.0  # edge of a subtomogram, in radii of its particle
THICKNESS = 5  # planes that a central slice averages
Volume = NDArray[np.float32]


def box_edge(radius: float, spacing: float) -> int:
    """Voxels along the edge of a subtomogram with room about a particle of this radius (Angstrom); even."""
    return 2 * int(np.ceil(ROOM / 2 * radius / spacing))


def complete(tomogram: Tomogram, picks: Picks, edge: int) -> Picks:
    """The picks of the tomogram's run whose subtomograms lie in it entirely."""
    here = picks.where(tomogram.name)
    first = voxel_from_angstrom(here.xyz(), tomogram.spacing) - edge // 2
    inside = np.all((first >= 0) & (first + edge <= np.array(tomogram.shape)), axis=1)
    return Picks(here.table.loc[inside])


def subtomograms(tomogram: Tomogram, picks: Picks, edge: int) -> Iterator[Volume]:
    """A subtomogram (edge, edge, edge) about each of these picks, of mean 0 and deviation 1, in the picks' order.

    The pick is at voxel ``edge // 2``, as in RELION; between voxels, densities are interpolated linearly. Particles are
    not turned.
    """
    for centre in voxel_from_angstrom(picks.xyz(), tomogram.spacing):
        first = np.floor(centre).astype(int) - edge // 2
        z, y, x = (int(v) for v in first)
        # one voxel more, mirrored at the border where the pick is exactly on a voxel there
        box = tomogram.read((z, y, x), (z + edge + 1, y + edge + 1, x + edge + 1))
        cut = affine_transform(box, np.eye(3), centre - np.floor(centre), (edge,) * 3, order=1, mode="nearest")
        cut -= cut.mean()
        cut /= max(float(cut.std()), 1e-12)
        yield cut.astype(np.float32, copy=False)


def central_slices(tomogram: Tomogram, xyz: NDArray[np.float64], radius: float) -> Volume:
    """The xy slice through a particle and, to its right, the xz slice, each averaged over 5 planes; y and z go up.

    Args:
        tomogram: where it is; mirrored where the picture reaches beyond.
        xyz: its centre, (3,), Angstrom.
        radius: the particle's, Angstrom; each slice is three of them wide.
    """
    z, y, x = (int(v) for v in np.rint(voxel_from_angstrom(xyz, tomogram.spacing)))
    half = box_edge(radius, tomogram.spacing) // 2
    box = tomogram.read((z - half, y - half, x - half), (z + half + 1, y + half + 1, x + half + 1))
    near = slice(max(half - THICKNESS // 2, 0), half + THICKNESS // 2 + 1)
    return np.hstack([box[near].mean(axis=0), box[:, near].mean(axis=1)])


@dataclass
class Mean:
    """The mean of subtomograms that come one at a time.

    Attributes:
        total: their sum, zyx.
        count: how many there were.
    """

    total: NDArray[np.float64]
    count: int = 0

    @classmethod
    def of_edge(cls, edge: int) -> Mean:
        """Of none yet."""
        return cls(np.zeros((edge,) * 3))

    def add(self, one: Volume) -> None:
        """Count another one."""
        self.total += one
        self.count += 1

    @property
    def volume(self) -> Volume:
        """The mean; zeros of none."""
        mean: Volume = (self.total / max(1, self.count)).astype(np.float32)
        return mean
