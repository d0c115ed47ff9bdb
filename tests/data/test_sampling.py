"""Where crops are cut and what they are labelled: against brute force, and by what an epoch promises."""

from __future__ import annotations

from itertools import product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tomopick.data.sampling import IGNORE, Crop, CropShape, Known, Particles, Sampler
from tomopick.recipe import Recipe

BACKGROUND = 3
SHAPE = CropShape(field=32, lead=16, stride=8, positions=2)
SIZES = [(40, 60, 60), (50, 50, 70)]
RECIPE = Recipe(background=0.5, seed=4)


def scattered(seed: int, size: tuple[int, int, int], count: int = 8, clear: float = 2.0) -> Particles:
    """Particles at random that keep more than twice the largest reach from each other."""
    rng = np.random.default_rng(seed)
    centres = [rng.uniform(0, np.array(size) - 1)]
    while len(centres) < count:
        at = rng.uniform(0, np.array(size) - 1)
        if min(np.linalg.norm(at - c) for c in centres) > 10:
            centres.append(at)
    return Particles(
        np.array(centres), rng.integers(0, BACKGROUND, count), rng.uniform(1, 4.5, count), clear, BACKGROUND
    )


PARTICLES = [scattered(1, SIZES[0]), scattered(2, SIZES[1])]


def sampler(recipe: Recipe = RECIPE) -> Sampler:
    return Sampler(SIZES, PARTICLES, SHAPE, recipe)


def centres(shape: CropShape, crop: Crop) -> np.ndarray:
    """Voxels (positions^3, 3), zyx, of a crop's score positions, one by one."""
    steps = shape.lead + shape.stride * np.arange(shape.positions)
    return np.array([np.array(crop.start) + step for step in product(steps, repeat=3)])


def starts(crops: list[Crop]) -> list[tuple[int, tuple[int, int, int]]]:
    return [(c.run, c.start) for c in crops]


def brute_force_label(p: Particles, at: np.ndarray) -> int:
    distances = [float(np.sqrt(((c - at) ** 2).sum())) for c in p.centres]
    reached = [(d / r, k) for d, r, k in zip(distances, p.reach, p.classes, strict=True) if d <= r]
    if reached:
        return int(min(reached)[1])
    close = any(d <= r + p.clear for d, r in zip(distances, p.reach, strict=True))
    told = p.known is None or any(
        np.linalg.norm(c - at) <= r for c, r in zip(p.known.centres, p.known.radius, strict=True)
    )
    return IGNORE if close or not told else p.background


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), places=st.sampled_from([None, 0, 1, 6]))
def test_labels_are_those_of_brute_force(seed, places):
    rng = np.random.default_rng(seed)
    count = int(rng.integers(1, 8))
    crowd = Particles(
        rng.uniform(0, 20, (count, 3)),
        rng.integers(0, BACKGROUND, count),
        rng.uniform(1, 8, count),
        float(rng.uniform(0, 4)),
        BACKGROUND,
        None if places is None else Known(rng.uniform(0, 20, (places, 3)), rng.uniform(2, 12, places)),
    )
    positions = rng.integers(-5, 25, (100, 3))
    assert crowd.labels(positions).tolist() == [brute_force_label(crowd, at) for at in positions]
    first, stride = rng.integers(-4, 8, 3), int(rng.integers(1, 4))
    grid = first + stride * np.array(list(product(range(6), repeat=3)))
    assert crowd.label_grid(first, stride, 6)[0].ravel().tolist() == [brute_force_label(crowd, at) for at in grid]


def test_how_much_a_label_holds_falls_as_a_gaussian_of_half_the_reach():
    one = Particles(np.array([[10.0, 10, 10]]), np.array([0]), np.array([4.0]), 1.0, BACKGROUND)
    labels, share = one.label_grid(np.array([10, 10, 4]), 2, 7)
    assert share[0, 0].tolist() == pytest.approx([1, *np.exp(-((np.array([-4, -2, 0, 2, 4]) / 2) ** 2) / 2), 1])
    assert labels[0, 0].tolist() == [BACKGROUND, 0, 0, 0, 0, 0, BACKGROUND]
    assert (share[labels != 0] == 1).all()


NOWHERE = Known(np.zeros((0, 3)), np.zeros(0))


