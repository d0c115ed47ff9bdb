"""Where training crops are cut, and what their score positions should say. Geometry only, in voxels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import permutations, product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tomopick.recipe import Augmentation, Recipe

__all__ = ["IGNORE", "Crop", "CropShape", "Particles", "Sampler", "orientations"]

IGNORE = -100
LEAST_REACH = 0.9  # voxels; the voxel nearest to a point is at most half a cube's diagonal, 0.87 voxels, from it
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CropShape:
    """A cubic crop with score positions at ``lead + stride * i`` voxels, ``0 <= i < positions``, along each edge."""

    field: int
    lead: int
    stride: int
    positions: int

    @property
    def edge(self) -> int:
        """Edge of the crop in voxels."""
        return self.field + self.stride * (self.positions - 1)

    @property
    def shift(self) -> int:
        """Voxels further on where a reversed axis is read, so that its score positions stay the same voxels.

        One where the field is even, since a score then sees one voxel more before its own than after it.
        """
        return 2 * self.lead + 1 - self.field

    def centres(self, start: Ints) -> Ints:
        """Voxels (positions^3, 3), zyx, of the score positions of a crop that starts at this voxel."""
        steps = self.lead + self.stride * np.arange(self.positions)
        grid = np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
        return np.asarray(start, dtype=np.int64) + grid


@dataclass(frozen=True)
class Particles:
    """The annotated particles of one run.

    Attributes:
        centres: (n, 3) voxels, zyx.
        classes: (n,) class indices.
        reach: (n,) voxels within which a position counts as the particle; at least 0.9, so that some voxel does.
        clear: voxels between that and where background begins.
        background: the class index of background.
    """

    centres: Floats
    classes: Ints
    reach: Floats
    clear: float
    background: int
    _tree: cKDTree | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reach", np.maximum(self.reach, LEAST_REACH))
        if len(self.centres):
            object.__setattr__(self, "_tree", cKDTree(self.centres))

    def labels(self, positions: NDArray[np.generic]) -> Ints:
        """Class of each position (m, 3): a particle's within its reach, background beyond, `IGNORE` between.

        Where several particles reach, the one that is nearest in units of its reach counts.
        """
        labels = np.full(len(positions), self.background, dtype=np.int64)
        if self._tree is None:
            return labels
        near = self._tree.query_ball_point(
            np.asarray(positions, dtype=np.float64), float(self.reach.max() + self.clear)
        )
        for i, candidates in enumerate(near):
            if not candidates:
                continue
            index = np.asarray(candidates)
            distance = np.linalg.norm(self.centres[index] - positions[i], axis=1)
            best = int(np.argmin(distance / self.reach[index]))
            if distance[best] <= self.reach[index[best]]:
                labels[i] = self.classes[index[best]]
            elif (distance <= self.reach[index] + self.clear).any():
                labels[i] = IGNORE
        return labels


@dataclass(frozen=True)
class Crop:
    """One training crop: its run, first voxel (zyx), orientation and the seed of its other random changes."""

    run: int
    start: tuple[int, int, int]
    axes: tuple[int, int, int]
    reverse: tuple[bool, bool, bool]
    seed: int


def orientations(augmentation: Augmentation) -> list[tuple[tuple[int, int, int], tuple[bool, bool, bool]]]:
    """The (axis order, reversed axes) of the cube's symmetries that an augmentation allows.

    The tilt axis is y and the beam is z, so the missing wedge stays where it is under every reversal of axes and no
    exchange of them.
    """
    allowed = {"none": [(0, 1, 2)], "tilt-axis": [(0, 1, 2)], "z": [(0, 1, 2), (0, 2, 1)]}
    orders = allowed.get(augmentation.rotations, [(a, b, c) for a, b, c in permutations(range(3))])
    both = (False, True)
    found = []
    for axes, reverse in product(orders, list(product(both, both, both))):
        mirrored = (np.linalg.det(np.eye(3)[list(axes)]) < 0) ^ (sum(reverse) % 2 == 1)
        turned = axes != (0, 1, 2) or any(reverse)
        about_z_only = augmentation.rotations == "z" and not augmentation.flips
        if (mirrored and not augmentation.flips) or (about_z_only and reverse[0]):
            continue
        if turned and augmentation.rotations == "none" and not augmentation.flips:
            continue
        found.append((axes, reverse))
    return found


@dataclass
class Sampler:
    """Draws the crops of each epoch, from the seed and the epoch's number alone.

    Attributes:
        shapes: tomogram sizes, zyx, by run.
        particles: annotated particles, by run.
        hard: voxels (n, 3) of mined false positives, by run; empty until there are some.
    """

    shapes: Sequence[tuple[int, int, int]]
    particles: Sequence[Particles]
    crop: CropShape
    recipe: Recipe
    hard: list[Ints] = field(default_factory=list)

    def epoch(self, epoch: int) -> list[Crop]:
        """Each particle once, and background crops, in random order and orientation."""
        rng = np.random.default_rng([self.recipe.seed, 1, epoch])
        placed = [
            (run, self._around(centre, reach, rng))
            for run, p in enumerate(self.particles)
            for centre, reach in zip(p.centres, p.reach, strict=True)
        ]
        placed += self._background(max(1, round(self.recipe.background * len(placed))), rng)
        allowed = orientations(self.recipe.augmentation)
        crops = []
        for i in rng.permutation(len(placed)):
            run, start = placed[i]
            axes, reverse = allowed[rng.integers(len(allowed))]
            crops.append(Crop(run, start, axes, reverse, int(rng.integers(2**31))))
        return crops

    def fixed(self, per_particle: int = 1) -> list[Crop]:
        """Crops that stay the same from epoch to epoch, not turned, for validation."""
        rng = np.random.default_rng([self.recipe.seed, 2])
        placed = [
            (run, self._around(centre, reach, rng))
            for run, p in enumerate(self.particles)
            for centre, reach in zip(p.centres, p.reach, strict=True)
            for _ in range(per_particle)
        ]
        placed += self._background(max(8, len(placed) // 4), rng, share_hard=0.0)
        return [Crop(run, start, (0, 1, 2), (False, False, False), 0) for run, start in placed]

    def _around(self, centre: Floats, reach: float, rng: np.random.Generator) -> tuple[int, int, int]:
        """Start of a crop, one of whose score positions lies within reach of the particle."""
        span = int(np.ceil(reach)) + 1
        near = np.round(centre).astype(np.int64) + _cube(span)
        near = near[np.linalg.norm(near - centre, axis=1) <= reach]
        at = near[rng.integers(len(near))]
        return self._start(at, rng)

    def _start(self, at: Ints, rng: np.random.Generator) -> tuple[int, int, int]:
        index = rng.integers(self.crop.positions, size=3)
        z, y, x = (int(v) for v in at - self.crop.lead - self.crop.stride * index)
        return z, y, x

    def _background(
        self, count: int, rng: np.random.Generator, share_hard: float | None = None
    ) -> list[tuple[int, tuple[int, int, int]]]:
        share = self.recipe.hard_negatives if share_hard is None else share_hard
        mined = [(run, at) for run, found in enumerate(self.hard) for at in found]
        hard = min(round(share * count), len(mined))
        placed = [mined[i] for i in rng.permutation(len(mined))[:hard]]
        sizes = np.array([np.prod(s) for s in self.shapes], dtype=float)
        while len(placed) < count:
            run = int(rng.choice(len(sizes), p=sizes / sizes.sum()))
            at = rng.integers(0, self.shapes[run])
            placed.append((run, at))
            # in a tomogram full of particles nothing may be clear: then any place will do
            for _ in range(50):
                if self.particles[run].labels(at[None])[0] == self.particles[run].background:
                    break
                at = rng.integers(0, self.shapes[run])
                placed[-1] = (run, at)
        return [(run, self._start(at, rng)) for run, at in placed]


def _cube(span: int) -> Ints:
    steps = np.arange(-span, span + 1)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
