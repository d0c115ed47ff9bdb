"""CryoET3DCNN against the design document's network written out by hand, and its dense use against single windows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tomopick.models.cryoet3dcnn import CryoET3DCNN


class Document(nn.Module):
    """The design document's network, as it stands there."""

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv3d(1, 32, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(2),
            nn.Conv3d(32, 64, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(2),
            nn.Conv3d(64, 128, kernel_size=3, padding=1),
            nn.ReLU(inplace=True),
            nn.MaxPool3d(2),
        )
        self.classifier = nn.Sequential(
            nn.Linear(128 * 8 * 8 * 8, 512),
            nn.ReLU(inplace=True),
            nn.Dropout(0.5),
            nn.Linear(512, num_classes),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.classifier(self.features(x).flatten(1))


def lively(window: int, batch_norm: bool = True) -> CryoET3DCNN:
    """A network in evaluation mode whose batch norms do something and whose scores differ from place to place."""
    torch.manual_seed(window)
    network = CryoET3DCNN(3, batch_norm=batch_norm, window=window).eval()
    with torch.no_grad():
        for layer in network.modules():
            if isinstance(layer, nn.BatchNorm3d):
                for value in (layer.running_var, layer.weight):
                    value.uniform_(0.5, 2.0)
                for value in (layer.running_mean, layer.bias):
                    value.uniform_(-0.5, 0.5)
        network.classifier[3].weight.mul_(30)
    return network


def scores(network: CryoET3DCNN, tile: torch.Tensor) -> torch.Tensor:
    return torch.softmax(network.classify(network.embed(tile)), dim=1)


@pytest.mark.parametrize(("batch_norm", "count"), [(False, 33_836_103), (True, 33_836_551)])
def test_it_has_the_documents_number_of_parameters(batch_norm, count):
    with torch.device("meta"):
        network = CryoET3DCNN(7, batch_norm=batch_norm)
    assert sum(p.numel() for p in network.parameters()) == count


def test_without_batch_norm_it_loads_the_documents_weights_and_gives_its_scores():
    torch.manual_seed(0)
    document = Document(7).eval()
    network = CryoET3DCNN(7, batch_norm=False).eval()
    assert list(network.state_dict()) == list(document.state_dict())
    assert {n.rsplit(".", 1)[0] for n in network.state_dict()} == {
        "features.0", "features.3", "features.6", "classifier.0", "classifier.3"
    }  # fmt: skip
    windows = torch.randn(2, 1, 64, 64, 64)
    with torch.inference_mode():
        assert not torch.allclose(network(windows), document(windows))
        network.load_state_dict(document.state_dict(), strict=True)
        torch.testing.assert_close(network(windows), document(windows), rtol=0, atol=0)
    document.load_state_dict(network.state_dict(), strict=True)


def test_batch_norm_stands_between_convolution_and_relu():
    torch.manual_seed(1)
    network = CryoET3DCNN(2, window=8).train()
    features = network.features
    out = features[2](features[1](features[0](torch.randn(4, 1, 8, 8, 8))))
    plain = nn.functional.conv3d(torch.zeros(1), torch.zeros(1)) if False else None
    assert plain is None
    assert out.min() >= 0


def test_convolutions_start_kaiming_normal_by_fan_out():
    torch.manual_seed(0)
    for layer in (m for m in CryoET3DCNN(2, window=8).modules() if isinstance(m, nn.Conv3d)):
        expected = math.sqrt(2 / (layer.out_channels * 27))
        error = expected / math.sqrt(2 * layer.weight.numel())  # standard error of a sample deviation
        assert layer.weight.std().item() == pytest.approx(expected, abs=5 * error)
        assert layer.weight.mean().item() == pytest.approx(0, abs=5 * expected / math.sqrt(layer.weight.numel()))
        assert layer.weight.abs().max() > 2 * expected  # uniform weights would end at sqrt(3)
