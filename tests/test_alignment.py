from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

from tomopick.alignment import align, even_rotations

EDGE = 26
BLOBS = np.array([[0, 0, 0], [6, 0, 0], [0, 5, 2], [-4, -3, 5], [2, -6, -4]], dtype=float)  # xyz from the middle
WEIGHTS = [1.0, 2.0, 1.5, 1.0, 1.5]


def particle(turn: np.ndarray) -> np.ndarray:
    """Blobs of a particle without symmetry, turned, exactly where they are: no interpolation."""
    axis = np.arange(EDGE) - EDGE // 2
    z, y, x = np.meshgrid(axis, axis, axis, indexing="ij")
    volume = np.zeros((EDGE,) * 3)
    for (bx, by, bz), weight in zip(BLOBS @ turn.T, WEIGHTS, strict=True):
        volume += weight * np.exp(-((x - bx) ** 2 + (y - by) ** 2 + (z - bz) ** 2) / 8)
    return volume


def as_seen(volume: np.ndarray, noise: float, rng: np.random.Generator) -> np.ndarray:
    """With noise, and without what tilts up to 60 degrees about y do not show."""
    k = np.fft.fftfreq(EDGE)
    lost = np.abs(k)[:, None, None] > np.tan(np.radians(60)) * np.abs(k)[None, None, :]
    spectrum = np.fft.fftn(volume + noise * gaussian_filter(rng.standard_normal(volume.shape), 0.5))
    box = np.fft.ifftn(np.where(np.broadcast_to(lost, volume.shape), 0, spectrum)).real
    return ((box - box.mean()) / box.std()).astype(np.float32)


def apart(turns: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Angles between orientations in degrees, after the one turn that all have in common."""
    first = turns[0].T @ others[0]
    return np.degrees(Rotation.from_matrix(turns @ first @ np.swapaxes(others, 1, 2)).magnitude())


def test_even_rotations_leave_no_hole():
    turns = Rotation.from_matrix(even_rotations(576))
    nearest = [np.degrees((turns * one.inv()).magnitude()).min() for one in Rotation.random(100, random_state=0)]
    assert max(nearest) < 27
    assert abs(turns.as_matrix().mean(axis=0)).max() < 0.01


@pytest.fixture(scope="module")
def turned() -> tuple[np.ndarray, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    turns = Rotation.random(40, random_state=1).as_matrix()
    return turns, [as_seen(particle(turn), 0.3, rng) for turn in turns]


@pytest.fixture(scope="module")
def aligned(turned) -> tuple[np.ndarray, np.ndarray]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tomopick.alignment.ROUNDS", (576, 576, 1728))
        return align(turned[1])


def test_orientations_are_found_up_to_one_that_is_common(turned, aligned):
    turns, found = turned[0], aligned[0]
    assert np.median(apart(found, turns)) < 20
    assert (apart(found, turns) < 40).mean() > 0.9


def test_the_aligned_mean_shows_the_particle_and_the_plain_one_a_ball(turned, aligned):
    (turns, boxes), (found, mean) = turned, aligned
    truth = particle(found[0].T @ turns[0])

    def alike(volume: np.ndarray) -> float:
        return float(np.corrcoef(volume[1:, 1:, 1:].ravel(), truth[1:, 1:, 1:].ravel())[0, 1])

    assert alike(mean) > 0.85
    assert alike(mean) > alike(np.mean(boxes, axis=0)) + 0.15


def test_progress_and_a_single_subtomogram(turned, monkeypatch):
    monkeypatch.setattr("tomopick.alignment.ROUNDS", (144, 144))
    told: list[float] = []
    found, mean = align(turned[1][:1], told.append)
    assert told == sorted(told)
    truth = particle(found[0].T @ turned[0][0])
    assert np.corrcoef(mean[1:, 1:, 1:].ravel(), truth[1:, 1:, 1:].ravel())[0, 1] > 0.3  # as noisy as one is
