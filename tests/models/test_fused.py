"""Folded batch norms: the same scores from fewer layers, and the network left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tomopick.models.fused import fused
from tomopick.models.registry import build

NETWORKS = {
    "cryoet3dcnn": ({"window": 16}, 0),
    "heatmap-unet": ({"size": "tiny"}, 0),
    "segresnet": ({"filters": 4}, None),
    "dynunet": ({}, None),
}


def norms(network: nn.Module) -> int:
    return sum(isinstance(module, nn.BatchNorm3d) for module in network.modules())


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_those_of_the_network(name):
    arguments, left = NETWORKS[name]
    torch.manual_seed(2)
    network = build(name, {"num_classes": 3} | arguments).eval()
    for module in network.modules():
        if isinstance(module, nn.BatchNorm3d):
            for values, low, high in ((module.running_mean, -0.3, 0.3), (module.running_var, 0.3, 3.0),
                                      (module.weight, -1.5, 1.5), (module.bias, -0.3, 0.3)):  # fmt: skip
                nn.init.uniform_(values, low, high)
    before = {key: value.clone() for key, value in network.state_dict().items()}
    tile = torch.randn(1, 1, 32, 40, 48)
    with torch.inference_mode():
        expected, found = (one.classify(one.embed(tile)) for one in (network, fused(network)))
    assert expected.std() > 1e-3
    torch.testing.assert_close(found, expected, atol=1e-4 * float(expected.abs().max()), rtol=1e-4)
    if left is not None:
        assert (norms(network) > 0, norms(fused(network))) == (True, left)
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_weights_that_stay_are_shared_and_training_is_left_alone():
    network = build("cryoet3dcnn", {"num_classes": 3, "window": 16}).eval()
    assert fused(network).classifier[0].weight is network.classifier[0].weight
    network.train()
    assert fused(network) is network
