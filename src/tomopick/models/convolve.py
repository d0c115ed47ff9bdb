"""3D convolutions of use, not of training: by the fast kernels of a CPU, and with few passes over the values."""

from __future__ import annotations

from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Convolution", "Upsampling", "convolve", "side_by_side"]

Layer = TypeVar("Layer", bound=nn.Module)


def convolve(planes: Tensor, layer: nn.Conv3d, padding: tuple[int, ...]) -> Tensor:
    """A layer's convolution with another padding, of (B, C, D, H, W), for use and not for training.

    On a CPU PyTorch leaves a batch of one and of less than about three million values to kernels that are ten times
    slower than oneDNN's, which would be asked for any larger one; here they are asked at once. They rectify what they
    write, which saves a `Convolution` that should a pass over its values.

    Args:
        planes: in the number format of the layer, in which the result is, or another one.
        layer: what convolves.
        padding: zeros on either side, zyx.
    """
    rectified = isinstance(layer, Convolution) and layer.rectified
    fast = planes.device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    weight, bias, dtype = layer.weight, layer.bias, layer.weight.dtype
    if not fast or dtype not in (torch.float32, torch.bfloat16):
        found = functional.conv3d(planes.to(dtype), weight, bias, layer.stride, padding, layer.dilation, layer.groups)
        return found.relu_() if rectified else found
    # of one channel, as densities have, oneDNN takes longer in bfloat16
    inner = torch.float32 if layer.in_channels == 1 else dtype
    # what PyTorch's own compiler calls; torch.mkldnn_convolution is the same, but does not rectify
    made: Tensor = torch.ops.mkldnn._convolution_pointwise(
        planes.to(inner), weight.to(inner), None if bias is None else bias.to(inner),
        padding, layer.stride, layer.dilation, layer.groups, "relu" if rectified else "none", [], "",
    )  # fmt: skip
    return made.to(dtype)


class Convolution(nn.Conv3d):
    """A convolution with zeros around it, for use and not for training.

    Attributes:
        rectified: whether what is below zero becomes zero.
    """

    rectified: bool = False

    @classmethod
    def of(cls, layer: nn.Conv3d) -> Convolution:
        """With the weights of this layer, which stay its own, too."""
        return _with_weights_of(layer, cls)

    def forward(self, input: Tensor) -> Tensor:
        """The convolution of (B, C, D, H, W)."""
        if torch.is_autocast_enabled(input.device.type):
            found = super().forward(input)
            return found.relu_() if self.rectified else found
        return convolve(input, self, cast("tuple[int, ...]", self.padding))


def side_by_side(layer: nn.ConvTranspose3d) -> bool:
    """Whether what each voxel becomes lies beside, and not over, what its neighbours become."""
    return layer.kernel_size == layer.stride and layer.padding == layer.output_padding == (0, 0, 0)


class Upsampling(nn.ConvTranspose3d):
    """A transposed convolution, `side_by_side` and of one group, for use and not for training.

    On a CPU it is one product of matrices and one pass that puts the values in their places, channels last as
    convolutions want them; PyTorch's takes half as long again and leaves them channels first.
    """

    @classmethod
    def of(cls, layer: nn.ConvTranspose3d) -> Upsampling:
        """With the weights of this layer, which stay its own, too."""
        return _with_weights_of(layer, cls)

    def forward(self, input: Tensor, output_size: list[int] | None = None) -> Tensor:
        """The transposed convolution of (B, C, D, H, W)."""
        if input.device.type != "cpu" or torch.is_autocast_enabled("cpu"):
            return super().forward(input, output_size)
        batch, channels, *edges = input.shape
        (depth, height, width), (z, y, x) = edges, self.kernel_size
        values = input.permute(0, 2, 3, 4, 1).reshape(-1, channels)
        weight = self.weight.permute(2, 3, 4, 1, 0).reshape(-1, channels)
        made = functional.linear(values, weight, None if self.bias is None else self.bias.repeat(z * y * x))
        made = made.view(batch, depth, height, width, z, y, x, self.out_channels).permute(0, 1, 4, 2, 5, 3, 6, 7)
        return made.reshape(batch, depth * z, height * y, width * x, self.out_channels).permute(0, 4, 1, 2, 3)


def _with_weights_of(layer: nn.Module, kind: type[Layer]) -> Layer:
    made = kind.__new__(kind)
    made.__dict__ = dict(layer.__dict__)
    return made
