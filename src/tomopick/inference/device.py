"""Which device to compute on."""

from __future__ import annotations

import torch

from tomopick.errors import TomopickError

__all__ = ["chosen_device"]


def chosen_device(name: str) -> str:
    """The device of this name; for "auto" a CUDA device where there is one, else the CPU.

    Raises:
        TomopickError: there is no such device.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    if name == "auto":
        return "cuda" if there["cuda"] else "cpu"
    if name not in there:
        raise TomopickError(f"unknown device '{name}'; choose cpu, cuda, mps or auto")
    if not there[name]:
        raise TomopickError(f"this machine, or its PyTorch {torch.__version__}, has no {name}; use --device cpu")
    return name
