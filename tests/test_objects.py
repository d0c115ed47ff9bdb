"""The objects: those of the CZII challenge, and what a list of objects may not be."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from tomopick.errors import DataError
from tomopick.objects import CZII_OBJECTS, ParticleObject, check_objects, distinct_color, object_named


def test_the_czii_objects_are_those_of_the_challenge():
    found = {o.name: (o.radius, o.match_distance, o.weight) for o in CZII_OBJECTS}
    assert found == {
        "apo-ferritin": (60, 30, 1),
        "beta-amylase": (65, 32.5, 0),
        "beta-galactosidase": (90, 45, 2),
        "ribosome": (150, 75, 1),
        "thyroglobulin": (130, 65, 2),
        "virus-like-particle": (135, 67.5, 1),
    }
    assert sum(o.weight for o in CZII_OBJECTS) == 7


def test_the_czii_objects_are_told_apart():
    assert check_objects(CZII_OBJECTS) == CZII_OBJECTS
    assert len({o.color for o in CZII_OBJECTS}) == len(CZII_OBJECTS)


def test_colours_repeat_rather_than_fail():
    assert distinct_color(0) == distinct_color(9)
    assert all(0 <= v <= 255 for i in range(20) for v in distinct_color(i))


@pytest.mark.parametrize(
    ("objects", "said"),
    [
        ([], "no particle objects"),
        ([ParticleObject(name="a", radius=1), ParticleObject(name="a", radius=2, label=2)], "share the name a"),
        ([ParticleObject(name="a", radius=1), ParticleObject(name="b", radius=2)], "share the label 1"),
    ],
)
def test_lists_that_cannot_be_told_apart_are_refused(objects, said):
    with pytest.raises(DataError, match=said):
        check_objects(objects)


def test_an_unknown_name_lists_the_known_ones():
    assert object_named("ribosome", CZII_OBJECTS).radius == 150
    with pytest.raises(DataError, match=r"unknown object 'proteasome'; known: apo-ferritin, .*virus-like-particle"):
        object_named("proteasome", CZII_OBJECTS)


@pytest.mark.parametrize(
    "wrong", [{"radius": 0}, {"radius": -5}, {"weight": -1}, {"label": 0}, {"name": ""}, {"size": 3}]
)
def test_an_object_that_cannot_be_is_refused(wrong):
    with pytest.raises(ValidationError):
        ParticleObject.model_validate({"name": "a", "radius": 10} | wrong)


def test_an_object_does_not_change():
    with pytest.raises(ValidationError):
        CZII_OBJECTS[0].radius = 1.0
