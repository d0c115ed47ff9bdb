"""Where the particles are: random places and rotations without overlap."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.spatial.transform import Rotation

from tomopick.geometry import angstrom_from_voxel
from tomopick.simulate.particles import Particle

__all__ = ["Placed", "place"]

Floats = NDArray[np.float64]
_ATTEMPTS = 300


@dataclass(frozen=True, eq=False)
class Placed:
    """All copies of one model in a specimen.

    Attributes:
        model: the particle.
        xyz: (n, 3) positions in Angstrom from the first voxel.
        rotation: n rotations that turn the model's xyz axes into the specimen's.
    """

    model: Particle
    xyz: Floats
    rotation: Rotation

    def euler(self) -> Floats:
        """RELION's rot, tilt, psi (n, 3) in degrees.

        RELION's angles turn the coordinate system, so they describe the inverse of `rotation`
        (https://relion.readthedocs.io/en/latest/Reference/Conventions.html).
        """
        return np.asarray(self.rotation.inv().as_euler("ZYZ", degrees=True), dtype=np.float64).reshape(-1, 3)


def random_rotations(count: int, rng: np.random.Generator) -> Rotation:
    """Rotations drawn evenly from all there are."""
    return Rotation.from_quat(rng.normal(size=(count, 4)))


def place(
    wanted: Sequence[tuple[Particle, int]],
    shape_zyx: tuple[int, int, int],
    spacing: float,
    rng: np.random.Generator,
) -> list[Placed]:
    """Put so many copies of each model into a box, each inside the box and clear of the others by their radii.

    The models are served in the order given, so large ones should come first. Where room runs out, fewer are placed.
    """
    top = angstrom_from_voxel(np.asarray(shape_zyx) - 1, spacing)
    xyz, radii = np.zeros((0, 3)), np.zeros(0)
    placed = []
    for model, count in wanted:
        first = len(xyz)
        for _ in range(count):
            spot = _free_spot(model.radius, top, xyz, radii, rng)
            if spot is None:
                break
            xyz, radii = np.vstack([xyz, spot]), np.append(radii, model.radius)
        if len(xyz) > first:
            placed.append(Placed(model, xyz[first:], random_rotations(len(xyz) - first, rng)))
    return placed


def _free_spot(radius: float, top: Floats, xyz: Floats, radii: Floats, rng: np.random.Generator) -> Floats | None:
    if (top < 2 * radius).any():
        return None
    for _ in range(_ATTEMPTS):
        spot = rng.uniform(radius, top - radius)
        if (np.linalg.norm(xyz - spot, axis=1) > radii + radius).all():
            return spot
    return None
