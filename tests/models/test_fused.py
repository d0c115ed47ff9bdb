"""Folded norms and rectifiers: the same scores from fewer layers, and the network left alone."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from tomopick.models.fused import fused
from tomopick.models.registry import build

NETWORKS = {
    "cryoet3dcnn": {"window": 16},
    "heatmap-unet": {"size": "tiny"},
    "segresnet": {"filters": 4},
    "dynunet": {},
}


def left(network: nn.Module) -> list[str]:
    """The norms of a network, and its rectifiers of volumes."""
    names = [name for name, module in network.named_modules() if isinstance(module, (nn.BatchNorm3d, nn.ReLU))]
    return [name for name in names if not name.startswith("classifier")]


@pytest.mark.parametrize("name", NETWORKS)
def test_scores_are_those_of_the_network(name):
    torch.manual_seed(2)
    network = build(name, {"num_classes": 3} | NETWORKS[name]).eval()
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
    if name in ("cryoet3dcnn", "heatmap-unet"):  # MONAI's blocks have other norms and rectifiers, or none
        assert left(network) != []
        assert left(fused(network)) == []
    after = network.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_weights_that_stay_are_shared_and_training_is_left_alone():
    network = build("cryoet3dcnn", {"num_classes": 3, "window": 16}).eval()
    assert fused(network).classifier[0].weight is network.classifier[0].weight
    network.train()
    assert fused(network) is network
