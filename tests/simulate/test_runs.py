"""Whole simulated runs: what a user is told about them holds."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter
from scipy.spatial.distance import pdist, squareform
from scipy.spatial.transform import Rotation

from tomopick.errors import DataError
from tomopick.geometry import voxel_from_angstrom
from tomopick.objects import CZII_OBJECTS
from tomopick.picks import Picks
from tomopick.simulate import Scope, simulate_run, simulate_runs
from tomopick.simulate.imaging import TiltSeries, observe, project
from tomopick.simulate.particles import particle_model
from tomopick.tomogram import Tomogram

RADII = {o.name: o.radius for o in CZII_OBJECTS}
SHAPE = (96, 192, 192)


@pytest.fixture(scope="module")
def run() -> tuple[Tomogram, Picks]:
    return simulate_run("SIM_0", SHAPE, seed=5)


def test_run_holds_all_six_objects_apart_and_inside(run: tuple[Tomogram, Picks]) -> None:
    tomogram, picks = run
    assert (tomogram.shape, tomogram.spacing, tomogram.name, tomogram.kind) == (SHAPE, 10.0, "SIM_0", "wbp")
    assert picks.runs == ["SIM_0"]
    assert 25 <= len(picks) <= 40
    counts = picks.table["object"].value_counts()
    assert set(counts.index) == set(RADII)
    assert counts.min() >= 3
    assert (picks.scores() == 1).all()
    radius = picks.table["object"].map(RADII).to_numpy()
    gaps = squareform(pdist(picks.xyz())) - radius - radius[:, None]
    assert gaps[~np.eye(len(picks), dtype=bool)].min() > 0
    top = (np.array(SHAPE[::-1]) - 1) * 10.0
    assert ((picks.xyz() >= radius[:, None]) & (picks.xyz() <= top - radius[:, None])).all()


def test_tomogram_is_normalised_and_protein_dark(run: tuple[Tomogram, Picks]) -> None:
    tomogram, picks = run
    array = np.asarray(tomogram.array)
    assert array.dtype == np.float32
    assert array.mean() == pytest.approx(0, abs=1e-3)
    assert array.std() == pytest.approx(1, abs=1e-3)
    z, y, x = np.indices(SHAPE, sparse=True)
    for name, inner, outer in [("ribosome", 0, 100), ("virus-like-particle", 100, 130), ("apo-ferritin", 35, 60)]:
        for place in voxel_from_angstrom(picks.where(name=name).xyz(), 10.0):
            away = 10 * np.sqrt((z - place[0]) ** 2 + (y - place[1]) ** 2 + (x - place[2]) ** 2)
            assert array[(away >= inner) & (away <= outer)].mean() < -0.15


def test_picks_and_angles_explain_the_tomogram(run: tuple[Tomogram, Picks]) -> None:
    """Particles painted from the picks alone correlate with the tomogram best where they are, to the voxel."""
    tomogram, picks = run
    painted = np.zeros(SHAPE, np.float32)
    for name in picks.objects:
        model, table = particle_model(name), picks.where(name=name)
        turns = Rotation.from_euler("ZYZ", table.euler(), degrees=True).inv()
        for xyz, turn in zip(table.xyz(), turns, strict=True):
            zyx = np.rint(voxel_from_angstrom(xyz + turn.apply(model.centres), 10.0)).astype(int)
            np.add.at(painted, tuple(zyx.T), model.mass / len(zyx))
    # Without the slowest frequencies, which neither the contrast transfer nor the tilts carry.
    detail = painted - gaussian_filter(painted, 2.5)
    match = np.fft.irfftn(np.fft.rfftn(-np.asarray(tomogram.array)) * np.conj(np.fft.rfftn(detail)), s=SHAPE)
    assert np.unravel_index(match.argmax(), SHAPE) == (0, 0, 0)
    assert match.max() > 20 * match.std()


def test_same_seed_and_name_give_the_same_run_and_others_do_not() -> None:
    def array(name: str, seed: int) -> np.ndarray:
        tomogram, _ = simulate_run(name, (32, 48, 40), seed)
        return np.asarray(tomogram.array)

    first = array("A", 1)
    assert np.array_equal(first, array("A", 1))
    assert not np.allclose(first, array("B", 1), atol=0.5)
    assert not np.allclose(first, array("A", 2), atol=0.5)


def test_runs_come_named_in_order_and_alone_as_together() -> None:
    runs = list(simulate_runs(2, (32, 48, 40), seed=3))
    assert [tomogram.name for tomogram, _ in runs] == ["SIM_0", "SIM_1"]
    alone, picks = simulate_run("SIM_1", (32, 48, 40), seed=3)
    assert np.array_equal(np.asarray(alone.array), np.asarray(runs[1][0].array))
    assert picks.table.equals(runs[1][1].table)


def test_small_box_holds_what_fits() -> None:
    tomogram, picks = simulate_run("tiny", (17, 33, 20), seed=0)
    assert np.isfinite(np.asarray(tomogram.array)).all()
    assert set(picks.objects) <= {"apo-ferritin", "beta-amylase"}
    assert len(picks) > 0


def test_empty_specimen_has_no_picks_and_no_contrast() -> None:
    tomogram, picks = simulate_run("empty", (24, 40, 32), settings=Scope(particles=0, crowders=0, beads=0, noise=0))
    assert len(picks) == 0
    assert not np.asarray(tomogram.array).any()


def test_noise_hides_the_particles() -> None:
    def contrast(noise: float) -> float:
        tomogram, _ = simulate_run("SIM_0", (64, 96, 96), settings=Scope(noise=noise, beads=0))
        return float(-np.asarray(tomogram.array).min())

    assert contrast(0.2) > 1.2 * contrast(2.0)
    assert contrast(2.0) > 1.2 * contrast(20)


def test_observed_images_are_dark_damped_and_noisier_at_high_tilt() -> None:
    scope = Scope(tilt_limit=60, tilt_step=30, noise=1.0)
    series = TiltSeries((96, 160, 160), 10.0, scope.angles())
    blank = project([], series)
    noise = observe(blank, series, scope, np.random.default_rng(0)).std(dim=(1, 2)).numpy()
    # Counts fall as exp(-path / 3000 A) and the path is 960 A / cos(tilt): twice as long at 60 degrees.
    assert noise == pytest.approx(np.exp(0.16 * np.array([1, 2 / np.sqrt(3) - 1, 0, 2 / np.sqrt(3) - 1, 1])), rel=0.03)
    point = blank.clone()
    point[:, 100, 100] = 1000.0
    seen = observe(point, series, Scope(tilt_limit=60, tilt_step=30, noise=0.0), np.random.default_rng(0))
    assert (seen[:, 100, 100] < 0).all()
    energy = (seen**2).sum(dim=(1, 2))
    # Dose-symmetric: 0 degrees is taken first and keeps most, -60 and 60 come last.
    assert energy.argmax() == 2
    assert energy[[0, 4]].max() < energy[[1, 3]].min()


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"spacing": 0}, "voxel spacing of 0"),
        ({"tilt_limit": 90}, "tilt limit of 90"),
        ({"tilt_step": 0}, "step of 0"),
        ({"defocus": (4.0, 2.0)}, "smaller one first"),
        ({"noise": -1.0, "beads": -1}, "noise, beads cannot be below 0"),
    ],
)
def test_settings_out_of_range_are_told(settings: dict, message: str) -> None:
    with pytest.raises(DataError, match=message):
        Scope(**settings)


def test_shape_and_seed_out_of_range_are_told() -> None:
    with pytest.raises(DataError, match="at least 16"):
        simulate_run("SIM_0", (8, 64, 64))
    with pytest.raises(DataError, match="seed -1 is negative"):
        simulate_run("SIM_0", (32, 32, 32), seed=-1)


def test_angles_are_symmetric_about_zero() -> None:
    assert len(Scope().angles()) == 41
    assert Scope(tilt_limit=60, tilt_step=25).angles() == (-50, -25, 0, 25, 50)
