"""Independent pieces of work in several processes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context, parent_process
from multiprocessing.sharedctypes import Synchronized
from threading import Thread
from typing import Any, TypeVar

import torch

from tomopick.errors import DataError
from tomopick.interrupts import remember

__all__ = ["end_with_parent", "in_order", "place", "share_of_threads"]

T = TypeVar("T")

_place = 0


def in_order(function: Callable[..., T], tasks: Iterable[tuple[Any, ...]], jobs: int, threads: int = 1) -> Iterator[T]:
    """What the function returns for the arguments of each task, in the order of the tasks.

    With more than one job, so many processes work, each with so many threads; no more results are held than processes
    and one. An interrupt ends what they do where they call `tomopick.interrupts.stop_if_heard`. The function, its
    arguments and results must be such that pickle takes them, and a script that comes here must guard its main part
    with ``if __name__ == "__main__":``, since each process reads it anew.

    Raises:
        DataError: a process ended before its work was done.
    """
    if jobs == 1:
        for task in tasks:
            yield function(*task)
        return
    context = get_context("spawn")
    pool = ProcessPoolExecutor(jobs, context, initializer=_begin, initargs=(context.Value("i", 0), threads))
    waiting: deque[Future[T]] = deque()
    try:
        for task in tasks:
            waiting.append(pool.submit(function, *task))
            if len(waiting) > jobs:
                yield waiting.popleft().result()
        while waiting:
            yield waiting.popleft().result()
    except BrokenProcessPool as error:
        raise DataError(f"one of {jobs} processes ended early, out of memory perhaps; ask for fewer") from error
    finally:
        pool.shutdown(cancel_futures=True)


def place() -> int:
    """The number, from 0, of the process that asks, among those that work side by side."""
    return _place


def share_of_threads(jobs: int) -> int:
    """The threads of each of so many processes that share this one's, at least one."""
    return max(1, torch.get_num_threads() // jobs)


def end_with_parent() -> None:
    """Let this process end when the one that started it does, which may have been killed and could not tell."""
    parent = parent_process()

    def follow() -> None:
        if parent is not None:
            parent.join()
            os._exit(1)

    Thread(target=follow, daemon=True).start()


def _begin(begun: Synchronized[int], threads: int) -> None:
    """A process leaves Ctrl-C to the one that started it, ends with it, and does not take the others' cores."""
    global _place
    remember()
    end_with_parent()
    torch.set_num_threads(threads)
    with begun.get_lock():
        _place = begun.value
        begun.value += 1
