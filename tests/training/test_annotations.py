"""What runs tell where not all particles, or not all objects, are annotated."""

from __future__ import annotations

import numpy as np
import pytest

from tomopick.data.sampling import IGNORE
from tomopick.errors import DataError
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.recipe import Recipe
from tomopick.tomogram import Tomogram
from tomopick.training.annotations import TrainingRun, judged, learnable, particles_of

A, B, C = OBJECTS = tuple(ParticleObject(name=name, radius=80, label=i + 1) for i, name in enumerate("abc"))
NAMES = frozenset("abc")


def run(name: str, picks: Picks, annotated: str | None = None) -> TrainingRun:
    tomogram = Tomogram(np.zeros((8, 8, 8), np.float32), 10.0, name)
    return TrainingRun(tomogram, picks, None if annotated is None else frozenset(annotated))


def test_objects_that_a_run_is_not_annotated_for_may_be_anywhere_in_it():
    picks = Picks.of("r", "b", [[40.0, 20.0, 10.0]])
    of_all = particles_of(run("r", picks), OBJECTS, NAMES, Recipe(), 10.0)
    of_b = particles_of(run("r", picks, "b"), OBJECTS, NAMES, Recipe(ignore_unlabelled=200), 5.0)
    assert (of_all.missing, of_all.known) == ((), None)
    assert of_b.missing == (0, 2)
    assert of_b.known is not None
    assert (of_b.known.centres.tolist(), of_b.known.radius.tolist()) == ([[2.0, 4.0, 8.0]], [40.0])
    assert of_b.centres.tolist() == [[2.0, 4.0, 8.0]]
    assert of_b.possible.tolist() == [True, False, True, True]


def test_an_object_that_no_training_run_is_annotated_for_is_not_taken_to_be_everywhere():
    runs = [run("r", Picks.empty(), "a"), run("s", Picks.empty(), "b")]
    with pytest.warns(UserWarning, match="no training run is annotated for c"):
        known = learnable(runs, OBJECTS)
    assert known == {"a", "b"}
    assert particles_of(runs[0], OBJECTS, known, Recipe(), 10.0).missing == (1,)
    assert learnable([*runs, run("t", Picks.empty())], OBJECTS) == NAMES


def test_a_radius_without_room_for_background_is_refused():
    picks = Picks.of("r", "b", [[40.0, 20.0, 10.0]])
    recipe = Recipe(positive_radius=4, positive_share=0.5, clear=2)
    with pytest.raises(DataError, match=r"--ignore-unlabelled 60 leaves no background .* over 60"):
        particles_of(run("r", picks), OBJECTS, NAMES, recipe.model_copy(update={"ignore_unlabelled": 60.0}), 10.0)


def test_picks_are_judged_only_where_the_annotations_tell_of_them():
    truth = Picks.of("r", "a", [[0.0, 0, 0], [500, 0, 0]])
    runs = [run("r", truth, "ab"), run("s", Picks.empty())]
    places = [[30.0, 0, 0], [250, 0, 0], [530, 40, 0]]
    found = Picks.join(Picks.of(r, o, places) for r in "rst" for o in "abc")

    def kept(radius: float | None) -> set[tuple[str, str, float]]:
        table = judged(found, runs, radius).table
        return set(zip(table["run"], table["object"], table["x"], strict=True))

    of_r = {("r", o, x) for o in "ab" for x in (30.0, 250.0, 530.0)}
    assert kept(None) == of_r | {("s", o, x) for o in "abc" for x in (30.0, 250.0, 530.0)}
    assert kept(50.0) == {("r", o, x) for o in "ab" for x in (30.0, 530.0)}
    assert len(judged(truth, runs, 50.0)) == 2


def test_of_a_reviewed_run_only_what_was_said_is_known():
    accepted, rejected = Picks.of("r", "a", [[40.0, 20.0, 10.0]]), Picks.of("r", "b", [[70.0, 70.0, 70.0]])
    one = particles_of(
        TrainingRun(run("r", accepted).tomogram, accepted, refused=rejected, reviewed=True),
        OBJECTS,
        NAMES,
        Recipe(),
        10.0,
    )
    assert one.known is not None
    assert one.known.centres.tolist() == [[1.0, 2.0, 4.0], [7.0, 7.0, 7.0]]
    assert one.known.radius[0] >= one.reach[0] + one.clear + 2
    assert one.known.radius[1] == 4.0
    assert one.refused.tolist() == [[7.0, 7.0, 7.0]]
    assert one.labels(np.array([[1, 2, 4], [7, 7, 7], [20, 20, 20]])).tolist() == [0, 3, IGNORE]
