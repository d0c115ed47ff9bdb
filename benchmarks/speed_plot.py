"""Pictures of what `speed.py` measures: figures over their aims, and where networks stand under the machine's roofs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from matplotlib.figure import Figure

from tomopick.plots import save_figure

__all__ = ["Measured", "Roofs", "plot_ratios", "plot_roofs"]


class Measured(Protocol):
    """A figure and its aim."""

    @property
    def what(self) -> str: ...
    @property
    def device(self) -> str: ...
    @property
    def value(self) -> float: ...
    @property
    def aim(self) -> float: ...
    @property
    def below(self) -> bool: ...


@dataclass(frozen=True)
class Roofs:
    """What a device can do, measured: operations a second of a matrix product, and bytes a second of a copy.

    Attributes:
        done: by name, operations for each byte that a network's layers read and write, and operations a second.
    """

    device: str
    operations: float
    bytes: float
    done: Mapping[str, tuple[float, float]]


def plot_ratios(rows: Sequence[Measured], path: Path) -> None:
    """How many times better than its aim each figure is, on a logarithmic axis."""
    figure = Figure(figsize=(9, 0.8 + 0.36 * len(rows)), layout="constrained")
    axes = figure.subplots()
    better = [row.aim / row.value if row.below else row.value / row.aim for row in rows]
    colors = ["#2a7f62" if b >= 1 else "#c0392b" for b in better]
    axes.barh(range(len(rows)), better, color=colors)
    axes.set_yticks(range(len(rows)), [f"{row.what} ({row.device})" for row in rows], fontsize=8)
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.axvline(1, color="black", linewidth=1)
    axes.set_xlabel("times as good as the aim (right of the line: reached)")
    save_figure(figure, path)


def plot_roofs(roofs: Sequence[Roofs], path: Path) -> None:
    """The roofline picture (Williams et al. 2009): rates over operations for each byte, under what the device can."""
    figure = Figure(figsize=(6 * len(roofs), 4.2), layout="constrained")
    for axes, one in zip(np.atleast_1d(figure.subplots(1, len(roofs))), roofs, strict=True):
        intensity = np.geomspace(0.5, 2000, 200)
        axes.loglog(intensity, np.minimum(one.operations, intensity * one.bytes) / 1e9, color="black")
        for name, (at, rate) in one.done.items():
            axes.plot([at], [rate / 1e9], "o", label=name)
        axes.set_title(f"{one.device}: {one.operations / 1e9:.0f} GFLOP/s, {one.bytes / 1e9:.0f} GB/s", fontsize=10)
        axes.set_xlabel("operations for each byte that layers read and write")
        axes.set_ylabel("GFLOP/s")
        axes.legend(fontsize=8)
    save_figure(figure, path)
