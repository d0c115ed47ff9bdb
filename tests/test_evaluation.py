"""The CZII score against a plain-loops implementation of its rules, and answers worked out by hand."""

from __future__ import annotations

import itertools
import json
import math

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tomopick.errors import DataError
from tomopick.evaluation import evaluate
from tomopick.objects import CZII_OBJECTS, ParticleObject
from tomopick.picks import Picks

SMALL = ParticleObject(name="small", radius=6, weight=1, label=1)
LARGE = ParticleObject(name="large", radius=20, weight=2, label=2)
FREE = ParticleObject(name="free", radius=10, weight=0, label=3)
OBJECTS = (SMALL, LARGE, FREE)
RUNS = ("a", "b", "c")

# Whole coordinates on a small grid: distances are often exactly the match distance, and many points coincide.
rows = st.tuples(
    st.sampled_from(RUNS),
    st.sampled_from([o.name for o in OBJECTS]),
    st.integers(0, 12),
    st.integers(0, 12),
    st.integers(0, 3),
    st.sampled_from([0.1, 0.25, 0.5, 0.75, 0.9]),
)


def picks_of(records: list[tuple]) -> Picks:
    return Picks(pd.DataFrame(records, columns=["run", "object", "x", "y", "z", "score"]))


def brute_force(picks: list[tuple], truth: list[tuple], runs: list[str], beta: float) -> tuple[float, dict]:
    """The rules of the challenge, one loop after another."""
    total = weight_sum = 0.0
    counts = {}
    for o in OBJECTS:
        tp = fp = fn = 0
        for run in runs:
            references = [r[2:5] for r in truth if r[0] == run and r[1] == o.name]
            candidates = [r[2:5] for r in picks if r[0] == run and r[1] == o.name]
            hit = {
                i
                for i, reference in enumerate(references)
                for candidate in candidates
                if math.dist(reference, candidate) <= 0.5 * o.radius
            }
            tp += len(hit)
            fp += len(candidates) - len(hit)
            fn += len(references) - len(hit)
        precision = tp / (tp + fp) if tp + fp else 0
        recall = tp / (tp + fn) if tp + fn else 0
        f = 0.0
        if precision + recall > 0:
            f = (1 + beta**2) * precision * recall / (beta**2 * precision + recall)
        counts[o.name] = (tp, fp, fn, f)
        total += o.weight * f
        weight_sum += o.weight
    return total / weight_sum, counts


