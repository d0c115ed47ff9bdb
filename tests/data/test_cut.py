"""Crops and their labels: however a crop is turned, the label's voxel is the one at the score position."""

from __future__ import annotations

import copy
from dataclasses import replace

import numpy as np
import pytest
import torch

from tomopick.data.dataset import Annotated, CropDataset, cut
from tomopick.data.normalise import Scaling
from tomopick.data.sampling import Crop, CropShape, Particles, Sampler, random_pose
from tomopick.models.registry import build, field, lead
from tomopick.recipe import Augmentation, Recipe
from tomopick.symmetry import orientations
from tomopick.tomogram import Tomogram

ALL = orientations(Augmentation(rotations="all", flips=True))
AS_IT_IS = ((0, 1, 2), (False, False, False))
SHAPE = CropShape(field=32, lead=16, stride=8, positions=2)
UNSCALED = Scaling(0.0, 1.0, 1e9)


def annotated(volume: np.ndarray, centres: np.ndarray, classes: list[int], reach: float = 1.0) -> Annotated:
    particles = Particles(np.asarray(centres, float), np.array(classes), np.full(len(classes), reach), 1.0, 9)
    return Annotated(Tomogram(volume.astype(np.float32), 10.0, "t"), UNSCALED, particles)


def crop_shape(window: int, positions: int) -> CropShape:
    network = build("cryoet3dcnn", {"num_classes": 2, "window": window})
    return CropShape(field(network), lead(network), network.stride, positions)


# windows of an odd number of cells, and a field of an odd number of voxels, have their middle elsewhere
@pytest.mark.parametrize(
    "shape",
    [crop_shape(16, 1), crop_shape(16, 3), crop_shape(24, 2), CropShape(field=21, lead=10, stride=4, positions=3)],
    ids=["window 16, 1 position", "window 16, 3 positions", "window 24, 2 positions", "odd field"],
)
@pytest.mark.parametrize(("axes", "reverse"), ALL)
def test_the_labelled_voxel_is_at_the_score_position_in_all_orientations(shape, axes, reverse):
    rng = np.random.default_rng(1)
    start = (3, 5, 7)
    last = shape.positions - 1
    places = [(0, 0, 0), (0, last, 0), (last, 0, 0)][: 1 + 2 * bool(last)]
    volume = np.zeros((90, 95, 100))
    centres = np.array(start) + shape.lead + shape.stride * np.array(places)
    for i, at in enumerate(centres):
        volume[tuple(at)] = i + 1
    crop = Crop(0, start, axes, reverse, int(rng.integers(99)))
    densities, labels, _ = cut(annotated(volume, centres, list(range(len(places)))), crop, shape)
    assert sorted(labels[labels != 9].tolist()) == list(range(len(places)))
    for name in range(len(places)):
        (position,) = np.argwhere(labels == name)
        assert densities[tuple(shape.lead + shape.stride * position)] == name + 1
    assert densities.shape == (shape.edge,) * 3


def test_orientations_turn_the_whole_crop():
    volume = np.random.default_rng(0).normal(size=(50, 50, 50))
    source = annotated(volume, np.array([[20.0, 20, 20]]), [0])
    plain, *_ = cut(source, Crop(0, (4, 4, 4), *AS_IT_IS, 0), SHAPE)
    # the plane before the first is lost when an axis is reversed: compare what both see
    reversed_x, *_ = cut(source, Crop(0, (4, 4, 4), (0, 1, 2), (False, False, True), 0), SHAPE)
    assert np.array_equal(reversed_x[:, :, 1:], plain[:, :, :0:-1])
    swapped, *_ = cut(source, Crop(0, (4, 4, 4), (0, 2, 1), (False, False, False), 0), SHAPE)
    assert np.array_equal(swapped, plain.transpose(0, 2, 1))


