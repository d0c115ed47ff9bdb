"""From score maps to picks: painted peaks come back where they were, once each, with their score."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.spatial import cKDTree
from scipy.spatial.distance import pdist

from tomopick.errors import DataError
from tomopick.inference.peaks import CROWDING, FLOOR, find_peaks, inside, likelier
from tomopick.inference.scoremap import ScoreMap
from tomopick.objects import ParticleObject
from tomopick.picks import Picks

SMALL = ParticleObject(name="small", radius=60, label=1)
LARGE = ParticleObject(name="large", radius=150, label=2)
OBJECTS = (SMALL, LARGE)
SPACING = 10.0
Peak = tuple[str, tuple[float, float, float], float]


def painted(
    peaks: list[Peak], stride: int = 4, grid: tuple[int, int, int] = (20, 22, 24), offset: float = 0.0
) -> ScoreMap:
    """A map with Gaussians of four voxels' deviation: (object, xyz in Angstrom, height)."""
    array = np.zeros((3, *grid))
    voxels = np.stack(np.meshgrid(*[np.arange(n) * stride + offset for n in grid], indexing="ij"), axis=-1)
    for name, xyz, height in peaks:
        squared = ((voxels - np.array(xyz[::-1]) / SPACING) ** 2).sum(axis=-1)
        index = [o.name for o in OBJECTS].index(name)
        array[index] = np.maximum(array[index], height * np.exp(-squared / (2 * 4.0**2)))
    array[2] = 1 - array[:2].sum(axis=0)
    names = tuple(o.name for o in OBJECTS)
    return ScoreMap(array.astype(np.float32), stride, (offset, offset, offset), SPACING, names, "run")


def random_map(seed: int, stride: int = 4) -> ScoreMap:
    array = np.random.default_rng(seed).dirichlet([0.3, 0.3, 1.0], size=(9, 10, 11)).transpose(3, 0, 1, 2)
    return ScoreMap(array.astype(np.float32), stride, (0, 0, 0), SPACING, ("small", "large"), "run")


