"""Phantoms that differ: microscopes and specimens of their own, and tilt images that are not aligned."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from tomopick.errors import DataError
from tomopick.simulate import Scope, simulate_run, simulate_runs, varied
from tomopick.simulate.imaging import TiltSeries, observe, project
from tomopick.simulate.reconstruction import reconstruct

SMALL = (32, 48, 40)
RANGES = {
    "tilt_limit": (40, 60),
    "tilt_step": (2, 3),
    "dose": (2, 4),
    "b_factor": (100, 600),
    "noise": (1.5, 7),
    "low_pass": (0.2, 0.5),
    "particles": (9000, 30000),
    "crowders": (10000, 120000),
    "beads": (0, 6),
    "misalignment": (0, 10),
    "jitter": (0, 15),
}


def reconstructed(misalignment: float, seed: int = 0) -> np.ndarray:
    """A bright point in the middle of a box, imaged and reconstructed."""
    scope = Scope(misalignment=misalignment, noise=0.0, b_factor=0.0)
    series = TiltSeries((48, 49, 50), 10.0, scope.angles())
    images = project([], series)
    for t, angle in enumerate(series.angles):
        images[t, series.first_row + 24, round(float(series.columns(24, 25, angle)))] = 1000.0
    return -reconstruct(observe(images, series, scope, np.random.default_rng(seed)), series)


def test_misalignment_blurs_what_is_sharp() -> None:
    peaks = [reconstructed(misalignment).max() for misalignment in (0.0, 5.0, 10.0, 30.0)]
    assert peaks[0] > peaks[1] > peaks[2] > peaks[3]
    assert peaks[3] < 0.6 * peaks[0]


def test_a_misaligned_image_moves_by_so_much_along_both_axes() -> None:
    scope = Scope(misalignment=20.0, noise=0.0, b_factor=0.0, tilt_step=0.5)
    series = TiltSeries((32, 64, 64), 10.0, scope.angles())
    images = project([], series)
    images[:, 50, 60] = 1000.0
    seen = observe(images, series, scope, np.random.default_rng(0)).numpy()
    peaks = np.array([np.unravel_index(image.argmin(), image.shape) for image in seen])
    assert peaks.mean(axis=0) == pytest.approx([50, 60], abs=0.5)
    assert peaks.std(axis=0) == pytest.approx([2, 2], rel=0.15)


def test_without_misalignment_and_strangers_nothing_is_drawn_for_them() -> None:
    """The noise comes after the shifts: it stays the same only if no shifts are drawn."""
    rng, other = np.random.default_rng(3), np.random.default_rng(3)
    series = TiltSeries(SMALL, 10.0, Scope().angles())
    seen = observe(project([], series), series, Scope(), rng).numpy()
    other.uniform(*Scope().defocus)
    noise = other.standard_normal(seen.shape, dtype=np.float32)
    middle = len(series.angles) // 2
    assert np.array_equal(seen[middle], np.float32(Scope().noise) * noise[middle])
    assert rng.random() == other.random()


def test_varied_scopes_lie_in_their_ranges_and_fill_them() -> None:
    scopes = [varied(np.random.default_rng(seed)) for seed in range(200)]
    for name, (low, high) in RANGES.items():
        values = np.array([getattr(scope, name) for scope in scopes])
        assert low <= values.min() < low + 0.1 * (high - low), name
        assert high - 0.1 * (high - low) < values.max() <= high, name
    defocus = np.array([scope.defocus for scope in scopes])
    assert (defocus[:, 0] == defocus[:, 1]).all()
    assert 1.5 <= defocus.min() < 2 < 5.5 < defocus.max() <= 6
    assert {scope.tilt_step for scope in scopes} == {2, 3}
    assert {scope.beads for scope in scopes} == set(range(7))
    assert all(scope.strangers > 0 for scope in scopes)
    # Log-uniform: as many below the geometric mean of the ends as above.
    assert np.mean([scope.noise < 10.5**0.5 for scope in scopes]) == pytest.approx(0.5, abs=0.12)


def test_the_same_generator_draws_the_same_scope() -> None:
    assert varied(np.random.default_rng(7)) == varied(np.random.default_rng(7))
    assert varied(np.random.default_rng(7)) != varied(np.random.default_rng(8))


def test_strangers_crowd_a_specimen_and_are_never_annotated() -> None:
    quiet = Scope(noise=0.0, beads=0, crowders=60000)
    plain, _ = simulate_run("SIM_0", SMALL, settings=quiet)
    strange, picks = simulate_run("SIM_0", SMALL, settings=dataclasses.replace(quiet, strangers=6))
    assert not np.allclose(np.asarray(plain.array), np.asarray(strange.array), atol=0.5)
    alone, none = simulate_run("SIM_0", SMALL, settings=dataclasses.replace(quiet, strangers=6, particles=0))
    assert len(picks) > 0
    assert len(none) == 0
    assert np.asarray(alone.array).any()


def test_each_run_draws_particles_of_its_own_where_they_jitter() -> None:
    quiet = Scope(noise=0.0, beads=0, crowders=0)
    plain, picks = simulate_run("SIM_0", SMALL, settings=quiet)
    other, others = simulate_run("SIM_0", SMALL, settings=dataclasses.replace(quiet, jitter=12.0))
    again, _ = simulate_run("SIM_0", SMALL, settings=dataclasses.replace(quiet, jitter=12.0))
    assert np.array_equal(np.asarray(other.array), np.asarray(again.array))
    assert not np.allclose(np.asarray(plain.array), np.asarray(other.array), atol=0.5)
    assert set(picks.table["object"]) == set(others.table["object"])


def test_varied_runs_are_settled_by_the_seed_and_their_number() -> None:
    first = list(simulate_runs(3, SMALL, seed=4, vary=True))
    again = list(simulate_runs(3, SMALL, seed=4, vary=True))
    assert [tomogram.name for tomogram, _ in again] == ["SIM_0", "SIM_1", "SIM_2"]
    for (one, picks), (other, others) in zip(first, again, strict=True):
        assert np.array_equal(np.asarray(one.array), np.asarray(other.array))
        assert picks.table.equals(others.table)
    longer = list(simulate_runs(4, SMALL, seed=4, vary=True))
    assert np.array_equal(np.asarray(first[2][0].array), np.asarray(longer[2][0].array))
    (elsewhere, _), *_ = simulate_runs(1, SMALL, seed=5, vary=True)
    assert not np.allclose(np.asarray(first[0][0].array), np.asarray(elsewhere.array), atol=0.5)


def test_varied_runs_differ_in_their_noise() -> None:
    """The share of the finest detail, which is noise for the most part, is not the same in all."""
    shares = []
    for tomogram, _ in simulate_runs(6, (32, 64, 64), seed=1, vary=True):
        power = np.abs(np.fft.rfftn(np.asarray(tomogram.array))) ** 2
        y = np.abs(np.fft.fftfreq(64))
        shares.append(power[:, y > 0.25].sum() / power.sum())
    assert max(shares) > 1.2 * min(shares)


def test_what_does_not_go_together_is_told() -> None:
    with pytest.raises(DataError, match="settings or vary, not both"):
        list(simulate_runs(1, SMALL, settings=Scope(), vary=True))
    with pytest.raises(DataError, match="0 jobs; give 1 or more"):
        list(simulate_runs(1, SMALL, jobs=0))
    with pytest.raises(DataError, match="seed -1 is negative"):
        list(simulate_runs(1, SMALL, seed=-1, vary=True))
    with pytest.raises(DataError, match="misalignment, strangers cannot be below 0"):
        Scope(misalignment=-1.0, strangers=-1)
