"""Tomograms that lie on a GPU, where training crops are cut from them: cores would turn fewer than it learns."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import grid_sample

from tomopick.data.dataset import Annotated, middle_of
from tomopick.data.normalise import Scaling
from tomopick.data.sampling import Crop, CropShape

__all__ = ["Resident", "view"]

SHARE = 0.5  # of the GPU's free memory that tomograms may take; the rest is for the network


@dataclass(frozen=True, eq=False)
class Resident:
    """All reconstructions of all runs, on one device.

    Attributes:
        runs: for each, its reconstructions (1, 1, z, y, x), as `Annotated.every` has them, and their scaling.
    """

    runs: tuple[tuple[tuple[Tensor, Scaling], ...], ...]

    @classmethod
    def of(cls, runs: Sequence[Annotated], device: torch.device) -> Self:
        """The runs, read whole and put on a device."""
        return cls(tuple(tuple((_volume(t.read((0, 0, 0), t.shape), device), s) for t, s in run.every) for run in runs))

    @classmethod
    def where_it_fits(cls, runs: Sequence[Annotated], device: torch.device) -> Self | None:
        """The same, or None where the device is no GPU or has too little memory for them."""
        if device.type != "cuda":
            return None
        size = sum(4 * math.prod(tomogram.shape) for run in runs for tomogram, _ in run.every)
        free, _ = torch.cuda.mem_get_info(device)
        return cls.of(runs, device) if size <= SHARE * free else None

    def cut(self, crops: Sequence[Crop], shape: CropShape) -> Tensor:
        """Scaled densities (B, 1, edge, edge, edge), as `tomopick.data.dataset.cut` gives them, but for rounding."""
        return torch.cat([self._one(crop, shape) for crop in crops])

    def _one(self, crop: Crop, shape: CropShape) -> Tensor:
        reconstructions = self.runs[crop.run]
        volume, scaling = reconstructions[crop.shows(len(reconstructions))]
        matrix, first = view(crop, shape)
        steps = torch.arange(shape.edge, dtype=torch.float32, device=volume.device)
        z, y, x = steps[:, None, None], steps[:, None], steps
        # no matrix product, which autocast would round
        seen = [a * z + b * y + c * x + at for (a, b, c), at in zip(matrix.tolist(), first.tolist(), strict=True)]
        lasts = [max(n - 1, 1) for n in volume.shape[2:]]
        grid = torch.stack([2 * s / last - 1 for s, last in zip(seen, lasts, strict=True)][::-1], dim=-1)
        densities = grid_sample(volume, grid[None], padding_mode="reflection", align_corners=True)
        return ((densities - scaling.centre) / scaling.scale).clamp_(-scaling.clip, scaling.clip)


def _volume(densities: NDArray[np.float32], device: torch.device) -> Tensor:
    return torch.from_numpy(densities)[None, None].to(device)


def view(crop: Crop, shape: CropShape) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What a crop shows: its voxel v (zyx) is the tomogram's voxel ``matrix @ v + first``.

    Returns:
        The matrix (3, 3) and the first voxel (3,).
    """
    reverse = np.asarray(crop.reverse)
    start = np.asarray(crop.start) + shape.shift * reverse + (shape.edge - 1) * reverse
    way = np.zeros((3, 3))
    way[list(crop.axes), range(3)] = np.where(reverse[list(crop.axes)], -1.0, 1.0)
    if crop.pose is None:
        return way, start.astype(np.float64)
    middle = middle_of(crop, shape)
    return crop.pose @ way, middle + crop.pose @ (start - middle)
