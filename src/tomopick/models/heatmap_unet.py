"""HeatmapUNet: a small encoder and decoder whose scores stand every second voxel."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from monai.networks.blocks import Convolution
from torch import Tensor, nn

from tomopick.models.registry import register

__all__ = ["HeatmapUNet", "start_head"]

CHANNELS = {"tiny": (12, 28, 56), "small": (16, 48, 128), "base": (32, 96, 240)}
RARE = 0.01  # the share of each object among all positions that the head starts with


def _convolution(inputs: int, outputs: int, stride: int = 1, rectified: bool = True) -> nn.Module:
    # batch norm, since a norm of the instance would make a score depend on where its tile ends
    act = ("RELU", {"inplace": True}) if rectified else None
    layers: nn.Module = Convolution(
        3, inputs, outputs, strides=stride, norm="BATCH", act=act, adn_ordering="NA", bias=False
    )
    return layers


@torch.no_grad()
def start_head(head: nn.Conv3d) -> None:
    """Start the last layer at what is likely before anything is seen: nearly everything is background."""
    nn.init.normal_(head.weight, std=1e-2)
    assert head.bias is not None
    head.bias.fill_(torch.log(torch.tensor(RARE)).item())
    head.bias[-1] = 0.0


class _Residual(nn.Module):
    """Two convolutions beside an identity (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_convolution(channels, channels), _convolution(channels, channels, rectified=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.layers(x) + x)


@register("heatmap-unet")
class HeatmapUNet(nn.Module):
    """A 3D U-Net that gives each second voxel a score for each object and for background.

    Three levels at 2, 4 and 8 voxels: a strided convolution takes the tomogram to the first at once, so that no layer
    works on all of its voxels. Residual blocks (He et al. 2016) on the way down, transposed convolutions and joined
    features on the way up (Ronneberger et al. 2015), one convolution of one voxel as the head. It pads its own
    borders with zeros; a score changes with voxels up to `context` away.

    Args:
        num_classes: objects + 1; the last class is background.
        size: "tiny" (0.33 M parameters for 7 classes), "small" (1.4 M) or "base" (5.1 M).

    Raises:
        ValueError: fewer than 2 classes, or an unknown size.
    """

    stride = 2
    halo = 0
    reach = 1
    align = 8
    # convolutions: 1 + 2 + 2 (level 2), 8 + 4 (level 4), 16 (level 8); on the way up 4 + 4 and 2 + 2; whole cells of 8
    context = 48
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
        "patience": 50,
        "augmentation": {"spectrum": 0.3, "wedge": 45.0},
    }

    def __init__(self, num_classes: int, size: str = "small") -> None:
        super().__init__()
        if num_classes < 2:
            raise ValueError(f"num_classes is {num_classes}; give at least 2 (one object and background)")
        if size not in CHANNELS:
            raise ValueError(f"size is '{size}'; choose {', '.join(CHANNELS)}")
        first, second, third = CHANNELS[size]
        self.num_classes = num_classes
        self.down1 = nn.Sequential(_convolution(1, first, 2), _convolution(first, first))
        self.down2 = nn.Sequential(_convolution(first, second, 2), _Residual(second))
        self.down3 = nn.Sequential(_convolution(second, third, 2), _Residual(third))
        self.up2 = nn.ConvTranspose3d(third, second, 2, stride=2)
        self.joined2 = _convolution(2 * second, second)
        self.up1 = nn.ConvTranspose3d(second, first, 2, stride=2)
        self.joined1 = _convolution(2 * first, first)
        self.head = nn.Conv3d(first, num_classes, 1)
        for module in self.modules():
            if isinstance(module, nn.Conv3d):
                nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")

    def start_training(self) -> dict[str, Tensor]:
        """Start the head: nearly everything is background. All weights learn at the same rate."""
        start_head(self.head)
        return {}

    def forward(self, crops: Tensor) -> Tensor:
        """Logits (B, num_classes, D/2, H/2, W/2) of crops (B, 1, D, H, W), edges multiples of 8."""
        return self.classify(self.embed(crops))

    def embed(self, tile: Tensor) -> Tensor:
        """Features (B, F, D/2, H/2, W/2) of a tile (B, 1, D, H, W), edges multiples of 8."""
        first = self.down1(tile)
        second = self.down2(first)
        third = self.down3(second)
        second = self.joined2(torch.cat([self.up2(third), second], dim=1))
        features: Tensor = self.joined1(torch.cat([self.up1(second), first], dim=1))
        return features

    def classify(self, cells: Tensor) -> Tensor:
        """Logits (B, num_classes, d, h, w) of features (B, F, d, h, w)."""
        logits: Tensor = self.head(cells)
        return logits
