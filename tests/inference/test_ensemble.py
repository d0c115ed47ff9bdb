"""Several models as one: known means of calibrated maps on one grid, and picks from them."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
from hand_set import Pointwise, bent, hand_set
from scipy.interpolate import RegularGridInterpolator

from tomopick.errors import DataError, TomopickError
from tomopick.inference import passes
from tomopick.inference.engine import score_map
from tomopick.inference.ensemble import Ensemble
from tomopick.inference.picking import pick
from tomopick.tomogram import Tomogram

GAINS = (1.0, -2.0, 0.0)
SHAPE = (13, 18, 22)


def noise(shape: tuple[int, int, int] = SHAPE, spacing: float = 10.0) -> Tomogram:
    return Tomogram(np.random.default_rng(0).normal(3.0, 20.0, shape).astype(np.float32), spacing, "t")


def by_hand(array: np.ndarray, *calibrations: object) -> np.ndarray:
    """The classes of a map, each through its calibration, or as they are."""
    return np.stack([a if c is None else c.apply(a) for a, c in zip(array, calibrations, strict=True)])


def test_maps_are_calibrated_by_object_and_averaged_by_weight():
    one = hand_set(Pointwise(GAINS), calibration={"a": bent(0.1), "b": bent(0.3, 0.6)})
    other = hand_set(Pointwise((-1.0, 2.0, 0.5)), calibration={"b": bent(0.7)})
    first = by_hand(score_map(one, noise()).array, bent(0.1), bent(0.3, 0.6), None)
    second = by_hand(score_map(other, noise()).array, None, bent(0.7), None)
    for weights, shares in ((None, (0.5, 0.5)), ((2, 1), (2 / 3, 1 / 3)), ((0.1, 0.9), (0.1, 0.9))):
        found = Ensemble.of([one, other], weights).score_map(noise())
        np.testing.assert_allclose(found.array, shares[0] * first + shares[1] * second, atol=1e-6)
    assert (found.stride, found.spacing, found.objects, found.name) == (4, 10.0, ("a", "b"), "t")


def test_objects_are_matched_by_name():
    one = hand_set(Pointwise(GAINS), ("a", "b"), calibration={"a": bent(0.1)})
    same = hand_set(Pointwise((-2.0, 1.0, 0.0)), ("b", "a"), calibration={"a": bent(0.1)})
    found = Ensemble.of([one, same]).score_map(noise())
    np.testing.assert_allclose(found.array, Ensemble.of([one, one]).score_map(noise()).array, atol=1e-6)


@pytest.mark.parametrize(("spacing", "own"), [(10.0, 10.0), (10.012, 10.0), (20.0, 20.0)])
@pytest.mark.parametrize("turned_round", [False, True])
def test_a_coarser_map_is_interpolated_between_the_points_that_it_has(spacing, own, turned_round):
    fine = hand_set(Pointwise(GAINS, stride=2), spacing=own)
    coarse = hand_set(Pointwise((-1.0, 2.0, 0.5), stride=8), spacing=own)
    tomogram = noise(spacing=spacing)
    maps = score_map(fine, tomogram).array, score_map(coarse, tomogram, 4).array
    known = [4 * np.arange(n) for n in maps[1].shape[1:]]
    points = np.stack(np.meshgrid(*[2 * np.arange(n) for n in maps[0].shape[1:]], indexing="ij"), axis=-1)
    between = np.minimum(points, [k[-1] for k in known])  # beyond its last point the last value goes on
    expected = np.stack([RegularGridInterpolator(known, part)(between) for part in maps[1]])
    models = [coarse, fine] if turned_round else [fine, coarse]
    found = Ensemble.of(models).score_map(tomogram)
    assert (found.stride, found.spacing) == (2, spacing)
    np.testing.assert_allclose(found.array, (maps[0] + expected) / 2, atol=1e-5)
    np.testing.assert_allclose(found.array[:, ::2, ::2, ::2], (maps[0][:, ::2, ::2, ::2] + maps[1]) / 2, atol=1e-5)


def ball(xyz: np.ndarray, spacing: float = 10.0, shape: tuple[int, int, int] = (48, 56, 52)) -> Tomogram:
    """A Gaussian of 40 A deviation at this place (A)."""
    grid = np.stack(np.meshgrid(*[np.arange(n) * spacing for n in shape], indexing="ij"), axis=-1)
    squared = ((grid - xyz[::-1]) ** 2).sum(axis=-1)
    return Tomogram(np.exp(-squared / (2 * 40.0**2)).astype(np.float32), spacing, "t")


# places that are points of both grids, for between them the coarser one pulls
@pytest.mark.parametrize(
    ("spacings", "place"),
    [((10, 20), (240, 320, 160)), ((20, 10), (240, 320, 160)), ((8, 13), (208, 416, 208)), ((13, 8), (208, 416, 208))],
)
def test_models_of_two_voxel_spacings_see_a_particle_in_one_place(spacings, place):
    models = [hand_set(Pointwise((0.5, 0.0), stride=2), ("a",), spacing=s) for s in spacings]
    found = pick(models, ball(np.array(place)), floor=0.8)
    assert found.objects == ["a"]
    assert len(found) == 1
    assert np.abs(found.xyz()[0] - place).max() < 2


def test_no_more_than_two_maps_and_a_slab_are_held_at_once(monkeypatch):
    monkeypatch.setattr(passes, "POSITIONS", 2**12)
    names = tuple("abcdefghijklmnop")
    models = [hand_set(Pointwise([0.1 * i for i in range(17)], 2), names, calibration={"a": bent(0.2)}) for _ in "xyz"]
    tomogram = noise((64, 64, 64))
    tracemalloc.start()
    try:
        found = Ensemble.of(models).score_map(tomogram, augment=2)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 2.5 * found.array.nbytes


def test_the_score_and_place_of_a_pick_are_those_of_the_mean():
    volume = np.zeros((24, 24, 24), np.float32)
    volume[8, 12, 16] = 1
    scaling = {"method": "standard", "clip": 8.0}
    models = [
        hand_set(Pointwise((gain, 0.0, 0.0)), calibration={"a": bent(middle)}, normalisation=scaling)
        for gain, middle in ((1.0, 0.1), (0.1, 0.2))
    ]
    maps = [score_map(m, Tomogram(volume, 10.0, "t")).array[0, 2, 3, 4] for m in models]
    expected = 0.75 * bent(0.1).apply(maps[0]) + 0.25 * bent(0.2).apply(maps[1])
    found = pick(models, Tomogram(volume, 10.0, "t"), weights=(3, 1), floor=0.4)
    assert found.objects == ["a"]
    np.testing.assert_allclose(found.xyz(), [[160.0, 120.0, 80.0]], atol=1e-3)
    assert found.scores() == pytest.approx([expected], rel=1e-5)


def test_floors_are_weighted_means_on_the_calibrated_scale():
    gains = (0.4, -0.6, 0.0)
    one, other = (hand_set(Pointwise(gains), calibration={"a": bent(middle)}) for middle in (0.1, 0.4))
    assert Ensemble.of([one, other], (2, 1)).floors(0.5) == pytest.approx({"a": 0.2, "b": 0.5})
    found = pick([one, other], noise(), weights=(2, 1), stride=2, floor=0.5)
    lower = pick([one, other], noise(), weights=(2, 1), stride=2, floor=0.4)
    for name, least in (("a", 0.2), ("b", 0.5)):
        assert 0 < len(found.where(name=name)) < len(lower.where(name=name))
        assert found.where(name=name).scores().min() >= least
        assert lower.where(name=name).scores().min() < least


def test_thresholds_are_weighted_means_of_the_models_own():
    spec = {"calibration": {"a": bent(0.1)}, "thresholds": {}}
    every = pick([hand_set(Pointwise(GAINS), **spec)] * 2, noise(), stride=2)
    least = {name: float(np.median(every.where(name=name).scores())) for name in ("a", "b")}
    one, other = (
        hand_set(Pointwise(GAINS), **spec | {"thresholds": {n: t + away for n, t in least.items()}})
        for away in (-0.1, 0.2)
    )
    kept = pick([one, other], noise(), weights=(2, 1), stride=2)
    for name in ("a", "b"):
        expected = every.where(name=name, min_score=least[name] - 1e-6)
        assert 0 < len(expected) < len(every.where(name=name))
        np.testing.assert_allclose(kept.where(name=name).xyz(), expected.xyz(), atol=1e-3)


def test_a_model_without_a_threshold_counts_with_its_floor():
    one = hand_set(Pointwise(GAINS), calibration={"a": bent(0.1)}, thresholds={"a": 0.3, "b": 0.8})
    other = hand_set(Pointwise(GAINS), calibration={"a": bent(0.4)}, thresholds={"a": 0.6})
    assert Ensemble.of([one, other], (2, 1)).thresholds(0.5) == pytest.approx({"a": 0.4, "b": 0.7})


def test_a_model_twice_is_the_model_and_a_list_of_one_too():
    model = hand_set(Pointwise(GAINS), thresholds={"a": 0.6})
    alone = pick(model, noise(), stride=2, dtype="fp32")
    assert len(alone) > 5
    assert pick([model], noise(), stride=2, dtype="fp32", weights=[7]).table.equals(alone.table)
    twice = pick([model, model], noise(), stride=2, dtype="fp32")
    np.testing.assert_allclose(twice.xyz(), alone.xyz(), atol=1e-3)
    np.testing.assert_allclose(twice.scores(), alone.scores(), atol=1e-6)


def test_an_expected_precision_is_that_of_the_mean_scores():
    models = [hand_set(Pointwise(GAINS), calibration={"a": bent(m, 0.9), "b": bent(m)}) for m in (0.1, 0.3)]
    every = pick(models, noise(), stride=2)
    for name in ("a", "b"):
        all_of_it = every.where(name=name).scores()
        wanted = (all_of_it.mean() + all_of_it.max()) / 2
        scores = pick(models, noise(), stride=2, expected_precision=wanted).where(name=name).scores()
        assert 0 < len(scores) < len(all_of_it)
        assert scores.mean() >= wanted
        assert all_of_it[all_of_it >= all_of_it[all_of_it < scores.min()].max()].mean() < wanted
    raw = hand_set(Pointwise(GAINS), name="raw", calibration={"a": bent(0.2)})
    with pytest.raises(DataError, match="'raw' are not calibrated for b"):
        pick([*models, raw], noise(), expected_precision=0.9)


def test_augmentation_is_each_models_own():
    gains = (GAINS, (-1.0, 2.0, 0.5))
    models = [hand_set(Pointwise(g, blur=0.3), calibration={"a": bent(0.2)}) for g in gains]
    plain = Ensemble.of(models).score_map(noise()).array
    told: list[float] = []
    found = Ensemble.of(models).score_map(noise(), augment=3, progress=told.append).array
    np.testing.assert_allclose(found, plain, atol=1e-5)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)
    fewer = hand_set(
        Pointwise(GAINS), name="fewer", provenance={"recipe": {"augmentation": {"flips": False, "rotations": "z"}}}
    )
    with pytest.raises(DataError, match="'fewer' turned crops in 4 ways"):
        pick([*models, fewer], noise(), augment=8)


@pytest.mark.parametrize(
    ("names", "weights", "told"),
    [
        (("a", "c"), None, "only 'm' finds b; only 'other' finds c"),
        (("a",), None, "the same objects: only 'm' finds b$"),
        (("a", "b", "c"), None, "the same objects: only 'other' finds c$"),
        (("a", "b"), (1,), "1 weights for 2 models"),
        (("a", "b"), (1, 2, 3), "3 weights for 2 models"),
        (("a", "b"), (), "0 weights for 2 models"),
        (("a", "b"), (1, 0), "weights 1, 0 are not all numbers above 0"),
        (("a", "b"), (1, float("nan")), "weights 1, nan"),
    ],
)
def test_models_and_weights_that_do_not_go_together_are_refused(names, weights, told):
    other = hand_set(Pointwise([1.0] * (len(names) + 1)), names, name="other")
    with pytest.raises(DataError, match=told):
        pick([hand_set(Pointwise(GAINS)), other], noise(), weights=weights)


def test_no_models_and_a_stride_that_fits_only_one_are_refused():
    with pytest.raises(DataError, match="no models"):
        pick([], noise())
    with pytest.raises(TomopickError, match="stride 4 does not fit this network; choose 2, 1"):
        pick([hand_set(Pointwise(GAINS, 4)), hand_set(Pointwise(GAINS, 2))], noise(), stride=4)
