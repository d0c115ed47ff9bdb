"""What networks share that pad their own borders and give each second voxel a score."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, ClassVar

import torch
from torch import Tensor, nn

__all__ = ["PaddedNetwork"]

RARE = 0.01  # the share of each object among all positions that the head starts with


class PaddedNetwork(nn.Module, ABC):
    """A network of stride 2 over levels at 2, 4 and 8 voxels, whose head is one convolution of one voxel.

    It pads its own borders with zeros; a score changes with voxels up to ``context`` away, which each network tells,
    beside its ``embed`` and its ``head``.
    """

    stride = 2
    halo = 0
    reach = 1
    align = 8
    recipe: ClassVar[dict[str, Any]] = {
        "epochs": 100,
        "positions": 32,
        "batch_size": 4,
        "background": 0.0,
        "class_balanced": True,
        "balance": 0.0,
        "positive_radius": 3.0,
        "clear": 0.0,
        "hard_negatives": 0.0,
        "learning_rate": 3e-3,
        "ema": 0.99,
        "gamma": 0.0,
        "object_weight": 64.0,
        "known_share": 1 / 16,
        "keep": "last",
        "threshold_share": 0.2,
        "augmentation": {"turn": 180.0, "lean": 8.0, "scale": 0.08, "spectrum": 0.3, "wedge": 52.0, "shot_noise": 1.0},
    }
    head: nn.Conv3d

    @torch.no_grad()
    def start_training(self) -> dict[str, Tensor]:
        """Start the head at what is likely before anything is seen: nearly everything is background.

        Returns:
            Nothing: all weights learn at the same rate.
        """
        nn.init.normal_(self.head.weight, std=1e-2)
        assert self.head.bias is not None
        self.head.bias.fill_(torch.log(torch.tensor(RARE)).item())
        self.head.bias[-1] = 0.0
        return {}

    def forward(self, crops: Tensor) -> Tensor:
        """Logits (B, num_classes, D/2, H/2, W/2) of crops (B, 1, D, H, W), edges multiples of 8."""
        return self.classify(self.embed(crops))

    @abstractmethod
    def embed(self, tile: Tensor) -> Tensor:
        """Features (B, F, D/2, H/2, W/2) of a tile (B, 1, D, H, W), edges multiples of 8."""

    def classify(self, cells: Tensor) -> Tensor:
        """Logits (B, num_classes, d, h, w) of features (B, F, d, h, w)."""
        logits: Tensor = self.head(cells)
        return logits
