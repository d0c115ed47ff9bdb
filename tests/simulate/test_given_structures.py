"""Structures in the simulator: the same density at any voxel size, placed, turned and named as the picks say."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.ndimage import center_of_mass
from scipy.spatial.transform import Rotation

from tomopick.errors import DataError
from tomopick.simulate import Scope, simulate_run, simulate_runs
from tomopick.simulate.imaging import TiltSeries, project
from tomopick.simulate.particles import BlobModel, particle_model, render
from tomopick.simulate.reconstruction import reconstruct
from tomopick.simulate.specimen import Placed
from tomopick.structures import Structure

CENTRES = np.array([[60.0, 0, 0], [0, 40, 0], [0, 0, 25], [-60, -40, -25]])
LOPSIDED = BlobModel(CENTRES, 14.0, 100.0, 100.0)
SHAPE = (48, 96, 96)


def structure_of(model: BlobModel, spacing: float, name: str = "x") -> Structure:
    """A model as a map of these voxels."""
    return Structure(name, render(model, spacing), spacing)


@pytest.mark.parametrize("fine", [2.0, 5.0, 10.0])
def test_a_map_of_a_particle_renders_as_the_particle_does(fine: float) -> None:
    truth, found = render(LOPSIDED, 10.0), render(structure_of(LOPSIDED, fine), 10.0)
    margins = (np.array(found.shape) - truth.shape) // 2
    assert (margins >= 0).all()
    inner = found[tuple(slice(m, m + n) for m, n in zip(margins, truth.shape, strict=True))]
    assert inner.sum() == pytest.approx(100, rel=1e-3)
    assert np.corrcoef(inner.ravel(), truth.ravel())[0, 1] > 0.98


@settings(max_examples=25, deadline=None)
@given(
    density=st.lists(st.floats(0, 1, width=32), min_size=60, max_size=60).filter(lambda values: max(values) > 0.1),
    own=st.floats(2, 12),
    spacing=st.floats(4, 14),
)
def test_mass_stays_and_the_centre_of_mass_is_the_origin(density: list[float], own: float, spacing: float) -> None:
    structure = Structure("x", np.array(density, np.float32).reshape(3, 4, 5), own)
    rendered = render(structure, spacing)
    assert rendered.sum() == pytest.approx(structure.mass, rel=1e-4)
    assert rendered.min() >= 0
    # voxels that are coarser than the whole particle can be off by a part of one
    off = np.abs(np.array(center_of_mass(rendered)) - np.array(rendered.shape) // 2)
    assert off.max() < 0.2


def test_the_radius_holds_98_percent_of_the_mass() -> None:
    ball = np.linalg.norm(np.stack(np.meshgrid(*[np.arange(41) - 20.0] * 3)), axis=0) <= 15
    structure = Structure("ball", ball.astype(np.float32), 4.0)
    assert structure.radius == pytest.approx(0.98 ** (1 / 3) * 60, abs=2)
    assert structure_of(particle_model("ribosome"), 5.0).radius == pytest.approx(150, abs=20)


def test_it_stands_turned_where_the_picks_say() -> None:
    """Given as a map, an unsymmetric particle is imaged as its blobs are, which other tests hold to RELION's angles."""
    series = TiltSeries((40, 42, 44), 10.0, tuple(np.arange(-88.5, 90.0, 3.0)))
    turn = Rotation.from_quat(Rotation.from_euler("xyz", [40, -65, 110], degrees=True).as_quat()[None])
    xyz = np.array([[231.0, 188.0, 203.0]])
    blobs, mapped = (
        reconstruct(project([Placed(model, xyz, turn)], series), series)
        for model in (LOPSIDED, structure_of(LOPSIDED, 4.0))
    )
    assert np.corrcoef(blobs.ravel(), mapped.ravel())[0, 1] > 0.98
    assert np.abs(center_of_mass(mapped.clip(0)) - np.array(center_of_mass(blobs.clip(0)))).max() < 0.2


def test_runs_hold_the_structures_and_nothing_else_that_is_annotated() -> None:
    structures = [structure_of(particle_model("ribosome"), 8.0, "mine"), structure_of(LOPSIDED, 5.0, "other")]
    tomogram, picks = simulate_run("SIM_0", SHAPE, 3, Scope(particles=30000, noise=0.5), structures)
    assert set(picks.objects) == {"mine", "other"}
    assert picks.table["object"].value_counts().min() >= 3
    # particles are dark, and these heavy ones darker than anything else
    zyx = np.rint(picks.xyz()[:, ::-1] / 10.0).astype(int)
    heavy = (picks.table["object"] == "mine").to_numpy()
    assert np.mean([tomogram.array[tuple(p)] for p in zyx[heavy]]) < -1
    [(again, same)] = simulate_runs(1, SHAPE, 3, Scope(particles=30000, noise=0.5), structures=structures)
    assert np.array_equal(again.array, tomogram.array)
    assert same.table.equals(picks.table)


def test_structures_that_cannot_be_used_are_told() -> None:
    one = structure_of(LOPSIDED, 10.0)
    with pytest.raises(DataError, match="names x; give each its own"):
        simulate_run("SIM_0", SHAPE, structures=[one, one])
    with pytest.raises(DataError, match="structure of x is empty"):
        Structure("x", np.zeros((2, 2, 2), np.float32), 5.0)
    with pytest.raises(DataError, match="spacing of 0"):
        Structure("x", np.ones((2, 2, 2), np.float32), 0.0)
