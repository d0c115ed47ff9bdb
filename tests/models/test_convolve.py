"""The convolution of use is that of training, however small its input."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tomopick.models.convolve import Convolution, Upsampling, convolve

SETTINGS = ({"stride": 2, "padding": 1}, {"padding": 1}, {"padding": 2, "dilation": 2}, {"padding": 1, "groups": 2})


@pytest.mark.parametrize("settings", SETTINGS)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.inference_mode()
def test_it_gives_what_the_layer_gives(settings, dtype):
    torch.manual_seed(0)
    layer = nn.Conv3d(4, 6, 3, **settings).to(dtype)
    planes = torch.randn(1, 4, 9, 11, 13, dtype=dtype)
    expected = layer(planes)
    assert expected.std() > 0.1
    torch.testing.assert_close(Convolution.of(layer)(planes), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@torch.inference_mode()
def test_it_rectifies_where_it_should(dtype):
    torch.manual_seed(0)
    layer, planes = nn.Conv3d(4, 6, 3, padding=1).to(dtype), torch.randn(1, 4, 9, 11, 13, dtype=dtype)
    rectified = Convolution.of(layer)
    rectified.rectified = True
    expected = torch.relu(layer(planes))
    assert 0.2 < (expected == 0).double().mean() < 0.8
    torch.testing.assert_close(rectified(planes), expected, atol=1e-5, rtol=1e-5)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        torch.testing.assert_close(rectified(planes).to(dtype), expected, atol=0.05, rtol=0.05)


@torch.inference_mode()
def test_the_padding_that_is_given_counts():
    layer = nn.Conv3d(2, 3, 3, padding=1)
    planes = torch.randn(1, 2, 9, 8, 7)
    torch.testing.assert_close(convolve(planes, layer, (0, 1, 1)), layer(planes)[:, :, 1:-1], atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_it_runs_in_the_number_format_asked_for():
    layer, planes = nn.Conv3d(2, 3, 3, padding=1), torch.randn(1, 2, 8, 8, 8)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Convolution.of(layer)(planes).dtype == torch.bfloat16


def test_its_weights_are_the_layers():
    layer = nn.Conv3d(2, 3, 3)
    assert Convolution.of(layer).weight is layer.weight


@pytest.mark.parametrize("kernel", [(2, 2, 2), (1, 3, 2)])
@pytest.mark.parametrize("bias", [True, False])
@torch.inference_mode()
def test_upsampling_gives_what_the_layer_gives(kernel, bias):
    torch.manual_seed(0)
    layer = nn.ConvTranspose3d(5, 4, kernel, stride=kernel, bias=bias)
    planes = torch.randn(2, 5, 3, 4, 6)
    for given in (planes, planes.contiguous(memory_format=torch.channels_last_3d)):
        torch.testing.assert_close(Upsampling.of(layer)(given), layer(given), atol=1e-5, rtol=1e-5)
    assert Upsampling.of(layer)(planes).is_contiguous(memory_format=torch.channels_last_3d)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert Upsampling.of(layer)(planes).dtype == torch.bfloat16


@torch.inference_mode()
def test_densities_are_not_rounded_before_a_layer_that_computes_in_bfloat16():
    layer = nn.Conv3d(1, 1, 3, bias=False)
    layer.weight.zero_()
    layer.weight[0, 0, 1, 1, ::2] = torch.tensor([-1.0, 1.0])
    densities = 1000 + torch.randn(1, 1, 9, 8, 7)  # bfloat16 tells 1000 from 1004 only
    found = convolve(densities, layer.bfloat16(), (0, 0, 0))
    assert found.dtype == torch.bfloat16
    exact = (densities[..., 2:] - densities[..., :-2])[:, :, 1:-1, 1:-1]
    torch.testing.assert_close(found.float(), exact, atol=0.01, rtol=0.01)