@pytest.mark.parametrize(("axes", "reverse"), ALL[::7])
@pytest.mark.parametrize("inside", [False, True])
def test_a_posed_crop_shows_its_particles_where_its_labels_say(axes, reverse, inside):
    shape = CropShape(field=2, lead=0, stride=2, positions=24, inside=inside)
    rng = np.random.default_rng(3)
    centres = np.array([[40.0, 42, 60], [52, 66, 48], [60, 50, 72]])
    grid = np.stack(np.meshgrid(*[np.arange(n) for n in (100, 110, 120)], indexing="ij"), axis=-1)
    volume = sum((i + 1) * np.exp(-((grid - c) ** 2).sum(-1) / 8) for i, c in enumerate(centres))
    for _ in range(3):
        pose = random_pose(Augmentation(turn=180, lean=20, scale=0.1), np.random.default_rng(rng.integers(99)))
        assert pose is None or np.isclose(abs(np.cbrt(np.linalg.det(pose)) - 1), 0, atol=0.1)
        crop = Crop(0, (30, 31, 35), axes, reverse, 0, pose)
        densities, labels, _ = cut(annotated(volume, centres, [0, 1, 2], reach=3.0), crop, shape)
        for name in range(3):
            found = np.argwhere(labels == name)
            if len(found):
                # its peak, of another height each, lies in the middle of the positions that are labelled with it
                near = densities[tuple(slice(max(0, 2 * low - 4), 2 * high + 5) for low, high in _bounds(found))]
                assert near.max() == pytest.approx(name + 1, rel=0.35)
                at = np.argwhere(densities == near.max())[0]
                assert np.linalg.norm(at - 2 * found.mean(axis=0)) < 2


def _bounds(found: np.ndarray) -> np.ndarray:
    return np.stack([found.min(axis=0), found.max(axis=0)], axis=1)


def test_the_pose_of_none_and_of_unity_are_the_same_crop():
    volume = np.random.default_rng(0).normal(size=(60, 70, 80))
    source = annotated(volume, np.array([[30.0, 30, 30]]), [0], reach=3.0)
    shape = CropShape(field=2, lead=0, stride=2, positions=16, inside=True)
    for reverse in [(False, False, False), (True, False, True)]:
        for start in [(10, 12, 14), (-8, 50, 60)]:
            plain = cut(source, Crop(0, start, (0, 1, 2), reverse, 0), shape)
            posed = cut(source, Crop(0, start, (0, 1, 2), reverse, 0, np.eye(3)), shape)
            np.testing.assert_allclose(plain[0], posed[0], atol=1e-5)
            assert np.array_equal(plain[1], posed[1])


@pytest.mark.parametrize("start", [(-30, -5, 2), (15, 28, 40), (-100, 0, 100)])
def test_beyond_its_borders_a_tomogram_is_mirrored(start):
    volume = np.random.default_rng(0).normal(size=(12, 30, 40)).astype(np.float32)
    padded = np.pad(volume, 150, mode="reflect")
    z, y, x = (150 + s for s in start)
    densities, *_ = cut(annotated(volume, np.zeros((1, 3)), [0]), Crop(0, start, *AS_IT_IS, 0), SHAPE)
    assert np.array_equal(densities, padded[z : z + SHAPE.edge, y : y + SHAPE.edge, x : x + SHAPE.edge])


