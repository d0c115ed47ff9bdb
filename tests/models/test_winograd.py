"""Convolutions by tiles are convolutions."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional

from tomopick.models.convolve import Convolution
from tomopick.models.winograd import convolve_by_tiles, evaluated

EDGES = st.tuples(st.integers(1, 5), st.integers(1, 14), st.integers(1, 14))
PADDINGS = st.tuples(st.integers(1, 2), st.integers(1, 3), st.integers(1, 3))


@settings(max_examples=60, deadline=None)
@given(EDGES, PADDINGS, st.booleans(), st.booleans(), st.booleans())
@torch.inference_mode()
def test_they_are_those_of_float64(edges, padding, rectified, biased, channels_last):
    torch.manual_seed(0)
    planes, weight = torch.randn(1, 5, *edges), torch.randn(3, 5, 3, 3, 3) / 11
    planes = planes.contiguous(memory_format=torch.channels_last_3d) if channels_last else planes
    bias = torch.randn(3) if biased else None
    expected = functional.conv3d(planes.double(), weight.double(), bias if bias is None else bias.double(), 1, padding)
    found = convolve_by_tiles(planes, evaluated(weight), bias, padding, rectified)
    assert found.is_contiguous(memory_format=torch.channels_last_3d)
    torch.testing.assert_close(found, expected.relu().float() if rectified else expected.float(), atol=1e-5, rtol=0)


@torch.inference_mode()
def test_rounding_costs_no_more_than_a_few_of_float32s_steps():
    torch.manual_seed(0)
    planes, weight = torch.randn(1, 96, 4, 33, 34), torch.randn(48, 96, 3, 3, 3) / (27 * 96) ** 0.5
    found = convolve_by_tiles(planes, evaluated(weight), None, (0, 0, 0), False)
    exact = functional.conv3d(planes.double(), weight.double())
    assert 0.9 < exact.std() < 1.1
    assert (found - exact).abs().max() < 1e-5
    assert (found - exact).std() < 1e-6


@pytest.mark.parametrize("wide", [True, False])
@torch.inference_mode()
def test_a_layer_gives_the_same_either_way(wide):
    torch.manual_seed(0)
    layer = nn.Conv3d(32 if wide else 31, 48, 3, padding=1)
    planes = torch.randn(1, layer.in_channels, 6, 13, 10)
    assert Convolution.of(layer).suits_tiles(torch.float32) is wide
    torch.testing.assert_close(Convolution.of(layer)(planes), layer(planes), atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_layer_whose_weights_are_exchanged_uses_the_new_ones():
    torch.manual_seed(0)
    layer = Convolution.of(nn.Conv3d(32, 32, 3, padding=1))
    planes = torch.randn(1, 32, 5, 6, 7)
    before = layer(planes)
    layer.weight = nn.Parameter(-layer.weight)
    layer.bias = nn.Parameter(-layer.bias)
    torch.testing.assert_close(layer(planes), -before, atol=1e-5, rtol=1e-5)
