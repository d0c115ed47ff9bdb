"""CryoET3DCNN against the design document's network written out by hand, and its dense use against single windows."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from tomopick.models import cryoet3dcnn
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
        last = network.classifier[3]
        last.weight.mul_(30)
        edge = window + 16
        last.bias.sub_(network(torch.randn(1, 1, edge, edge, edge)[:, :, 8:-8, 8:-8, 8:-8])[0])  # near even odds
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


def test_blocks_and_classifier_are_in_the_documents_order():
    kinds = [type(m).__name__ for m in CryoET3DCNN(2, window=8).features]
    assert kinds == 3 * ["Conv3d", "BatchNorm3d", "ReLU", "MaxPool3d"]
    kinds = [type(m).__name__ for m in CryoET3DCNN(2, window=8).classifier]
    assert kinds == ["Linear", "ReLU", "Dropout", "Linear"]


def test_convolutions_start_kaiming_normal_by_fan_out():
    torch.manual_seed(0)
    for layer in (m for m in CryoET3DCNN(2, window=8).modules() if isinstance(m, nn.Conv3d)):
        expected = math.sqrt(2 / (layer.out_channels * 27))
        error = expected / math.sqrt(2 * layer.weight.numel())  # standard error of a sample deviation
        assert layer.weight.std().item() == pytest.approx(expected, abs=5 * error)
        assert layer.weight.mean().item() == pytest.approx(0, abs=5 * expected / math.sqrt(layer.weight.numel()))
        assert layer.weight.abs().max() > 2 * expected  # uniform weights would end at sqrt(3)


@pytest.mark.parametrize("window", [8, 24, 32, 48])
def test_other_windows_size_the_first_linear_to_fit(window):
    network = CryoET3DCNN(4, window=window).eval()
    assert network.classifier[0].in_features == 128 * (window // 8) ** 3
    with torch.inference_mode():
        assert network(torch.randn(2, 1, window, window, window)).shape == (2, 4)


@pytest.mark.parametrize("window", [0, -8, 4, 60, 65])
def test_a_window_that_is_no_multiple_of_8_is_refused(window):
    with pytest.raises(ValueError, match=f"window is {window}"):
        CryoET3DCNN(7, window=window)


@pytest.mark.parametrize("num_classes", [-1, 0, 1])
def test_fewer_than_two_classes_are_refused(num_classes):
    with pytest.raises(ValueError, match=f"num_classes is {num_classes}"):
        CryoET3DCNN(num_classes, window=8)


@pytest.mark.parametrize("batch_norm", [True, False])
def test_embedding_gives_the_inner_cells_of_the_documents_features(batch_norm):
    network = lively(16, batch_norm)
    tile = torch.randn(2, 1, 32, 40, 48)
    with torch.inference_mode():
        inner = network.features(tile)[:, :, 1:-1, 1:-1, 1:-1]
        torch.testing.assert_close(network.embed(tile), inner, rtol=0, atol=1e-6)


def test_cells_do_not_depend_on_where_the_tile_ends():
    network = lively(16)
    tile = torch.randn(1, 1, 40, 40, 40)
    inside = tile[:, :, 8:-8, 8:-8, 8:-8]
    with torch.inference_mode():
        whole = network.embed(tile)[:, :, 1:-1, 1:-1, 1:-1]
        torch.testing.assert_close(network.embed(inside), whole, rtol=0, atol=1e-5)


@pytest.mark.parametrize("batch_norm", [True, False])
@pytest.mark.parametrize("window", [16, 24])
def test_each_score_of_a_tile_is_that_of_its_own_context_crop(window, batch_norm):
    network = lively(window, batch_norm)
    edge = window + 16
    tile = torch.randn(1, 1, edge + 16, edge + 8, edge + 24)
    with torch.inference_mode():
        dense = scores(network, tile)
        assert dense.shape == (1, 3, 3, 2, 4)
        assert dense.std(dim=(2, 3, 4)).max() > 0.02  # else any place would do
        for z, y, x in torch.cartesian_prod(torch.arange(3), torch.arange(2), torch.arange(4)).tolist():
            crop = tile[:, :, 8 * z : 8 * z + edge, 8 * y : 8 * y + edge, 8 * x : 8 * x + edge]
            alone = scores(network, crop)[:, :, 0, 0, 0]
            torch.testing.assert_close(dense[:, :, z, y, x], alone, rtol=0, atol=1e-4)


def test_each_score_of_a_tile_is_that_of_its_80_voxel_crop_for_the_documents_window():
    network = lively(64)
    tile = torch.randn(1, 1, 80, 88, 80)
    with torch.inference_mode():
        dense = scores(network, tile)
        assert dense.shape == (1, 3, 1, 2, 1)
        assert (dense[:, :, 0, 0] - dense[:, :, 0, 1]).abs().max() > 1e-3
        for y in range(2):
            crop = tile[:, :, :, 8 * y : 8 * y + 80]
            cells = network.features(crop)[:, :, 1:-1, 1:-1, 1:-1]  # 8^3 x 128 = 65536 remain
            by_hand = torch.softmax(network.classifier(cells.flatten(1)), dim=1)
            torch.testing.assert_close(dense[:, :, 0, y, 0], by_hand, rtol=0, atol=1e-4)


def test_scores_by_fourier_transform_are_those_of_the_convolution(monkeypatch):
    torch.manual_seed(0)
    network = CryoET3DCNN(7).eval()
    cells = torch.rand((1, 128, 12, 10, 9))
    with torch.inference_mode():
        direct = network.classify(cells)
        monkeypatch.setattr(cryoet3dcnn, "WORTH_TRANSFORMING", 1)
        transformed = network.classify(cells)
    assert not torch.equal(direct, transformed)
    torch.testing.assert_close(transformed, direct, atol=1e-5, rtol=1e-4)


def test_scores_with_gradients_are_those_without():
    network = lively(16)
    cells = torch.rand(2, 128, 4, 3, 5)
    with_gradients = network.classify(cells)
    assert with_gradients.requires_grad
    with torch.inference_mode():
        without = network.classify(cells)
    torch.testing.assert_close(with_gradients.detach(), without, rtol=1e-5, atol=1e-4)


def test_gradients_of_dense_scores_are_those_of_the_documents_layers():
    """Training skips work that changes nothing; here the same is done layer by layer."""
    network = lively(16)
    tile = torch.randn(1, 1, 40, 32, 32)
    weight = torch.randn(1, 3, 2, 1, 1)
    network.train()
    network.classifier[2].p = 0.0

    (network.classify(network.embed(tile)) * weight).sum().backward()
    dense = [p.grad.clone() for p in network.parameters()]
    network.zero_grad()
    cells = network.features(tile)[:, :, 1:-1, 1:-1, 1:-1]
    windows = torch.cat([cells[:, :, z : z + 2] for z in range(2)])
    (network.classifier(windows.flatten(1)) * weight[0, :, :, 0, 0].T).sum().backward()

    for (name, parameter), gradient in zip(network.named_parameters(), dense, strict=True):
        size = parameter.grad.abs().max().item()
        torch.testing.assert_close(gradient, parameter.grad, rtol=1e-3, atol=1e-4 * size + 1e-6, msg=name)


def test_each_position_drops_its_own_hidden_units_in_training():
    network = lively(16).train()
    alike = torch.rand(1, 128, 1, 2, 2).repeat(1, 1, 6, 1, 1)  # the same at all five positions along z
    logits = network.classify(alike)[0, :, :, 0, 0]
    assert logits.shape == (3, 5)
    assert (logits[:, :1] != logits[:, 1:]).any()
    network.eval()
    same = network.classify(alike)[0, :, :, 0, 0]
    torch.testing.assert_close(same, same[:, :1].expand(3, 5))
