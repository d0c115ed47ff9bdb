"""Memory of a network by layer, in inference and in training: measured, beside what the shapes alone say.

A megabyte (MB) is 10^6 bytes here and a gigabyte 10^9.
"""

from __future__ import annotations

import copy
import json
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import pandas as pd
import torch
from torch import Tensor, nn
from torch.multiprocessing.reductions import StorageWeakRef
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from tomopick.errors import TomopickError

__all__ = ["MemoryReport", "largest_batch", "measure_memory"]

INPUT = "input"
MB = 1e6


@dataclass(frozen=True, eq=False)
class MemoryReport:
    """What one network needs for one batch. All fields that end in ``_mb`` are MB of 10^6 bytes.

    Attributes:
        input_shape: the batch, (B, 1, D, H, W).
        device: where it was measured.
        layers: a row for the input and one for each leaf layer, in order: name, kind, output_shape, parameters (their
            number), parameters_mb, computed_mb (the output, from its shape), inference_mb (measured: the most that
            tensors other than the network's own hold at once while the layer runs) and training_mb (measured: what
            the layer makes and the backward pass needs).
        parameters: their number.
        parameters_mb: the weights.
        buffers_mb: running means and variances, counters.
        gradients_mb: measured after a backward pass.
        optimizer_mb: the state of AdamW, measured after a step.
        average_mb: the moving average of the weights that training keeps.
        activations_mb: what the backward pass needs: the sum of training_mb.
        peak_inference_mb: network and most of all else at once, without gradients.
        peak_training_mb: the same in a whole training step with optimizer state and average.
    """

    input_shape: tuple[int, ...]
    device: str
    layers: pd.DataFrame
    parameters: int
    parameters_mb: float
    buffers_mb: float
    gradients_mb: float
    optimizer_mb: float
    average_mb: float
    activations_mb: float
    peak_inference_mb: float
    peak_training_mb: float

    @property
    def totals(self) -> dict[str, float]:
        """All sums in MB by name, in the order of a table."""
        return {name: value for name, value in vars(self).items() if name.endswith("_mb")}

    @property
    def bars(self) -> pd.DataFrame:
        """The layers as `tomopick.plots.plot_memory` takes them; measured_mb is training_mb."""
        columns = ["name", "parameters_mb", "computed_mb", "training_mb"]
        return self.layers[columns].rename(columns={"training_mb": "measured_mb"})

    def to_json(self) -> str:
        """Everything as JSON: input_shape, device, parameters, totals (MB) and layers (one object for each)."""
        layers = self.layers.to_dict(orient="records")
        what = {"input_shape": self.input_shape, "device": self.device, "bytes_in_a_megabyte": int(MB)}
        return json.dumps({**what, "parameters": self.parameters, "totals": self.totals, "layers": layers}, indent=2)


def measure_memory(network: nn.Module, input_shape: tuple[int, ...], device: str = "cpu") -> MemoryReport:
    """Run a copy of the network forwards, then through a whole training step, and follow each tensor that is made.

    Tensors are counted by their storages while these are alive, so what layers share in place is counted once, for
    the layer that made it. What kernels need inside, such as reordered copies in convolutions, is not a tensor and
    is not seen on the CPU; on CUDA the peaks are those of PyTorch's allocator, which sees it (not tested where there
    is no such device).

    Args:
        network: takes a batch of windows; it stays as it is.
        input_shape: the batch, (B, 1, D, H, W).
        device: as PyTorch names it.

    Raises:
        TomopickError: the network cannot run on such a batch there; it may be too large for the device.
    """
    if len(input_shape) != 5 or min(input_shape) < 1:
        raise TomopickError(f"input shape is {tuple(input_shape)}; give five positive numbers (B, 1, D, H, W)")
    try:
        subject = copy.deepcopy(network).to(device).requires_grad_(True)
        inference = _infer(subject, input_shape, device)
        training, optimizer = _train(subject, input_shape, device)
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch was built without the device
        first = str(error).splitlines()[0]
        raise TomopickError(f"the network cannot run on a batch {tuple(input_shape)} on {device}: {first}") from error
    parameters = _bytes(subject.parameters())
    buffers = _bytes(subject.buffers())
    gradients = _bytes(p.grad for p in subject.parameters() if p.grad is not None)
    state = _bytes(t for values in optimizer.state.values() for t in values.values() if isinstance(t, Tensor))
    resident = parameters + buffers
    return MemoryReport(
        input_shape=tuple(input_shape),
        device=device,
        layers=_table(subject, inference, training),
        parameters=sum(p.numel() for p in subject.parameters()),
        parameters_mb=parameters / MB,
        buffers_mb=buffers / MB,
        gradients_mb=gradients / MB,
        optimizer_mb=state / MB,
        average_mb=resident / MB,
        activations_mb=sum(training.kept.values()) / MB,
        peak_inference_mb=(resident + max(inference.peaks.values())) / MB,
        peak_training_mb=(2 * resident + state + max(training.peaks.values())) / MB,
    )


def largest_batch(report: MemoryReport, gigabytes: float) -> int:
    """Windows that a device of so many gigabytes (10^9 bytes) can train on at once; 0 where not even one fits.

    Computed: what does not grow with the batch (weights, gradients, AdamW's state, moving average) is taken off, and
    the rest divided by what each window of the report's batch adds to the peak of a training step. Nothing is set
    aside for the driver's own needs.
    """
    fixed = report.parameters_mb + report.buffers_mb + report.gradients_mb + report.optimizer_mb + report.average_mb
    each = max(report.peak_training_mb - fixed, report.activations_mb) / report.input_shape[0]
    return max(0, int((gigabytes * 1000 - fixed) / each))


