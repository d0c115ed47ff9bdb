"""Finer strides against the network itself on shifted tiles."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn

from tomopick.models.cryoet3dcnn import CryoET3DCNN
from tomopick.models.registry import DenseNetwork, Refinable, lead


def lively() -> CryoET3DCNN:
    torch.manual_seed(0)
    network = CryoET3DCNN(3, window=24).eval()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm3d):
                layer.running_var.uniform_(0.5, 2.0)
                layer.running_mean.uniform_(-0.5, 0.5)
        network.classifier[3].weight.mul_(30)
    return network


@torch.inference_mode()
@pytest.mark.parametrize("stride", [4, 2])
def test_each_shift_has_the_scores_of_the_network_on_the_shifted_tile(stride):
    network = lively()
    assert isinstance(network, Refinable)
    finer = network.finer(stride)
    assert lead(finer) == lead(network) == 20
    steps = (5, 7, 6)  # scores along each axis, of which the shifted tile sees every so-manieth
    edges = [stride * (n + finer.reach - 1) + 2 * finer.halo for n in steps]
    volume = torch.randn(1, 1, *(n + 16 for n in edges))
    z, y, x = (slice(8, 8 + n) for n in edges)
    found = finer.classify(finer.embed(volume[:, :, z, y, x]))
    assert found.shape == (1, 3, *steps)
    assert found.std(dim=(2, 3, 4)).max() > 0.1
    every = 8 // stride
    first = 8 + finer.halo - network.halo - (8 - stride) // 2  # where the tile of the first score alone starts
    for shift in product(range(every), repeat=3):
        own = found[:, :, shift[0] :: every, shift[1] :: every, shift[2] :: every]
        tile = volume
        for axis, (s, n) in enumerate(zip(shift, own.shape[2:], strict=True)):
            tile = tile.narrow(2 + axis, first + stride * s, 8 * (n + network.reach - 1) + 2 * network.halo)
        torch.testing.assert_close(network.classify(network.embed(tile)), own, atol=1e-4, rtol=1e-4)


def test_it_offers_no_stride_that_takes_too_much_memory():
    assert [lively().finer(stride).stride for stride in (4, 2, 1)] == [4, 2, 2]
    assert isinstance(CryoET3DCNN(3), DenseNetwork)