@pytest.mark.parametrize(("known", "label"), [(None, BACKGROUND), (NOWHERE, IGNORE)])
def test_a_run_without_particles_is_background_unless_some_may_be_unlabelled(known, label):
    none = Particles(np.zeros((0, 3)), np.zeros(0, dtype=int), np.zeros(0), 2.0, BACKGROUND, known)
    assert none.labels(np.array([[1, 2, 3], [0, 0, 0]])).tolist() == [label] * 2
    assert (none.label_grid(np.zeros(3, dtype=int), 2, 3)[0] == label).all()


def test_each_refused_place_is_shown_in_each_epoch_as_background():
    one = CropShape(field=32, lead=16, stride=8, positions=1)
    places = np.array([[30.0, 20, 20], [20.0, 150, 98.4]])
    refused = Particles(
        np.zeros((0, 3)), np.zeros(0, dtype=int), np.zeros(0), 2.0, BACKGROUND, Known(places, np.full(2, 4.0)), places
    )
    particle = Particles(np.array([[30.0, 30, 30]]), np.array([0]), np.array([3.0]), 2.0, BACKGROUND)
    for epoch in range(3):
        crops = Sampler([(60, 200, 200)] * 2, [particle, refused], one, Recipe(background=1)).epoch(epoch)
        at = np.concatenate([centres(one, c) for c in crops if c.run == 1])
        assert all((np.linalg.norm(at - place, axis=1) <= 0.9).any() for place in places)
        assert (refused.labels(at) == BACKGROUND).all()


def test_where_particles_may_be_unlabelled_background_crops_lie_about_labelled_ones():
    size, one = (60, 200, 200), CropShape(field=32, lead=16, stride=8, positions=1)
    places = np.array([[30.0, 20, 20], [1.0, 150, 198]])
    some = Particles(places, np.array([0, 1]), np.full(2, 3.0), 2.0, BACKGROUND, Known(places, np.full(2, 12.0)))
    none = Particles(np.zeros((0, 3)), np.zeros(0, dtype=int), np.zeros(0), 2.0, BACKGROUND, NOWHERE)
    crops = Sampler([size, size], [none, some], one, Recipe(background=50)).epoch(0)
    assert {c.run for c in crops} == {1}
    at = np.concatenate([centres(one, c) for c in crops])
    labels = some.labels(at)
    assert np.count_nonzero(labels == BACKGROUND) == len(crops) - 2 == 100
    near = [np.linalg.norm(at[labels == BACKGROUND] - c, axis=1) <= 12 for c in some.centres]
    assert min(np.count_nonzero(n) for n in near) > 30
    assert (at >= 0).all()
    assert (at < size).all()


def test_a_particle_smaller_than_a_voxel_still_has_a_voxel():
    tiny = Particles(np.array([[10.5, 10.5, 10.5]]), np.array([1]), np.array([0.3]), 2.0, BACKGROUND)
    crops = Sampler([SIZES[0]], [tiny], SHAPE, Recipe(background=0)).epoch(0)
    assert 1 in tiny.labels(centres(SHAPE, crops[0]))


@pytest.mark.parametrize("epoch", [0, 1, 7])
def test_each_particle_has_its_crop_once_an_epoch(epoch):
    crops = sampler().epoch(epoch)
    owners = []
    for crop in crops:
        particles = PARTICLES[crop.run]
        positions = centres(SHAPE, crop)
        reached = [
            i
            for i, (c, r) in enumerate(zip(particles.centres, particles.reach, strict=True))
            if (np.linalg.norm(positions - c, axis=1) <= r).any()
        ]
        if reached:
            assert particles.classes[reached[0]] in particles.labels(positions)
        owners += [(crop.run, i) for i in reached]
    for run, particles in enumerate(PARTICLES):
        for i in range(len(particles.centres)):
            assert (run, i) in owners
    assert len(crops) == 16 + 8


def test_background_crops_have_a_position_that_is_background():
    every = sampler(Recipe(background=4.0, seed=1)).epoch(0)
    alone = [c for c in every if (PARTICLES[c.run].labels(centres(SHAPE, c)) >= BACKGROUND).any()]
    assert len(alone) >= len(every) - 16
    one = CropShape(field=32, lead=16, stride=8, positions=1)
    for crop in Sampler(SIZES, PARTICLES, one, Recipe(background=4.0)).epoch(0):
        assert PARTICLES[crop.run].labels(centres(one, crop))[0] != IGNORE


