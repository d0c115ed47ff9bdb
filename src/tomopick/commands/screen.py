"""What commands say to the terminal: notices, progress, tables."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn
from rich.table import Table

from tomopick.interrupts import stop_if_heard

__all__ = ["notice", "out", "progress_bar", "table"]

WIDE = 500
EVERY = 30.0  # seconds between lines that tell how far work is, where no bar can

out = Console()
_errors = Console(stderr=True)


def notice(text: str) -> None:
    """Something the user should know, on standard error."""
    _errors.print(f"notice: {text}", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def progress_bar(label: str) -> Iterator[Callable[[float], None]]:
    """A bar on standard error; give the function the share that is done, 0 to 1.

    Where that is no terminal, as in the log of a cluster's job, a line every half minute. The function ends the work
    where an interrupt was swallowed, so call it between steps.
    """
    if not _errors.is_interactive:
        yield _lines(label)
        return
    columns = (TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"))
    with Progress(*columns, TimeElapsedColumn(), TimeRemainingColumn(), console=_errors, transient=True) as bar:
        task = bar.add_task(label, total=1.0)

        def show(share: float) -> None:
            stop_if_heard()
            bar.update(task, completed=share)

        yield show


def _lines(label: str) -> Callable[[float], None]:
    """What prints, now and then, the share that is done and the time that the rest takes at this pace."""
    started = told = time.monotonic()

    def tell(share: float) -> None:
        nonlocal told
        stop_if_heard()
        now = time.monotonic()
        if 0 < share < 1 and now - told >= EVERY:
            told = now
            left = (now - started) * (1 - share) / share
            rest = f"{left:.0f} s" if left < 90 else f"{left / 60:.0f} minutes"
            _errors.print(
                f"{label}: {100 * share:.0f} %, about {rest} left", markup=False, highlight=False, soft_wrap=True
            )

    return tell


def table(title: str, columns: list[str], rows: list[list[str]]) -> None:
    """A table on standard output: the first column text, the others numbers."""
    drawn = Table(box=SIMPLE_HEAD, pad_edge=False, padding=0)  # ten columns fit into a terminal of 80 characters
    for i, column in enumerate(columns):
        drawn.add_column(column, justify="left" if i == 0 else "right", no_wrap=i == 0)
    for row in rows:
        drawn.add_row(*row)
    out.print(title, style="bold", highlight=False, markup=False, soft_wrap=True)
    # a file or a pipe has no width: nothing is cut there
    (out if out.is_terminal else Console(width=WIDE)).print(drawn)
