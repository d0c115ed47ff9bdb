"""Which device to compute on, and in which number format."""

from __future__ import annotations

from pathlib import Path

import torch

from tomopick.errors import TomopickError
from tomopick.inference.passes import DTYPES

__all__ = [
    "chosen_device",
    "chosen_dtype",
    "computes_bf16",
    "device_in_turn",
    "devices_together",
    "fast_dtype",
    "sharing",
]


def chosen_device(name: str, backend: str = "torch") -> str:
    """The device of this name; for "auto" a CUDA device where there is one and the backend uses it, else the CPU.

    Raises:
        TomopickError: there is no such device.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return "cuda" if there["cuda"] and backend in ("torch", "auto") else "cpu"
    if name not in there:
        raise TomopickError(f"unknown device '{name}'; choose cpu, cuda, mps or auto")
    if not there[name]:
        raise TomopickError(f"this machine, or its PyTorch {torch.__version__}, has no {name}; use --device cpu")
    return name


def sharing(device: str) -> int:
    """How many devices a name stands for: all of CUDA's, else one."""
    return max(1, torch.cuda.device_count()) if device == "cuda" else 1


def device_in_turn(device: str, place: int) -> str:
    """The device for one of several processes, by its number from 0: CUDA's in turns, else the same for all."""
    return f"cuda:{place % sharing(device)}" if device == "cuda" else device


def devices_together(device: str) -> tuple[str, ...]:
    """All devices that a name stands for."""
    return tuple(device_in_turn(device, place) for place in range(sharing(device)))


def fast_dtype(device: str) -> str:
    """The number format that "auto" means on a device: "bf16" where its arithmetic is fast, else "fp16" or "fp32"."""
    if device != "cpu" and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "fp32"
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"


def computes_bf16() -> bool:
    """Whether the processor can compute convolutions of bfloat16 numbers, however slowly."""
    there = torch.backends.mkldnn.is_available()  # type: ignore[no-untyped-call]
    return not there or bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())


def chosen_dtype(dtype: str, device: str) -> str:
    """The number format, "auto" being the fastest on the device.

    Raises:
        TomopickError: there is no such format, or the processor cannot compute in it.
    """
    if dtype == "auto":
        return fast_dtype(device)
    if dtype not in DTYPES:
        raise TomopickError(f"unknown dtype '{dtype}'; choose {', '.join(DTYPES)} or auto")
    if dtype == "bf16" and device == "cpu" and not computes_bf16():
        raise TomopickError("this processor cannot compute in bf16; choose fp32 or auto")
    return dtype
