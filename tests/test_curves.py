"""Curves over the score threshold: each point must equal the score of the picks above that threshold."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tomopick.curves import PLATEAU, best_thresholds, f_beta, pr_curve, probability_thresholds, threshold_curve
from tomopick.evaluation import evaluate
from tomopick.matching import keep_above
from tomopick.objects import ParticleObject
from tomopick.picks import Picks

LARGE = ParticleObject(name="large", radius=20, weight=2, label=1)
SMALL = ParticleObject(name="small", radius=6, weight=1, label=2)
OBJECTS = (LARGE, SMALL)


def random_case(seed: int) -> tuple[Picks, Picks]:
    rng = np.random.default_rng(seed)
    truth, picks = [], []
    for run in "ab":
        for o in OBJECTS:
            real = rng.uniform(0, 150, (rng.integers(0, 12), 3))
            near = real + rng.normal(0, o.match_distance / 3, real.shape)
            truth.append(Picks.of(run, o.name, real))
            picks.append(Picks.of(run, o.name, near, rng.beta(4, 2, len(near)).round(1)))
            picks.append(Picks.of(run, o.name, rng.uniform(0, 150, (15, 3)), rng.beta(2, 4, 15).round(1)))
    return Picks.join(picks), Picks.join(truth)


@settings(deadline=None, max_examples=4)
@given(seed=st.integers(0, 10**6))
def test_each_point_is_the_evaluation_at_its_threshold(seed):
    picks, truth = random_case(seed)
    table = threshold_curve(picks, truth, OBJECTS, beta=2)
    for o in OBJECTS:
        curve = pr_curve(picks, truth, o)
        part = table[table["object"] == o.name]
        in_runs = picks.table[picks.table["run"].isin(truth.runs) & (picks.table["object"] == o.name)]
        assert curve.thresholds.tolist() == sorted(set(in_runs["score"]))
        assert part["threshold"].tolist() == curve.thresholds.tolist()
        for t, precision, recall, f in zip(*curve, part["f_beta"], strict=True):
            at = evaluate(picks, truth, OBJECTS, beta=2, thresholds={o.name: t}, bootstrap=0).by_object[o.name]
            assert precision == pytest.approx(min(1, at.precision))
            assert recall == pytest.approx(at.recall)
            assert f == pytest.approx(at.f_beta)


@settings(deadline=None, max_examples=15)
@given(seed=st.integers(0, 10**6))
def test_best_thresholds_are_within_the_plateau_of_the_best_score(seed):
    picks, truth = random_case(seed)
    table = threshold_curve(picks, truth, OBJECTS)
    limits = best_thresholds(picks, truth, OBJECTS)
    result = evaluate(picks, truth, OBJECTS, thresholds=limits, bootstrap=0)
    for o in OBJECTS:
        best = table.loc[table["object"] == o.name, "f_beta"].max()
        if o.name in limits:
            assert result.by_object[o.name].f_beta >= best - PLATEAU - 1e-12
        else:
            assert not best > 0


def test_precision_and_recall_by_hand():
    truth = Picks.of("a", "large", [[0, 0, 0], [100, 0, 0]])
    picks = Picks.of("a", "large", [[0, 0, 0], [50, 0, 0], [100, 0, 0]], [0.9, 0.6, 0.3])
    thresholds, precision, recall = pr_curve(picks, truth, LARGE)
    assert thresholds.tolist() == [0.3, 0.6, 0.9]
    assert precision == pytest.approx([2 / 3, 1 / 2, 1])
    assert recall == pytest.approx([1, 0.5, 0.5])


def test_false_picks_in_a_run_without_this_object_count():
    truth = Picks.join([Picks.of("a", "large", [[0, 0, 0]]), Picks.of("b", "small", [[0, 0, 0]])])
    picks = Picks.join([truth.where(name="large"), Picks.of("b", "large", [[0, 0, 0]])])
    assert pr_curve(picks, truth, LARGE).precision == pytest.approx([0.5])


def test_the_threshold_is_the_middle_of_the_plateau():
    # Truth at 0.6 and above, false picks at 0.2: any threshold in (0.2, 0.6] is perfect.
    truth = Picks.of("a", "large", [[100.0 * i, 0, 0] for i in range(3)])
    false = Picks.of("a", "large", [[0, 500.0 + 50 * i, 0] for i in range(9)], 0.2)
    hits = Picks.of("a", "large", truth.xyz(), [0.6, 0.8, 0.9])
    assert best_thresholds(Picks.join([hits, false]), truth, [LARGE]) == {"large": pytest.approx(0.4)}


def test_without_false_picks_the_plateau_goes_down_to_nothing():
    truth = Picks.of("a", "large", [[100.0 * i, 0, 0] for i in range(3)])
    hits = Picks.of("a", "large", truth.xyz(), [0.6, 0.8, 0.9])
    assert best_thresholds(hits, truth, [LARGE]) == {"large": pytest.approx(0.3)}


def test_of_two_equal_peaks_the_lower_threshold_wins():
    # F1 is 2/3 with the first hit alone, 2/4 with a false pick more, and 4/6 with both hits and two false picks.
    truth = Picks.of("a", "large", [[0, 0, 0], [100, 0, 0]])
    xyz = [[0, 0, 0], [0, 300, 0], [0, 600, 0], [100, 0, 0]]
    picks = Picks.of("a", "large", xyz, [0.9, 0.7, 0.5, 0.3])
    assert threshold_curve(picks, truth, [LARGE], beta=1)["f_beta"].tolist() == pytest.approx(
        [4 / 6, 2 / 5, 1 / 2, 2 / 3]
    )
    limit = best_thresholds(picks, truth, [LARGE], beta=1)["large"]
    assert len(keep_above(picks, {"large": limit})) == 4


def test_an_object_without_a_hit_gets_no_threshold():
    truth = Picks.of("a", "large", [[0, 0, 0]])
    picks = Picks.join([truth, Picks.of("a", "small", [[0, 0, 0]])])
    assert set(best_thresholds(picks, truth, OBJECTS)) == {"large"}
    assert best_thresholds(Picks.empty(), truth, OBJECTS) == {}


def test_scores_next_to_each_other_are_told_apart():
    # No number lies between the two scores, so the threshold must be the upper one itself.
    low = 0.5
    high = float(np.nextafter(low, 1))
    truth = Picks.of("a", "large", [[0, 0, 0]])
    picks = Picks.of("a", "large", [[0, 0, 0], *[[0, 300.0 + i, 0] for i in range(9)]], [high, *[low] * 9])
    assert best_thresholds(picks, truth, [LARGE]) == {"large": high}


@pytest.mark.parametrize("beta", [1, 4])
def test_a_pick_above_the_probability_threshold_raises_the_expected_score_and_one_below_lowers_it(beta):
    """Expected counts: 30 sure hits, 10 misses, and then one more pick that is right with probability p."""
    xyz = np.arange(40)[:, None] * [500.0, 0, 0]
    truth, found = Picks.of("r", LARGE.name, xyz), Picks.of("r", LARGE.name, xyz[:30], np.full(30, 0.9))
    (threshold,) = probability_thresholds(found, truth, [LARGE], beta).values()
    before = f_beta(30, 0, 10, beta)
    assert f_beta(30 + 1.2 * threshold, 1 - 1.2 * threshold, 10 - 1.2 * threshold, beta) > before
    assert f_beta(30 + 0.8 * threshold, 1 - 0.8 * threshold, 10 - 0.8 * threshold, beta) < before
