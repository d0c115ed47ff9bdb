"""What holds for all tests."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from matplotlib.figure import Figure

# pytest-xdist runs a process on each core: more threads than that wait for one another
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

# a busy machine is slow, not wrong: nothing here is timed
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


@pytest.fixture
def drawn(monkeypatch: pytest.MonkeyPatch) -> list[Figure]:
    """The figures drawn so far; they are written as usual, too."""
    from tomopick import plots, slices

    figures: list[Figure] = []
    write = plots.save_figure

    def keep(figure, target):
        figures.append(figure)
        write(figure, target)

    for module in (plots, slices):
        monkeypatch.setattr(module, "save_figure", keep)
    return figures
