"""Tiles cover each cell of a grid once, whatever its size."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tomopick.inference.tiling import tiles


@given(counts=st.tuples(*[st.integers(1, 20)] * 3), edge=st.integers(1, 45))
def test_each_cell_stands_in_one_tile(counts, edge):
    covered = np.zeros(counts, dtype=int)
    for tile in tiles(counts, edge):
        covered[tile.slices] += 1
        assert max(b - a for a, b in zip(tile.start, tile.stop, strict=True)) <= edge
    assert (covered == 1).all()


@given(counts=st.tuples(*[st.integers(1, 20)] * 3), edge=st.integers(1, 20))
def test_no_more_tiles_than_needed_and_none_much_smaller(counts, edge):
    found = list(tiles(counts, edge))
    assert len(found) == np.prod([-(-n // edge) for n in counts])
    sizes = np.array([np.subtract(t.stop, t.start) for t in found])
    assert (sizes.max(axis=0) - sizes.min(axis=0) <= 1).all()
