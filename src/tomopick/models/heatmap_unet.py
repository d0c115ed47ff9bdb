"""HeatmapUNet: a small encoder and decoder whose scores stand every second voxel."""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn

from tomopick.models.padded import PaddedNetwork
from tomopick.models.registry import register
from tomopick.models.start import start_convolutions

__all__ = ["HeatmapUNet"]

CHANNELS = {"tiny": (12, 28, 56), "small": (16, 48, 128), "base": (32, 96, 240)}


def _convolution(inputs: int, outputs: int, stride: int = 1, rectified: bool = True) -> nn.Module:
    # the block that MONAI calls Convolution, with its names: importing MONAI takes longer than many a tomogram;
    # batch norm, since a norm of the instance would make a score depend on where its tile ends
    after: OrderedDict[str, nn.Module] = OrderedDict(N=nn.BatchNorm3d(outputs))
    if rectified:
        after["A"] = nn.ReLU(inplace=True)
    convolution = nn.Conv3d(inputs, outputs, 3, stride=stride, padding=1, bias=False)
    return nn.Sequential(OrderedDict(conv=convolution, adn=nn.Sequential(after)))


class _Residual(nn.Module):
    """Two convolutions beside an identity (He et al. 2016)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(_convolution(channels, channels), _convolution(channels, channels, rectified=False))

    def forward(self, x: Tensor) -> Tensor:
        return torch.relu_(self.layers(x) + x)


@register("heatmap-unet")
class HeatmapUNet(PaddedNetwork):
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

    # convolutions: 1 + 2 + 2 (level 2), 8 + 4 (level 4), 16 (level 8); on the way up 4 + 4 and 2 + 2; whole cells of 8
    context = 48
    recipe = PaddedNetwork.recipe | {"init": "simulated"}

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
        start_convolutions(self)

    def embed(self, tile: Tensor) -> Tensor:
        first = self.down1(tile)
        second = self.down2(first)
        third = self.down3(second)
        second = self.joined2(torch.cat([self.up2(third), second], dim=1))
        features: Tensor = self.joined1(torch.cat([self.up1(second), first], dim=1))
        return features
