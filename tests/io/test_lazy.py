"""Reading ahead gives what was asked for, and unpacks chunks seldom."""

from __future__ import annotations

import pickle
from typing import Any

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from tomopick.io import lazy
from tomopick.io.lazy import ReadAhead, Region

SHAPE, CHUNKS = (18, 63, 63), (25, 25, 25)  # as in the field, a tenth of each
VOLUME = np.arange(18 * 63 * 63).reshape(SHAPE)


class Chunks:
    """A volume in chunks that counts how often it unpacks one."""

    def __init__(self) -> None:
        self.ahead, self.unpacked = ReadAhead(), 0

    def _read(self, region: Region) -> NDArray[Any]:
        spans = [-(-s.stop // n) - s.start // n for s, n in zip(region, CHUNKS, strict=True)]
        self.unpacked += int(np.prod(spans))
        return VOLUME[region]

    def __getitem__(self, region: Region) -> NDArray[Any]:
        return self.ahead.read(region, SHAPE, CHUNKS, self._read)


@st.composite
def regions(draw: st.DrawFn) -> Region:
    ends = [sorted(draw(st.tuples(st.integers(0, n), st.integers(0, n)))) for n in SHAPE]
    z, y, x = (slice(a, b) for a, b in ends)
    return z, y, x


@given(st.lists(regions(), max_size=6), st.integers(1, 10**5))
def test_it_reads_what_is_asked_for(asked: list[Region], most: int) -> None:
    volume, usual = Chunks(), lazy.KEPT
    lazy.KEPT = most
    try:
        for region in asked:
            np.testing.assert_array_equal(volume[region], VOLUME[region])
    finally:
        lazy.KEPT = usual


def test_slabs_in_order_unpack_each_chunk_twice_at_most() -> None:
    volume = Chunks()
    for start in range(0, 63, 2):  # 32 slabs that would unpack three chunks each, or six
        volume[slice(0, 18), slice(start, min(start + 2, 63)), slice(0, 63)]
    assert volume.unpacked <= 2 * 9


def test_what_is_read_ahead_is_bounded(monkeypatch: Any) -> None:
    volume = Chunks()
    monkeypatch.setattr(lazy, "KEPT", 18 * 63 * 5)
    volume[slice(0, 18), slice(0, 2), slice(0, 63)]
    assert volume.unpacked == 3
    volume[slice(0, 18), slice(3, 5), slice(0, 63)]
    assert volume.unpacked == 3
    volume[slice(0, 18), slice(4, 6), slice(0, 63)]
    assert volume.unpacked == 6


def test_changing_what_was_read_changes_nothing_else() -> None:
    volume, region = Chunks(), (slice(0, 1), slice(0, 63), slice(0, 63))
    volume[region][:] = -1
    np.testing.assert_array_equal(volume[region], VOLUME[region])


def test_a_copy_for_another_process_takes_nothing_along() -> None:
    volume = Chunks()
    volume[slice(0, 1), slice(0, 63), slice(0, 63)]
    assert len(pickle.dumps(volume)) < 1000
