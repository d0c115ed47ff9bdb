"""What networks' convolutions start from."""

from __future__ import annotations

from torch import nn

__all__ = ["start_convolutions"]


def start_convolutions(network: nn.Module) -> None:
    """Start the weights of all 3D convolutions Kaiming normal (fan_out, relu; He et al. 2015).

    On the meta device weights hold nothing, and to draw them all the same would load PyTorch's compiler: seconds.
    """
    for module in network.modules():
        if isinstance(module, nn.Conv3d) and not module.weight.is_meta:
            nn.init.kaiming_normal_(module.weight, mode="fan_out", nonlinearity="relu")
