"""Crops and their labels as PyTorch takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.ndimage import affine_transform
from torch import Tensor
from torch.utils.data import Dataset

from tomopick.data.normalise import Scaling
from tomopick.data.sampling import IGNORE, Crop, CropShape, Particles
from tomopick.symmetry import turned
from tomopick.tomogram import Tomogram

__all__ = ["Annotated", "CropDataset", "Sample", "cut"]

Sample = tuple[Tensor, Tensor, Tensor, Tensor, int]


@dataclass(frozen=True)
class Annotated:
    """A tomogram with its scaling and its particles, in its own voxels.

    Attributes:
        tomogram: densities.
        scaling: theirs.
        particles: in them.
        others: further reconstructions of the same voxels, each with its scaling, from which crops are cut, too.
    """

    tomogram: Tomogram
    scaling: Scaling
    particles: Particles
    others: tuple[tuple[Tomogram, Scaling], ...] = ()

    def seen(self, seed: int) -> tuple[Tomogram, Scaling]:
        """The reconstruction, of all there are, that a crop of this seed shows."""
        every = ((self.tomogram, self.scaling), *self.others)
        return every[int(np.random.default_rng([seed, 1]).integers(len(every)))]

    def __deepcopy__(self, _: object) -> Self:
        """Itself: copies of a training task, as for averaged weights, share their tomograms."""
        return self


def cut(
    annotated: Annotated, crop: Crop, shape: CropShape
) -> tuple[NDArray[np.float32], NDArray[np.int64], NDArray[np.float32]]:
    """Scaled densities (edge^3), labels and how much they hold (positions^3 both) of a crop.

    Mirrored at borders and turned as the crop says.

    A score position is a voxel, not a gap between voxels: a reversed axis is read `CropShape.shift` voxels further
    on, so that the positions of the turned crop are still the voxels that the labels were made for.
    """
    first = np.asarray(crop.start) + shape.lead
    start = np.asarray(crop.start) + shape.shift * np.asarray(crop.reverse)
    tomogram, scaling = annotated.seen(crop.seed)
    if crop.pose is None:
        particles = annotated.particles
        z, y, x = (int(s) for s in start)
        densities = tomogram.read((z, y, x), (z + shape.edge, y + shape.edge, x + shape.edge))
    else:
        middle = np.asarray(crop.start) + (shape.edge - 1) / 2
        centres = middle + (annotated.particles.centres - middle) @ np.linalg.inv(crop.pose).T
        particles = replace(annotated.particles, centres=centres)
        densities = _posed(tomogram, crop.pose, middle, start, shape.edge)
    labels, share = particles.label_grid(first, shape.stride, shape.positions)
    if shape.inside:
        labels[_beyond(crop, shape, tomogram.shape)] = IGNORE
    way = (crop.axes, crop.reverse)
    # copies, since a tensor takes no reversed axis, not even one of a single position
    every = scaling(densities), labels, share.astype(np.float32)
    found, said, much = (turned(one, way).copy(order="C") for one in every)
    return found, said, much


def _posed(
    tomogram: Tomogram, pose: NDArray[np.float64], middle: NDArray[np.float64], start: NDArray[np.int64], edge: int
) -> NDArray[np.float32]:
    """The crop of this first voxel and edge, where voxel ``v`` shows what is at ``middle + pose (v - middle)``."""
    ends = start[:, None] + np.array([0, edge - 1]) - middle[:, None]
    reach = np.abs(pose) @ np.abs(ends).max(axis=1)
    low = np.floor(middle - reach).astype(int)
    high = np.ceil(middle + reach).astype(int) + 2
    box = tomogram.read(tuple(low.tolist()), tuple(high.tolist()))
    offset = middle + pose @ (start - middle) - low
    posed: NDArray[np.float32] = affine_transform(box, pose, offset, (edge,) * 3, order=1, mode="nearest")
    return posed


def _beyond(crop: Crop, shape: CropShape, size: tuple[int, ...]) -> NDArray[np.bool_]:
    """Which score positions lie outside of the tomogram, where its mirror image stands: they count nothing."""
    middle = np.asarray(crop.start) + (shape.edge - 1) / 2
    steps = np.arange(shape.positions) * shape.stride + shape.lead - (shape.edge - 1) / 2
    away = steps[:, None, None], steps[:, None], steps
    outside = np.zeros((shape.positions,) * 3, dtype=np.bool_)
    for axis, weights in enumerate(np.eye(3) if crop.pose is None else crop.pose):
        place = middle[axis] + sum(w * a for w, a in zip(weights, away, strict=True) if w)
        outside |= (place < 0) | (place > size[axis] - 1)
    return outside


class CropDataset(Dataset[Sample]):
    """Densities (1, edge^3), labels, how much they hold (positions^3 both), `Particles.possible` (classes,), a seed."""

    def __init__(self, runs: Sequence[Annotated], crops: Sequence[Crop], shape: CropShape) -> None:
        self._runs, self._crops, self._shape = runs, crops, shape

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, index: int) -> Sample:
        crop = self._crops[index]
        run = self._runs[crop.run]
        densities, labels, share = (torch.from_numpy(one) for one in cut(run, crop, self._shape))
        return densities[None], labels, share, torch.from_numpy(run.particles.possible), crop.seed
