"""Crops and their labels as PyTorch takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset

from tomopick.data.augment import Intensity
from tomopick.data.normalise import Scaling
from tomopick.data.sampling import IGNORE, Crop, CropShape, Particles
from tomopick.symmetry import turned
from tomopick.tomogram import Tomogram

__all__ = ["Annotated", "CropDataset", "cut"]


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


def cut(annotated: Annotated, crop: Crop, shape: CropShape) -> tuple[NDArray[np.float32], NDArray[np.int64]]:
    """Scaled densities (edge^3) and labels (positions^3) of a crop, mirrored at borders and turned as it says.

    A score position is a voxel, not a gap between voxels: a reversed axis is read `CropShape.shift` voxels further
    on, so that the positions of the turned crop are still the voxels that the labels were made for.
    """
    first = np.asarray(crop.start) + shape.lead
    labels = annotated.particles.label_grid(first, shape.stride, shape.positions)
    if shape.inside:
        _ignore_beyond(labels, first, shape.stride, annotated.tomogram.shape)
    z, y, x = (s + shape.shift * r for s, r in zip(crop.start, crop.reverse, strict=True))
    tomogram, scaling = annotated.seen(crop.seed)
    densities = tomogram.read((z, y, x), (z + shape.edge, y + shape.edge, x + shape.edge))
    way = (crop.axes, crop.reverse)
    # copies, since a tensor takes no reversed axis, not even one of a single position
    return turned(scaling(densities), way).copy(order="C"), turned(labels, way).copy(order="C")


def _ignore_beyond(labels: NDArray[np.int64], first: NDArray[np.int64], stride: int, size: tuple[int, ...]) -> None:
    """Let positions that lie outside of the tomogram count nothing: there its mirror image stands."""
    for axis, (start, n) in enumerate(zip(first, size, strict=True)):
        places = start + stride * np.arange(labels.shape[axis])
        labels[(slice(None),) * axis + ((places < 0) | (places >= n),)] = IGNORE


class CropDataset(Dataset[tuple[Tensor, Tensor, Tensor]]):
    """Densities (1, edge, edge, edge), labels (positions, positions, positions), `Particles.possible` (classes,)."""

    def __init__(
        self, runs: Sequence[Annotated], crops: Sequence[Crop], shape: CropShape, intensity: Intensity | None = None
    ) -> None:
        self._runs, self._crops, self._shape, self._intensity = runs, crops, shape, intensity

    def __len__(self) -> int:
        return len(self._crops)

    def __getitem__(self, index: int) -> tuple[Tensor, Tensor, Tensor]:
        crop = self._crops[index]
        run = self._runs[crop.run]
        densities, labels = cut(run, crop, self._shape)
        tensor = torch.from_numpy(densities)[None]
        if self._intensity is not None:
            tensor = self._intensity(tensor, crop.seed)
        return tensor, torch.from_numpy(labels), torch.from_numpy(run.particles.possible)
