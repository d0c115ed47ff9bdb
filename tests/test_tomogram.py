"""Reading regions of a tomogram: as numpy would, mirrored beyond its borders, and no more than is needed."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tomopick.errors import DataError
from tomopick.tomogram import Tomogram

VOLUME = np.random.default_rng(0).normal(size=(5, 6, 7)).astype(np.float32)
PAD = 30
PADDED = np.pad(VOLUME, PAD, mode="reflect")


class Watched:
    """An array that remembers which regions were read."""

    def __init__(self, values: np.ndarray) -> None:
        self.values, self.read = values, []
        self.shape, self.dtype = values.shape, values.dtype

    def __getitem__(self, region: Any) -> np.ndarray:
        self.read.append(tuple((s.start, s.stop) for s in region))
        return self.values[region]


@given(start=st.tuples(*[st.integers(-15, 15)] * 3), size=st.tuples(*[st.integers(1, 15)] * 3))
def test_a_region_is_that_of_the_mirrored_volume(start, size):
    stop = tuple(a + n for a, n in zip(start, size, strict=True))
    expected = PADDED[tuple(slice(PAD + a, PAD + b) for a, b in zip(start, stop, strict=True))]
    assert np.array_equal(Tomogram(VOLUME, 10.0, "t").read(start, stop), expected)


def test_only_what_is_needed_is_read():
    array = Watched(VOLUME)
    Tomogram(array, 10.0, "t").read((-2, 2, 5), (1, 4, 9))
    assert array.read == [((0, 3), (2, 4), (4, 7))]


@pytest.mark.parametrize("dtype", [np.int8, np.uint16, np.float16, ">f4", np.float64])
def test_densities_are_read_as_float32(dtype):
    values = np.arange(60).reshape(3, 4, 5)
    tomogram = Tomogram(values.astype(dtype), 10.0, "t")
    for part in (tomogram.read((0, 0, 0), (3, 4, 5)), tomogram[:, :, :]):
        assert part.dtype == np.float32
        assert np.array_equal(part, values)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_values_that_are_not_finite_are_told_where_they_are_read(bad):
    values = VOLUME.copy()
    values[4, 4, 4] = bad
    tomogram = Tomogram(values, 10.0, "TS_1")
    assert np.isfinite(tomogram.read((0, 0, 0), (4, 6, 7))).all()
    with pytest.raises(DataError, match=r"'TS_1' holds NaN or infinite values, the first at voxel \[4, 4, 4\] \(zyx\)"):
        tomogram.read((0, 0, 0), (5, 6, 7))


def test_complex_volumes_are_refused():
    with pytest.raises(DataError, match="complex"):
        Tomogram(VOLUME.astype(np.complex64), 10.0, "t").read((0, 0, 0), (1, 1, 1))


@pytest.mark.parametrize(
    ("array", "spacing", "said"),
    [
        (np.zeros((4, 4)), 10.0, "2 dimensions"),
        (np.zeros((4, 0, 4)), 10.0, "empty"),
        (VOLUME, 0.0, "voxel spacing of 0.0 A"),
        (VOLUME, float("nan"), "voxel spacing of nan A"),
    ],
)
def test_what_is_no_tomogram_is_refused(array, spacing, said):
    with pytest.raises(DataError, match=said):
        Tomogram(array, spacing, "t")
