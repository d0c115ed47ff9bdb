from pathlib import Path

import numpy as np
import pytest

from tomopick.curves import f_beta
from tomopick.errors import DataError
from tomopick.io.corrections import Corrections
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.view.review import Review

OBJECTS = (ParticleObject(name="ring", radius=60, label=1), ParticleObject(name="ball", radius=80, label=2))
PICKS = Picks.join(
    [
        Picks.of("TS_1", "ring", [[100, 100, 100], [300, 100, 100], [500, 100, 100]], [0.9, 0.5, 0.2]),
        Picks.of("TS_2", "ball", [[50, 50, 50]], [0.7]),
    ]
)
TRUTH = Picks.of("TS_1", "ring", [[105, 100, 100], [500, 110, 100], [900, 900, 900]])


def review(folder: Path, truth: Picks | None = None) -> Review:
    return Review(PICKS, OBJECTS, Corrections(folder / "said.csv"), truth=truth)


def told(one: Review, run: str = "TS_1") -> list[tuple[str, str, str]]:
    return [(place.was, place.object, place.verdict) for place in one.places(run)]


def test_what_was_said_is_there_after_a_restart(tmp_path: Path):
    one = review(tmp_path)
    one.say(0, "accepted")
    one.say(1, "accepted", "ball")
    one.say(2, "rejected")
    one.add("TS_1", "ball", (700.0, 710.0, 720.0))
    wanted = [
        ("ring", "ring", "accepted"),
        ("ring", "ball", "accepted"),
        ("ring", "ring", "rejected"),
        ("", "ball", "added"),
    ]
    assert told(one) == wanted
    again = review(tmp_path)
    assert told(again) == wanted
    assert again.places("TS_1")[3].xyz == (700.0, 710.0, 720.0)
    assert told(again, "TS_2") == [("ball", "ball", "")]


def test_undo_takes_back_also_what_was_said_before_a_restart(tmp_path: Path):
    one = review(tmp_path)
    one.say(1, "accepted", "ball")
    one.say(1, "rejected")
    one.add("TS_1", "ring", (1.0, 2.0, 3.0))
    again = review(tmp_path)
    before = again.revision
    again.undo()
    assert told(again) == [("ring", "ring", ""), ("ring", "ring", "rejected"), ("ring", "ring", "")]
    again.undo()
    assert told(again)[1] == ("ring", "ball", "accepted")
    again.undo()
    assert told(again)[1] == ("ring", "ring", "")
    assert again.undo() is None
    assert again.revision == before + 3


def test_a_relabelled_pick_that_is_rejected_is_the_models_again(tmp_path: Path):
    one = review(tmp_path)
    one.say(0, "accepted", "ball")
    place = one.say(0, "rejected")
    assert (place.object, place.verdict) == ("ring", "rejected")


@pytest.mark.parametrize("act", [(9, "accepted", None), (0, "perhaps", None), (0, "accepted", "unicorn")])
def test_what_cannot_be_said_changes_nothing(act, tmp_path: Path):
    one = review(tmp_path)
    with pytest.raises(DataError):
        one.say(*act)
    assert not (tmp_path / "said.csv").exists()
    assert all(verdict == "" for _, _, verdict in told(one))


def test_curves_tell_what_the_picks_from_each_threshold_up_are_worth(tmp_path: Path):
    curve = review(tmp_path, TRUTH).curves()["ring"]
    assert curve["threshold"] == [0.2, 0.5, 0.9]
    np.testing.assert_allclose(curve["precision"], [2 / 3, 1 / 2, 1], atol=1e-5)
    np.testing.assert_allclose(curve["recall"], [2 / 3, 1 / 3, 1 / 3], atol=1e-5)
    np.testing.assert_allclose(curve["f"], f_beta([2, 1, 1], [1, 1, 0], [1, 2, 2], 4), atol=1e-5)


def test_without_a_truth_there_are_no_curves(tmp_path: Path):
    assert review(tmp_path).curves() == {}


def test_picks_of_an_unknown_object_are_refused(tmp_path: Path):
    with pytest.raises(DataError, match="unknown object 'ball'"):
        Review(PICKS, OBJECTS[:1], Corrections(tmp_path / "said.csv"))


def test_disagreement_is_the_difference_to_the_other_models_score_of_the_same_place(tmp_path: Path):
    others = Picks.join(
        [
            Picks.of("TS_1", "ring", [[110, 100, 100], [120, 100, 100], [331, 100, 100]], [0.4, 0.6, 0.5]),
            Picks.of("TS_1", "ball", [[500, 100, 100]], [0.9]),
            Picks.of("TS_2", "ball", [[50, 50, 89]], [0.7]),
        ]
    )
    one = Review(PICKS, OBJECTS, Corrections(tmp_path / "said.csv"), others=others)
    apart = [place.apart for run in ("TS_1", "TS_2") for place in one.places(run)]
    assert apart == pytest.approx([0.3, 0.5, 0.2, 0.0])


def test_each_change_is_told_with_its_run(tmp_path: Path):
    told: list[str] = []
    one = Review(PICKS, OBJECTS, Corrections(tmp_path / "said.csv"), save=told.append)
    one.say(3, "accepted")
    one.add("TS_1", "ring", (1.0, 2.0, 3.0))
    one.undo()
    one.undo()
    one.undo()
    assert told == ["TS_2", "TS_1", "TS_1", "TS_2"]
