"""Particles: clouds of Gaussian blobs of the right symmetry, mass and size, or structures that are given."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.ndimage import gaussian_filter, map_coordinates
from scipy.spatial.transform import Rotation
from scipy.stats import qmc

from tomopick.errors import DataError
from tomopick.structures import Structure

__all__ = [
    "GOLD_BEAD", "BlobModel", "Particle", "altered_model", "crowder_models", "log_uniform", "particle_model",
    "random_crowders", "render",
]  # fmt: skip

Floats = NDArray[np.float64]
_SKIN = 15.0  # Angstrom around a crowder's blob centres that others keep clear of.
_STRANGER_GROUPS = (("C1", 1), ("C2", 2), ("C3", 3), ("D2", 4), ("D3", 6))  # And how many copies each makes.
_STRANGER_BLOBS = (6, 40)
_CUBIC = ("T", "O", "I")
_STRETCH, _HEAVIER = 0.2, 0.12  # logarithms of how much larger along an axis, and heavier, an altered particle is
_HEAVIEST_BLOB = 30.0  # kDa that a blob of 9 A, about 20 A in radius, holds.


@dataclass(frozen=True, eq=False)
class BlobModel:
    """A particle made of equal Gaussian blobs.

    Attributes:
        centres: (n, 3) blob centres, xyz in Angstrom; their mean is the origin.
        sigma: standard deviation of each blob in Angstrom.
        mass: mass of the whole particle in kDa, shared equally by the blobs.
        radius: radius in Angstrom that other particles keep clear of.
    """

    centres: Floats
    sigma: float
    mass: float
    radius: float


def _symmetric(group: str, unit: ArrayLike) -> Floats:
    """All copies of the asymmetric unit (n, 3) under a point group of SciPy's naming (C2, D2, O, I)."""
    points = np.asarray(unit, dtype=np.float64)
    # SciPy's type stubs know the groups "Cn" and "Dn" only by these letters.
    rotations = Rotation.create_group(group)  # type: ignore[arg-type]
    return np.concatenate([rotation.apply(points) for rotation in rotations])


def _on_sphere(radius: float, directions: ArrayLike) -> Floats:
    rows = np.asarray(directions, dtype=np.float64)
    return np.asarray(radius * rows / np.linalg.norm(rows, axis=1, keepdims=True), dtype=np.float64)


def _cloud(count: int, semi_axes: Sequence[float], centre: Sequence[float] = (0.0, 0.0, 0.0)) -> Floats:
    """Blob centres that fill an ellipsoid evenly, the same ones at each call (a Halton sequence)."""
    cube = 2 * qmc.Halton(3, scramble=False).random(4 * count)[1:] - 1
    ball = cube[np.linalg.norm(cube, axis=1) <= 1][:count]
    return np.asarray(ball * np.asarray(semi_axes) + np.asarray(centre), dtype=np.float64)


def _centred(centres: Floats, sigma: float, mass: float, radius: float) -> BlobModel:
    return BlobModel(centres - centres.mean(axis=0), sigma, mass, radius)


@dataclass(frozen=True, eq=False)
class _Plan:
    """What a particle is made of: a unit of blobs, and the point group that repeats it."""

    group: str
    unit: Floats
    sigma: float
    mass: float
    radius: float

    def model(self) -> BlobModel:
        return _centred(_symmetric(self.group, self.unit), self.sigma, self.mass, self.radius)

    def altered(self, rng: np.random.Generator, jitter: float) -> _Plan:
        """Another particle of the same symmetry: longer or flatter, and its blobs elsewhere by this deviation (A)."""
        # stretched along its axes, a cubic group would be none
        stretch = np.exp(rng.uniform(-_STRETCH, _STRETCH, 1 if self.group in _CUBIC else 3))
        unit = self.unit * stretch + rng.normal(scale=jitter, size=self.unit.shape)
        mass = self.mass * float(np.exp(rng.uniform(-_HEAVIER, _HEAVIER)))
        return replace(self, unit=unit, mass=mass)


def _apo_ferritin() -> _Plan:
    return _Plan("O", _on_sphere(46, [(1.0, 0.45, 0.15), (0.8, 0.65, 0.05)]), 8.0, 480, 60)


def _beta_amylase() -> _Plan:
    return _Plan("D2", np.array([(28, 18, 14), (40, 6, 20), (18, 34, 6)], dtype=np.float64), 9.0, 224, 65)


def _beta_galactosidase() -> _Plan:
    unit = [(60, 18, 12), (42, 42, 14), (28, 18, 22), (70, 4, -8), (52, 30, -10)]
    return _Plan("D2", np.array(unit, dtype=np.float64), 9.0, 465, 90)


def _thyroglobulin() -> _Plan:
    arm = [(104, 25, -10), (90, 5, 15), (70, 35, 0), (80, -20, -25), (60, 45, -20), (55, -15, 20)]
    core = [(40, 20, -25), (45, 0, 0), (30, -35, 5), (25, 45, 10), (15, -10, -10), (10, 15, 30)]
    return _Plan("C2", np.array(arm + core, dtype=np.float64), 11.0, 660, 130)


def _ribosome() -> _Plan:
    large = _cloud(84, (85, 100, 88), (-38, 0, 0))
    small = _cloud(42, (38, 88, 52), (80, 12, 8))
    return _Plan("C1", np.concatenate([large, small]), 13.0, 3200, 150)


def _virus_like_particle() -> _Plan:
    unit = _on_sphere(116, [(0.25, 0.1, 1.0), (0.35, 0.45, 0.8), (-0.05, 0.3, 0.9)])
    return _Plan("I", unit, 9.0, 2500, 135)


