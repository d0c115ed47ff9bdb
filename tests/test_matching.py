"""Hits and misses one by one, and the confusion table."""

from __future__ import annotations

import numpy as np
import pytest

from tomopick.errors import DataError
from tomopick.evaluation import evaluate
from tomopick.matching import MISSED, NOTHING, classify_picks, confusion, keep_above
from tomopick.objects import ParticleObject
from tomopick.picks import Picks

LARGE = ParticleObject(name="large", radius=20, label=1)
SMALL = ParticleObject(name="small", radius=6, label=2)
OBJECTS = (LARGE, SMALL)


def random_case(seed: int) -> tuple[Picks, Picks]:
    rng = np.random.default_rng(seed)
    parts: list[list[Picks]] = [[], []]
    for part, n in zip(parts, (25, 12), strict=True):
        for run in "ab":
            for o in OBJECTS:
                part.append(Picks.of(run, o.name, rng.uniform(0, 60, (n, 3)), rng.random(n)))
    return Picks.join(parts[0]), Picks.join(parts[1])


def test_of_two_picks_on_a_particle_the_nearer_is_the_hit():
    truth = Picks.of("a", "large", [[0, 0, 0], [100, 0, 0]])
    picks = Picks.of("a", "large", [[5, 0, 0], [2, 0, 0], [300, 0, 0]], [0.9, 0.1, 0.5])
    table = classify_picks(picks, truth, OBJECTS)
    assert table.loc[table["kind"] == "pick", "state"].tolist() == ["false", "hit", "false"]
    assert table.loc[table["kind"] == "truth", "state"].tolist() == ["found", "missed"]


def test_of_equally_near_picks_the_higher_score_is_the_hit():
    truth = Picks.of("a", "large", [[0, 0, 0]])
    picks = Picks.of("a", "large", [[2, 0, 0], [-2, 0, 0]], [0.4, 0.6])
    assert classify_picks(picks, truth, OBJECTS)["state"].tolist() == ["false", "hit", "found"]


@pytest.mark.parametrize("seed", range(5))
def test_found_and_missed_add_up_to_the_score(seed):
    picks, truth = random_case(seed)
    table = classify_picks(picks, truth, OBJECTS)
    result = evaluate(picks, truth, OBJECTS)
    assert len(table) == len(picks) + len(truth)
    for o in OBJECTS:
        states = table.loc[table["object"] == o.name, "state"].value_counts()
        assert states.get("found", 0) == result.by_object[o.name].tp
        assert states.get("missed", 0) == result.by_object[o.name].fn
        assert states.get("hit", 0) <= states.get("found", 0)


def test_rows_keep_their_places_in_mixed_tables():
    truth = Picks.join([Picks.of("b", "small", [[0, 0, 0]]), Picks.of("a", "large", [[50, 0, 0]])])
    picks = Picks.join(
        [
            Picks.of("a", "large", [[0, 0, 0]]),
            Picks.of("b", "small", [[1, 0, 0]]),
            Picks.of("a", "large", [[51, 0, 0]]),
            Picks.of("elsewhere", "large", [[50, 0, 0]]),
        ]
    )
    table = classify_picks(picks, truth, OBJECTS)
    found = table[table["kind"] == "pick"]
    assert list(zip(found["run"], found["x"], found["state"], strict=True)) == [
        ("a", 0, "false"),
        ("b", 1, "hit"),
        ("a", 51, "hit"),
    ]


def test_confusion_by_hand():
    truth = Picks.join([Picks.of("a", "large", [[0, 0, 0], [100, 0, 0]]), Picks.of("a", "small", [[200, 0, 0]])])
    picks = Picks.join(
        [
            Picks.of("a", "small", [[1, 0, 0], [200, 4, 0]]),  # on a large one; 4 A is too far from a small one
            Picks.of("a", "large", [[2, 0, 0], [109, 0, 0]]),  # second on the same; 9 A is near enough
        ]
    )
    table = confusion(picks, truth, OBJECTS)
    assert table.loc["large", "small"] == 1
    assert table.loc["large", "large"] == 1
    assert table.loc["small", MISSED] == 1
    assert table.loc[NOTHING, "small"] == 1
    assert table.loc[NOTHING, "large"] == 1
    assert table.to_numpy().sum() == 5


def test_a_pick_serves_one_particle_only_and_the_right_object_goes_first():
    truth = Picks.of("a", "large", [[0, 0, 0], [10, 0, 0]])
    both = Picks.join([Picks.of("a", "small", [[1, 0, 0]], 0.9), Picks.of("a", "large", [[1, 0, 0]], 0.1)])
    table = confusion(both, truth, OBJECTS)
    # The right one takes the nearer particle, the other one (9 A away) is left for the second.
    assert table.loc["large"].tolist() == [1, 1, 0]
    alone = confusion(Picks.of("a", "large", [[5, 0, 0]]), truth, OBJECTS)
    assert alone.loc["large"].tolist() == [1, 0, 1]


@pytest.mark.parametrize("seed", range(5))
def test_confusion_counts_every_particle_and_every_pick_once(seed):
    picks, truth = random_case(seed)
    table = confusion(picks, truth, OBJECTS)
    for o in OBJECTS:
        assert table.loc[o.name].sum() == len(truth.where(name=o.name))
        assert table[o.name].sum() == len(picks.where(name=o.name))
    assert table.loc[NOTHING, MISSED] == 0


def test_confusion_of_nothing_is_all_zero():
    assert confusion(Picks.empty(), Picks.empty(), OBJECTS).to_numpy().sum() == 0
    assert confusion(Picks.empty(), Picks.of("a", "small", [[0, 0, 0]]), OBJECTS).loc["small", MISSED] == 1
    false = Picks.of("a", "small", [[0, 0, 0]])
    assert confusion(false, Picks.empty(), OBJECTS, runs=["a"]).loc[NOTHING, "small"] == 1


def test_confusion_refuses_unknown_objects():
    with pytest.raises(DataError, match="unknown object 'huge'"):
        confusion(Picks.of("a", "huge", [[0, 0, 0]]), Picks.of("a", "small", [[0, 0, 0]]), OBJECTS)


def test_keep_above_is_inclusive_and_by_object():
    picks = Picks.join(
        [Picks.of("a", "large", np.zeros((3, 3)), [0.4, 0.5, 0.6]), Picks.of("a", "small", [[0, 0, 0]], 0)]
    )
    kept = keep_above(picks, {"large": 0.5})
    assert kept.where(name="large").scores().tolist() == [0.5, 0.6]
    assert len(kept.where(name="small")) == 1
    assert len(keep_above(Picks.empty(), {"large": 0.5})) == 0
