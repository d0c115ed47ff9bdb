"""Subtomograms have their pick in the middle, and their mean brings out what all of them have."""

from __future__ import annotations

import numpy as np
import pytest

from tomopick.picks import Picks
from tomopick.subtomograms import Mean, box_edge, complete, subtomograms
from tomopick.tomogram import Tomogram

SPACING = 7.5


def test_a_pick_is_in_the_middle_as_relion_has_it():
    volume = np.zeros((30, 40, 50), np.float32)
    volume[11, 17, 23] = 1
    tomogram = Tomogram(volume, SPACING, "t")
    (one,) = subtomograms(tomogram, Picks.of("t", "a", np.array([23, 17, 11]) * SPACING), 8)
    assert np.unravel_index(one.argmax(), one.shape) == (4, 4, 4)
    assert (one.mean(), one.std()) == (pytest.approx(0, abs=1e-6), pytest.approx(1, rel=1e-5))


def test_between_voxels_densities_are_interpolated():
    z, y, x = np.meshgrid(*[np.arange(n, dtype=np.float32) for n in (30, 40, 50)], indexing="ij")
    ramp = Tomogram(2 * z - y + 3 * x, SPACING, "t")
    picks = Picks.of("t", "a", np.array([[23.25, 17.5, 11.75], [20, 20, 15]]) * SPACING)
    shifted, whole = subtomograms(ramp, picks, 6)
    steps = np.arange(6) - 3
    expected = 2 * steps[:, None, None] - steps[:, None] + 3 * steps
    for one in (shifted, whole):
        np.testing.assert_allclose(one, (expected - expected.mean()) / expected.std(), atol=1e-5)


def test_only_whole_subtomograms_count():
    tomogram = Tomogram(np.random.default_rng(0).normal(size=(20, 20, 20)).astype(np.float32), 1.0, "t")
    xyz = [[4, 4, 4], [16, 16, 16], [3.9, 9, 9], [9, 16.1, 9], [9, 9, 9]]
    kept = complete(tomogram, Picks.join([Picks.of("t", "a", xyz), Picks.of("u", "a", [[9, 9, 9]])]), 8)
    assert kept.xyz().tolist() == [[4, 4, 4], [16, 16, 16], [9, 9, 9]]
    assert np.array_equal(
        next(subtomograms(tomogram, Picks.of("t", "a", [[16, 16, 16]]), 8)).argmax(), tomogram[12:, 12:, 12:].argmax()
    )


def test_the_mean_shows_what_noise_hides():
    rng = np.random.default_rng(0)
    volume = rng.normal(size=(60, 120, 120)).astype(np.float32)
    centres = np.stack(np.meshgrid([15, 30, 45], np.arange(15, 110, 12), np.arange(15, 110, 12)), -1).reshape(-1, 3)
    for z, y, x in centres:
        volume[z - 1 : z + 2, y - 1 : y + 2, x - 1 : x + 2] -= 0.5
    picks = Picks.of("t", "a", centres[:, ::-1])
    mean = Mean.of_edge(10)
    for one in subtomograms(Tomogram(volume, 1.0, "t"), picks, 10):
        mean.add(one)
    middle = np.zeros((10, 10, 10), bool)
    middle[4:7, 4:7, 4:7] = True
    assert mean.count == len(centres)
    assert mean.volume[middle].max() < mean.volume[~middle].min()


def test_a_box_has_room_about_a_particle():
    assert box_edge(150, 10) == 46
    assert box_edge(60, 10) == 18
