"""3D convolution that always takes the fast kernels of a CPU."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Convolution", "convolve"]


def convolve(planes: Tensor, layer: nn.Conv3d, padding: tuple[int, ...]) -> Tensor:
    """A layer's convolution with another padding, of (B, C, D, H, W), for use and not for training.

    On a CPU PyTorch leaves a batch of one and of less than about three million values to kernels that are ten times
    slower than oneDNN's, which would be asked for any larger one; here they are asked at once.
    """
    fast = planes.device.type == "cpu" and torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    if fast and planes.dtype in (torch.float32, torch.bfloat16) and planes.dtype == layer.weight.dtype:
        return torch.mkldnn_convolution(
            planes, layer.weight, layer.bias, padding, layer.stride, layer.dilation, layer.groups
        )
    return functional.conv3d(planes, layer.weight, layer.bias, layer.stride, padding, layer.dilation, layer.groups)


class Convolution(nn.Conv3d):
    """A convolution with zeros around it, for use and not for training."""

    @classmethod
    def of(cls, layer: nn.Conv3d) -> Convolution:
        """With the weights of this layer, which stay its own, too."""
        made = cls.__new__(cls)
        made.__dict__ = dict(layer.__dict__)
        return made

    def forward(self, input: Tensor) -> Tensor:
        """The convolution of (B, C, D, H, W)."""
        if torch.is_autocast_enabled(input.device.type):
            return super().forward(input)
        return convolve(input, self, cast("tuple[int, ...]", self.padding))
