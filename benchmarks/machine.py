"""The machine that a measurement was made on."""

from __future__ import annotations

import os
import platform
import resource
import sys
from dataclasses import dataclass, field
from importlib.metadata import version
from pathlib import Path

import torch

from tomopick.inference.engine import chosen_dtype

__all__ = ["Machine", "peak_memory_gb"]

PACKAGES = ("tomopick", "torch", "pytorch-lightning", "monai", "numpy", "scipy", "copick", "zarr")


def peak_memory_gb() -> float:
    """The most memory that this process has held so far (resident set), in GB of 10^9 bytes."""
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak * (1 if sys.platform == "darwin" else 1024) / 1e9


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    return next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "unknown")


def _cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _memory_gb() -> float:
    return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") / 1e9


@dataclass(frozen=True)
class Machine:
    """This machine and its software.

    Attributes:
        vectors: the widest that PyTorch uses here, such as AVX2 or AVX512.
        auto: the number format that "auto" means here.
        cores: those that this process may use.
        threads: PyTorch's.
        memory_gb: of 10^9 bytes.
    """

    processor: str = field(default_factory=_processor)
    vectors: str = field(default_factory=torch.backends.cpu.get_cpu_capability)
    auto: str = field(default_factory=lambda: chosen_dtype("auto", "cpu"))
    cores: int = field(default_factory=_cores)
    threads: int = field(default_factory=torch.get_num_threads)
    memory_gb: float = field(default_factory=_memory_gb)
    system: str = field(default_factory=platform.platform)
    python: str = field(default_factory=platform.python_version)
    versions: dict[str, str] = field(default_factory=lambda: {name: version(name) for name in PACKAGES})

    def lines(self) -> list[str]:
        """The machine as Markdown list items."""
        versions = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        cores = f"{self.vectors}, auto is {self.auto}, {self.cores} cores, {self.threads} threads"
        return [
            f"- machine: {self.processor}, {cores}, {self.memory_gb:.1f} GB of memory",
            f"- system: {self.system}, Python {self.python}",
            f"- versions: {versions}",
        ]
