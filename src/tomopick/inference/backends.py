"""What computes a network: PyTorch, or a library that it is converted for; and which of them is fastest here."""

from __future__ import annotations

import json
import math
import platform
import time
from contextlib import suppress
from dataclasses import dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
import torch

from tomopick.atomic import replacing, writing_into
from tomopick.cache import cache_folder
from tomopick.data.normalise import Scaling
from tomopick.errors import DataError, TomopickError
from tomopick.inference.device import chosen_dtype
from tomopick.inference.passes import Pass, Triple, pieces, streams, tiled_voxels
from tomopick.models.converted import converted
from tomopick.models.exported import FORMATS, Exported
from tomopick.models.fused import fused
from tomopick.models.modelfile import Model
from tomopick.models.registry import DenseNetwork
from tomopick.tomogram import Tomogram

__all__ = ["BACKENDS", "USUAL", "Choice", "check_backend", "choices_file", "fastest", "model_in", "precision_of"]

BACKENDS = ("torch", *FORMATS)
USUAL: Triple = (184, 630, 630)  # voxels of the tomogram for which backends are compared
PIECE: Triple = (96, 160, 160)  # voxels of what is really computed for that
WARM: Triple = (16, 32, 32)  # and of what is computed before, for a first time takes longer
ROOM = 550_000_000  # bytes that slabs may take meanwhile, as in `tomopick pick`
WORTH = 1.1  # times as fast as PyTorch, which takes less memory, another must be


@dataclass(frozen=True)
class Choice:
    """A backend, and why.

    Attributes:
        backend: its name.
        seconds: that a usual tomogram would take, by backend; nothing where they need not be compared.
        fresh: whether they were compared just now.
    """

    backend: str
    seconds: dict[str, float] = field(default_factory=dict)
    fresh: bool = False


def check_backend(backend: str, device: str, dtype: str) -> None:
    """Whether there is this backend, and whether it goes with a device and number format ("auto" goes with all).

    Raises:
        TomopickError: it is unknown, or does not.
    """
    if backend not in (*BACKENDS, "auto"):
        raise TomopickError(f"unknown backend '{backend}'; choose {', '.join(BACKENDS)} or auto")
    if backend not in FORMATS:
        return
    if device != "cpu":
        raise TomopickError(f"the backend {backend} computes on the CPU, not on {device}; use --device cpu")
    if dtype not in ("fp32", "auto"):
        raise TomopickError(f"the backend {backend} computes in fp32, not in {dtype}; use --dtype fp32")


def model_in(model: Model, backend: str, *, device: str = "cpu", dtype: str = "auto") -> Model:
    """The model with its network in a backend, where it stays; "auto" is the `fastest`.

    Raises:
        TomopickError: what `check_backend` raises, or the backend is not installed.
    """
    check_backend(backend, device, dtype)
    if isinstance(model.network, Exported):
        return model
    if backend == "auto":
        backend = fastest(model, device, dtype).backend
    return model if backend == "torch" else converted(model, backend)


def precision_of(model: Model, dtype: str) -> str:
    """The number format in which a model's network computes where PyTorch would in this one."""
    return "fp32" if isinstance(model.network, Exported) else dtype


def choices_file() -> Path:
    """Where `fastest` keeps what it chose; without it, backends are compared anew."""
    return cache_folder() / "backends.json"


def fastest(model: Model, device: str = "cpu", dtype: str = "auto") -> Choice:
    """The backend that takes least time for a usual tomogram on this machine, of those that are installed.

    They are compared once, on noise, and the choice is kept in the user's cache folder for this processor, its
    threads, the versions of the libraries, and networks of this kind. PyTorch it is without comparison on a GPU, in
    another number format than float32, and for networks that do not pad, which tomopick computes in ways of its own.
    """
    alone = device != "cpu" or dtype not in ("fp32", "auto") or not model.network.context
    if alone or isinstance(model.network, Exported):
        return Choice("torch")
    dtype = chosen_dtype(dtype, device)
    path, key = choices_file(), _key(model, dtype)
    kept = _kept(path)
    if key in kept:
        return kept[key]
    seconds = _compared(model, dtype)
    first = min(seconds, key=lambda name: seconds[name] * (1 if name == "torch" else WORTH))
    with suppress(DataError):  # where it cannot be kept they are compared anew the next time
        _keep(path, kept | {key: Choice(first, seconds)})
    return Choice(first, seconds, fresh=True)


def _key(model: Model, dtype: str) -> str:
    libraries = {name: _version(name) for name in ("torch", "openvino", "onnxruntime", "onnx", "onnxscript")}
    network = [model.spec.architecture, model.spec.arguments]
    return json.dumps([_processor(), torch.get_num_threads(), libraries, network, dtype], sort_keys=True)


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _processor() -> str:
    with suppress(OSError):
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def _kept(path: Path) -> dict[str, Choice]:
    """The choices in a file; none where it is not there, or not what was written."""
    try:
        stored = json.loads(path.read_text())
        return {str(key): _choice(one["backend"], one["seconds"]) for key, one in stored.items()}
    except (OSError, AttributeError, KeyError, TypeError, ValueError):
        return {}


def _choice(backend: str, seconds: dict[str, float]) -> Choice:
    if backend not in BACKENDS:
        raise ValueError(backend)
    return Choice(backend, {str(name): float(time) for name, time in seconds.items()})


def _keep(path: Path, choices: dict[str, Choice]) -> None:
    stored = {key: {"backend": one.backend, "seconds": one.seconds} for key, one in choices.items()}
    with writing_into(path.parent), replacing(path) as temporary:
        temporary.write_text(json.dumps(stored, indent=1))


def _compared(model: Model, dtype: str) -> dict[str, float]:
    """Seconds for a usual tomogram, by backend; those that cannot be used here are left out."""
    seconds = {}
    for backend in BACKENDS:
        with suppress(TomopickError):
            network = fused(model.network.to("cpu")) if backend == "torch" else converted(model, backend).network
            numbers = dtype if backend == "torch" else "fp32"
            _timed(network, WARM, numbers)
            taken = min(_timed(network, PIECE, numbers) for _ in range(2))  # the better one, for others compute, too
            seconds[backend] = round(taken * _work(network, USUAL) / _work(network, PIECE), 2)
    return seconds


def _work(network: DenseNetwork, shape: Triple) -> int:
    """Voxels that a network is given for a tomogram."""
    return math.prod(shape) if streams(network) else tiled_voxels(network, _counts(network, shape))


def _counts(network: DenseNetwork, shape: Triple) -> Triple:
    z, y, x = (-(-n // network.stride) for n in shape)
    return z, y, x


def _timed(network: DenseNetwork, shape: Triple, dtype: str) -> float:
    """Seconds that a network takes for noise."""
    noise = Tomogram(np.random.default_rng(0).standard_normal(shape, np.float32), 10.0, "noise")
    one = Pass(
        network, noise, Scaling(0.0, 1.0, 3.0), torch.device("cpu"), dtype, ROOM, (0, 0, 0), _counts(network, shape)
    )
    started = time.perf_counter()
    for _ in pieces(one):
        pass
    return time.perf_counter() - started
