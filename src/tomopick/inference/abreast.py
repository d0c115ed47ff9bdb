"""Several devices at work on one tomogram, each in a thread of its own."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, ThreadPoolExecutor, wait
from typing import TypeVar

__all__ = ["abreast"]

Made = TypeVar("Made")


def abreast(each: Sequence[Iterator[Made]]) -> Iterator[Made]:
    """What several iterators give, as it comes; each works in a thread, and no further than one ahead of its taker.

    An exception of one of them ends all, once each has finished what it is at.
    """
    with ThreadPoolExecutor(len(each), thread_name_prefix="device") as pool:
        coming = {pool.submit(next, one, None): one for one in each}
        while coming:
            done, _ = wait(coming, return_when=FIRST_COMPLETED)
            for future in done:
                one, made = coming.pop(future), future.result()
                if made is not None:
                    coming[pool.submit(next, one, None)] = one
                    yield made