_PLANS = {
    "apo-ferritin": _apo_ferritin,
    "beta-amylase": _beta_amylase,
    "beta-galactosidase": _beta_galactosidase,
    "ribosome": _ribosome,
    "thyroglobulin": _thyroglobulin,
    "virus-like-particle": _virus_like_particle,
}


@lru_cache
def particle_model(name: str) -> BlobModel:
    """The model of one of the six CZII objects, by copick name.

    Raises:
        DataError: there is no model of this name.
    """
    return _plan(name).model()


def altered_model(name: str, rng: np.random.Generator, jitter: float) -> BlobModel:
    """A particle like one of the six CZII objects: of its symmetry, of about its size and mass, in detail another.

    Args:
        name: copick name.
        rng: what draws it.
        jitter: deviation of each blob from its place, in Angstrom along each axis.

    Raises:
        DataError: there is no model of this name.
    """
    return _plan(name).altered(rng, jitter).model()


def _plan(name: str) -> _Plan:
    if name not in _PLANS:
        raise DataError(f"the simulator has no model of '{name}'; it knows {', '.join(_PLANS)}")
    return _PLANS[name]()


@lru_cache
def crowder_models() -> tuple[BlobModel, ...]:
    """Other proteins of the specimen, 30 to 160 kDa, that nobody annotates."""
    models = []
    for count, mass, stretch in ((3, 30, 1.0), (5, 60, 1.6), (7, 100, 0.7), (9, 160, 1.3)):
        radius = _compact_radius(mass)
        cloud = _cloud(count, (radius * stretch, radius, radius / stretch))
        models.append(_centred(cloud, 9.0, mass, radius + _SKIN))
    return tuple(models)


def random_crowders(rng: np.random.Generator, count: int = 6) -> tuple[BlobModel, ...]:
    """Proteins that never were: other ones at each call, largest first, 40 to 900 kDa.

    Each is a cloud of 6 to 40 blobs, flat, round or long, with the point group C1, C2, C3, D2 or D3.
    """
    return tuple(sorted((_random_crowder(rng) for _ in range(count)), key=lambda model: -model.radius))


def _random_crowder(rng: np.random.Generator) -> BlobModel:
    group, copies = _STRANGER_GROUPS[rng.integers(len(_STRANGER_GROUPS))]
    mass = log_uniform(rng, 40, 900)
    # No blob heavier than its size can hold.
    fewest = max(_STRANGER_BLOBS[0], mass / _HEAVIEST_BLOB)
    count = rng.integers(math.ceil(fewest / copies), _STRANGER_BLOBS[1] // copies, endpoint=True)
    stretch = log_uniform(rng, 0.6, 2.5)
    radius = _compact_radius(mass)
    # The axis of the symmetry is z, and so is that of the ellipsoid: copies of the unit stay in it.
    semi_axes = radius * np.array([stretch**-0.5, stretch**-0.5, stretch])
    unit = _on_sphere(1, rng.normal(size=(count, 3))) * rng.random((count, 1)) ** (1 / 3) * semi_axes
    model = _centred(_symmetric(group, unit), rng.uniform(8, 10), mass, radius)
    reach = float(np.linalg.norm(model.centres, axis=1).max())
    return replace(model, radius=max(radius, reach) + _SKIN)


def _compact_radius(mass: float) -> float:
    """Radius in Angstrom of a compact protein of so many kDa (1.35 g/cm3)."""
    return 6.6 * math.cbrt(mass)


def log_uniform(rng: np.random.Generator, low: float, high: float) -> float:
    """A number whose logarithm is drawn evenly between those of low and high."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


GOLD_BEAD = BlobModel(np.zeros((1, 3)), 14.0, 400, 50)
"""A small gold bead. Its 1300 kDa count as 400, since little is left of the beam behind gold to take more away."""


Particle = BlobModel | Structure
"""What can be put into a specimen; the origin of a structure is its centre of mass."""


def render(model: Particle, spacing: float) -> NDArray[np.float32]:
    """The density of a model in a cube (zyx, kDa per voxel) with its origin at voxel ``size // 2`` of each axis."""
    density = _resampled(model, spacing) if isinstance(model, Structure) else _blobs(model, spacing)
    return np.asarray(density * (model.mass / density.sum()), dtype=np.float32)


def _resampled(structure: Structure, spacing: float) -> Floats:
    """A structure on voxels of another spacing, blurred first as far as these are coarser than its own."""
    coarser = spacing / structure.spacing
    source = np.asarray(structure.density, dtype=np.float64)
    reach = np.maximum(structure.centre, np.array(source.shape) - 1 - structure.centre).max() / coarser
    half = math.ceil(reach) + 3
    axis = np.arange(-half, half) * coarser
    grid = np.stack(np.meshgrid(*(axis + c for c in structure.centre), indexing="ij"))
    # as much room around it as the blur needs
    blur = 0.5 * math.sqrt(max(coarser**2 - 1, 0))
    room = math.ceil(4 * blur) + 1
    blurred = gaussian_filter(np.pad(source, room), blur, mode="constant")
    return np.asarray(map_coordinates(blurred, grid + room, order=1, mode="constant"), dtype=np.float64)


def _blobs(model: BlobModel, spacing: float) -> Floats:
    reach = np.linalg.norm(model.centres, axis=1).max() + 4 * model.sigma
    half = int(np.ceil(reach / spacing)) + 1
    axis = np.arange(-half, half) * spacing
    # A blob is a product of three profiles, one for each axis: (axis, blob, voxel).
    profile = np.exp(-0.5 * ((axis - model.centres.T[..., None]) / model.sigma) ** 2)
    return np.asarray(np.einsum("bx,by,bz->zyx", *profile, optimize=True), dtype=np.float64)
