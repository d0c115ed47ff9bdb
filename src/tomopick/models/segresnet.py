"""MONAI's SegResNet behind a stem of stride 2."""

from __future__ import annotations

from monai.networks.blocks import Convolution
from monai.networks.nets import SegResNet as MonaiSegResNet
from torch import Tensor, nn

from tomopick.models.padded import PaddedNetwork
from tomopick.models.registry import register

__all__ = ["SegResNet"]


@register("segresnet")
class SegResNet(PaddedNetwork):
    """The residual encoder and decoder of Myronenko 2018 (arXiv:1810.11654), a score at every second voxel.

    A strided convolution comes before it, and batch norm takes the place of group norm, so that a score does not
    depend on where its tile ends. It pads its own borders with zeros.

    Args:
        num_classes: objects + 1; the last class is background.
        filters: channels of the first level; each further one has twice as many.

    Raises:
        ValueError: fewer than 2 classes, or no filters.
    """

    # convolutions of 3: 1, 2 (stem and first), then 4 + 2, 16 + 4 and 32 on the way down, and 8 + 8 and 4 + 4 on the
    # way up; whole cells of 8
    context = 88

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

    def embed(self, tile: Tensor) -> Tensor:
        features: Tensor = self.body(self.stem(tile))
        return features