@pytest.mark.parametrize("stride", [2, 4, 8])
def test_places_between_grid_points_are_found_within_a_quarter_of_a_grid_step(stride):
    rng = np.random.default_rng(0)
    grid = tuple(int(n) for n in np.array([80, 88, 96]) // stride)
    for _ in range(20):
        truth = rng.uniform(200, 550, 3)
        found = find_peaks(painted([("small", tuple(truth), 0.9)], stride, grid), OBJECTS)
        assert len(found) == 1
        assert np.abs(found.xyz()[0] - truth).max() < 0.25 * stride * SPACING


def test_the_offset_of_the_map_counts():
    at = (320.0, 310.0, 330.0)
    found = find_peaks(painted([("small", at, 0.9)], offset=3.5), OBJECTS)
    assert np.linalg.norm(found.xyz()[0] - at) < 10


@pytest.mark.parametrize("corner", [(0, 0, 0), (920, 840, 760), (920, 0, 400)])
def test_a_peak_at_the_border_is_found(corner):
    found = find_peaks(painted([("small", corner, 0.9)]), OBJECTS)
    assert len(found) == 1
    assert np.linalg.norm(found.xyz()[0] - corner) < 30


def test_the_score_is_the_value_of_the_map_at_its_maximum():
    found = find_peaks(painted([("small", (400, 320, 280), 0.625), ("large", (800, 600, 600), 0.875)]), OBJECTS)
    assert found.where(name="small").scores().tolist() == [0.625]
    assert found.where(name="large").scores().tolist() == [0.875]
    assert found.runs == ["run"]


def test_two_of_an_object_are_told_apart_beyond_the_excluded_distance_only():
    apart, together = 1.4 * LARGE.radius, 0.7 * LARGE.radius
    for distance, count in ((apart, 2), (together, 1)):
        peaks = [("large", (320.0, 400.0, 400.0), 0.9), ("large", (320.0 + distance, 400.0, 400.0), 0.7)]
        found = find_peaks(painted(peaks), OBJECTS)
        assert len(found) == count
        assert found.scores().max() == pytest.approx(0.9)


def test_crowding_sets_the_excluded_distance():
    peaks = [("large", (320.0, 400.0, 400.0), 0.9), ("large", (520.0, 400.0, 400.0), 0.7)]
    assert len(find_peaks(painted(peaks), OBJECTS, crowding=0.8)) == 2
    assert len(find_peaks(painted(peaks), OBJECTS, crowding=1.5)) == 1


@pytest.mark.parametrize("winner", ["small", "large"])
def test_two_objects_in_one_place_are_both_found_and_the_likelier_is_one_of_them(winner):
    scores = {"small": 0.4, "large": 0.4, winner: 0.5}
    at = (400.0, 400.0, 400.0)
    found = find_peaks(painted([(name, at, score) for name, score in scores.items()]), OBJECTS)
    assert sorted(found.objects) == ["large", "small"]
    assert likelier(found, OBJECTS).objects == [winner]


def test_two_objects_exclude_each_other_within_the_smaller_radius_and_in_the_same_run():
    near = CROWDING * SMALL.radius
    for distance, names in ((near - 1, ["large"]), (near + 1, ["large", "small"])):
        picks = Picks.join(
            [Picks.of("a", "small", [[400 + distance, 400, 400]], 0.4), Picks.of("a", "large", [[400, 400, 400]], 0.6)]
        )
        assert sorted(likelier(picks, OBJECTS).objects) == names
    apart = Picks.join([Picks.of("a", "small", [[400, 400, 400]], 0.4), Picks.of("b", "large", [[400, 400, 400]], 0.6)])
    assert len(likelier(apart, OBJECTS)) == 2
    assert len(likelier(Picks.empty(), OBJECTS)) == 0


def test_the_likelier_keep_their_columns_and_no_more_than_the_best_of_a_crowd():
    # the middle one, excluded by the first, excludes nothing: the third stays
    row = [("small", 0.0, 0.9), ("large", 0.6, 0.8), ("small", 1.2, 0.7)]
    picks = Picks.join(Picks.of("a", name, [[x * SMALL.radius, 0, 0]], score) for name, x, score in row)
    assert likelier(picks, OBJECTS).scores().tolist() == [0.9, 0.7]


def test_thresholds_are_those_of_each_object():
    peaks = [("small", (200, 400, 400), 0.5), ("large", (600, 400, 400), 0.5)]
    assert find_peaks(painted(peaks), OBJECTS, {"small": 0.6}).objects == ["large"]
    assert find_peaks(painted(peaks), OBJECTS, {"small": 0.5, "large": 0.51}).objects == ["small"]


def test_nothing_below_the_floor_is_found():
    low = painted([("small", (400, 400, 400), 0.9 * FLOOR)])
    assert len(find_peaks(low, OBJECTS)) == 0
    assert len(find_peaks(low, OBJECTS, {"small": 0.0})) == 0
    assert len(find_peaks(low, OBJECTS, floor=0.01)) == 1


def test_an_empty_map_gives_no_picks():
    found = find_peaks(painted([]), OBJECTS)
    assert len(found) == 0
    assert found.objects == []


def test_a_plateau_is_one_pick_in_its_middle():
    scores = painted([])
    scores.array[0, 8:11, 8:11, 8:11] = 1.0
    found = find_peaks(scores, (SMALL.model_copy(update={"radius": 200.0}), LARGE))
    assert len(found) == 1
    assert found.scores().tolist() == [1.0]


@settings(deadline=None, max_examples=20)
@given(seed=st.integers(0, 10**6), stride=st.sampled_from([2, 4, 8]), crowding=st.floats(0.3, 1.5))
def test_picks_keep_their_distance_and_take_their_scores_from_the_map(seed, stride, crowding):
    scores = random_map(seed, stride)
    found = find_peaks(scores, OBJECTS, crowding=crowding)
    for index, obj in enumerate(OBJECTS):
        mine = found.where(name=obj.name)
        if len(mine) > 1:
            assert pdist(mine.xyz()).min() >= crowding * obj.radius - 1e-6
        assert np.isin(mine.scores().astype(np.float32), scores.array[index]).all()
        assert (mine.scores() >= FLOOR).all()
    small, large = (likelier(found, OBJECTS, crowding=crowding).where(name=o.name) for o in OBJECTS)
    if len(small) and len(large):
        distance, _ = cKDTree(large.xyz()).query(small.xyz())
        assert distance.min() >= crowding * SMALL.radius - 1e-6


@settings(deadline=None, max_examples=10)
@given(seed=st.integers(0, 10**6))
def test_the_best_of_the_map_is_always_picked_and_picks_lie_in_the_map(seed):
    scores = random_map(seed)
    found = find_peaks(scores, OBJECTS)
    assert found.scores().max() == pytest.approx(scores.array[:2].max())
    last = (np.array(scores.array.shape[:0:-1]) - 1) * scores.stride * SPACING
    assert (found.xyz() >= 0).all()
    assert (found.xyz() <= last).all()


SHAPE = (20, 30, 40)
CORNERS = Picks.of("run", "o", [[0, 0, 0], [390, 290, 190], [200, 150, 100], [391, 0, 0], [-1, 0, 0]], [1, 2, 3, 4, 5])


def test_picks_outside_a_tomogram_are_dropped():
    assert inside(CORNERS, SHAPE, SPACING).scores().tolist() == [1, 2, 3]


def test_picks_within_a_border_are_dropped():
    assert inside(CORNERS, SHAPE, SPACING, border=50).scores().tolist() == [3]
    assert len(inside(CORNERS, SHAPE, SPACING, border=96)) == 0


def test_picks_outside_a_mask_are_dropped():
    mask = np.zeros(SHAPE, np.uint8)
    mask[10, 15, 20] = mask[0, 0, 0] = 1
    assert inside(CORNERS, SHAPE, SPACING, mask).scores().tolist() == [1, 3]
    near = Picks.of("run", "o", [[204.9, 150, 100], [205.1, 150, 100]], [1, 2])
    assert inside(near, SHAPE, SPACING, mask).scores().tolist() == [1]


def test_a_mask_of_another_shape_is_refused():
    with pytest.raises(DataError, match=r"mask has shape \(40, 30, 20\)"):
        inside(CORNERS, SHAPE, SPACING, np.ones(SHAPE[::-1]))


def test_no_picks_are_inside_too():
    assert len(inside(Picks.empty(), SHAPE, SPACING, np.ones(SHAPE))) == 0
