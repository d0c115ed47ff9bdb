"""Calibrations: maps that keep the order, refuse nonsense, and thresholds that hold the precision they promise."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from tomopick.calibration import Calibration, calibrated, threshold_for_precision
from tomopick.errors import DataError, ModelFileError
from tomopick.inference.peaks import inside
from tomopick.inference.picking import pick
from tomopick.models.modelfile import Model, ModelSpec, load_model, save_model
from tomopick.models.registry import build
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.tomogram import Tomogram

BALL = ParticleObject(name="ball", radius=50, label=1)
CUBE = ParticleObject(name="cube", radius=50, label=2)
OBJECTS = (BALL, CUBE)
BENT = Calibration(raw=(0.0, 0.5, 1.0), probability=(0.0, 0.1, 0.9))
shares = st.floats(0, 1)


def ball_picks(*scores: float) -> Picks:
    return Picks.of("a", "ball", [[100 * i, 0, 0] for i in range(len(scores))], scores)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_whole_maps_go_straight_between_the_knots(dtype):
    raw = np.array([[[0.0, 0.25], [0.5, 0.75]], [[1.0, -0.5], [1.5, 0.625]]], dtype=dtype)
    found = BENT.apply(raw)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, [[[0, 0.05], [0.1, 0.5]], [[0.9, 0], [0.9, 0.3]]], rtol=1e-6)


@given(knots=st.lists(st.tuples(st.integers(1, 99), st.integers(1, 99)), max_size=20), pair=st.tuples(shares, shares))
def test_a_better_pick_stays_better(knots, pair):
    between = zip(sorted({k[0] for k in knots}), sorted({k[1] for k in knots}), strict=False)
    raw, probability = zip((0, 0), *between, (100, 100), strict=True)
    calibration = Calibration(raw=tuple(r / 100 for r in raw), probability=tuple(p / 100 for p in probability))
    low, high = calibration.apply(np.array(sorted(pair)))
    assert 0 <= low <= high <= 1
    if abs(pair[0] - pair[1]) > 1e-9:
        assert low < high


@pytest.mark.parametrize(
    ("raw", "probability", "told"),
    [
        ([0.0, 1.0], [0.0, 0.5, 1.0], "2 raw scores for 3 probabilities"),
        ([0.0, 0.5, 0.5, 1.0], [0.0, 0.1, 0.2, 1.0], "raw scores must rise"),
        ([0.0, 0.5, 1.0], [0.0, 0.4, 0.4], "probabilities must rise"),
        ([0.0, 1.0], [0.5, 0.1], "probabilities must rise"),
        ([0.0, 1.0], [-0.1, 1.0], "probabilities must lie within"),
        ([0.0, 1.0], [0.0, 1.1], "probabilities must lie within"),
        ([0.0, 2.0], [0.0, 1.0], "raw scores must lie within"),
        ([0.1, 1.0], [0.0, 1.0], "must reach from 0 to 1, not from 0.1 to 1"),
        ([0.0, float("nan"), 1.0], [0.0, 0.5, 1.0], "finite"),
        ([0.0, 1.0], [0.0, float("inf")], "finite"),
        ([0.0], [0.0], "at least 2"),
        ([], [], "at least 2"),
    ],
)
def test_a_map_that_does_not_rise_within_bounds_is_refused(raw, probability, told):
    with pytest.raises(ValidationError, match=told):
        Calibration(raw=raw, probability=probability)


def test_only_calibrated_objects_change_and_only_their_scores():
    turned = Picks.of("b", "ball", [[4, 5, 6]], 0.75, [[1, 2, 3]])
    picks = Picks.join([Picks.of("a", "cube", [[1, 2, 3]], 0.5, [[10, 20, 30]]), turned])
    found = calibrated(picks, {"ball": BENT, "elsewhere": BENT})
    assert found.scores().tolist() == [0.5, 0.5]
    assert found.table.drop(columns="score").equals(picks.table.drop(columns="score"))
    assert picks.scores().tolist() == [0.5, 0.75], "the picks given are left as they were"


def test_the_threshold_is_the_lowest_that_keeps_the_expected_precision():
    # running means from the top: 1, 0.9, 0.8, 0.7, 0.6
    picks = ball_picks(0.2, 1.0, 0.4, 0.8, 0.6)
    for precision, threshold in ((1.0, 1.0), (0.95, 1.0), (0.9, 0.8), (0.75, 0.6), (0.7, 0.4), (0.6, 0.2), (0.1, 0.2)):
        assert threshold_for_precision(picks, [BALL], precision) == {"ball": threshold}


def test_picks_of_one_score_stay_or_go_together():
    # the mean would hold with one of the two at 0.5, but not with both
    assert threshold_for_precision(ball_picks(1.0, 0.5, 0.5), [BALL], 0.7) == {"ball": 1.0}
    assert threshold_for_precision(ball_picks(0.9, 0.9, 0.9), [BALL], 0.9) == {"ball": 0.9}


def test_each_object_has_its_own_and_one_without_good_picks_keeps_none():
    picks = Picks.join([ball_picks(0.9, 0.5), Picks.of("a", "cube", [[0, 0, 0]], 0.6)])
    found = threshold_for_precision(picks, OBJECTS, 0.8)
    assert found == {"ball": 0.9, "cube": 0.8}
    assert len(picks.where(name="cube", min_score=found["cube"])) == 0
    assert threshold_for_precision(Picks.empty(), OBJECTS, 0.8) == {"ball": 0.8, "cube": 0.8}


@given(scores=st.lists(shares, min_size=1, max_size=40), precision=st.floats(0.01, 1))
def test_what_is_kept_is_expected_to_hold_the_precision_and_no_lower_score_would(scores, precision):
    threshold = threshold_for_precision(ball_picks(*scores), [BALL], precision)["ball"]
    values = np.array(scores)
    kept = values[values >= threshold]
    assert len(kept) == 0 or kept.mean() >= precision - 1e-6
    for lower in values[values < threshold]:
        assert values[values >= lower].mean() < precision + 1e-6


@pytest.mark.parametrize("precision", [0, -1, 1.01, float("nan")])
def test_a_precision_that_cannot_be_is_refused(precision):
    with pytest.raises(DataError, match="above 0 and at most 1"):
        threshold_for_precision(Picks.empty(), OBJECTS, precision)


def model_with(**spec: object) -> Model:
    """An untrained network whose scores differ much from place to place."""
    torch.manual_seed(1)
    arguments = {"num_classes": 3, "window": 16}
    network = build("cryoet3dcnn", arguments)
    with torch.no_grad():
        network.classifier[3].weight.mul_(30)
    header = {"architecture": "cryoet3dcnn", "arguments": arguments, "objects": OBJECTS, "spacing": 10.0}
    return Model(network.eval(), ModelSpec.model_validate(header | spec))


@pytest.fixture(scope="module")
def tomogram() -> Tomogram:
    return Tomogram(np.random.default_rng(0).normal(3.0, 20.0, (16, 24, 28)).astype(np.float32), 10.0, "t")


@pytest.fixture(scope="module")
def raw_picks(tomogram) -> Picks:
    return pick(model_with(), tomogram, stride=2, dtype="fp32")


def test_a_calibration_comes_back_from_the_model_file(tmp_path):
    model = model_with(calibration={"ball": BENT})
    save_model(tmp_path / "m.safetensors", model)
    assert load_model(tmp_path / "m.safetensors").spec == model.spec


def test_a_model_file_with_a_calibration_that_falls_is_refused(tmp_path):
    wrong = BENT.model_copy(update={"probability": (0.0, 0.9, 0.1)})
    model = model_with()
    spec = model.spec.model_copy(update={"calibration": {"ball": wrong}})
    save_model(tmp_path / "m.safetensors", Model(model.network, spec))
    with pytest.raises(ModelFileError, match=r"calibration\.ball.*probabilities must rise"):
        load_model(tmp_path / "m.safetensors")


def test_picking_calibrates_and_then_applies_thresholds(tomogram, raw_picks):
    assert set(raw_picks.objects) == {"ball", "cube"}
    whole = calibrated(raw_picks, {"ball": BENT})
    least = float(np.median(whole.where(name="ball").scores()))
    model = model_with(calibration={"ball": BENT}, thresholds={"ball": least})
    found = pick(model, tomogram, stride=2, dtype="fp32")
    expected = Picks.join([whole.where(name="ball", min_score=least), whole.where(name="cube")])
    assert 0 < len(found.where(name="ball")) < len(raw_picks.where(name="ball"))
    assert found.table.equals(expected.table)


def test_an_expected_precision_is_that_of_the_picks_that_come_out(tomogram, raw_picks):
    low = Calibration(raw=(0.0, 0.5, 1.0), probability=(0.0, 0.05, 0.5))
    model = model_with(calibration={"ball": low, "cube": BENT}, thresholds={"ball": 1.0})
    border = 20.0
    found = pick(model, tomogram, stride=2, dtype="fp32", expected_precision=0.3, border=border)
    whole = inside(calibrated(raw_picks, model.spec.calibration), tomogram.shape, tomogram.spacing, border=border)
    assert len(whole) < len(raw_picks)
    for name in ("ball", "cube"):
        kept, all_of_it = found.where(name=name).scores(), whole.where(name=name).scores()
        assert 0 < len(kept) < len(all_of_it)
        assert kept.mean() >= 0.3
        next_lower = all_of_it[all_of_it < kept.min()].max()
        assert all_of_it[all_of_it >= next_lower].mean() < 0.3


def test_no_precision_is_expected_of_scores_that_are_not_calibrated(tomogram):
    with pytest.raises(DataError, match="not calibrated for cube"):
        pick(model_with(calibration={"ball": BENT}), tomogram, expected_precision=0.9)
    with pytest.raises(DataError, match="above 0 and at most 1"):
        pick(model_with(calibration={"ball": BENT, "cube": BENT}), tomogram, expected_precision=90)
