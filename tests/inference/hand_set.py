"""Networks that are set by hand, so that what they say of a tomogram is known."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from tomopick.calibration import Calibration
from tomopick.models.modelfile import Model, ModelSpec
from tomopick.objects import ParticleObject
from tomopick.recipe import Normalisation

EVERY_WAY = {"recipe": {"augmentation": {"flips": True, "rotations": "all"}}}


class Pointwise(nn.Module):
    """Scores of the 3 x 3 x 3 voxels about the score's own, seen alike from all sides; nothing is padded."""

    halo, reach, context = 0, 1, 0

    def __init__(self, gains: Sequence[float], stride: int = 4, blur: float = 0.0) -> None:
        super().__init__()
        self.stride = self.align = stride
        self.gains = torch.tensor(gains)
        steps = torch.tensor([-1.0, 0.0, 1.0]).square()
        self.kernel = blur ** (steps[:, None, None] + steps[:, None] + steps)[None, None]

    def embed(self, tile: Tensor) -> Tensor:
        own = self.stride // 2
        seen = nn.functional.pad(tile, (1,) * 6)
        return nn.functional.conv3d(seen, self.kernel)[:, :, own :: self.stride, own :: self.stride, own :: self.stride]

    def classify(self, cells: Tensor) -> Tensor:
        return cells * self.gains[:, None, None, None]


class Padded(Pointwise):
    """The same for each second voxel, its cells the tile's own, zeros standing beyond it."""

    context = align = 8

    def __init__(self, gains: Sequence[float], blur: float = 0.0) -> None:
        super().__init__(gains, 2, blur)
        self.align = 8

    def embed(self, tile: Tensor) -> Tensor:
        return nn.functional.conv3d(tile, self.kernel, stride=2, padding=1)


def hand_set(network: nn.Module, names: Sequence[str] = ("a", "b"), name: str = "m", **spec: Any) -> Model:
    """A model of a hand-set network with these objects of 30 A, for voxels of 10 A."""
    objects = tuple(ParticleObject(name=n, radius=30, label=i + 1) for i, n in enumerate(names))
    header = {
        "architecture": "hand-set", "arguments": {}, "objects": objects, "spacing": 10.0, "provenance": EVERY_WAY,
        "normalisation": Normalisation(method="standard", clip=100),
    }  # fmt: skip
    return Model(network.eval(), ModelSpec.model_validate(header | spec), name)


def bent(middle: float, top: float = 1.0) -> Calibration:
    """Raw score 0.5 means this, 1 means top."""
    return Calibration(raw=(0.0, 0.5, 1.0), probability=(0.0, middle, top))
