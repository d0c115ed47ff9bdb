"""Networks in the formats of other runtimes: ONNX and OpenVINO, written, and run as any other network."""

from __future__ import annotations

import io
import logging
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tomopick.atomic import replacing
from tomopick.errors import TomopickError
from tomopick.models.modelfile import Model
from tomopick.models.registry import DenseNetwork

__all__ = ["FORMATS", "Exported", "export", "exported_network", "remove_exported"]

FORMATS = {"onnx": ".onnx", "openvino": ".xml"}
"""Formats by name, and how their files end."""

EXTRA = "install the extra: pip install 'tomopick[export]'"
EXAMPLE = 64  # voxels along the edge of the tile, beside the halo, that export traces the network with
Floats = NDArray[np.float32]


class _Dense(nn.Module):
    """A network from scaled densities to logits, as dense inference uses it."""

    def __init__(self, network: Any) -> None:
        super().__init__()
        self.network = network

    def forward(self, tile: Tensor) -> Tensor:
        logits: Tensor = self.network.classify(self.network.embed(tile))
        return logits


@dataclass(frozen=True, eq=False)
class Exported:
    """A network that runs elsewhere, with what dense inference asks of a `DenseNetwork`.

    What it runs goes from densities to logits at once: so a score is one cell of it, and `classify` changes nothing.

    Attributes:
        run: logits (1, C, d, h, w) of densities (1, 1, D, H, W), both contiguous float32.
    """

    run: Callable[[Floats], Floats]
    stride: int
    halo: int
    context: int
    align: int
    reach: int = 1

    @classmethod
    def of(cls, network: DenseNetwork, run: Callable[[Floats], Floats]) -> Self:
        """As this network, whose scores are of several cells, each half as many voxels further in."""
        return cls(run, network.stride, _halo(network), network.context, network.align)

    def to(self, _: object) -> Self:
        """Itself: where it runs is not PyTorch's to say."""
        return self

    def eval(self) -> Self:
        """Itself: it does not train."""
        return self

    def embed(self, tile: Tensor) -> Tensor:
        """The logits."""
        return torch.from_numpy(self.run(np.ascontiguousarray(tile.cpu().numpy())))

    def classify(self, cells: Tensor) -> Tensor:
        """The same."""
        return cells


def _halo(network: DenseNetwork) -> int:
    return network.halo + (network.reach - 1) * network.stride // 2


def export(model: Model, path: Path, form: str) -> Path:
    """Write the network, from scaled densities to logits, in another format.

    Its input is (1, 1, D, H, W) with edges of any multiple of the network's `align` that leaves a score; its output
    (1, classes, d, h, w), background last. What else a model file holds stands beside it as JSON, in ``PATH.json``.

    Returns:
        The file; OpenVINO keeps the weights beside it, as .bin.

    Raises:
        TomopickError: an unknown format, or its library is not installed.
    """
    if form not in FORMATS:
        raise TomopickError(f"unknown format '{form}'; choose {' or '.join(FORMATS)}")
    path = path if path.suffix == FORMATS[form] else path.with_name(path.name + FORMATS[form])
    network = _Dense(model.network).eval()
    edge = EXAMPLE + 2 * _halo(model.network)
    example = torch.zeros((1, 1, edge, edge + model.network.align, edge + 2 * model.network.align))
    path.parent.mkdir(parents=True, exist_ok=True)
    with _quietly(), torch.no_grad():
        if form == "onnx":
            _write_onnx(network, example, path)
        else:
            _write_openvino(network, example, path)
    with replacing(path.with_name(path.name + ".json")) as temporary:
        temporary.write_text(model.spec.model_dump_json(indent=2) + "\n")
    return path


def remove_exported(path: Path) -> None:
    """Remove what `export` wrote: the file that it returned, and those beside it."""
    weights = [path.with_suffix(".bin")] if path.suffix == FORMATS["openvino"] else []
    for one in (path, path.with_name(path.name + ".json"), *weights):
        one.unlink(missing_ok=True)


def _write_onnx(network: nn.Module, example: Tensor, path: Path) -> None:
    try:
        import onnx  # noqa: F401
        import onnxscript  # noqa: F401
    except ImportError as error:
        raise TomopickError(f"ONNX needs onnx and onnxscript; {EXTRA}") from error
    free = torch.export.Dim.AUTO
    program = torch.onnx.export(
        network, (example,), dynamo=True, input_names=["densities"], output_names=["logits"],
        dynamic_shapes={"tile": dict.fromkeys((2, 3, 4), free)},
    )  # fmt: skip
    assert program is not None
    with replacing(path) as temporary:
        program.save(str(temporary), include_initializers=True, external_data=False)


def _write_openvino(network: nn.Module, example: Tensor, path: Path) -> None:
    openvino = _openvino()
    # traced here, for OpenVINO would have PyTorch check its trace, which takes longer than all else
    traced = torch.jit.trace(network, example, check_trace=False)  # type: ignore[no-untyped-call]
    converted = openvino.convert_model(traced, example_input=example)
    converted.reshape([1, 1, -1, -1, -1])
    weights = path.with_suffix(".bin")
    with replacing(weights) as temporary_weights, replacing(path) as temporary:
        openvino.serialize(converted, str(temporary), str(temporary_weights))


def _openvino() -> Any:
    try:
        import openvino
    except ImportError as error:
        raise TomopickError(f"OpenVINO is not installed; {EXTRA}") from error
    return openvino


def exported_network(path: Path, network: DenseNetwork) -> Exported:
    """What `export` wrote of a network, ready to run on as many threads as PyTorch has.

    Raises:
        TomopickError: the library is not installed.
    """
    runs = {FORMATS["onnx"]: _run_onnx, FORMATS["openvino"]: _run_openvino}
    return Exported.of(network, runs[path.suffix](path))


def _run_onnx(path: Path) -> Callable[[Floats], Floats]:
    try:
        import onnxruntime
    except ImportError as error:
        raise TomopickError(f"onnxruntime is not installed; {EXTRA}") from error
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])

    def run(densities: Floats) -> Floats:
        logits: Floats = session.run(None, {"densities": densities})[0]
        return logits

    return run


def _run_openvino(path: Path) -> Callable[[Floats], Floats]:
    openvino = _openvino()
    wishes = {
        "INFERENCE_NUM_THREADS": torch.get_num_threads(),
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_PRECISION_HINT": "f32",
    }
    compiled = openvino.Core().compile_model(str(path), "CPU", wishes)

    def run(densities: Floats) -> Floats:
        return np.array(compiled(densities)[0], dtype=np.float32)

    return run


@contextmanager
def _quietly() -> Iterator[None]:
    """Without what exporters tell of their progress and of operators that networks here do not use."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)
