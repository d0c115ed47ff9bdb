"""Reliability: which picks are right, what scores are worth, and fits that hold on picks they have not seen."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import expit, logit

from tomopick.calibration import calibrated, threshold_for_precision
from tomopick.errors import DataError
from tomopick.evaluation import evaluate
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.reliability import (
    error_of_table,
    expected_calibration_error,
    fit_calibration,
    reliability_table,
    reliability_tables,
    right_picks,
)

NAMES = ("ball", "cube", "cone")
OBJECTS = tuple(ParticleObject(name=name, radius=50, label=i + 1) for i, name in enumerate(NAMES))
BALL = OBJECTS[0]
GRID = np.linspace(0.05, 0.999, 200)


def weighted(raw: np.ndarray) -> np.ndarray:
    """A network trained with particles at many times their weight: odds too high throughout."""
    return expit(1.2 * logit(np.clip(raw, 1e-6, 1 - 1e-6)) - 2)


def stepped(raw: np.ndarray) -> np.ndarray:
    """Nothing that a logistic could follow: a plateau, then a rise."""
    return np.interp(raw, [0, 0.3, 0.35, 0.8, 1], [0, 0.05, 0.5, 0.6, 0.97])


def simulated(name: str, count: int, truth_of, seed: int, runs: int = 4) -> tuple[Picks, Picks]:
    """Picks whose chance to be right is known from their raw score, and the true particles under the right ones."""
    rng = np.random.default_rng(seed)
    raw = np.clip(np.where(rng.random(count) < 0.45, rng.beta(6, 1.5, count), rng.beta(0.6, 3, count)), 0.05, 1)
    right = rng.random(count) < truth_of(raw)
    xyz = 200.0 * np.stack([np.arange(count), np.full(count, NAMES.index(name)), np.zeros(count)], axis=1)
    table = pd.DataFrame(xyz, columns=["x", "y", "z"]).assign(
        run=[f"run {i % runs}" for i in range(count)], object=name
    )
    return Picks(table.assign(score=raw)), Picks(table[right])


def joined(parts: list[tuple[Picks, Picks]]) -> tuple[Picks, Picks]:
    return Picks.join([p for p, _ in parts]), Picks.join([t for _, t in parts])


def mean_error(calibration, truth_of) -> float:
    """Mean distance of a calibration from the true probability, over picks as they come."""
    raw = simulated("ball", 4000, truth_of, seed=99)[0].scores()
    return float(np.abs(calibration.apply(raw) - truth_of(raw)).mean())


def test_the_best_scored_pick_of_a_particle_is_right_and_its_duplicates_are_not():
    truth = Picks.of("a", "ball", [[0, 0, 0], [500, 0, 0]])
    # the nearest is not the best; 25 A is within reach, 26 is not
    picks = Picks.of("a", "ball", [[0, 0, 0], [25, 0, 0], [526, 0, 0], [900, 0, 0]], [0.5, 0.75, 0.9, 0.1])
    counted, right = right_picks(picks, truth, OBJECTS)
    assert counted.table.equals(picks.table)
    assert right.tolist() == [False, True, False, False]


def test_only_picks_of_the_object_in_the_run_can_be_right():
    truth = Picks.of("a", "ball", [[0, 0, 0]])
    picks = Picks.join(
        [
            Picks.of("a", "cube", [[0, 0, 0]], 0.9),
            Picks.of("b", "ball", [[0, 0, 0]], 0.8),
            Picks.of("a", "ball", [[1, 0, 0]], 0.1),
        ]
    )
    counted, right = right_picks(picks, truth, OBJECTS)
    assert counted.scores().tolist() == [0.9, 0.1]
    assert right.tolist() == [False, True]
    assert right_picks(picks, truth, OBJECTS, ["a", "b"])[1].tolist() == [False, False, True]
    assert right_picks(picks, truth, OBJECTS, ["b"])[1].tolist() == [False]


@settings(max_examples=20, deadline=None)
@given(data=st.data())
def test_right_picks_are_as_many_as_evaluation_finds_at_any_threshold(data):
    """Of particles too far apart for one pick to find two."""
    rng = np.random.default_rng(data.draw(st.integers(0, 2**32 - 1)))
    truth = Picks.of("a", "ball", [[100 * i, 0, 0] for i in range(5)])
    n = data.draw(st.integers(1, 25))
    xyz = np.stack([rng.uniform(-50, 450, n), np.zeros(n), np.zeros(n)], axis=1)
    picks = Picks.of("a", "ball", xyz, rng.integers(1, 8, n) / 8)
    counted, right = right_picks(picks, truth, [BALL])
    for threshold in np.unique(picks.scores()):
        reached = evaluate(picks, truth, [BALL], thresholds={"ball": float(threshold)}, bootstrap=0).by_object["ball"]
        assert right[counted.scores() >= threshold].sum() == reached.tp


def test_the_calibration_error_by_hand():
    scores = [0.9, 0.1, 0.2, 0.8]
    right = [True, False, True, False]
    # bins (0.1, 0.2): mean 0.15, half right; (0.8, 0.9): mean 0.85, half right
    assert expected_calibration_error(scores, right, bins=2) == pytest.approx(0.35)
    assert expected_calibration_error(scores, right, bins=1) == pytest.approx(0.0)
    assert expected_calibration_error(scores, right, bins=10) == pytest.approx((0.1 + 0.1 + 0.8 + 0.8) / 4)
    assert expected_calibration_error([1, 0], [True, False]) == 0
    assert expected_calibration_error([1, 0], [False, True]) == 1
    assert np.isnan(expected_calibration_error([], []))


def test_the_order_of_equal_scores_does_not_matter():
    right = np.arange(100) < 50
    assert expected_calibration_error(np.full(100, 0.5), right) == pytest.approx(0)


def test_scores_that_are_their_own_probability_have_a_small_error_and_shifted_ones_the_shift():
    rng = np.random.default_rng(0)
    scores = rng.uniform(0.05, 0.75, 20000)
    right = rng.random(20000) < scores
    assert expected_calibration_error(scores, right) < 0.015
    assert expected_calibration_error(scores + 0.2, right) == pytest.approx(0.2, abs=0.01)


def test_the_table_counts_picks_above_the_floor_in_bins_of_ten_and_more():
    picks, truth = simulated("ball", 105, weighted, seed=0)
    low = Picks.of("run 0", "ball", [[-1000, 0, 0]], 0.04)
    table = reliability_table(Picks.join([low, picks]), truth, OBJECTS)
    assert table.columns.tolist() == ["bin", "count", "mean score", "share right"]
    assert table["bin"].tolist() == list(range(1, 11))
    assert table["count"].sum() == 105
    assert set(table["count"]) == {10, 11}
    assert (table["share right"] * table["count"]).sum() == pytest.approx(len(truth))
    assert table["mean score"].is_monotonic_increasing
    counted, right = right_picks(picks, truth, OBJECTS)
    assert error_of_table(table) == pytest.approx(expected_calibration_error(counted.scores(), right))
    assert reliability_table(low, truth, OBJECTS, floor=0.01)["count"].tolist() == [1]
    assert reliability_table(low, truth, OBJECTS).empty


def test_tables_by_object_add_up_to_that_of_all():
    picks, truth = joined([simulated("ball", 40, weighted, 0), simulated("cube", 9, weighted, 1)])
    tables = reliability_tables(picks, truth, OBJECTS, picks.runs)
    assert {name: (len(t), t["count"].sum()) for name, t in tables.items()} == {
        "ball": (4, 40),
        "cube": (1, 9),
        "all": (4, 49),
    }


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("truth_of", [weighted, stepped])
def test_many_picks_give_back_their_probabilities_whatever_the_shape(truth_of, seed):
    others = [simulated("cube", 500, weighted, seed + 10)]
    found = fit_calibration(*joined([simulated("ball", 2000, truth_of, seed), *others]), OBJECTS)
    assert mean_error(found["ball"], truth_of) < 0.035
    picks, truth = simulated("ball", 2000, truth_of, seed + 50)
    counted, right = right_picks(calibrated(picks, found), truth, OBJECTS)
    assert expected_calibration_error(counted.scores(), right) < 0.05
    assert expected_calibration_error(picks.scores(), right_picks(picks, truth, OBJECTS)[1]) > 0.07


def test_few_picks_lean_on_those_of_other_objects():
    """With 30 picks of its own, an object like the others does better with them, and much better than raw."""
    with_others, alone, raw = [], [], []
    for seed in range(12):
        few = simulated("ball", 30, weighted, seed)
        others = [simulated(name, 500, weighted, 100 + seed + i) for i, name in enumerate(NAMES[1:])]
        with_others.append(mean_error(fit_calibration(*joined([few, *others]), OBJECTS)["ball"], weighted))
        alone.append(mean_error(fit_calibration(*few, OBJECTS)["ball"], weighted))
        raw.append(float(np.abs(weighted(GRID) - GRID).mean()))
    assert np.mean(with_others) < 0.8 * np.mean(alone)
    assert np.mean(with_others) < 0.06
    assert np.mean(alone) < 0.5 * np.mean(raw)


def test_many_picks_do_not_lean_on_other_objects():
    shifted = simulated("ball", 2000, lambda raw: expit(logit(np.clip(raw, 1e-6, 1 - 1e-6)) + 1), 0)
    others = [simulated(name, 2000, weighted, 1 + i) for i, name in enumerate(NAMES[1:])]
    found = fit_calibration(*joined([shifted, *others]), OBJECTS)
    assert mean_error(found["ball"], lambda raw: expit(logit(np.clip(raw, 1e-6, 1 - 1e-6)) + 1)) < 0.025
    assert mean_error(found["cube"], weighted) < 0.025


def test_an_object_without_picks_gets_the_calibration_of_all():
    found = fit_calibration(*simulated("cube", 1000, weighted, 0), OBJECTS)
    assert set(found) == set(NAMES)
    assert mean_error(found["ball"], weighted) < 0.04


def test_the_calibrations_lead_to_the_precision_asked_for():
    found = fit_calibration(*simulated("ball", 1000, weighted, 0), [BALL])
    picks, truth = simulated("ball", 3000, weighted, 1)
    picks = calibrated(picks, found)
    for precision in (0.6, 0.8, 0.9):
        thresholds = threshold_for_precision(picks, [BALL], precision)
        reached = evaluate(picks, truth, [BALL], thresholds=thresholds).by_object["ball"]
        assert reached.precision == pytest.approx(precision, abs=0.04)


@settings(max_examples=25, deadline=None)
@given(
    scores=st.lists(st.sampled_from([0.0, 1e-9, 0.05, 0.3, 0.5, 0.999999, 1 - 1e-12, 1.0]), min_size=1, max_size=60),
    data=st.data(),
)
def test_any_picks_give_maps_that_rise(scores, data):
    """All right, all wrong, better at low scores, saturated scores, many alike: `Calibration` checks itself."""
    right = np.array(data.draw(st.lists(st.booleans(), min_size=len(scores), max_size=len(scores))))
    xyz = np.stack([200.0 * np.arange(len(scores)), *np.zeros((2, len(scores)))], axis=1)
    picks, truth = Picks.of("a", "ball", xyz, scores), Picks.of("a", "ball", xyz[right])
    found = fit_calibration(picks, truth, OBJECTS, ["a"])["ball"]
    assert (np.diff(found.apply(np.linspace(0, 1, 50))) > 0).all()


def test_picks_that_are_all_right_or_all_wrong_are_believed_the_more_the_more_they_are():
    few, many = ([simulated("ball", n, always, 0) for always in (np.zeros_like, np.ones_like)] for n in (5, 500))
    middle = np.array([0.5])
    wrong = [fit_calibration(*part[0], [BALL], part[0][0].runs)["ball"].apply(middle)[0] for part in (few, many)]
    right = [fit_calibration(*part[1], [BALL])["ball"].apply(middle)[0] for part in (few, many)]
    assert 0.5 > wrong[0] > wrong[1]
    assert wrong[1] < 0.02
    assert 0.5 < right[0] < right[1]
    assert right[1] > 0.98


def test_the_order_of_picks_does_not_matter():
    picks, truth = simulated("ball", 300, stepped, 0)
    turned = Picks(picks.table[::-1])
    grid = np.linspace(0, 1, 101)
    found = [fit_calibration(p, truth, [BALL])["ball"].apply(grid) for p in (picks, turned)]
    np.testing.assert_allclose(found[0], found[1], atol=1e-6)


def test_no_picks_give_no_calibration_and_scores_beyond_bounds_are_refused():
    truth = Picks.of("a", "ball", [[0, 0, 0]])
    assert fit_calibration(Picks.empty(), truth, OBJECTS) == {}
    assert fit_calibration(Picks.of("b", "ball", [[0, 0, 0]], 0.5), truth, OBJECTS) == {}
    with pytest.raises(DataError, match=r"from 0\.5 to 7 cannot be calibrated"):
        fit_calibration(Picks.of("a", "ball", [[0, 0, 0], [90, 0, 0]], [0.5, 7]), truth, OBJECTS)
    with pytest.raises(DataError, match="unknown object 'sphere'"):
        fit_calibration(Picks.of("a", "sphere", [[0, 0, 0]], 0.5), truth, OBJECTS)
