"""Iterators abreast: all that they give, no further ahead than one, and the first error."""

from __future__ import annotations

from collections.abc import Iterator
from threading import Barrier, get_ident

import pytest

from tomopick.inference.abreast import abreast


def test_all_is_given_in_the_order_of_each():
    found = list(abreast([iter(range(start, 60, 3)) for start in (1, 2, 3)]))
    assert sorted(found) == list(range(1, 60))
    for rest in (0, 1, 2):
        assert (mine := [n for n in found if n % 3 == rest]) == sorted(mine)


def test_they_work_at_the_same_time_each_in_a_thread():
    together = Barrier(2, timeout=30)

    def meeting() -> Iterator[int]:
        together.wait()  # which one alone would do in vain
        yield get_ident()

    assert len(set(abreast([meeting(), meeting()]))) == 2


def test_none_goes_further_than_one_ahead():
    begun: list[int] = []

    def slow() -> Iterator[int]:
        for number in range(1, 9):
            begun.append(number)
            yield number

    for taken in abreast([slow()]):
        assert len(begun) <= taken + 1


def test_an_error_of_one_ends_all():
    def failing() -> Iterator[int]:
        yield 1
        raise RuntimeError("CUDA out of memory")

    def endless() -> Iterator[int]:
        while True:
            yield 1

    with pytest.raises(RuntimeError, match="memory"):
        list(abreast([failing(), endless()]))