def test_each_crop_of_an_epoch_shows_its_particle_where_its_label_is():
    """From sampling to tensors: a particle of class k is painted with the value k + 1 within its reach."""
    rng = np.random.default_rng(3)
    corners = np.stack(np.meshgrid(*[[0, 20, 40]] * 3, indexing="ij"), axis=-1).reshape(-1, 3)
    centres = corners + rng.uniform(0, 8, (27, 3))
    classes = rng.integers(0, 3, 27)
    volume = np.zeros((50, 50, 50))
    grid = np.stack(np.meshgrid(*[np.arange(50)] * 3, indexing="ij"), axis=-1)
    for centre, k in zip(centres, classes, strict=True):
        volume[np.linalg.norm(grid - centre, axis=-1) <= 3] = k + 1
    source = annotated(volume, centres, classes.tolist(), reach=3.0)
    recipe = Recipe(augmentation=Augmentation(rotations="all"))
    crops = Sampler([(50, 50, 50)], [source.particles], SHAPE, recipe).epoch(0)
    seen = []
    for densities, labels, *_ in CropDataset([source], crops, SHAPE):
        at = [SHAPE.lead, SHAPE.lead + SHAPE.stride]
        values = densities[0][np.ix_(at, at, at)]
        certain = (labels >= 0) & (labels < 3)
        assert torch.equal(values[certain], labels[certain].float() + 1)
        # beyond the tomogram there are mirrored particles, which nobody annotated
        seen += labels[certain].tolist()
    assert len(seen) >= 27


def test_densities_are_scaled_and_cut():
    volume = np.full((40, 40, 40), 5.0)
    volume[20, 20, 20] = 105.0
    particles = annotated(volume, np.array([[20.0, 20, 20]]), [0]).particles
    source = Annotated(Tomogram(volume.astype(np.float32), 10.0, "t"), Scaling(5.0, 10.0, 6.0), particles)
    densities, *_ = cut(source, Crop(0, (0, 0, 0), *AS_IT_IS, 0), SHAPE)
    assert densities[20, 20, 20] == 6.0
    assert densities[0, 0, 0] == 0.0


def test_a_crop_is_the_same_each_time_it_is_asked_for():
    volume = np.random.default_rng(0).normal(size=(40, 40, 40))
    source = annotated(volume, np.array([[20.0, 20, 20]]), [0])
    crops = Sampler([(40, 40, 40)], [source.particles], SHAPE, Recipe()).epoch(0)
    data = CropDataset([source], crops, SHAPE)
    first = [data[i][0] for i in range(len(data))]
    again = [data[i][0] for i in reversed(range(len(data)))][::-1]
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))


def test_each_crop_says_what_its_background_may_be():
    volume = np.random.default_rng(0).normal(size=(40, 40, 40))
    whole = annotated(volume, np.array([[20.0, 20, 20]]), [0])
    part = replace(whole, particles=replace(whole.particles, missing=(2, 5)))
    crops = [Crop(run, (4, 4, 4), *AS_IT_IS, 0) for run in (0, 1)]
    possible = [np.flatnonzero(p).tolist() for *_, p, _ in CropDataset([whole, part], crops, SHAPE)]
    assert possible == [[9], [2, 5, 9]]


def test_each_crop_shows_one_of_the_reconstructions_with_its_own_scaling():
    volume = np.random.default_rng(0).normal(size=(40, 40, 40)).astype(np.float32)
    first = annotated(volume, np.array([[20.0, 20, 20]]), [0])
    other = Tomogram(np.float32(3) * volume + np.float32(50), 10.0, "t", "denoised")
    both = replace(first, others=((other, Scaling(50.0, -3.0, 1e9)),))
    crops = [Crop(0, (4, 4, 4), *AS_IT_IS, seed) for seed in range(60)]
    plain, labels, _ = cut(first, crops[0], SHAPE)
    shown = []
    for crop in crops:
        densities, right, _ = cut(both, crop, SHAPE)
        shown.append(int(np.sign((densities * plain).sum())))
        assert np.allclose(densities, shown[-1] * plain, atol=1e-4)
        assert np.array_equal(right, labels)
    assert shown.count(1) + shown.count(-1) == 60
    assert 15 < shown.count(-1) < 45
    assert shown == [int(np.sign((cut(both, crop, SHAPE)[0] * plain).sum())) for crop in crops]


def test_copies_share_the_tomogram():
    source = annotated(np.zeros((40, 40, 40)), np.array([[20.0, 20, 20]]), [0])
    assert copy.deepcopy([source])[0].tomogram is source.tomogram
