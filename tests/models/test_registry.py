"""What training and inference rely on, checked for every network by name."""

from __future__ import annotations

from itertools import product

import pytest
import torch
from torch import nn

from tomopick.errors import ModelFileError
from tomopick.models.registry import DenseNetwork, build, choices, field, names
from tomopick.recipe import Recipe

WINDOWED = [n for n in names() if not build(n, {"num_classes": 3}).context]
PADDED = [n for n in names() if n not in WINDOWED]


def network_named(name: str) -> nn.Module:
    torch.manual_seed(0)
    network = build(name, {"num_classes": 3}).eval()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm3d):
                layer.running_mean.uniform_(-0.3, 0.3)
                layer.running_var.uniform_(0.5, 2.0)
    return network


@pytest.mark.parametrize("name", names())
def test_every_network_is_a_dense_network(name):
    network = network_named(name)
    assert isinstance(network, DenseNetwork)
    edge = field(network)
    assert edge % network.stride == 0
    assert network.align % network.stride == network.context % network.align == 0
    tile = edge if name in WINDOWED else network.align
    with torch.inference_mode():
        cells = network.embed(torch.zeros(1, 1, tile, tile, tile))
        assert cells.shape[2:] == 3 * ((tile - 2 * network.halo) // network.stride,)
        scores = (tile - 2 * network.halo) // network.stride - network.reach + 1
        assert network.classify(cells).shape == (1, 3, scores, scores, scores)


@pytest.mark.parametrize("name", names())
def test_the_choices_of_every_network_make_a_recipe(name):
    assert Recipe.model_validate({"model": name, **choices(name)}).model == name


@pytest.mark.parametrize("name", PADDED)
def test_a_score_does_not_see_beyond_its_context(name):
    """Its field and context may change a score, but voxels beyond them do not, though the tile is larger."""
    network = network_named(name)
    edge, context = network.align, network.context
    tile = torch.randn(1, 1, 3 * edge + context, edge, edge)
    with torch.inference_mode():
        dense = network.classify(network.embed(tile))
        tile[:, :, -edge:] += 5 * torch.randn(edge, edge)
        moved = (network.classify(network.embed(tile)) - dense).abs().amax(dim=(0, 1, 3, 4))
    unmoved = 2 * edge // network.stride
    assert moved[:unmoved].max() < 1e-4
    assert moved[-1] > 1e-2


@pytest.mark.parametrize("name", WINDOWED)
def test_moving_the_tile_by_a_stride_moves_the_scores(name):
    """A score sees its own field and nothing else: in a larger tile it is what its crop alone gives."""
    network = network_named(name)
    edge, stride = field(network), network.stride
    tile = torch.randn(1, 1, edge + stride, edge, edge + stride)
    with torch.inference_mode():
        dense = torch.softmax(network.classify(network.embed(tile)), dim=1)
        assert dense.shape == (1, 3, 2, 1, 2)
        assert dense.sum(dim=1).allclose(torch.ones(1))
        for z, x in product(range(2), repeat=2):
            crop = tile[:, :, z * stride : z * stride + edge, :, x * stride : x * stride + edge]
            alone = torch.softmax(network.classify(network.embed(crop)), dim=1)
            torch.testing.assert_close(dense[:, :, z, 0, x], alone[:, :, 0, 0, 0], rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", names())
def test_windows_of_a_batch_do_not_touch_each_other(name):
    network = network_named(name)
    edge = max(field(network), network.align)
    batch = torch.randn(2, 1, edge, edge, edge)
    with torch.inference_mode():
        both = network.classify(network.embed(batch))
        alone = network.classify(network.embed(batch[1:]))
    torch.testing.assert_close(both[1:], alone, rtol=1e-4, atol=1e-4)


def test_an_unknown_name_is_answered_by_the_known_ones():
    with pytest.raises(ModelFileError, match=r"unknown network 'cryoet4d'; known: .*cryoet3dcnn"):
        build("cryoet4d", {"num_classes": 3})


@pytest.mark.parametrize(
    "arguments",
    [
        {"num_classes": 7, "wnidow": 64},
        {"num_classes": 7, "window": 63},
        {"num_classes": 1},
        {"num_classes": "seven"},
        {},
    ],
)
def test_arguments_that_do_not_fit_are_named_in_one_line(arguments):
    with pytest.raises(ModelFileError, match="'cryoet3dcnn' cannot be built with") as caught:
        build("cryoet3dcnn", arguments)
    assert "\n" not in str(caught.value)
