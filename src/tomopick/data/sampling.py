"""Where training crops are cut, and what their score positions should say. Geometry only, in voxels."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from tomopick.recipe import Augmentation, Recipe
from tomopick.symmetry import orientations

__all__ = ["IGNORE", "Crop", "CropShape", "Known", "Particles", "Sampler", "random_pose"]

IGNORE = -100
LEAST_REACH = 0.9  # voxels; the voxel nearest to a point is at most half a cube's diagonal, 0.87 voxels, from it
POSED = 0.8  # share of the crops that are turned freely, where some are
Ints = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CropShape:
    """A cubic crop with score positions at ``lead + stride * i`` voxels, ``0 <= i < positions``, along each edge.

    Attributes:
        field: voxels that one score sees along each axis.
        lead: those of them before its own voxel.
        stride: voxels between score positions.
        positions: along each edge.
        inside: keep crops within the tomogram where it is large enough, and count no position beyond it.
    """

    field: int
    lead: int
    stride: int
    positions: int
    inside: bool = False

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

    def start(self, at: Ints, index: Ints, size: tuple[int, int, int]) -> tuple[int, int, int]:
        """First voxel of the crop whose score position ``index`` is the voxel ``at``, in a tomogram of this size.

        A crop that is kept inside is moved back into the tomogram, or to its middle if that is the smaller of the two.
        """
        first = at - self.lead - self.stride * index
        if self.inside:
            room = np.asarray(size) - self.edge
            first = np.where(room >= 0, np.clip(first, 0, np.maximum(room, 0)), -(-room // 2))
        z, y, x = (int(v) for v in first)
        return z, y, x


@dataclass(frozen=True)
class Known:
    """Where a run that is not annotated everywhere is known.

    Attributes:
        centres: (n, 3) voxels, zyx.
        radius: (n,) voxels about each of them.
    """

    centres: Floats
    radius: Floats

    @property
    def volume(self) -> float:
        """A measure of how much that is, overlaps counted twice."""
        return float((self.radius**3).sum())

    def has(self, at: Floats) -> NDArray[np.bool_]:
        """Which of these positions (m, 3) are known."""
        if not len(self.centres):
            return np.zeros(len(at), dtype=bool)
        near = cKDTree(self.centres).query_ball_point(at, float(self.radius.max()))
        inside = [
            bool((np.linalg.norm(self.centres[index] - one, axis=1) <= self.radius[index]).any())
            for one, index in zip(at, near, strict=True)
        ]
        return np.array(inside, dtype=bool)


@dataclass(frozen=True)
class Particles:
    """The annotated particles of one run.

    Attributes:
        centres: (n, 3) voxels, zyx.
        classes: (n,) class indices.
        reach: (n,) voxels within which a position counts as the particle; at least 0.9, so that some voxel does.
        clear: voxels between that and where background begins.
        background: the class index of background.
        known: where background counts; None where all particles of the run are annotated, for then it counts all over.
        refused: (n, 3) voxels, zyx: places of which it was said that no particle is there; each is shown in each epoch.
        missing: indices of objects that are not annotated in the run: what counts as background may be one of them.
    """

    centres: Floats
    classes: Ints
    reach: Floats
    clear: float
    background: int
    known: Known | None = None
    refused: Floats = field(default_factory=lambda: np.zeros((0, 3)))
    missing: tuple[int, ...] = ()
    _tree: cKDTree | None = field(init=False, repr=False, compare=False, default=None)

    def __post_init__(self) -> None:
        object.__setattr__(self, "reach", np.maximum(self.reach, LEAST_REACH))
        if len(self.centres):
            object.__setattr__(self, "_tree", cKDTree(self.centres))

    @property
    def possible(self) -> NDArray[np.bool_]:
        """Which classes (objects + 1,) a position that is labelled background may be."""
        classes = np.arange(self.background + 1)
        return np.isin(classes, (*self.missing, self.background))

    def label_grid(self, first: Ints, stride: int, count: int) -> tuple[Ints, Floats]:
        """Classes (count, count, count) of the voxels ``first + stride * i``, as `labels` gives them, and how much so.

        The second is 1 at a particle's centre and falls as a Gaussian of half its reach; 1 where there is no particle.
        """
        labels = np.full((count, count, count), self.background if self.known is None else IGNORE, dtype=np.int64)
        if self.known is not None:
            within = self.known.radius
            for i, box, distance in _near(self.known.centres, within, first, stride, count):
                labels[box][distance <= within[i]] = self.background
        nearest = np.full(labels.shape, np.inf)  # distance to a particle in units of its reach
        wide = self.reach + self.clear
        for i, box, distance in _near(self.centres, wide, first, stride, count):
            part, best = labels[box], nearest[box]
            part[(distance <= wide[i]) & (best > 1)] = IGNORE
            closer = (distance <= self.reach[i]) & (distance / self.reach[i] < best)
            part[closer] = self.classes[i]
            best[closer] = distance[closer] / self.reach[i]
        return labels, np.where(nearest <= 1, np.exp(-2 * np.minimum(nearest, 1.0) ** 2), 1.0)

    def labels(self, positions: NDArray[np.generic]) -> Ints:
        """Class of each position (m, 3): a particle's within its reach, background beyond, `IGNORE` between.

        Where several particles reach, the one that is nearest in units of its reach counts. Where nothing is known it
        is `IGNORE`, too.
        """
        at = np.asarray(positions, dtype=np.float64)
        known = np.ones(len(at), dtype=bool) if self.known is None else self.known.has(at)
        labels = np.where(known, self.background, IGNORE).astype(np.int64)
        if self._tree is None:
            return labels
        near = self._tree.query_ball_point(at, float(self.reach.max() + self.clear))
        for i, candidates in enumerate(near):
            if not candidates:
                continue
            index = np.asarray(candidates)
            distance = np.linalg.norm(self.centres[index] - at[i], axis=1)
            best = int(np.argmin(distance / self.reach[index]))
            if distance[best] <= self.reach[index[best]]:
                labels[i] = self.classes[index[best]]
            elif (distance <= self.reach[index] + self.clear).any():
                labels[i] = IGNORE
        return labels

    def draw(self, size: tuple[int, int, int], rng: np.random.Generator) -> Ints:
        """A voxel of a tomogram of this size at random; about one of the known places, where only those count."""
        if self.known is None or not len(self.known.centres):
            return np.asarray(rng.integers(0, size))
        chosen = rng.integers(len(self.known.centres))
        centre, radius = self.known.centres[chosen], self.known.radius[chosen]
        low = np.clip(np.ceil(centre - radius), 0, np.asarray(size) - 1).astype(np.int64)
        high = np.clip(np.floor(centre + radius), low, np.asarray(size) - 1).astype(np.int64)
        return np.asarray(rng.integers(low, high + 1))


def _near(
    centres: Floats, radius: Floats, first: Ints, stride: int, count: int
) -> Iterator[tuple[int, tuple[slice, ...], Floats]]:
    """Each centre whose ball of its radius meets a grid, the box of the grid about it, and the distances in it."""
    low = np.maximum(np.ceil((centres - radius[:, None] - first) / stride).astype(int), 0)
    high = np.minimum(np.floor((centres + radius[:, None] - first) / stride).astype(int) + 1, count)
    for i in np.flatnonzero((low < high).all(axis=1)):
        box = tuple(slice(a, b) for a, b in zip(low[i], high[i], strict=True))
        axes = [first[k] + stride * np.arange(low[i, k], high[i, k]) - centres[i, k] for k in range(3)]
        yield int(i), box, np.sqrt(axes[0][:, None, None] ** 2 + axes[1][:, None] ** 2 + axes[2] ** 2)


@dataclass(frozen=True)
class Crop:
    """One training crop: its run, first voxel (zyx), orientation and the seed of its other random changes.

    Attributes:
        pose: (3, 3), zyx; where not None, what the crop shows at an offset from its middle is what the tomogram has at
            the pose times that offset.
    """

    run: int
    start: tuple[int, int, int]
    axes: tuple[int, int, int]
    reverse: tuple[bool, bool, bool]
    seed: int
    pose: Floats | None = None


def random_pose(augmentation: Augmentation, rng: np.random.Generator) -> Floats | None:
    """How a crop is turned and scaled, (3, 3) in zyx as `Crop.pose`; None where it stays as it is.

    Nothing is drawn where the augmentation does not ask for it.
    """
    if not (augmentation.turn or augmentation.lean or augmentation.scale) or rng.random() > POSED:
        return None
    about_z, about_y, about_x, scale = rng.uniform(-1, 1, size=4)
    lean = augmentation.lean
    angles = (augmentation.turn * about_z, lean * about_y, lean * about_x)
    turned = np.asarray(Rotation.from_euler("zyx", angles, degrees=True).as_matrix())[::-1, ::-1]
    return np.asarray(turned * (1 + augmentation.scale * scale))


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
        """Each particle once, or all classes alike, background, and refused places; in random order and turned."""
        rng = np.random.default_rng([self.recipe.seed, 1, epoch])
        placed = self._foreground(rng)
        refused = [(run, centre) for run, p in enumerate(self.particles) for centre in p.refused]
        placed += [(run, self._around(run, centre, LEAST_REACH, rng)) for run, centre in refused]
        placed += self._background(max(1, round(self.recipe.background * len(placed))), rng)
        allowed = orientations(self.recipe.augmentation)
        crops = []
        for i in rng.permutation(len(placed)):
            run, start = placed[i]
            axes, reverse = allowed[rng.integers(len(allowed))]
            seed = int(rng.integers(2**31))
            crops.append(Crop(run, start, axes, reverse, seed, random_pose(self.recipe.augmentation, rng)))
        return crops

    def fixed(self, per_particle: int = 1) -> list[Crop]:
        """Crops that stay the same from epoch to epoch, not turned, for validation.

        Where crops are kept inside, those that cover the tomograms; else those around each particle, and background.
        """
        rng = np.random.default_rng([self.recipe.seed, 2])
        if self.crop.inside:
            covering = [(run, start) for run, size in enumerate(self.shapes) for start in self._covering(size)]
            return [Crop(run, start, (0, 1, 2), (False, False, False), 0) for run, start in covering]
        placed = [
            (run, self._around(run, centre, reach, rng))
            for run, p in enumerate(self.particles)
            for centre, reach in zip(p.centres, p.reach, strict=True)
            for _ in range(per_particle)
        ]
        placed += self._background(max(8, len(placed) // 4), rng, share_hard=0.0)
        return [Crop(run, start, (0, 1, 2), (False, False, False), 0) for run, start in placed]

    def _foreground(self, rng: np.random.Generator) -> list[tuple[int, tuple[int, int, int]]]:
        """A crop for each particle, or where classes are balanced for as many drawn from all classes alike."""
        every = [(run, i) for run, p in enumerate(self.particles) for i in range(len(p.centres))]
        if self.recipe.class_balanced:
            classes = np.array([self.particles[run].classes[i] for run, i in every], dtype=np.int64)
            share = 1.0 / np.bincount(classes)[classes]
            every = [every[k] for k in rng.choice(len(every), size=len(every), p=share / share.sum())]
        return [
            (run, self._around(run, self.particles[run].centres[i], self.particles[run].reach[i], rng))
            for run, i in every
        ]

    def _covering(self, size: tuple[int, int, int]) -> list[tuple[int, int, int]]:
        """Starts of the fewest crops that cover a tomogram."""
        edge = self.crop.edge
        starts = []
        for n in size:
            parts = max(1, -(-n // edge))
            last = n - edge
            starts.append([round(i * last / max(1, parts - 1)) if last > 0 else -(-last // 2) for i in range(parts)])
        return [(z, y, x) for z, y, x in product(*starts)]

    def _around(self, run: int, centre: Floats, reach: float, rng: np.random.Generator) -> tuple[int, int, int]:
        """Start of a crop, one of whose score positions lies within reach of the particle."""
        span = int(np.ceil(reach)) + 1
        near = np.round(centre).astype(np.int64) + _cube(span)
        near = near[np.linalg.norm(near - centre, axis=1) <= reach]
        at = near[rng.integers(len(near))]
        return self._start(run, at, rng)

    def _start(self, run: int, at: Ints, rng: np.random.Generator) -> tuple[int, int, int]:
        return self.crop.start(at, rng.integers(self.crop.positions, size=3), self.shapes[run])

    def _background(
        self, count: int, rng: np.random.Generator, share_hard: float | None = None
    ) -> list[tuple[int, tuple[int, int, int]]]:
        share = self.recipe.hard_negatives if share_hard is None else share_hard
        mined = [(run, at) for run, found in enumerate(self.hard) for at in found]
        hard = min(round(share * count), len(mined))
        placed = [mined[i] for i in rng.permutation(len(mined))[:hard]]
        share_of_run = self._room()
        while len(placed) < count:
            run = int(rng.choice(len(share_of_run), p=share_of_run))
            at = self.particles[run].draw(self.shapes[run], rng)
            placed.append((run, at))
            # in a tomogram full of particles nothing may be clear: then any place will do
            for _ in range(50):
                if self.particles[run].labels(at[None])[0] == self.particles[run].background:
                    break
                at = self.particles[run].draw(self.shapes[run], rng)
                placed[-1] = (run, at)
        return [(run, self._start(run, at, rng)) for run, at in placed]

    def _room(self) -> Floats:
        """The share of background crops that each run gets: by size, or by what is known of it."""
        sizes = np.array([np.prod(s) for s in self.shapes], dtype=float)
        about = [np.inf if p.known is None else p.known.volume for p in self.particles]
        known = np.minimum(sizes, about)
        return np.asarray(known / known.sum() if known.any() else sizes / sizes.sum())


def _cube(span: int) -> Ints:
    steps = np.arange(-span, span + 1)
    return np.stack(np.meshgrid(steps, steps, steps, indexing="ij"), axis=-1).reshape(-1, 3)
