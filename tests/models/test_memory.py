"""Measured memory against answers counted by hand and against autograd's own account of what it keeps."""

from __future__ import annotations

import json
from io import BytesIO

import pytest
import torch
from torch import nn

from tomopick.errors import TomopickError
from tomopick.models.cryoet3dcnn import CryoET3DCNN
from tomopick.models.memory import MemoryReport, largest_batch, measure_memory
from tomopick.plots import plot_memory


class Skipping(nn.Module):
    """Layers that do not just follow each other: a skip connection, joined channels, a tensor in no layer."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Conv3d(1, 4, 3, padding=1)
        self.act = nn.SiLU()
        self.up = nn.Conv3d(8, 2, 1)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        wide = self.act(self.down(x))
        return self.up(torch.cat([wide, wide.sigmoid()], dim=1)).mean(dim=(2, 3, 4))


def kept_by_autograd(network: nn.Module, input_shape: tuple[int, ...]) -> int:
    """Bytes that the backward pass holds, by the hooks of autograd; the network's own tensors left out."""
    own = {t.untyped_storage().data_ptr() for t in (*network.parameters(), *network.buffers())}
    saved = {}

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        if tensor.untyped_storage().data_ptr() not in own:
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage()  # held, so that none is used twice
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        network.train()(torch.zeros(input_shape)).sum()
    return sum(storage.nbytes() for storage in saved.values())


def column(report: MemoryReport, name: str) -> dict[str, int]:
    """A column in bytes, by layer; layers without any are left out."""
    pairs = zip(report.layers["name"], report.layers[name], strict=True)
    return {layer: round(mb * 1e6) for layer, mb in pairs if mb}


def test_layers_in_training_as_counted_by_hand():
    """What each layer makes and the backward pass needs, from the document's channels and edges."""
    report = measure_memory(CryoET3DCNN(3, batch_norm=False, window=16), (2, 1, 16, 16, 16))
    one = 4 * 2 * 16**3  # a channel of the batch
    assert column(report, "training_mb") == {
        "input": one,
        "features.0": 32 * one,  # and the ReLU writes into it
        "features.2": 32 * one // 8 * 3,  # float32 values and int64 places of the maxima
        "features.3": 64 * one // 8,
        "features.5": 64 * one // 64 * 3,
        "features.6": 128 * one // 64,
        "features.8": 128 * one // 512 * 3,
        "classifier.0": 4 * 2 * 512,
        "classifier.2": 2 * 4 * 2 * 512,  # result and mask of the dropout
        "classifier.3": 4 * 2 * 3,
    }


def test_batch_norm_keeps_a_second_copy_of_each_convolution():
    shape = (2, 1, 16, 16, 16)
    with_norm = column(measure_memory(CryoET3DCNN(3, window=16), shape), "training_mb")
    without = column(measure_memory(CryoET3DCNN(3, batch_norm=False, window=16), shape), "training_mb")
    one = 4 * 2 * 16**3
    assert with_norm["features.0"] == without["features.0"]
    assert with_norm["features.1"] == 32 * one + 2 * 4 * 32  # and the batch's mean and deviation
    assert sum(with_norm.values()) - sum(without.values()) == (32 + 8 + 2) * one + 2 * 4 * (32 + 64 + 128)


def test_layers_in_inference_as_counted_by_hand():
    report = measure_memory(CryoET3DCNN(3, batch_norm=False, window=16), (1, 1, 16, 16, 16))
    one = 4 * 16**3
    found = column(report, "inference_mb")
    assert found["input"] == one
    assert found["features.0"] == found["features.1"] == one + 32 * one
    assert found["features.2"] == one + 32 * one + 4 * one * 3  # its input, values and places of the maxima
    assert found["features.3"] == one + 4 * one + 8 * one
    own = sum(p.numel() for p in CryoET3DCNN(3, batch_norm=False, window=16).parameters()) * 4
    assert report.peak_inference_mb * 1e6 == pytest.approx(own + found["features.2"])


def test_computed_bytes_follow_from_the_output_shapes():
    report = measure_memory(CryoET3DCNN(5, window=16), (3, 1, 16, 16, 16))
    rows = report.layers.set_index("name")
    assert rows.loc["features.4", "output_shape"] == (3, 64, 8, 8, 8)
    assert rows.loc["features.4", "computed_mb"] * 1e6 == pytest.approx(3 * 64 * 8**3 * 4)
    assert rows.loc["classifier.3", "computed_mb"] * 1e6 == pytest.approx(3 * 5 * 4)
    assert rows.loc["features.4", "parameters"] == 64 * 32 * 27 + 64
    assert rows["kind"].tolist()[:5] == ["Input", "Conv3d", "BatchNorm3d", "ReLU", "MaxPool3d"]


@pytest.mark.parametrize(
    ("network", "shape"),
    [
        (CryoET3DCNN(7, window=24), (2, 1, 24, 24, 24)),
        (CryoET3DCNN(7, batch_norm=False, window=16), (3, 1, 16, 16, 16)),
        (Skipping(), (2, 1, 6, 7, 8)),
    ],
)
def test_what_training_keeps_is_what_autograd_keeps(network, shape):
    expected = kept_by_autograd(network, shape)
    output = 4 * network(torch.zeros(shape)).numel()  # held by the caller, for the loss
    report = measure_memory(network, shape)
    assert report.activations_mb * 1e6 == pytest.approx(expected + output)
    assert report.layers["training_mb"].sum() == pytest.approx(report.activations_mb)


