"""The particles a project looks for: name, radius, weight in the score, label, colour."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence

from pydantic import BaseModel, ConfigDict, Field

from tomopick.errors import DataError

__all__ = [
    "CZII_OBJECTS",
    "CZII_WEIGHTS",
    "ParticleObject",
    "check_objects",
    "distinct_color",
    "named_alone",
    "object_named",
]

CZII_WEIGHTS = {
    "apo-ferritin": 1.0,
    "beta-amylase": 0.0,
    "beta-galactosidase": 2.0,
    "ribosome": 1.0,
    "thyroglobulin": 2.0,
    "virus-like-particle": 1.0,
}
"""Weights of the six objects of the CZII challenge, by copick name; other objects weigh 1."""

_PALETTE = (
    (31, 119, 180, 255),
    (255, 127, 14, 255),
    (44, 160, 44, 255),
    (214, 39, 40, 255),
    (148, 103, 189, 255),
    (140, 86, 75, 255),
    (227, 119, 194, 255),
    (188, 189, 34, 255),
    (23, 190, 207, 255),
)


def distinct_color(index: int) -> tuple[int, int, int, int]:
    """An RGBA colour (0 to 255) for the index-th object."""
    return _PALETTE[index % len(_PALETTE)]


class ParticleObject(BaseModel):
    """One kind of particle."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str = Field(min_length=1, description="As in picks tables and copick.")
    radius: float = Field(gt=0, description="Particle radius in Angstrom.")
    weight: float = Field(default=1.0, ge=0, description="Weight in the score.")
    label: int = Field(default=1, ge=1, description="Label in copick segmentations; background is 0.")
    color: tuple[int, int, int, int] = Field(default=(31, 119, 180, 255), description="RGBA, 0 to 255.")

    @property
    def hex_color(self) -> str:
        """The colour as pages write it, "#1f77b4", without its opacity."""
        return "#{:02x}{:02x}{:02x}".format(*self.color[:3])

    @property
    def match_distance(self) -> float:
        """How far a pick may be from the truth, in Angstrom: half the radius, as in the CZII challenge."""
        return 0.5 * self.radius


CZII_OBJECTS = tuple(
    ParticleObject(name=name, radius=radius, weight=CZII_WEIGHTS[name], label=i + 1, color=distinct_color(i))
    for i, (name, radius) in enumerate(
        {
            "apo-ferritin": 60.0,
            "beta-amylase": 65.0,
            "beta-galactosidase": 90.0,
            "ribosome": 150.0,
            "thyroglobulin": 130.0,
            "virus-like-particle": 135.0,
        }.items()
    )
)
"""The six objects of the CZII challenge."""


UNKNOWN_RADIUS = 50.0  # Angstrom


def named_alone(names: Sequence[str]) -> tuple[ParticleObject, ...]:
    """Objects to draw of which only names are known: CZII's radii, or 50 A, and a colour for each by its place."""
    radii = {o.name: o.radius for o in CZII_OBJECTS}
    return tuple(
        ParticleObject(name=name, radius=radii.get(name, UNKNOWN_RADIUS), label=i + 1, color=distinct_color(i))
        for i, name in enumerate(names)
    )


def check_objects(objects: Sequence[ParticleObject]) -> tuple[ParticleObject, ...]:
    """The objects, after a check that there are any and that no name or label stands twice.

    Raises:
        DataError: there are none, or two share a name or a label.
    """
    if not objects:
        raise DataError("there are no particle objects; add at least one with a name and a radius")
    for what, values in (("name", [o.name for o in objects]), ("label", [o.label for o in objects])):
        counts = Counter(str(v) for v in values)
        twice = sorted(v for v, n in counts.items() if n > 1)
        if twice:
            raise DataError(f"two objects share the {what} {', '.join(twice)}; give each its own")
    return tuple(objects)


def object_named(name: str, objects: Iterable[ParticleObject]) -> ParticleObject:
    """The object of this name.

    Raises:
        DataError: there is none; the message lists those there are.
    """
    known = {o.name: o for o in objects}
    if name not in known:
        raise DataError(f"unknown object '{name}'; known: {', '.join(known)}")
    return known[name]
