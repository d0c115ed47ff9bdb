"""What is wrong with annotated tomograms, found before hours of training are spent on them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tomopick.errors import DataError
from tomopick.geometry import voxel_from_angstrom
from tomopick.objects import ParticleObject
from tomopick.picks import Picks, check_inside
from tomopick.tomogram import Tomogram

__all__ = ["Densities", "Finding", "check_densities", "check_picks", "check_together", "densities_of"]

SLAB = 16  # planes read at a time
SAME_SPACING = 5e-4  # spacings further apart than this share, 10.000 and 10.005 A, are told of
RESAMPLED = 0.02  # and beyond this one they are resampled for a network
SAME_PLACE = 0.25  # two picks of one object nearer than this share of its radius are one particle twice
FEW = 10  # particles of an object, below which its threshold and its score say little
ASKED = 200  # picks of a run whose densities are looked at
CLEAR = 3.0  # standard errors by which particles must differ from elsewhere to say anything about contrast
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Finding:
    """Something to look at: an "error" makes training wrong or impossible, a "warning" may.

    Attributes:
        level: how bad it is.
        run: of one run, or empty.
        check: which check found it, a word or two.
        text: what was found and what to do about it.
    """

    level: Literal["error", "warning"]
    run: str
    check: str
    text: str


@dataclass(frozen=True)
class Densities:
    """What one reading of a tomogram tells.

    Attributes:
        mean, sd: of the densities that are finite.
        bad: voxels that are NaN or infinite.
        constant: planes of z that hold one value.
        digest: SHA-256 of all densities as float32.
    """

    mean: float
    sd: float
    bad: int
    constant: tuple[int, ...]
    digest: str


def densities_of(tomogram: Tomogram, progress: Callable[[float], None] | None = None) -> Densities:
    """Read a tomogram once, a few planes at a time."""
    depth, bad, constant, digest = tomogram.shape[0], 0, list[int](), hashlib.sha256()
    sums = np.zeros(3)  # count, sum and sum of squares
    for low in range(0, depth, SLAB):
        planes = tomogram[low : min(depth, low + SLAB), :, :]
        digest.update(np.ascontiguousarray(planes).tobytes())
        constant += [low + i for i, plane in enumerate(planes) if plane.size > 1 and plane.min() == plane.max()]
        finite = planes[np.isfinite(planes)].astype(np.float64)
        bad += planes.size - finite.size
        sums += finite.size, finite.sum(), (finite**2).sum()
        if progress is not None:
            progress(min(depth, low + SLAB) / depth)
    mean = sums[1] / max(sums[0], 1)
    sd = float(np.sqrt(max(sums[2] / max(sums[0], 1) - mean**2, 0.0)))
    return Densities(float(mean), sd, bad, tuple(constant), digest.hexdigest())


def check_densities(tomogram: Tomogram, told: Densities) -> Iterator[Finding]:
    """NaN, constant planes, a tomogram of one value."""
    if told.bad:
        yield Finding("error", tomogram.name, "densities", f"{told.bad} voxels are NaN or infinite; repair the file")
    if told.sd == 0:
        yield Finding("error", tomogram.name, "densities", "all voxels hold one value; was it written to the end?")
    elif told.constant:
        where = f"planes of z hold one value each, from {told.constant[0]} to {told.constant[-1]}"
        text = f"{len(told.constant)} {where}: padding, which changes how densities are scaled; trim it"
        yield Finding("warning", tomogram.name, "densities", text)


def check_picks(
    tomogram: Tomogram, told: Densities, picks: Picks, objects: Sequence[ParticleObject]
) -> Iterator[Finding]:
    """Picks of the run: none, outside by more than a particle, twice in a place, bright ones, mirrored along z."""
    run, here = tomogram.name, picks.where(tomogram.name)
    if not len(here):
        yield Finding("warning", run, "picks", "no picks: everything in it is learnt as background; leave it out if so")
        return
    try:
        check_inside(here, tomogram, slack=max((o.radius for o in objects), default=0.0))
    except DataError as error:
        yield Finding("error", run, "picks", str(error))
        return
    yield from _crowded(run, here, objects)
    if told.sd > 0 and not told.bad:
        yield from _contrast(tomogram, told, here, objects)


def _crowded(run: str, picks: Picks, objects: Sequence[ParticleObject]) -> Iterator[Finding]:
    trees = {o.name: cKDTree(picks.where(name=o.name).xyz()) for o in objects if o.name in picks.objects}
    for one in objects:
        if one.name in trees:
            twice = len(trees[one.name].query_pairs(SAME_PLACE * one.radius))
            if twice:
                text = f"{twice} pairs of {one.name} are less than {SAME_PLACE * one.radius:.0f} A apart: remove one"
                yield Finding("warning", run, "duplicates", text)
    for one, other in combinations([o for o in objects if o.name in trees], 2):
        within = min(one.match_distance, other.match_distance)
        shared = trees[one.name].count_neighbors(trees[other.name], within)
        if shared:
            text = f"{shared} places are both {one.name} and {other.name}, within {within:.0f} A: which is it?"
            yield Finding("warning", run, "two objects", text)


def _contrast(
    tomogram: Tomogram, told: Densities, picks: Picks, objects: Sequence[ParticleObject]
) -> Iterator[Finding]:
    """Whether particles are bright where they are mostly dark, or dark only where the picks are mirrored along z."""
    radii = {o.name: o.radius for o in objects}
    table = picks.table.sample(min(len(picks), ASKED), random_state=0)
    centres = voxel_from_angstrom(table[["x", "y", "z"]].to_numpy(np.float64), tomogram.spacing)
    reach = np.array([max(1.0, 0.5 * radii.get(name, 50.0) / tomogram.spacing) for name in table["object"]])
    mirrored = centres * [-1, 1, 1] + [tomogram.shape[0] - 1, 0, 0]
    there, flipped = (_darkness(tomogram, told, places, reach) for places in (centres, mirrored))
    if there < -CLEAR:
        text = "particles are brighter than what is around them; most tomograms have dark ones: is it inverted?"
        yield Finding("warning", tomogram.name, "contrast", text)
    elif flipped > CLEAR and there < flipped / 2:
        text = "picks lie on particles only when mirrored along z; are tomogram and picks of the same handedness?"
        yield Finding("warning", tomogram.name, "handedness", text)


def _darkness(tomogram: Tomogram, told: Densities, centres: Floats, reach: Floats) -> float:
    """How much darker than the mean the middles of particles are, in standard errors."""
    middles = []
    for centre, radius in zip(centres, reach, strict=True):
        span = int(np.ceil(radius))
        z, y, x = (int(v) for v in np.rint(centre))
        box = tomogram.read((z - span, y - span, x - span), (z + span + 1, y + span + 1, x + span + 1))
        steps = np.arange(-span, span + 1)
        ball = (steps[:, None, None] ** 2 + steps[:, None] ** 2 + steps**2) <= radius**2
        middles.append(float(box[ball].mean()))
    spread = max(float(np.std(middles)), 1e-9 * told.sd) / len(middles) ** 0.5
    return float((told.mean - np.mean(middles)) / spread)


def check_together(
    tomograms: Sequence[Tomogram], told: Sequence[Densities], picks: Picks, objects: Sequence[ParticleObject]
) -> Iterator[Finding]:
    """What no run shows alone: voxel spacings, one tomogram under two names, objects with too few particles."""
    spacings = np.array([t.spacing for t in tomograms])
    usual = float(np.median(spacings))
    for tomogram in tomograms:
        off = abs(tomogram.spacing / usual - 1)
        if off > SAME_SPACING:
            what = "it will be resampled" if off > RESAMPLED else "picks drift apart from it unless theirs is the same"
            text = f"voxels of {tomogram.spacing:g} A where most are {usual:g} A: {what}"
            yield Finding("warning", tomogram.name, "voxel spacing", text)
    names: dict[str, str] = {}
    for tomogram, densities in zip(tomograms, told, strict=True):
        first = names.setdefault(densities.digest, tomogram.name)
        if first != tomogram.name:
            text = f"the same tomogram as {first}: it must not be in training and in validation"
            yield Finding("error", tomogram.name, "same tomogram", text)
    unknown = sorted(set(picks.objects) - {o.name for o in objects})
    if unknown:
        yield Finding("error", "", "objects", f"the project does not know {', '.join(unknown)}; add their radius")
    for one in objects:
        of_it = picks.where(name=one.name)
        if not len(of_it):
            yield Finding("warning", "", "counts", f"no picks of {one.name}: nothing can be learnt of it")
        elif len(of_it) < FEW:
            yield Finding("warning", "", "counts", f"only {len(of_it)} picks of {one.name}: too few to judge by")
        elif len(of_it.runs) < 2:
            text = f"{one.name} is in {of_it.runs[0]} alone: no other run can validate it"
            yield Finding("warning", "", "counts", text)
