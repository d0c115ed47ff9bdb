"""From a score map to picks: local maxima of each object's scores, refined between grid points."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import maximum_filter
from scipy.spatial import cKDTree

from tomopick.errors import DataError
from tomopick.geometry import angstrom_from_voxel, voxel_from_angstrom, voxel_from_grid
from tomopick.inference.scoremap import ScoreMap
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.tomogram import LazyArray

__all__ = ["CROWDING", "FLOOR", "find_peaks", "inside", "likelier"]

FLOOR = 0.05  # maxima below this are never looked at
CROWDING = 0.8  # two particles of one object are at least this share of its radius apart
Floats = NDArray[np.float64]


def find_peaks(
    scores: ScoreMap,
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
        scores: the map.
        objects: those of the map, in its order.
        thresholds: least score by object; `floor` where there is none.
        floor: least score of all.
        crowding: share of the radius.
    """
    found = []
    for index, obj in enumerate(objects):
        least = max(floor, (thresholds or {}).get(obj.name, floor))
        grid, values = _maxima(scores.array[index], least)
        voxels = voxel_from_grid(_refined(scores.array[index], grid, scores.stride), scores.stride, scores.offset)
        xyz = angstrom_from_voxel(voxels, scores.spacing)
        kept = _not_crowded(xyz, values, np.full(len(values), crowding * obj.radius))
        found.append(Picks.of(scores.name, obj.name, xyz[kept], values[kept]))
    return Picks.join(found)


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


def _maxima(values: NDArray[np.float32], least: float) -> tuple[NDArray[np.int64], Floats]:
    """Grid points (n, 3) that no neighbour exceeds, and their values, best first."""
    peak = (values >= least) & (values == maximum_filter(values, size=3, mode="nearest"))
    grid = np.argwhere(peak)
    heights = values[peak].astype(np.float64)
    order = np.argsort(-heights, kind="stable")
    return grid[order], heights[order]


def _refined(values: NDArray[np.float32], grid: NDArray[np.int64], stride: int) -> Floats:
    """Centres of mass of the scores about each maximum, within about four voxels, over the least score there."""
    reach = max(1, round(4 / stride))
    padded = np.pad(values, reach, mode="edge")
    steps = np.stack(np.meshgrid(*[np.arange(-reach, reach + 1)] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    place = grid[:, None] + steps[None] + reach
    weight = padded[tuple(np.moveaxis(place, -1, 0))].astype(np.float64)
    # beyond the map there is nothing to weigh
    beyond = ((place < reach) | (place >= np.array(values.shape) + reach)).any(axis=-1)
    weight = np.where(beyond, 0.0, weight - weight.min(axis=1, keepdims=True))
    total = weight.sum(axis=1, keepdims=True)
    shift = (weight[..., None] * steps).sum(axis=1) / np.where(total > 0, total, 1.0)
    refined: Floats = grid + shift
    return refined


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
