"""From a score map to picks: local maxima of each object's scores, refined between grid points."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np
from numpy.typing import NDArray
from scipy.spatial import cKDTree

from tomopick.errors import DataError
from tomopick.geometry import angstrom_from_voxel, voxel_from_angstrom, voxel_from_grid
from tomopick.inference.scoremap import Part, ScoreMap
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.tomogram import LazyArray

__all__ = ["CROWDING", "FLOOR", "find_peaks", "inside", "likelier", "margin_of"]

FLOOR = 0.05  # maxima below this are never looked at
CROWDING = 0.8  # two particles of one object are at least this share of its radius apart
REFINED = 4  # voxels about a maximum that its place is refined from
Floats = NDArray[np.float64]


def find_peaks(
    scores: ScoreMap | Iterable[Part],
    objects: Sequence[ParticleObject],
    thresholds: Mapping[str, float] | None = None,
    *,
    floor: float = FLOOR,
    crowding: float = CROWDING,
) -> Picks:
    """Picks of all objects in a score map.

    A pick is a local maximum of its object's probability that no better one of the object excludes within
    ``crowding`` times its radius. Its place is the centre of mass of the probabilities about the maximum; its score is
    the maximum. Two objects may have picks in one place: `likelier` settles that, best on calibrated scores.

    Args:
        scores: the map, or parts of one, each with the margin that `margin_of` asks for: picks are the same.
        objects: those of the map, in its order.
        thresholds: least score by object; `floor` where there is none.
        floor: least score of all.
        crowding: share of the radius.
    """
    parts = [Part.whole(scores)] if isinstance(scores, ScoreMap) else scores
    least = [max(floor, (thresholds or {}).get(obj.name, floor)) for obj in objects]
    found: list[list[_Maxima]] = [[] for _ in objects]
    name = ""
    for part in parts:
        name = part.scores.name
        for index, maxima in enumerate(found):
            maxima.append(_maxima(part, index, least[index]))
    return Picks.join(
        _kept(_Maxima.join(maxima), obj, name, crowding) for maxima, obj in zip(found, objects, strict=True)
    )


def margin_of(stride: int) -> int:
    """Grid points around a part of a score map that finding its picks looks at."""
    return max(1, round(REFINED / stride))


def _kept(maxima: _Maxima, obj: ParticleObject, name: str, crowding: float) -> Picks:
    # best first; of equal ones the first of the map, whatever its parts
    order = np.lexsort((*maxima.grid.T[::-1], -maxima.heights))
    xyz, heights = maxima.xyz[order], maxima.heights[order]
    kept = _not_crowded(xyz, heights, np.full(len(heights), crowding * obj.radius))
    return Picks.of(name, obj.name, xyz[kept], heights[kept])


def likelier(picks: Picks, objects: Sequence[ParticleObject], *, crowding: float = CROWDING) -> Picks:
    """The picks without those of objects that another object excludes from their place.

    Where picks of two objects in a run lie within the smaller of their radii (times ``crowding``), the one with the
    higher score stays. Of equal scores the first object's does.

    Args:
        picks: with scores that compare between objects, as calibrated ones do.
        objects: all that the picks name.
        crowding: share of the radius.
    """
    radius = {o.name: crowding * o.radius for o in objects}
    kept = []
    for _, part in picks.table.groupby("run", sort=False):
        here = Picks(part)
        radii = np.array([radius[name] for name in part["object"]])
        kept.append(Picks(part.iloc[_not_crowded(here.xyz(), here.scores(), radii)]))
    return Picks.join(kept)


def inside(
    picks: Picks,
    shape: tuple[int, int, int],
    spacing: float,
    mask: LazyArray | None = None,
    border: float = 0.0,
) -> Picks:
    """The picks of one tomogram (shape in voxels, zyx) that lie in it, in its mask, and off its border.

    Args:
        mask: a volume of the tomogram's shape, above 0 where picks may be.
        border: Angstrom to keep clear at each face.

    Raises:
        DataError: the mask has another shape.
    """
    if mask is not None and tuple(mask.shape) != tuple(shape):
        raise DataError(f"the mask has shape {tuple(mask.shape)}, the tomogram {tuple(shape)} (zyx); they must agree")
    voxels = voxel_from_angstrom(picks.xyz(), spacing)
    last = np.array(shape) - 1
    keep = ((voxels >= border / spacing) & (voxels <= last - border / spacing)).all(axis=1)
    if mask is not None:
        near = np.clip(np.round(voxels).astype(int), 0, last)
        allowed = np.asarray(mask[:, :, :]) > 0
        keep &= allowed[tuple(near.T)]
    return Picks(picks.table.loc[np.flatnonzero(keep)])


@dataclass(frozen=True, eq=False)
class _Maxima:
    """Local maxima of one object: grid points (n, 3) of the whole map, their values, and refined places (Angstrom)."""

    grid: NDArray[np.int64]
    heights: Floats
    xyz: Floats

    @classmethod
    def join(cls, several: Sequence[_Maxima]) -> _Maxima:
        grid, heights, xyz = zip(*[(m.grid, m.heights, m.xyz) for m in several], strict=True)
        return cls(np.concatenate(grid), np.concatenate(heights), np.concatenate(xyz))


def _maxima(part: Part, index: int, least: float) -> _Maxima:
    """Grid points in a part's core that no neighbour exceeds."""
    scores = part.scores
    values = scores.array[index]
    above = values[part.core] >= least
    if not above.any():
        return _Maxima(np.zeros((0, 3), np.int64), np.zeros(0), np.zeros((0, 3)))
    bordered = np.pad(values, 1, mode="edge")
    grid = np.argwhere(above) + np.array([core.start for core in part.core]) + 1
    flat, every = np.ravel_multi_index(tuple(grid.T), bordered.shape), bordered.ravel()
    heights = every[flat]
    for step in product((-1, 0, 1), repeat=3):  # few points are above the floor, and most of these soon lose
        best = heights >= every[flat + np.dot(step, np.array(bordered.strides) // bordered.itemsize)]
        flat, heights = flat[best], heights[best]
    grid = np.stack(np.unravel_index(flat, bordered.shape), axis=1) - 1
    whole = grid + np.array(part.start)
    offset = np.array(scores.offset) - scores.stride * np.array(part.start)
    shift = _shifts(values, grid, scores.stride)
    voxels = voxel_from_grid(whole + shift, scores.stride, (offset[0], offset[1], offset[2]))
    return _Maxima(whole, heights.astype(np.float64), angstrom_from_voxel(voxels, scores.spacing))


def _shifts(values: NDArray[np.float32], grid: NDArray[np.int64], stride: int) -> Floats:
    """From each maximum to the centre of mass of the scores about it, over the least score there."""
    reach = margin_of(stride)
    padded = np.pad(values, reach, mode="edge")
    steps = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    place = grid[:, None] + steps[None] + reach
    weight = padded[tuple(np.moveaxis(place, -1, 0))].astype(np.float64)
    # beyond the map there is nothing to weigh
    beyond = ((place < reach) | (place >= np.array(values.shape) + reach)).any(axis=-1)
    weight = np.where(beyond, 0.0, weight - weight.min(axis=1, keepdims=True))
    total = weight.sum(axis=1, keepdims=True)
    shift: Floats = (weight[..., None] * steps).sum(axis=1) / np.where(total > 0, total, 1.0)
    return shift


def _not_crowded(xyz: Floats, values: Floats, radii: Floats) -> NDArray[np.int64]:
    """Indices of the picks that stay when the best ones go first and exclude others.

    Two exclude each other within the smaller of their radii.
    """
    if len(xyz) == 0:
        return np.zeros(0, dtype=np.int64)
    tree = cKDTree(xyz)
    order = np.argsort(-values, kind="stable")
    gone = np.zeros(len(xyz), dtype=bool)
    for i in order:
        if gone[i]:
            continue
        near = np.asarray(tree.query_ball_point(xyz[i], radii[i]), dtype=np.int64)
        distance = np.linalg.norm(xyz[near] - xyz[i], axis=1)
        excluded = near[(distance < np.minimum(radii[near], radii[i])) & (near != i)]
        gone[excluded] = True
        gone[i] = False
    return np.flatnonzero(~gone)
