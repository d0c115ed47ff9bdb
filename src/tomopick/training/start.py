"""What a training starts from: fresh weights, or those of a model, which may look for other objects."""

from __future__ import annotations

import hashlib
import warnings
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from tomopick.errors import ModelFileError
from tomopick.models.modelfile import Model, load_model
from tomopick.models.registry import build
from tomopick.models.shipped import SIMULATED, simulated_model
from tomopick.objects import ParticleObject
from tomopick.recipe import Recipe

__all__ = ["Start", "start_training", "told_start"]


@dataclass(frozen=True, eq=False)
class Start:
    """A network that is ready to learn.

    Attributes:
        network: a `tomopick.models.registry.DenseNetwork` that is also an ``nn.Module``.
        arguments: what it was built with.
        learning: by parameter name, how fast each weight learns, 0 to 1, as `DenseNetwork.start_training` gives it.
        recipe: of the training, with the normalisation of the model that it starts from.
        spacing: voxel spacing in Angstrom to train at.
        provenance: of the model that it starts from: file, digest, objects, training runs; empty without one.
    """

    network: Any
    arguments: dict[str, Any]
    learning: dict[str, Tensor]
    recipe: Recipe
    spacing: float
    provenance: dict[str, Any]

    @property
    def known(self) -> frozenset[str]:
        """Names of the objects that the model knows that it starts from; none without one."""
        return frozenset(self.provenance.get("init", {}).get("objects", ()))


def start_training(recipe: Recipe, objects: Sequence[ParticleObject], spacing: float) -> Start:
    """The network of a recipe, for these objects: with the weights of the model ``recipe.init``, or fresh ones.

    From a model everything is taken but the last layer's rows of objects that it does not know by name; these start
    fresh. Its normalisation and its voxel spacing go with its weights. Of the model that comes with tomopick only the
    weights are taken, where they fit the network.

    Args:
        recipe: names the network and its arguments, and perhaps a model.
        objects: in the order of the classes.
        spacing: of the data, in Angstrom; for fresh weights.

    Raises:
        ModelFileError: the model cannot be read, or is another network than the recipe's.
    """
    if isinstance(recipe.init, Path):
        return _from_model(recipe, recipe.init, objects)
    arguments = {"num_classes": len(objects) + 1, **recipe.arguments}
    network: Any = build(recipe.model, arguments)
    start = Start(network, arguments, network.start_training(), recipe, spacing, {})
    return start if recipe.init is None else _from_simulated(start, objects)


def told_start(provenance: dict[str, Any]) -> str:
    """What weights a training started from, in words, as a model's provenance has it."""
    if "init" not in provenance:
        return "fresh weights"
    if provenance.get("recipe", {}).get("init") == SIMULATED:
        return "the weights that tomopick brings, trained on its phantoms"
    return f"the weights of model '{provenance['init'].get('model', '?')}'"


def _from_simulated(start: Start, objects: Sequence[ParticleObject]) -> Start:
    path = simulated_model(start.recipe.model)
    model = load_model(path) if path else None
    if path is None or model is None or _misfits(start.network, model):
        what = " ".join([start.recipe.model, *map(str, start.recipe.arguments.values())])
        warnings.warn(f"{what} starts with fresh weights: tomopick brings none for it", stacklevel=2)
        return start
    _take_weights(start.network, [o.name for o in objects], model)
    return replace(start, provenance={"init": _origin(path, model)})


def _from_model(recipe: Recipe, path: Path, objects: Sequence[ParticleObject]) -> Start:
    model = load_model(path)
    name, normalisation = model.spec.architecture, model.spec.normalisation
    if name != recipe.model:
        raise ModelFileError(f"{path} is a model of {name}, not {recipe.model}; leave out --model or --init")
    fresh = start_training(recipe.model_copy(update={"init": None}), objects, model.spec.spacing)
    odd = _misfits(fresh.network, model)
    if odd:
        own = {k: v for k, v in model.spec.arguments.items() if k != "num_classes"}
        raise ModelFileError(
            f"{path} was built with the arguments {own}, not {recipe.arguments}: its weights do not fit "
            f"({', '.join(odd[:3])}); leave out the arguments to take its own"
        )
    _take_weights(fresh.network, [o.name for o in objects], model)
    if "normalisation" in recipe.model_fields_set and recipe.normalisation != normalisation:
        warnings.warn(f"the normalisation is that of {path}, not the recipe's", stacklevel=2)
    recipe = recipe.model_copy(update={"normalisation": normalisation})
    return replace(fresh, recipe=recipe, provenance={"init": _origin(path, model)})


def _misfits(network: Any, model: Model) -> list[str]:
    """Names of weights that only one of both has, or in another size; of the last layer rows may differ in number."""
    head = _head(network)

    def sizes(state: dict[str, Tensor]) -> set[tuple[str, torch.Size]]:
        return {(key, value.shape[1:] if key in head else value.shape) for key, value in state.items()}

    return sorted({key for key, _ in sizes(network.state_dict()) ^ sizes(model.network.state_dict())})


def _head(network: Any) -> set[str]:
    """Names of the last layer's weights, which have a row for each class."""
    return {key for key, value in network.named_parameters() if any(value is p for p in network.head.parameters())}


@torch.no_grad()
def _take_weights(network: Any, objects: list[str], model: Model) -> None:
    """Put the model's weights in their places; of the last layer, the rows of objects of the same names."""
    weights, given, head = network.state_dict(), model.network.state_dict(), _head(network)
    known = [*(o.name for o in model.spec.objects), ""]
    for key, value in weights.items():
        if key not in head:
            value.copy_(given[key])
            continue
        for row, wanted in enumerate([*objects, ""]):
            if wanted in known:
                value[row] = given[key][known.index(wanted)]


def _origin(path: Path, model: Model) -> dict[str, Any]:
    """Where the weights come from: the model's file, what it was trained on, and where its own came from."""
    spec = model.spec
    return {
        "model": model.name,
        "sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "objects": [o.name for o in spec.objects],
        "spacing": spec.spacing,
        **{key: spec.provenance[key] for key in ("training", "init") if key in spec.provenance},
    }
