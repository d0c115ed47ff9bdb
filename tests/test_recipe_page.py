"""docs/recipe.md tells every choice of a training; run as a program, this prints it anew."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from tomopick.models.registry import choices
from tomopick.recipe import Recipe

PAGE = Path(__file__).parents[1] / "docs" / "recipe.md"
NETWORKS = ("cryoet3dcnn", "heatmap-unet")
HEAD = """# Every choice of a training

`tomopick train --recipe choices.json` takes a JSON file of any of these; the others keep their defaults, which are the
network's. `augmentation` and `normalisation` hold choices of their own: `{"augmentation": {"lean": 30}}`. An option of
the command goes before the file. Each training writes all of its choices into `recipe.json`. What decided a default is
in [results](results.md), where it was measured. SegResNet and DynUNet have HeatmapUNet's, but for `init` (null).

| choice | CryoET3DCNN | HeatmapUNet | what it does |
| --- | --- | --- | --- |
"""


def rows(kind: type[BaseModel], recipes: list[BaseModel], prefix: str = "") -> Iterator[str]:
    """A line for each choice, those of a group after its name."""
    for name, field in kind.model_fields.items():
        values = [getattr(one, name) for one in recipes]
        if isinstance(values[0], BaseModel):
            yield from rows(type(values[0]), values, f"{prefix}{name}.")
            continue
        first, second = (f"`{json.dumps(value)}`" for value in values)
        yield f"| `{prefix}{name}` | {first} | {second} | {field.description or ''} |"


def page() -> str:
    recipes: list[Any] = [Recipe.model_validate(choices(name) | {"model": name}) for name in NETWORKS]
    return HEAD + "\n".join(rows(Recipe, recipes)) + "\n"


def test_the_page_tells_all_choices_as_they_are() -> None:
    assert PAGE.read_text() == page(), "docs/recipe.md is old: python tests/test_recipe_page.py > docs/recipe.md"


def test_networks_of_score_maps_have_one_recipe() -> None:
    own = {name: value for name, value in choices("heatmap-unet").items() if name != "init"}
    assert choices("segresnet") == choices("dynunet") == own


if __name__ == "__main__":
    print(page(), end="")
