"""3D convolutions of use, not of training: by the fast kernels of a CPU, and with few passes over the values."""

from __future__ import annotations

from typing import TypeVar, cast

import torch
from torch import Tensor, nn
from torch.nn import functional

from tomopick.models.winograd import convolve_by_tiles, evaluated

__all__ = ["Convolution", "Upsampling", "convolve", "side_by_side"]

Layer = TypeVar("Layer", bound=nn.Module)


def convolve(planes: Tensor, layer: nn.Conv3d, padding: tuple[int, ...], dtype: torch.dtype | None = None) -> Tensor:
    """A layer's convolution with another padding, of (B, C, D, H, W), for use and not for training.

    On a CPU PyTorch leaves a batch of one and of less than about three million values to kernels that are ten times
    slower than oneDNN's, which would be asked for any larger one; here they are asked at once. They rectify what they
    write, which saves a `Convolution` that should a pass over its values.

    Args:
        planes: in any number format.
        layer: what convolves.
        padding: zeros on either side, zyx.
        dtype: number format to compute in, and of the result; None: the layer's.
    """
    dtype = layer.weight.dtype if dtype is None else dtype
    # of one channel, as densities have, oneDNN takes longer in bfloat16
    alone = dtype == torch.bfloat16 and layer.in_channels == 1 and planes.device.type == "cpu"
    inner = torch.float32 if alone else dtype
    weight, bias = layer.weight.to(inner), None if layer.bias is None else layer.bias.to(inner)
    rectified = isinstance(layer, Convolution) and layer.rectified
    if isinstance(layer, Convolution) and planes.device.type == "cpu" and len(planes) == 1 and layer.suits_tiles(inner):
        return convolve_by_tiles(planes.to(inner), layer.kernels(), bias, padding, rectified)
    if _by_onednn(planes.device, inner):
        # what PyTorch's own compiler calls; torch.mkldnn_convolution is the same, but does not rectify
        made: Tensor = torch.ops.mkldnn._convolution_pointwise(
            planes.to(inner), weight, bias, padding, layer.stride, layer.dilation, layer.groups,
            "relu" if rectified else "none", [], "",
        )  # fmt: skip
        return made.to(dtype)
    found = functional.conv3d(planes.to(inner), weight, bias, layer.stride, padding, layer.dilation, layer.groups)
    return (found.relu_() if rectified else found).to(dtype)


def _by_onednn(device: torch.device, dtype: torch.dtype) -> bool:
    if device.type != "cpu" or not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    return dtype == torch.float32 or (dtype == torch.bfloat16 and torch.ops.mkldnn._is_mkldnn_bf16_supported())


class Convolution(nn.Conv3d):
    """A convolution with zeros around it, for use and not for training.

    Attributes:
        rectified: whether what is below zero becomes zero.
    """

    rectified: bool = False
    _kernels: tuple[Tensor, Tensor] | None = None

    @classmethod
    def of(cls, layer: nn.Conv3d) -> Convolution:
        """With the weights of this layer, which stay its own, too."""
        return _with_weights_of(layer, cls)

    def suits_tiles(self, dtype: torch.dtype) -> bool:
        """Whether it computes less in tiles: with few channels, what is saved in products is lost on the way there."""
        shape = (self.kernel_size, self.stride, self.dilation, self.groups)
        wide = min(self.in_channels, self.out_channels) >= 32
        return dtype == torch.float32 and wide and shape == ((3, 3, 3), (1, 1, 1), (1, 1, 1), 1)

    def kernels(self) -> Tensor:
        """Its weights for `convolve_by_tiles`, kept as long as it has them."""
        if self._kernels is None or self._kernels[0] is not self.weight:
            self._kernels = (self.weight, evaluated(self.weight))
        return self._kernels[1]

    def forward(self, input: Tensor) -> Tensor:
        """The convolution of (B, C, D, H, W)."""
        kind = input.device.type
        dtype = torch.get_autocast_dtype(kind) if torch.is_autocast_enabled(kind) else None
        return convolve(input, self, cast("tuple[int, ...]", self.padding), dtype)


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
