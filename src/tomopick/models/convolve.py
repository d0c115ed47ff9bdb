"""3D convolution that always takes the fast kernels of a CPU, and rectifies in the same pass where it should."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Convolution", "convolve"]


def convolve(planes: Tensor, layer: nn.Conv3d, padding: tuple[int, ...]) -> Tensor:
    """A layer's convolution with another padding, of (B, C, D, H, W), for use and not for training.

    On a CPU PyTorch leaves a batch of one and of less than about three million values to kernels that are ten times
    slower than oneDNN's, which would be asked for any larger one; here they are asked at once. They rectify what they
    write, which saves a `Convolution` that should a pass over its values.
    """
    rectified = isinstance(layer, Convolution) and layer.rectified
    fast = planes.device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if fast and planes.dtype in (torch.float32, torch.bfloat16) and planes.dtype == layer.weight.dtype:
        # what PyTorch's own compiler calls; torch.mkldnn_convolution is the same, but does not rectify
        found: Tensor = torch.ops.mkldnn._convolution_pointwise(
            planes, layer.weight, layer.bias, padding, layer.stride, layer.dilation, layer.groups,
            "relu" if rectified else "none", [], "",
        )  # fmt: skip
        return found
    found = functional.conv3d(planes, layer.weight, layer.bias, layer.stride, padding, layer.dilation, layer.groups)
    return found.relu_() if rectified else found


class Convolution(nn.Conv3d):
    """A convolution with zeros around it, for use and not for training.

    Attributes:
        rectified: whether what is below zero becomes zero.
    """

    rectified: bool = False

    @classmethod
    def of(cls, layer: nn.Conv3d) -> Convolution:
        """With the weights of this layer, which stay its own, too."""
        made = cls.__new__(cls)
        made.__dict__ = dict(layer.__dict__)
        return made

    def forward(self, input: Tensor) -> Tensor:
        """The convolution of (B, C, D, H, W)."""
        if torch.is_autocast_enabled(input.device.type):
            found = super().forward(input)
            return found.relu_() if self.rectified else found
        return convolve(input, self, cast("tuple[int, ...]", self.padding))
