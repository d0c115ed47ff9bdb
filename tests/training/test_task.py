"""What counts how much in a training."""

from __future__ import annotations

import numpy as np
import pytest

from tomopick.data.dataset import Annotated
from tomopick.data.normalise import Scaling
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.recipe import Recipe
from tomopick.tomogram import Tomogram
from tomopick.training.annotations import TrainingRun, particles_of
from tomopick.training.task import class_weights

OBJECTS = tuple(ParticleObject(name=name, radius=80, label=i + 1) for i, name in enumerate("abc"))
RECIPE = Recipe(object_weight=64, known_share=1 / 16, balance=0.0)


@pytest.fixture(scope="module")
def runs() -> list[Annotated]:
    """One tomogram with a particle of each of three objects."""
    tomogram = Tomogram(np.zeros((16, 16, 16), np.float32), 10.0, "r")
    picks = Picks.join(Picks.of("r", name, [[40.0, 40.0, 40.0 + 30 * i]]) for i, name in enumerate("abc"))
    particles = particles_of(TrainingRun(tomogram, picks), OBJECTS, frozenset("abc"), RECIPE, 10.0)
    return [Annotated(tomogram, Scaling(0.0, 1.0, 6.0), particles)]


def test_objects_that_the_start_knows_weigh_a_share_of_what_new_ones_do(runs):
    assert class_weights(runs, RECIPE, 32, [True, False, True]).tolist() == [4, 64, 4, 1]
    assert class_weights(runs, RECIPE, 32, [False, False, False]).tolist() == [64, 64, 64, 1]


def test_from_fresh_weights_all_objects_are_new(runs):
    assert class_weights(runs, RECIPE, 32).tolist() == [64, 64, 64, 1]


def test_without_a_weight_of_objects_what_is_known_changes_nothing(runs):
    recipe = RECIPE.model_copy(update={"object_weight": None})
    assert class_weights(runs, recipe, 32, [True, False, True]).equal(class_weights(runs, recipe, 32))
