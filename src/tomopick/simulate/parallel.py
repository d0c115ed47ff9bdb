"""Independent pieces of work in several processes."""

from __future__ import annotations

import signal
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from typing import Any, TypeVar

import torch

from tomopick.errors import DataError

__all__ = ["in_order"]

T = TypeVar("T")


def in_order(function: Callable[..., T], tasks: Iterable[tuple[Any, ...]], jobs: int) -> Iterator[T]:
    """What the function returns for the arguments of each task, in the order of the tasks.

    With more than one job, so many processes work, each with one thread; no more results are held than processes and
    one. The function, its arguments and results must be such that pickle takes them, and a script that comes here must
    guard its main part with ``if __name__ == "__main__":``, since each process reads it anew.

    Raises:
        DataError: a process ended before its work was done.
    """
    if jobs == 1:
        for task in tasks:
            yield function(*task)
        return
    pool = ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin)
    waiting: deque[Future[T]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, *task))
            if len(waiting) > jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(f"one of {jobs} processes ended early, out of memory perhaps; give fewer jobs") from error
    finally:
        pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A process leaves Ctrl-C to the one that started it, and does not take the others' cores."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
