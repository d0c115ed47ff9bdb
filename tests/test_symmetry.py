"""Orientations: the symmetries that an augmentation allows, and volumes turned by them."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest

from tomopick.recipe import Augmentation
from tomopick.symmetry import orientations, turned


@pytest.mark.parametrize(
    ("rotations", "flips", "count"),
    [
        ("none", False, 1),
        ("none", True, 8),
        ("tilt-axis", False, 4),
        ("tilt-axis", True, 8),
        ("z", False, 4),
        ("z", True, 16),
        ("all", False, 24),
        ("all", True, 48),
    ],
)
def test_the_number_of_orientations_is_that_of_the_symmetry_group(rotations, flips, count):
    found = orientations(Augmentation(rotations=rotations, flips=flips))
    assert len(found) == len(set(found)) == count
    assert found[0] == ((0, 1, 2), (False, False, False))


def test_axes_are_reversed_first_and_then_put_in_order():
    volume = np.arange(2 * 3 * 4 * 5).reshape(2, 3, 4, 5)
    found = turned(volume, ((1, 2, 0), (True, False, False)))
    assert found.shape == (2, 4, 5, 3)
    assert found[1, 2, 4, 0] == volume[1, -1, 2, 4]
    found[0, 0, 0, 0] = -1
    assert volume[0, -1, 0, 0] == -1, "a view, so that what is written to it lands in the volume"


@pytest.mark.parametrize("rotations", ["none", "tilt-axis", "z", "all"])
@pytest.mark.parametrize("flips", [False, True])
def test_orientations_are_a_group_and_mirror_only_where_flips_are_allowed(rotations, flips):
    marked = np.arange(27).reshape(3, 3, 3)
    allowed = orientations(Augmentation(rotations=rotations, flips=flips))
    images = {turned(marked, o).tobytes() for o in allowed}
    assert len(images) == len(allowed)
    assert {turned(turned(marked, a), b).tobytes() for a, b in product(allowed, allowed)} == images
    axes = np.stack(np.meshgrid(*[np.arange(-1, 2)] * 3, indexing="ij"))
    for o in allowed:
        seen = np.stack([turned(axis, o) for axis in axes])
        matrix = np.stack([seen[:, 2, 1, 1], seen[:, 1, 2, 1], seen[:, 1, 1, 2]])
        assert flips or np.linalg.det(matrix) > 0


def missing_wedge(size: int = 9, limit: float = 60.0) -> np.ndarray:
    """Spatial frequencies (zyx, odd size, centred) that tilts of up to this many degrees about y reach."""
    steps = np.arange(size) - size // 2
    z, _, x = np.meshgrid(steps, steps, steps, indexing="ij")
    return np.abs(z) <= np.tan(np.deg2rad(limit)) * np.abs(x) + 1e-9


@pytest.mark.parametrize("rotations", ["none", "tilt-axis"])
def test_the_missing_wedge_stays_where_it_is_under_tilt_axis_orientations(rotations):
    wedge = missing_wedge()
    assert 0.1 < wedge.mean() < 0.9
    for o in orientations(Augmentation(rotations=rotations, flips=True)):
        assert np.array_equal(turned(wedge, o), wedge)


def test_turning_about_z_keeps_the_beam_but_turns_the_tilt_axis():
    about_z = [turned(missing_wedge(), o) for o in orientations(Augmentation(rotations="z", flips=False))]
    assert sum(not np.array_equal(w, missing_wedge()) for w in about_z) == 2
    tower = np.zeros((3, 3, 3))
    tower[2, 1, 1] = 1
    assert all(np.array_equal(turned(tower, o), tower) for o in orientations(Augmentation(rotations="z", flips=False)))
