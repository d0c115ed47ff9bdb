"""The particle models: mass, size, symmetry, centring."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.ndimage import center_of_mass
from scipy.spatial import cKDTree
from scipy.spatial.transform import Rotation

from tomopick.errors import DataError
from tomopick.objects import CZII_OBJECTS
from tomopick.simulate.particles import (
    BlobModel,
    altered_model,
    crowder_models,
    particle_model,
    random_crowders,
    render,
)

NAMES = [o.name for o in CZII_OBJECTS]
SYMMETRY = {
    "apo-ferritin": (24, "O"),
    "beta-amylase": (4, "D2"),
    "beta-galactosidase": (4, "D2"),
    "thyroglobulin": (2, "C2"),
    "virus-like-particle": (60, "I"),
}


def distances(shape: tuple[int, ...], spacing: float) -> np.ndarray:
    """Distance in Angstrom of each voxel from the middle one."""
    axes = [(np.arange(n) - n // 2) * spacing for n in shape]
    return np.sqrt(sum(a**2 for a in np.meshgrid(*axes, indexing="ij")))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("spacing", [5.0, 10.0])
def test_rendered_mass_lies_within_the_radius_and_its_centre_at_the_origin(name: str, spacing: float) -> None:
    radius = next(o.radius for o in CZII_OBJECTS if o.name == name)
    model = particle_model(name)
    density = render(model, spacing)
    assert density.sum() == pytest.approx(model.mass, rel=1e-5)
    assert model.radius == radius
    assert density[distances(density.shape, spacing) <= radius + spacing / 2].sum() > 0.97 * model.mass
    assert np.allclose(center_of_mass(density), np.array(density.shape) // 2, atol=0.01)


def has_symmetry(centres: np.ndarray, group: str) -> bool:
    tree = cKDTree(centres)
    return all(tree.query(rotation.apply(centres))[0].max() < 1e-6 for rotation in Rotation.create_group(group))


@pytest.mark.parametrize("name", SYMMETRY)
def test_point_group_maps_the_particle_onto_itself(name: str) -> None:
    order, group = SYMMETRY[name]
    assert len(Rotation.create_group(group)) == order
    assert has_symmetry(particle_model(name).centres, group)


@pytest.mark.parametrize("name", SYMMETRY)
def test_altered_particles_keep_their_symmetry_and_about_their_size_and_mass(name: str) -> None:
    own, rng = particle_model(name), np.random.default_rng(0)
    several = [altered_model(name, rng, 10.0) for _ in range(20)]
    assert all(has_symmetry(model.centres, SYMMETRY[name][1]) for model in several)
    assert len({model.mass for model in several}) == 20
    for model in several:
        assert model.centres.mean(axis=0) == pytest.approx([0, 0, 0], abs=1e-9)
        assert model.mass == pytest.approx(own.mass, rel=0.13)
        assert np.median(np.linalg.norm(model.centres - own.centres, axis=1)) < 35
    sizes = [np.linalg.norm(model.centres, axis=1).mean() for model in several]
    assert np.mean(sizes) == pytest.approx(np.linalg.norm(own.centres, axis=1).mean(), rel=0.15)
    assert np.std(sizes) > 0


def test_with_more_jitter_particles_are_less_alike() -> None:
    own = particle_model("ribosome").centres
    moved = [
        np.linalg.norm(altered_model("ribosome", np.random.default_rng(0), jitter).centres - own, axis=1).mean()
        for jitter in (0.0, 5.0, 15.0)
    ]
    assert moved[0] < moved[1] < moved[2]


def test_ribosome_has_no_symmetry() -> None:
    centres = particle_model("ribosome").centres
    for turn in Rotation.from_rotvec(np.pi * np.eye(3)):
        away, _ = cKDTree(centres).query(turn.apply(centres))
        assert away.mean() > 5


@pytest.mark.parametrize(("name", "inside", "shell"), [("apo-ferritin", 20, 46), ("virus-like-particle", 80, 116)])
def test_shells_are_hollow(name: str, inside: float, shell: float) -> None:
    density = render(particle_model(name), 5.0)
    away = distances(density.shape, 5.0)
    assert density[away < inside].mean() < 0.1 * density[np.abs(away - shell) < 5].mean()


def test_masses_are_those_of_the_proteins() -> None:
    masses = {name: particle_model(name).mass for name in NAMES}
    assert sorted(masses, key=masses.__getitem__) == [
        "beta-amylase",
        "beta-galactosidase",
        "apo-ferritin",
        "thyroglobulin",
        "virus-like-particle",
        "ribosome",
    ]
    assert all(model.mass < masses["beta-amylase"] for model in crowder_models())


@pytest.fixture(scope="module")
def strangers() -> tuple[BlobModel, ...]:
    return random_crowders(np.random.default_rng(0), 100)


def test_random_crowders_have_the_mass_and_size_of_proteins(strangers: tuple[BlobModel, ...]) -> None:
    masses = [model.mass for model in strangers]
    assert 40 <= min(masses) < 60
    assert 700 < max(masses) <= 900
    for model in strangers:
        density = render(model, 5.0)
        assert density.sum() == pytest.approx(model.mass, rel=1e-5)
        assert density[distances(density.shape, 5.0) <= model.radius + 2.5].sum() > 0.9 * model.mass
        assert model.radius >= 6.6 * model.mass ** (1 / 3) + 15
        assert 6 <= len(model.centres) <= 40
        assert 8 <= model.sigma <= 10


def test_random_crowders_have_one_of_five_point_groups(strangers: tuple[BlobModel, ...]) -> None:
    found = {
        max(("C1", "C2", "C3", "D2", "D3"), key=lambda g: len(Rotation.create_group(g)) * has_symmetry(m.centres, g))
        for m in strangers
    }
    assert found == {"C1", "C2", "C3", "D2", "D3"}


def test_random_crowders_are_long_and_flat_and_neither(strangers: tuple[BlobModel, ...]) -> None:
    spans = np.array([np.sort(np.linalg.eigvalsh(np.cov(model.centres.T))) ** 0.5 for model in strangers])
    assert (spans[:, 2] > 2 * spans[:, 1]).any()
    assert (spans[:, 1] > 1.8 * spans[:, 0]).any()
    assert (spans[:, 2] < 1.5 * spans[:, 0]).any()


def test_random_crowders_are_new_for_each_generator_and_the_same_for_the_same() -> None:
    one, same, other = (random_crowders(np.random.default_rng(seed), 3) for seed in (1, 1, 2))
    assert [model.mass for model in one] == [model.mass for model in same]
    assert np.array_equal(one[0].centres, same[0].centres)
    assert not {model.mass for model in one} & {model.mass for model in other}


def test_unknown_particle_is_named_in_the_error() -> None:
    with pytest.raises(DataError, match="no model of 'proteasome'"):
        particle_model("proteasome")
