"""MONAI's DynUNet behind a stem of stride 2."""

from __future__ import annotations

from monai.networks.blocks import Convolution
from monai.networks.nets import DynUNet as MonaiDynUNet
from torch import Tensor

from tomopick.models.padded import PaddedNetwork
from tomopick.models.registry import register

__all__ = ["DynUNet"]


@register("dynunet")
class DynUNet(PaddedNetwork):
    """The U-Net of nnU-Net (Isensee et al. 2021) as MONAI has it, a score at every second voxel.

    A strided convolution comes before it, and batch norm takes the place of instance norm, so that a score does not
    depend on where its tile ends. It pads its own borders with zeros.

    Args:
        num_classes: objects + 1; the last class is background.
        filters: channels of the levels at 2, 4 and 8 voxels.

    Raises:
        ValueError: fewer than 2 classes, or not three numbers of filters.
    """

    # convolutions of 3: 1 (stem), 2 + 2, 2 + 4 and 4 + 8 on the way down, 4 + 8 and 2 + 4 on the way up, and cells of 8
    context = 48

    def __init__(self, num_classes: int, filters: tuple[int, int, int] = (16, 48, 128)) -> None:
        super().__init__()
        if num_classes < 2 or len(filters) != 3:
            raise ValueError(f"num_classes is {num_classes} and filters {filters}; give at least 2, and three numbers")
        self.num_classes = num_classes
        self.stem = Convolution(3, 1, filters[0], strides=2, conv_only=True)
        body = MonaiDynUNet(
            spatial_dims=3, in_channels=filters[0], out_channels=num_classes, kernel_size=[3, 3, 3],
            strides=[1, 2, 2], upsample_kernel_size=[2, 2], filters=list(filters), norm_name="batch",
        )  # fmt: skip
        self.body = body.skip_layers
        self.head = body.output_block.conv.conv

    def embed(self, tile: Tensor) -> Tensor:
        features: Tensor = self.body(self.stem(tile))
        return features