@settings(deadline=None, max_examples=100)
@given(
    picks=st.lists(rows, max_size=40),
    truth=st.lists(rows, max_size=25, unique_by=lambda r: (r[0], *r[2:5])),
    beta=st.sampled_from([0.5, 1, 4]),
    named=st.one_of(st.none(), st.sets(st.sampled_from(RUNS))),
)
def test_score_equals_brute_force(picks, truth, beta, named):
    runs = sorted({r[0] for r in truth}) if named is None else sorted(named)
    score, counts = brute_force(picks, truth, runs, beta)

    listed = None if named is None else runs
    result = evaluate(picks_of(picks), picks_of(truth), OBJECTS, beta=beta, runs=listed, bootstrap=0)

    assert result.score == pytest.approx(score, abs=1e-12)
    for name, (tp, fp, fn, f) in counts.items():
        got = result.by_object[name]
        assert (got.tp, got.fp, got.fn) == (tp, fp, fn)
        assert got.f_beta == pytest.approx(f, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(picks=st.lists(rows, max_size=30), truth=st.lists(rows, max_size=15, unique_by=lambda r: (r[0], *r[2:5])))
def test_thresholds_equal_dropping_the_picks_beforehand(picks, truth):
    limits = {"small": 0.5, "free": 0.76}
    kept = [p for p in picks if p[5] >= limits.get(p[1], -1)]
    here = evaluate(picks_of(picks), picks_of(truth), OBJECTS, thresholds=limits, bootstrap=0)
    there = evaluate(picks_of(kept), picks_of(truth), OBJECTS, bootstrap=0)
    assert here.score == there.score
    assert all(here.by_object[n].fp == there.by_object[n].fp for n in limits)
    assert here.thresholds == limits


@settings(deadline=None, max_examples=30)
@given(picks=st.lists(rows, max_size=30), truth=st.lists(rows, max_size=15, unique_by=lambda r: (r[0], *r[2:5])))
def test_average_precision_equals_a_walk_down_the_scores(picks, truth):
    result = evaluate(picks_of(picks), picks_of(truth), OBJECTS, bootstrap=0)
    runs = sorted({r[0] for r in truth})
    for o in OBJECTS:
        references = sum(r[1] == o.name for r in truth)
        area = recall = 0.0
        for threshold in (0.9, 0.75, 0.5, 0.25, 0.1):
            kept = [p for p in picks if p[5] >= threshold]
            tp, fp, _, _ = brute_force(kept, truth, runs, 4)[1][o.name]
            if tp + fp:
                now = tp / max(references, 1)
                area += (now - recall) * min(1.0, tp / (tp + fp))
                recall = now
        got = result.by_object[o.name].average_precision
        assert (got is None) if references == 0 else (got == pytest.approx(area))


def test_f4_by_hand():
    # 3 particles, 2 found, 1 of 4 picks doubles a hit and 1 lies alone: TP 2, FP 2, FN 1 -> 34 / (34 + 16 + 2).
    truth = Picks.of("a", "small", [[0, 0, 0], [100, 0, 0], [200, 0, 0]])
    picks = Picks.of("a", "small", [[1, 0, 0], [0, 2, 0], [100, 0, 3], [50, 0, 0]])
    score = evaluate(picks, truth, [SMALL]).by_object["small"]
    assert (score.tp, score.fp, score.fn) == (2, 2, 1)
    assert score.f_beta == pytest.approx(34 / 52)
    assert score.precision == pytest.approx(0.5)
    assert score.recall == pytest.approx(2 / 3)
    assert score.f1 == pytest.approx(4 / 7)
    assert score.localisation_error_angstrom == pytest.approx(2.0)  # distances 1 and 3


def test_the_match_distance_is_inclusive_and_half_the_radius():
    truth = Picks.of("a", "apo-ferritin", [[0, 0, 0]])
    apo = CZII_OBJECTS[0]
    assert evaluate(Picks.of("a", "apo-ferritin", [[0, 18, 24]]), truth, [apo]).score == 1
    assert evaluate(Picks.of("a", "apo-ferritin", [[0, 0, 30.001]]), truth, [apo]).score == 0


def test_one_pick_near_two_particles_makes_a_negative_fp():
    truth = Picks.of("a", "large", [[0, 0, 0], [10, 0, 0]])
    result = evaluate(Picks.of("a", "large", [[5, 0, 0]]), truth, [LARGE])
    score = result.by_object["large"]
    assert (score.tp, score.fp, score.fn) == (2, -1, 0)
    assert score.f_beta == pytest.approx(34 / 33)
    assert score.average_precision == pytest.approx(1.0)


def test_czii_weights_and_micro_average():
    # Only thyroglobulin (weight 2 of 7) is perfect in both runs; ribosome (weight 1) is found in one run of two.
    truth = Picks.join(
        Picks.of(run, name, [[500.0 * i, 0, 0]]) for run in "ab" for i, name in enumerate(o.name for o in CZII_OBJECTS)
    )
    thyroglobulin = Picks(truth.where(name="thyroglobulin").table)
    picks = Picks.join([thyroglobulin, truth.where(run="a", name="ribosome")])
    result = evaluate(picks, truth)
    assert result.by_object["ribosome"].f_beta == pytest.approx(17 / 33)
    assert result.score == pytest.approx((2 + 17 / 33) / 7)
    assert result.overall.tp == 3
    assert result.overall.recall == pytest.approx((2 + 0.5) / 7)


def test_an_object_that_the_truth_lacks_scores_0_and_keeps_its_weight():
    truth = Picks.of("a", "small", [[0, 0, 0]])
    assert evaluate(truth, truth, (SMALL, LARGE)).score == pytest.approx(1 / 3)
    with_false_ones = Picks.join([truth, Picks.of("a", "large", [[0, 0, 0]])])
    result = evaluate(with_false_ones, truth, (SMALL, LARGE))
    assert result.score == pytest.approx(1 / 3)
    assert result.by_object["large"].fp == 1
    assert result.by_object["large"].average_precision is None
    assert evaluate(truth, truth, (SMALL,)).score == 1


def test_runs_without_truth_count_only_when_named():
    truth = Picks.of("a", "small", [[0, 0, 0]])
    picks = Picks.join([truth, Picks.of("empty", "small", [[0, 0, 0], [50, 0, 0]])])
    assert evaluate(picks, truth, [SMALL]).by_object["small"].fp == 0
    named = evaluate(picks, truth, [SMALL], runs=["a", "empty"])
    assert named.by_object["small"].fp == 2
    assert named.runs == ("a", "empty")


def test_intervals_come_from_resampled_runs():
    truth = Picks.join(Picks.of(run, "small", [[0, 0, 0], [50, 0, 0]]) for run in "abcdef")
    everywhere = evaluate(truth, truth, [SMALL])
    assert everywhere.interval == (1.0, 1.0)

    half = Picks.join([*(truth.where(run=run) for run in "abc"), *(Picks.of(r, "small", [[9, 9, 9]]) for r in "def")])
    result = evaluate(half, truth, [SMALL], seed=3)
    assert result.interval is not None
    low, high = result.interval
    assert 0 <= low < result.score < high <= 1
    assert result.by_object["small"].score_interval == (low, high)
    assert evaluate(half, truth, [SMALL], seed=3).interval == (low, high)
    # Every resample holds k good runs of 6, so that the bounds are F4 values of such a count.
    possible = [17 * 2 * k / (17 * 2 * k + 16 * 2 * (6 - k) + (6 - k)) for k in range(7)]
    assert any(low == pytest.approx(p) for p in possible)
    assert any(high == pytest.approx(p) for p in possible)

    assert evaluate(truth.where(run="a"), truth.where(run="a"), [SMALL]).interval is None
    assert evaluate(truth, truth, [SMALL], bootstrap=0).interval is None


def test_an_object_that_a_resample_lacks_does_not_widen_intervals():
    truth = Picks.join(
        [*(Picks.of(run, "small", [[0, 0, 0]]) for run in "abcd"), Picks.of("a", "large", [[500, 0, 0]])]
    )
    perfect = evaluate(truth, truth, [SMALL, LARGE])
    assert perfect.interval == (1.0, 1.0)
    assert perfect.by_object["large"].score_interval == (1.0, 1.0)
    # one that the truth does not hold at all scores 0, in each resample as in the whole
    without = evaluate(truth.where(name="small"), truth.where(name="small"), [SMALL, LARGE])
    assert without.interval == (without.score, without.score)
    assert without.score < 1


def test_the_score_does_not_depend_on_the_order_of_rows():
    rng = np.random.default_rng(1)
    truth = Picks.of("a", "large", rng.uniform(0, 200, (30, 3)))
    picks = Picks.of("a", "large", rng.uniform(0, 200, (60, 3)), rng.random(60))
    shuffled = Picks(picks.table.sample(frac=1, random_state=0))
    assert evaluate(picks, truth, [LARGE]) == evaluate(shuffled, truth, [LARGE])


def test_json_and_table_hold_the_same_figures():
    truth = Picks.join([Picks.of("a", "small", [[0, 0, 0]]), Picks.of("b", "small", [[0, 0, 0]])])
    result = evaluate(truth.where(run="a"), truth, OBJECTS)
    data = json.loads(json.dumps(result.to_json(), allow_nan=False))
    assert data["score"] == pytest.approx(17 / 33 / 3)
    assert data["by_object"]["large"]["localisation_error_angstrom"] is None
    table = result.table()
    assert list(table.index) == ["small", "large", "free", "all"]
    assert table.loc["all", "f_beta"] == result.score
    assert table.loc["small", "fn"] == 1
    assert table.loc["small", "score_low"] == data["by_object"]["small"]["score_interval"][0]


@pytest.mark.parametrize(
    ("picks", "truth", "options", "message"),
    [
        (Picks.of("a", "huge", [[0, 0, 0]]), Picks.of("a", "small", [[0, 0, 0]]), {}, "picks.*unknown object 'huge'"),
        (Picks.empty(), Picks.of("a", "huge", [[0, 0, 0]]), {}, "truth.*unknown object 'huge'"),
        (
            Picks.empty(),
            Picks.of("a", "small", [[1, 2, 3], [1, 2, 3]]),
            {},
            r"run 'a' has two particles at \(1, 2, 3\)",
        ),
        (Picks.empty(), Picks.empty(), {"thresholds": {"smal": 0.5}}, "unknown object 'smal'"),
        (Picks.empty(), Picks.empty(), {"beta": 0}, "beta is 0"),
        (Picks.empty(), Picks.empty(), {"objects": [FREE]}, "weights of the objects sum to 0"),
        (Picks.empty(), Picks.empty(), {"objects": []}, "no particle objects"),
    ],
)
def test_bad_input_is_named(picks, truth, options, message):
    with pytest.raises(DataError, match=message):
        evaluate(picks, truth, **{"objects": OBJECTS, **options})


def test_the_same_place_for_two_objects_is_a_duplicate_as_in_the_official_code():
    truth = Picks.join([Picks.of("a", "small", [[1, 1, 1]]), Picks.of("a", "large", [[1, 1, 1]])])
    with pytest.raises(DataError, match="two particles"):
        evaluate(Picks.empty(), truth, OBJECTS)
    apart = Picks.join([Picks.of("a", "small", [[1, 1, 1]]), Picks.of("b", "small", [[1, 1, 1]])])
    assert evaluate(apart, apart, OBJECTS).by_object["small"].tp == 2


def test_unknown_objects_in_dropped_runs_do_not_matter():
    truth = Picks.of("a", "small", [[0, 0, 0]])
    picks = Picks.join([truth, Picks.of("elsewhere", "huge", [[0, 0, 0]])])
    assert evaluate(picks, truth, [SMALL]).score == 1


def test_nothing_against_nothing_scores_0():
    for picks, truth in itertools.product([Picks.empty(), Picks.of("a", "small", [[0, 0, 0]])], [Picks.empty()]):
        assert evaluate(picks, truth, OBJECTS).score == 0
