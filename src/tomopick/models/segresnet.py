"""MONAI's SegResNet behind a stem of stride 2."""

from __future__ import annotations

from typing import Any, ClassVar

from monai.networks.blocks import Convolution
from monai.networks.nets import SegResNet as MonaiSegResNet
from torch import Tensor, nn

from tomopick.models.heatmap_unet import HeatmapUNet, start_head
from tomopick.models.registry import register

__all__ = ["SegResNet"]


@register("segresnet")
class SegResNet(nn.Module):
    """The residual encoder and decoder of Myronenko 2018 (arXiv:1810.11654), a score at every second voxel.

    A strided convolution comes before it, and batch norm takes the place of group norm, so that a score does not
    depend on where its tile ends. It pads its own borders with zeros.

    Args:
        num_classes: objects + 1; the last class is background.
        filters: channels of the first level; each further one has twice as many.

    Raises:
        ValueError: fewer than 2 classes, or no filters.
    """

    stride = 2
    halo = 0
    reach = 1
    align = 8
    # convolutions of 3: 1, 2 (stem and first), then 4 + 2, 16 + 4 and 32 on the way down, and 8 + 8 and 4 + 4 on the
    # way up; whole cells of 8
    context = 88
    recipe: ClassVar[dict[str, Any]] = HeatmapUNet.recipe

    def __init__(self, num_classes: int, filters: int = 16) -> None:
        super().__init__()
        if num_classes < 2 or filters < 1:
            raise ValueError(f"num_classes is {num_classes} and filters {filters}; give at least 2 and 1")
        self.num_classes = num_classes
        self.stem = Convolution(3, 1, filters, strides=2, conv_only=True)
        self.body = MonaiSegResNet(
            in_channels=filters, init_filters=filters, norm="BATCH", use_conv_final=False,
            blocks_down=(1, 2, 2), blocks_up=(1, 1),
        )  # fmt: skip
        self.head = nn.Conv3d(filters, num_classes, 1)

    def start_training(self) -> dict[str, Tensor]:
        """Start the head as HeatmapUNet's: nearly everything is background. All weights learn at the same rate."""
        start_head(self.head)
        return {}

    def forward(self, crops: Tensor) -> Tensor:
        """Logits (B, num_classes, D/2, H/2, W/2) of crops (B, 1, D, H, W), edges multiples of 8."""
        return self.classify(self.embed(crops))

    def embed(self, tile: Tensor) -> Tensor:
        """Features (B, F, D/2, H/2, W/2) of a tile (B, 1, D, H, W), edges multiples of 8."""
        features: Tensor = self.body(self.stem(tile))
        return features

    def classify(self, cells: Tensor) -> Tensor:
        """Logits (B, num_classes, d, h, w) of features (B, F, d, h, w)."""
        logits: Tensor = self.head(cells)
        return logits
