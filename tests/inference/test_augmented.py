"""Test-time augmentation: however a tomogram is turned, each score stands for the voxel that it is put on."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hand_set import EVERY_WAY, Padded, Pointwise, hand_set

from tomopick.errors import DataError
from tomopick.inference import passes
from tomopick.inference.engine import score_map
from tomopick.inference.picking import pick
from tomopick.models.modelfile import Model
from tomopick.models.registry import build
from tomopick.recipe import Augmentation
from tomopick.symmetry import orientations, turned
from tomopick.tomogram import Tomogram

GAINS = (1.0, -2.0, 0.0)


def noise(shape: tuple[int, int, int]) -> Tomogram:
    return Tomogram(np.random.default_rng(0).normal(3.0, 20.0, shape).astype(np.float32), 10.0, "t")


# 48 are all symmetries of the cube: none may shift a score
@pytest.mark.parametrize("shape", [(9, 13, 17), (8, 11, 14), (10, 7, 5), (1, 2, 30)])
@pytest.mark.parametrize(("own", "stride"), [(4, 4), (4, 2), (4, 1)])
def test_a_network_that_sees_alike_from_all_sides_gives_the_same_map_turned_or_not(own, stride, shape):
    model, tomogram = hand_set(Pointwise(GAINS, own, blur=0.3)), noise(shape)
    plain = score_map(model, tomogram, stride)
    found = score_map(model, tomogram, stride, augment=48)
    assert plain.array[0].std() > 0.1
    np.testing.assert_allclose(found.array, plain.array, atol=2e-6)
    assert (found.stride, found.offset, found.spacing) == (plain.stride, plain.offset, plain.spacing)


@pytest.mark.parametrize("shape", [(17, 21, 33), (18, 20, 26)])
@pytest.mark.parametrize("edge", [16, 320])
def test_a_network_that_pads_gives_the_same_map_but_where_it_pads(edge, shape, monkeypatch):
    monkeypatch.setattr(passes, "PADDED_TILE", edge)
    model, tomogram = hand_set(Padded(GAINS, blur=0.3)), noise(shape)
    inner = (slice(None), *[slice(1, -1)] * 3)
    plain = score_map(model, tomogram).array[inner]
    assert plain[0].std() > 0.1
    np.testing.assert_allclose(score_map(model, tomogram, augment=48).array[inner], plain, atol=2e-6)


def lopsided() -> Model:
    """A network of random weights, which sees each orientation differently."""
    torch.manual_seed(1)
    network = build("cryoet3dcnn", {"num_classes": 3, "window": 16})
    network.classifier[3].weight.data.mul_(30)
    return hand_set(network)


@pytest.mark.parametrize(("rotations", "flips"), [("tilt-axis", True), ("z", False), ("all", True)])
def test_it_is_the_mean_over_the_first_orientations_that_training_saw(rotations, flips):
    ways = orientations(Augmentation(rotations=rotations, flips=flips))
    seen = {"recipe": {"augmentation": {"flips": flips, "rotations": rotations}}}
    model = lopsided()
    model = Model(model.network, model.spec.model_copy(update={"provenance": seen}))
    # a multiple of 8 and one more: then the turned volume's own grid is the volume's
    volume = noise((9, 9, 17))[:, :, :]
    maps = []
    for way in ways[:4]:
        scores = score_map(model, Tomogram(turned(volume, way).copy(), 10.0, "t"), 8).array
        points = turned(np.arange(2 * 2 * 3).reshape(2, 2, 3), way).ravel()
        back = np.empty((3, 12), np.float32)
        back[:, points] = scores.reshape(3, -1)
        maps.append(back.reshape(3, 2, 2, 3))
    assert np.std(maps, axis=0).max() > 0.02
    found = score_map(model, Tomogram(volume, 10.0, "t"), 8, augment=4).array
    np.testing.assert_allclose(found, np.mean(maps, axis=0), atol=1e-5)
    assert found.sum(axis=0) == pytest.approx(1.0, abs=1e-5)


def test_one_orientation_is_the_tomogram_as_it_is():
    model, tomogram = lopsided(), noise((9, 9, 17))
    assert np.array_equal(score_map(model, tomogram, 8, augment=1).array, score_map(model, tomogram, 8).array)


def test_picks_of_an_augmented_map_are_where_they_were():
    volume = np.zeros((30, 34, 38), np.float32)
    volume[12, 20, 8] = volume[20, 7, 28] = 1
    model = hand_set(Pointwise((1.0, 0.0, 1.0), 4, blur=0.5), normalisation={"method": "standard", "clip": 8})
    plain, found = (pick(model, Tomogram(volume, 10.0, "t"), stride=1, floor=0.4, augment=n) for n in (1, 24))
    assert len(plain) == 2
    np.testing.assert_allclose(found.xyz(), plain.xyz(), atol=1e-3)
    np.testing.assert_allclose(found.scores(), plain.scores(), atol=1e-6)


def test_progress_rises_to_one():
    told: list[float] = []
    score_map(hand_set(Pointwise(GAINS)), noise((9, 9, 9)), 2, augment=3, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


@pytest.mark.parametrize(("rotations", "flips", "most"), [("none", False, 1), ("z", False, 4), ("tilt-axis", True, 8)])
def test_no_more_orientations_than_training_saw(rotations, flips, most):
    seen = {"recipe": {"augmentation": {"flips": flips, "rotations": rotations, "noise": 0.3}}}
    model = hand_set(Pointwise(GAINS), name="mine", provenance=seen)
    score_map(model, noise((5, 5, 5)), augment=most)
    for count in (most + 1, 0, -1):
        with pytest.raises(DataError, match=f"'mine' turned crops in {most} ways.*not {count}"):
            pick(model, noise((5, 5, 5)), augment=count)


@pytest.mark.parametrize(
    "told", [{}, {"recipe": None}, {"recipe": {"augmentation": {}}}, {"recipe": {"augmentation": EVERY_WAY}}]
)
def test_a_model_that_does_not_tell_its_augmentation_is_used_as_it_is(told):
    model = hand_set(Pointwise(GAINS), provenance=told)
    score_map(model, noise((5, 5, 5)))
    with pytest.raises(DataError, match="does not say how its training turned crops"):
        score_map(model, noise((5, 5, 5)), augment=2)
