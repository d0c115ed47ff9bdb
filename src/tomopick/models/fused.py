"""A network as it is used after training: norms and rectifiers are part of the convolutions, and these are fast."""

from __future__ import annotations

from collections.abc import Iterator
from copy import deepcopy
from itertools import pairwise
from typing import NamedTuple, TypeVar

from torch import nn
from torch.nn.utils.fusion import fuse_conv_bn_eval

from tomopick.models.convolve import Convolution, Upsampling, side_by_side

__all__ = ["fused"]

Network = TypeVar("Network", bound=nn.Module)


class _Place(NamedTuple):
    """A layer, and where it hangs."""

    owner: nn.Module
    name: str
    layer: nn.Module


def fused(network: Network) -> Network:
    """A copy of a network in evaluation mode whose batch norms and rectifiers are part of the convolution before them.

    It gives the same up to rounding, without passes over the features that only scale, shift or cut them, and by the
    fast kernels of a CPU. Layers that do not change share their weights with the network. A network in training mode
    has no batch norm to fold yet and is returned as it is.
    """
    if network.training:
        return network
    shared: dict[int, object] = {id(parameter): parameter for parameter in network.parameters()}
    copy = deepcopy(network, shared)
    chains = [module for module in copy.modules() if isinstance(module, nn.Sequential)]
    for chain in chains:
        _fold(list(_layers(chain)))
    for owner in list(copy.modules()):
        for name, layer in list(owner.named_children()):
            if type(layer) is nn.Conv3d and layer.padding_mode == "zeros" and not isinstance(layer.padding, str):
                setattr(owner, name, Convolution.of(layer))
            elif type(layer) is nn.ConvTranspose3d and layer.groups == 1 and side_by_side(layer):
                setattr(owner, name, Upsampling.of(layer))
    for chain in chains:
        _rectify(list(_layers(chain)))
    return copy


def _fold(layers: list[_Place]) -> None:
    """Fold each batch norm that follows a convolution directly."""
    for before, after in pairwise(layers):
        if isinstance(before.layer, nn.Conv3d) and isinstance(after.layer, nn.BatchNorm3d):
            setattr(before.owner, before.name, fuse_conv_bn_eval(before.layer, after.layer))
            setattr(after.owner, after.name, nn.Identity())


def _rectify(layers: list[_Place]) -> None:
    """Let each convolution that a rectifier follows directly do its work."""
    for before, after in pairwise(layers):
        if isinstance(before.layer, Convolution) and isinstance(after.layer, nn.ReLU):
            before.layer.rectified = True
            setattr(after.owner, after.name, nn.Identity())


def _layers(chain: nn.Sequential) -> Iterator[_Place]:
    """The layers that a chain runs in turn, those of chains within it in their place, idle ones left out."""
    for name, layer in chain.named_children():
        if isinstance(layer, nn.Sequential):
            yield from _layers(layer)
        elif not isinstance(layer, nn.Identity):
            yield _Place(chain, name, layer)
