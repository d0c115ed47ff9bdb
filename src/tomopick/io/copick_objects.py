"""Particle objects as copick's configuration has them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tomopick.errors import DataError
from tomopick.io.copick_picks import copick_name
from tomopick.objects import CZII_WEIGHTS, ParticleObject, check_objects, distinct_color

__all__ = ["objects_from_copick", "objects_to_copick"]


def objects_from_copick(
    found: Sequence[Any], weights: Mapping[str, float], where: object
) -> tuple[ParticleObject, ...]:
    """The particles among copick's pickable objects (not those picked as segmentations).

    Args:
        found: copick's pickable objects.
        weights: weights in the score by name, before the built-in ones; copick has none.
        where: the configuration's name for messages.

    Raises:
        DataError: there are none, one has no radius, two share a name or a label, or a weight is for none of them.
    """
    particles = [o for o in found if o.is_particle]
    unknown = set(weights) - {o.name for o in particles}
    if unknown:
        raise DataError(f"{where} has no object {', '.join(sorted(unknown))} to weigh")
    return check_objects([_object(o, i, weights, where) for i, o in enumerate(particles)])


def _object(found: Any, index: int, weights: Mapping[str, float], where: object) -> ParticleObject:
    if not found.radius or found.radius < 0:
        raise DataError(f"{where}: object '{found.name}' has no radius; give it \"radius\" in Angstrom there")
    said = found.model_fields_set  # copick gives all objects that say nothing the same label and colour
    return ParticleObject(
        name=found.name,
        radius=found.radius,
        weight=weights.get(found.name, CZII_WEIGHTS.get(found.name, 1.0)),
        label=found.label if "label" in said and found.label is not None else index + 1,
        color=found.color if "color" in said and found.color else distinct_color(index),
    )


def objects_to_copick(objects: Sequence[ParticleObject]) -> list[dict[str, object]]:
    """The objects as entries of copick's configuration.

    Raises:
        DataError: there are none, two share a name or a label, or copick does not allow a name.
    """
    for one in check_objects(objects):
        if copick_name(one.name) != one.name:
            raise DataError(f"copick cannot name an object '{one.name}'; call it '{copick_name(one.name)}'")
    return [
        {"name": o.name, "is_particle": True, "label": o.label, "color": list(o.color), "radius": o.radius}
        for o in objects
    ]
