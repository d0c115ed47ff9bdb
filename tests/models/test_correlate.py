"""Correlation by Fourier transform against PyTorch's own."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional

from tomopick.models.correlate import correlate


@settings(deadline=None, max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    reach=st.integers(1, 10),
    beyond=st.tuples(*[st.integers(0, 25)] * 3),
    channels=st.tuples(st.integers(1, 3), st.integers(1, 70)),
    batch=st.integers(1, 2),
)
def test_it_is_a_convolution_of_any_size(seed, reach, beyond, channels, batch):
    generator = torch.Generator().manual_seed(seed)
    inputs, outputs = channels
    cells = torch.randn((batch, inputs, *(reach + n for n in beyond)), generator=generator)
    kernel = torch.randn((outputs, inputs, reach, reach, reach), generator=generator)
    bias = torch.randn(outputs, generator=generator)
    expected = functional.conv3d(cells, kernel, bias)
    torch.testing.assert_close(correlate(cells, kernel, bias), expected, atol=1e-5 * reach**1.5 * 4, rtol=1e-4)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_cells_of_any_precision_are_computed_with_in_float32(dtype):
    cells = torch.rand((1, 128, 12, 10, 9)).to(dtype)
    kernel = torch.randn((512, 128, 8, 8, 8)) / 256
    bias = torch.randn(512)
    exact = functional.conv3d(cells.double(), kernel.double(), bias.double())
    found = correlate(cells, kernel, bias)
    assert found.dtype == torch.float32
    assert ((found - exact).abs().max() / exact.abs().max()) < 1e-5


def test_autocast_does_not_round_the_transforms():
    """As where a processor has bfloat16: all of `pick` runs under autocast there."""
    cells, kernel, bias = torch.rand((1, 8, 12, 10, 9)), torch.randn((20, 8, 8, 8, 8)), torch.randn(20)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        found = correlate(cells, kernel, bias)
    torch.testing.assert_close(found, correlate(cells, kernel, bias), atol=0, rtol=0)
