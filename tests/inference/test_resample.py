"""A tomogram at another voxel spacing: the same place in Angstrom, whole or region by region."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import center_of_mass

from tomopick.geometry import angstrom_from_voxel
from tomopick.inference.resample import at_spacing
from tomopick.tomogram import Tomogram

NOISE = Tomogram(np.random.default_rng(0).normal(size=(21, 26, 31)).astype(np.float32), 10.0, "t", "wbp")


def blob(xyz: np.ndarray, spacing: float, sigma: float = 35.0) -> Tomogram:
    """A Gaussian of this deviation (A) at a place (A) in a tomogram of 400 x 480 x 440 A (zyx)."""
    shape = tuple(int(n / spacing) for n in (400, 480, 440))
    grid = np.stack(np.meshgrid(*[np.arange(n) * spacing for n in shape], indexing="ij"), axis=-1)
    volume = np.exp(-((grid - xyz[::-1]) ** 2).sum(axis=-1) / (2 * sigma**2))
    return Tomogram(volume.astype(np.float32), spacing, "t")


@pytest.mark.parametrize(("source", "target"), [(10.0, 13.48), (10.0, 20.0), (10.0, 7.84), (10.0, 5.0), (13.48, 10.0)])
@pytest.mark.parametrize("place", [(200.0, 213.0, 187.0), (233.3, 180.1, 160.7)])
def test_a_blob_stays_where_it_is_in_angstrom(source, target, place):
    seen = at_spacing(blob(np.array(place), source), target)
    whole = seen[:, :, :]
    assert seen.spacing == target
    centre = angstrom_from_voxel(center_of_mass(whole**2), target)
    assert np.abs(centre - place).max() < 0.1 * target
    peak = angstrom_from_voxel(np.unravel_index(whole.argmax(), whole.shape), target)
    assert np.abs(peak - place).max() <= 0.5 * target + 1


def test_the_size_in_angstrom_stays_within_a_voxel():
    for target in (5.0, 7.3, 13.48, 25.0):
        seen = at_spacing(NOISE, target)
        for n, m in zip(NOISE.shape, seen.shape, strict=True):
            assert 0 <= (n - 1) * 10.0 - (m - 1) * target < target


@settings(deadline=None, max_examples=15)
@given(
    target=st.sampled_from([5.0, 8.1, 13.48, 20.0]),
    start=st.tuples(*[st.floats(0, 0.9)] * 3),
    size=st.tuples(*[st.integers(1, 12)] * 3),
)
def test_a_region_is_a_piece_of_the_whole(target, start, size):
    seen = at_spacing(NOISE, target)
    region = tuple(slice(int(a * n), min(n, int(a * n) + b)) for a, b, n in zip(start, size, seen.shape, strict=True))
    assert seen[region] == pytest.approx(seen[:, :, :][region], abs=1e-4)


@pytest.mark.parametrize("target", [7.0, 14.0])
def test_mirrored_borders_are_read_as_from_any_tomogram(target):
    seen = at_spacing(NOISE, target)
    padded = np.pad(seen[:, :, :], 6, mode="reflect")
    depth, height, width = seen.shape
    region = seen.read((-6, -6, -6), (depth + 6, height + 6, width + 6))
    assert region == pytest.approx(padded, abs=1e-4)


def test_only_the_region_and_a_margin_are_read():
    class Watched:
        shape, dtype, read = (100, 100, 100), np.dtype(np.float32), 0

        def __getitem__(self, region):
            size = tuple(s.stop - s.start for s in region)
            self.read += int(np.prod(size))
            return np.zeros(size, np.float32)

    array = Watched()
    at_spacing(Tomogram(array, 10.0, "t"), 15.0)[20:24, 20:24, 20:24]
    assert array.read < 30**3


def test_white_noise_gets_weaker_in_coarser_voxels():
    assert at_spacing(NOISE, 20.0)[:, :, :].std() < 0.6 * NOISE[:, :, :].std()


def test_spacings_that_count_as_one_change_nothing():
    czii = Tomogram(NOISE.array, 10.012, "t")
    assert at_spacing(czii, 10.0) is czii
    assert at_spacing(NOISE, 10.3) is not NOISE


def test_name_and_kind_stay():
    assert (at_spacing(NOISE, 5.0).name, at_spacing(NOISE, 5.0).kind) == ("t", "wbp")