def test_a_training_step_holds_gradients_and_two_moments_of_each_weight():
    network = CryoET3DCNN(3, window=16)
    report = measure_memory(network, (1, 1, 16, 16, 16))
    weights = sum(p.numel() for p in network.parameters())
    assert report.parameters == weights
    assert report.parameters_mb * 1e6 == pytest.approx(4 * weights)
    assert report.gradients_mb == report.parameters_mb
    assert report.optimizer_mb == pytest.approx(2 * report.parameters_mb, abs=1e-3)  # and a counter for each tensor
    fixed = sum(report.totals[k] for k in ("parameters_mb", "buffers_mb", "gradients_mb", "optimizer_mb", "average_mb"))
    assert report.peak_training_mb > fixed


def test_a_peak_is_counted_by_hand():
    """Tensors that nothing refers to any more do not count; a chain of operations needs three at once here."""

    class Chain(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))

        def forward(self, x: torch.Tensor) -> torch.Tensor:
            y = x.sigmoid()
            y = y * 2
            y = y + 1
            return (y * self.weight).mean(dim=(1, 2, 3, 4))

    report = measure_memory(Chain(), (1, 1, 10, 10, 10))
    assert report.peak_inference_mb * 1e6 == pytest.approx(4 + 3 * 4000 + 4)  # weight; x, y and y * weight; output
    assert report.activations_mb * 1e6 == pytest.approx(2 * 4000 + 4)  # x, y as the weight's factor, output


def test_the_documents_network_at_its_own_size():
    report = measure_memory(CryoET3DCNN(7, batch_norm=False), (1, 1, 64, 64, 64))
    assert report.parameters == 33_836_103
    assert report.parameters_mb == pytest.approx(135.344412)
    assert report.activations_mb == pytest.approx(61.610012)
    rows = report.layers.set_index("name")
    assert rows.loc["features.0", "computed_mb"] == pytest.approx(33.554432)
    assert rows.loc["classifier.0", "parameters_mb"] == pytest.approx(134.219776)


@pytest.mark.parametrize("batch", [6, 9, 20])
def test_the_largest_batch_is_the_one_whose_measured_step_still_fits(batch):
    network = CryoET3DCNN(3, window=24)
    report = measure_memory(network, (4, 1, 24, 24, 24))
    peak = measure_memory(network, (batch, 1, 24, 24, 24)).peak_training_mb
    assert largest_batch(report, (peak + 0.1) / 1000) == batch
    assert largest_batch(report, (peak - 0.1) / 1000) == batch - 1


def test_a_device_too_small_for_the_weights_takes_no_batch():
    report = measure_memory(CryoET3DCNN(3, window=16), (1, 1, 16, 16, 16))
    assert largest_batch(report, 1e-3) == 0
    assert largest_batch(report, 8) > 1000


@pytest.mark.parametrize("training", [True, False])
def test_the_network_stays_as_it_was(training):
    network = CryoET3DCNN(3, window=16).train(training).requires_grad_(False)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    report = measure_memory(network, (1, 1, 16, 16, 16))
    assert report.gradients_mb > 0
    assert network.training is training
    assert all(torch.equal(before[name], value) for name, value in network.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in network.parameters())
    assert not any(m._forward_hooks or m._forward_pre_hooks for m in network.modules())


def test_the_report_goes_into_json_and_into_the_figure():
    report = measure_memory(CryoET3DCNN(3, window=16), (2, 1, 16, 16, 16))
    read = json.loads(report.to_json())
    assert read["input_shape"] == [2, 1, 16, 16, 16]
    assert read["parameters"] == report.parameters
    assert read["totals"] == report.totals
    assert [row["name"] for row in read["layers"]] == report.layers["name"].tolist()
    assert sum(row["training_mb"] for row in read["layers"]) == pytest.approx(read["totals"]["activations_mb"])
    figure = BytesIO()
    plot_memory(report.bars, figure)
    assert figure.getvalue().startswith(b"\x89PNG")
    assert report.bars["measured_mb"].tolist() == report.layers["training_mb"].tolist()


@pytest.mark.parametrize("shape", [(1, 1, 16, 16), (0, 1, 16, 16, 16), (1, 1, 16, 16, 24), (1, 2, 16, 16, 16)])
def test_a_batch_that_does_not_fit_the_network_is_refused_in_one_line(shape):
    with pytest.raises(TomopickError, match=r"\(\d, \d, 16") as caught:
        measure_memory(CryoET3DCNN(3, window=16), shape)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("device", ["warp", "cuda:99"])
def test_a_device_that_is_not_there_is_refused(device):
    with pytest.raises(TomopickError, match=f"on {device}"):
        measure_memory(CryoET3DCNN(3, window=8), (1, 1, 8, 8, 8), device)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_the_allocator_sees_at_least_the_tensors():
    shape = (2, 1, 32, 32, 32)
    network = CryoET3DCNN(3, window=32)
    on_cpu, on_cuda = measure_memory(network, shape), measure_memory(network, shape, "cuda")
    assert on_cuda.activations_mb == pytest.approx(on_cpu.activations_mb, rel=0.1)
    assert on_cuda.peak_inference_mb >= 0.99 * on_cpu.peak_inference_mb
    assert on_cuda.peak_training_mb >= 0.99 * on_cpu.peak_training_mb
