"""Voxels, Angstrom and axis order: known answers, exact round trips, mirroring as numpy has it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from tomopick.geometry import (
    angstrom_from_centred,
    angstrom_from_voxel,
    centred_from_angstrom,
    reflect_indices,
    voxel_from_angstrom,
    voxel_from_grid,
)

POINTS = arrays(np.float64, st.tuples(st.integers(0, 5), st.just(3)), elements=st.floats(-1e5, 1e5))
SPACINGS = st.floats(0.5, 50)


def test_the_first_voxel_is_the_origin_and_the_order_turns():
    assert angstrom_from_voxel([0, 0, 0], 10.012).tolist() == [0, 0, 0]
    assert angstrom_from_voxel([1, 2, 3], 10.0).tolist() == [30, 20, 10]
    assert voxel_from_angstrom([30, 20, 10], 10.0).tolist() == [1, 2, 3]


def test_nothing_is_truncated():
    assert voxel_from_angstrom([19.9, 15.0, -0.1], 10.0) == pytest.approx(np.array([-0.01, 1.5, 1.99]))


def test_relion_counts_from_half_the_size_in_unbinned_pixels():
    assert centred_from_angstrom([3160.0, 0, 0], [631, 631, 185], 10.0)[0] == pytest.approx(5.0)
    binned_tomogram = centred_from_angstrom([0, 0, 0], [4092, 5760, 1500], 1.54)
    assert binned_tomogram == pytest.approx([-3150.84, -4435.2, -1155.0])


def test_a_grid_point_sits_at_its_offset_and_strides():
    assert voxel_from_grid([[0, 0, 0], [1, 2, 3]], 4, (0.5, 1.0, 2.0)).tolist() == [[0.5, 1, 2], [4.5, 9, 14]]


@given(xyz=POINTS, spacing=SPACINGS)
def test_voxels_come_back_as_angstrom(xyz, spacing):
    assert angstrom_from_voxel(voxel_from_angstrom(xyz, spacing), spacing) == pytest.approx(xyz, abs=1e-6)


@given(xyz=POINTS, size=st.tuples(*[st.integers(1, 9999)] * 3), spacing=SPACINGS)
def test_centred_coordinates_come_back(xyz, size, spacing):
    there = centred_from_angstrom(xyz, size, spacing)
    assert angstrom_from_centred(there, size, spacing) == pytest.approx(xyz, abs=1e-6)


def test_no_points_and_wrong_columns():
    assert voxel_from_angstrom([], 10.0).shape == (0, 3)
    with pytest.raises(ValueError, match="three columns"):
        voxel_from_angstrom([[1.0, 2.0]], 10.0)


@given(size=st.integers(1, 7), before=st.integers(0, 20), after=st.integers(0, 20))
def test_mirrored_indices_are_those_of_numpy(size, before, after):
    values = np.arange(size)
    expected = np.pad(values, (before, after), mode="reflect")
    assert reflect_indices(-before, size + after, size).tolist() == expected.tolist()


def test_a_region_wholly_beyond_the_tomogram():
    assert reflect_indices(5, 9, 4).tolist() == [1, 0, 1, 2]
    assert reflect_indices(-4, -1, 4).tolist() == [2, 3, 2]