def test_a_tomogram_full_of_particles_still_gives_background_crops():
    grid = np.stack(np.meshgrid(*[np.arange(0, 20, 4)] * 3, indexing="ij"), axis=-1).reshape(-1, 3).astype(float)
    full = Particles(grid, np.zeros(len(grid), dtype=int), np.full(len(grid), 4.0), 2.0, BACKGROUND)
    assert len(Sampler([(18, 18, 18)], [full], SHAPE, Recipe(background=0.1)).epoch(0)) == 125 + 12


def test_an_epoch_follows_from_its_number_and_the_seed():
    assert sampler().epoch(3) == sampler().epoch(3)
    assert starts(sampler().epoch(3)) != starts(sampler().epoch(4))
    assert starts(sampler().epoch(3)) != starts(sampler(RECIPE.model_copy(update={"seed": 5})).epoch(3))


def test_the_order_mixes_runs_and_background():
    runs = [c.run for c in sampler().epoch(0)]
    assert runs != sorted(runs)


def test_validation_crops_do_not_turn_and_know_no_hard_negatives():
    mined = sampler()
    mined.hard = [np.full((50, 3), -999), np.full((50, 3), -999)]
    assert min(min(c.start) for c in mined.fixed()) > -100
    assert sampler().fixed() == sampler().fixed()
    assert {(c.axes, c.reverse) for c in sampler().fixed()} == {((0, 1, 2), (False, False, False))}


def test_mined_places_are_the_share_of_background_that_was_asked():
    mined = sampler(Recipe(background=1.0, hard_negatives=0.5))
    places = np.array([[1, 1, 1], [2, 2, 2], [3, 3, 3], [1, 30, 1], [1, 1, 40], [30, 1, 1], [5, 1, 1], [1, 5, 1]])
    mined.hard = [places, places + 1]
    looked_at = {(run, tuple(at)) for run in (0, 1) for at in mined.hard[run]}
    hits = [c for c in mined.epoch(0) if any((c.run, tuple(at)) in looked_at for at in centres(SHAPE, c))]
    assert len(hits) >= 8


INSIDE = CropShape(field=2, lead=0, stride=2, positions=12, inside=True)


def test_crops_that_are_kept_inside_hold_their_particle_and_nothing_beyond_the_tomogram():
    inside = Sampler(SIZES, PARTICLES, INSIDE, Recipe(background=0, seed=1))
    crops = inside.epoch(0)
    for crop in crops:
        start = np.array(crop.start)
        assert (start >= 0).all()
        assert (start + INSIDE.edge <= SIZES[crop.run]).all()
    held = [np.isin(PARTICLES[c.run].label_grid(np.array(c.start), 2, 12)[0], range(BACKGROUND)).any() for c in crops]
    assert sum(held) >= len(crops) - 1


def test_validation_crops_that_are_kept_inside_cover_the_tomograms():
    crops = Sampler(SIZES, PARTICLES, INSIDE, RECIPE).fixed()
    for run, size in enumerate(SIZES):
        seen = np.zeros(size, bool)
        for z, y, x in (c.start for c in crops if c.run == run):
            assert min(z, y, x) >= 0
            seen[z : z + INSIDE.edge, y : y + INSIDE.edge, x : x + INSIDE.edge] = True
        assert seen.all()


def test_a_tomogram_smaller_than_a_crop_stands_in_its_middle():
    flat = Sampler([(10, 60, 60)], [PARTICLES[0]], INSIDE, RECIPE)
    assert {c.start[0] for c in flat.epoch(0)} == {c.start[0] for c in flat.fixed()} == {-7}


def test_balanced_classes_are_drawn_alike():
    centres = np.repeat([[5.0] * 3, [20.0] * 3, [35.0] * 3], [90, 8, 2], axis=0)
    particles = Particles(centres, np.repeat([0, 1, 2], [90, 8, 2]), np.ones(100), 0.0, BACKGROUND)
    voxel = CropShape(field=1, lead=0, stride=1, positions=1)
    balanced = Sampler([(40, 40, 40)], [particles], voxel, Recipe(class_balanced=True, background=0))
    labels = [int(particles.labels(np.array([c.start]))[0]) for epoch in range(10) for c in balanced.epoch(epoch)]
    shares = np.bincount(labels, minlength=4)[:3] / 1000
    assert np.abs(shares - 1 / 3).max() < 0.06