class _Meter(TorchDispatchMode):  # type: ignore[no-untyped-call]
    """Follows the bytes of the tensors that operations make while it is active, and which layer made them.

    Attributes:
        layer: what runs now; operations between layers count for the layer before them.
        peaks: most bytes alive at once, by layer.
        kept: bytes alive at the end of the network's forward pass, by the layer that made them.
        shapes: output shape by layer.
        computed: bytes of the output from its shape, by layer.
    """

    def __init__(self, device: torch.device) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.device = device
        self.layer = INPUT
        self.made: dict[StorageWeakRef, tuple[str, int]] = {}
        self.peaks: dict[str, int] = {}
        self.kept: dict[str, int] = {}
        self.shapes: dict[str, tuple[int, ...]] = {}
        self.computed: dict[str, int] = {}
        self.before = 0
        if device.type == "cuda":
            torch.cuda.reset_peak_memory_stats(device)
            self.before = torch.cuda.memory_allocated(device)

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        given = _storages((args, kwargs))
        for ref, size in _storages(result).items():
            if ref not in given:
                self.made[ref] = (self.layer, size)
        self._count()
        return result

    def _count(self) -> None:
        self.made = {ref: entry for ref, entry in self.made.items() if not ref.expired()}  # type: ignore[no-untyped-call]
        alive = sum(size for _, size in self.made.values())
        if self.device.type == "cuda":
            alive = torch.cuda.max_memory_allocated(self.device) - self.before
            torch.cuda.reset_peak_memory_stats(self.device)
        self.peaks[self.layer] = max(self.peaks.get(self.layer, 0), alive)

    def enter(self, layer: str) -> None:
        """From here on this layer runs, with what is alive now."""
        self._count()
        self.layer = layer
        self._count()

    def note_output(self, layer: str, output: Any) -> None:
        """Note what a layer gives; only tensors have a shape."""
        if isinstance(output, Tensor):
            self.shapes[layer] = tuple(output.shape)
            self.computed[layer] = _bytes([output])

    def finish_forward(self, *_: Any) -> None:
        """Note what is alive; from here on no layer runs."""
        self._count()
        for layer, size in self.made.values():
            self.kept[layer] = self.kept.get(layer, 0) + size
        self.layer = "backward and step"


@contextmanager
def _following(network: nn.Module, meter: _Meter) -> Iterator[None]:
    """Tell the meter which leaf layer runs, and count while in the block."""

    def enter(name: str) -> Any:
        return lambda *_: meter.enter(name)

    def leave(name: str) -> Any:
        return lambda _, __, output: meter.note_output(name, output)

    hooks = [network.register_forward_hook(meter.finish_forward)]
    for name, layer in _leaves(network):
        hooks += [layer.register_forward_pre_hook(enter(name)), layer.register_forward_hook(leave(name))]
    try:
        with meter:
            yield
    finally:
        for hook in hooks:
            hook.remove()


def _infer(network: nn.Module, input_shape: tuple[int, ...], device: str) -> _Meter:
    meter = _Meter(torch.device(device))
    # not inference_mode, in which an operation is seen only as a whole, without the tensors it makes on its way
    with torch.no_grad(), _following(network.eval(), meter):
        windows = torch.zeros(input_shape, device=device)
        meter.note_output(INPUT, windows)
        network(windows)
    return meter


def _train(network: nn.Module, input_shape: tuple[int, ...], device: str) -> tuple[_Meter, torch.optim.AdamW]:
    """Two steps, of which the second is measured: then the optimizer has its state, as in any but the first."""
    optimizer = torch.optim.AdamW(network.train().parameters(), fused=True)

    def step() -> None:
        optimizer.zero_grad()
        network(torch.zeros(input_shape, device=device)).sum().backward()
        optimizer.step()

    step()
    optimizer.zero_grad()
    meter = _Meter(torch.device(device))
    with _following(network, meter):
        step()
    return meter, optimizer


def _table(network: nn.Module, inference: _Meter, training: _Meter) -> pd.DataFrame:
    rows = []
    leaves: list[tuple[str, nn.Module | None]] = [(INPUT, None), *_leaves(network)]
    for name, layer in leaves:
        weights = list(layer.parameters()) if layer is not None else []
        rows.append(
            {
                "name": name,
                "kind": type(layer).__name__ if layer is not None else "Input",
                "output_shape": inference.shapes.get(name, ()),
                "parameters": sum(p.numel() for p in weights),
                "parameters_mb": _bytes(weights) / MB,
                "computed_mb": inference.computed.get(name, 0) / MB,
                "inference_mb": inference.peaks.get(name, 0) / MB,
                "training_mb": training.kept.get(name, 0) / MB,
            }
        )
    return pd.DataFrame(rows)


def _leaves(network: nn.Module) -> list[tuple[str, nn.Module]]:
    return [(name, layer) for name, layer in network.named_modules() if not list(layer.children())]


def _bytes(tensors: Iterable[Tensor]) -> int:
    return sum(t.numel() * t.element_size() for t in tensors)


def _storages(values: Any) -> dict[StorageWeakRef, int]:
    """The storages in a nest of values, with their bytes."""
    found = [t.untyped_storage() for t in tree_leaves(values) if isinstance(t, Tensor)]
    return {StorageWeakRef(s): s.nbytes() for s in found}  # type: ignore[no-untyped-call]
