"""A model as one file: safetensors weights with a JSON header. Loading it executes nothing."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file

from tomopick.atomic import replacing
from tomopick.errors import ModelFileError
from tomopick.models.registry import build
from tomopick.objects import ParticleObject
from tomopick.recipe import Normalisation

__all__ = ["Model", "ModelSpec", "load_model", "read_spec", "save_model"]

KEY = "tomopick"


class ModelSpec(BaseModel):
    """All that use of a network needs to know beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: int = Field(default=1, description="Version of this header.")
    architecture: str = Field(description="Name of the network.")
    arguments: dict[str, Any] = Field(description="What it was built with.")
    objects: tuple[ParticleObject, ...] = Field(min_length=1, description="In the order of the network's classes.")
    spacing: float = Field(gt=0, description="Voxel spacing in Angstrom that it was trained at.")
    kind: str = Field(default="", description="Tomogram type that it was trained on, as copick names it.")
    normalisation: Normalisation = Field(default_factory=Normalisation)
    thresholds: dict[str, float] = Field(default_factory=dict, description="Least score of a pick, by object.")
    provenance: dict[str, Any] = Field(default_factory=dict, description="How it was trained.")


@dataclass(frozen=True, eq=False)
class Model:
    """A network and what its use needs to know.

    Attributes:
        network: a `tomopick.models.registry.DenseNetwork` that is also an ``nn.Module``.
        spec: everything else.
        name: what copick sessions are called by; the file's name.
    """

    network: Any
    spec: ModelSpec
    name: str = "model"


def save_model(path: Path, model: Model) -> None:
    """Write a model file, whole or not at all.

    Raises:
        DataError: it cannot be written; an old file of the name stays as it was.
    """
    weights = {k: v.detach().cpu().contiguous() for k, v in model.network.state_dict().items()}
    with replacing(path) as temporary:
        save_file(weights, temporary, metadata={KEY: model.spec.model_dump_json()})


def read_spec(path: Path) -> ModelSpec:
    """The header of a model file, without its weights.

    Raises:
        ModelFileError: there is no such file, or it is not a tomopick model.
    """
    try:
        with safe_open(str(path), framework="pt") as file:
            header = (file.metadata() or {}).get(KEY)
    except (OSError, SafetensorError) as error:
        raise ModelFileError(f"{path} is not a model file: {error}") from error
    if header is None:
        raise ModelFileError(f"{path} holds weights but no tomopick header; give a model that tomopick trained")
    try:
        return ModelSpec.model_validate(json.loads(header))
    except (ValidationError, ValueError) as error:
        first = str(error).splitlines()[0]
        raise ModelFileError(f"{path} has a header that this version does not understand: {first}") from error


def load_model(path: str | Path) -> Model:
    """A model ready for use on the CPU, in evaluation mode.

    Nothing in the file is executed: weights are safetensors, the rest is JSON, and the network is one of
    tomopick's own. Names, shapes and types of all weights must be those of the network.

    Raises:
        ModelFileError: the file is missing, damaged, or does not fit the network that it names.
    """
    path = Path(path)
    spec = read_spec(path)
    with torch.device("meta"):
        network = build(spec.architecture, spec.arguments)
    with safe_open(str(path), framework="pt") as file:
        names = file.keys()
        sizes = {name: tuple(file.get_slice(name).get_shape()) for name in names}
        expected = {name: tuple(value.shape) for name, value in network.state_dict().items()}
        if sizes != expected:
            odd = sorted({n for n in {*sizes, *expected} if sizes.get(n) != expected.get(n)})
            raise ModelFileError(
                f"{path}: weights do not fit '{spec.architecture}' {spec.arguments}: {', '.join(odd[:3])}"
            )
        weights = {name: file.get_tensor(name) for name in names}
    network.load_state_dict(weights, strict=True, assign=True)
    return Model(network.requires_grad_(False).eval(), spec, path.stem)
