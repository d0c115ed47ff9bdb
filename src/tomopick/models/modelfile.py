"""A model as one file: safetensors weights with a JSON header. Loading it executes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from tomopick.atomic import replacing
from tomopick.calibration import Calibration
from tomopick.errors import ModelFileError
from tomopick.models.registry import build
from tomopick.objects import ParticleObject
from tomopick.recipe import Normalisation

__all__ = ["Model", "ModelSpec", "load_model", "read_spec", "save_model"]

KEY = "tomopick"


class ModelSpec(BaseModel):
    """All that use of a network needs to know beside its weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    format: Literal[1] = Field(default=1, description="Version of this header.")
    architecture: str = Field(description="Name of the network.")
    arguments: dict[str, Any] = Field(description="What it was built with.")
    objects: tuple[ParticleObject, ...] = Field(min_length=1, description="In the order of the network's classes.")
    spacing: float = Field(gt=0, allow_inf_nan=False, description="Voxel spacing in Angstrom that it was trained at.")
    kind: str = Field(default="", description="Tomogram type that it was trained on, as copick names it.")
    normalisation: Normalisation = Field(default_factory=Normalisation)
    calibration: dict[str, Calibration] = Field(
        default_factory=dict, description="From raw scores to probabilities, by object; objects without keep theirs."
    )
    thresholds: dict[str, float] = Field(
        default_factory=dict, description="Least score of a pick, by object; calibrated where the object is."
    )
    provenance: dict[str, Any] = Field(default_factory=dict, description="How it was trained.")


@dataclass(frozen=True, eq=False)
class Model:
    """A network and what its use needs to know.

    Attributes:
        network: a `tomopick.models.registry.DenseNetwork` that is also an ``nn.Module``.
        spec: everything else.
        name: what copick sessions are called by: the file's name, or its folder's where the file is "model".
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
        # written by us, for safetensors would hide the file from all but its owner
        temporary.write_bytes(save(weights, metadata={KEY: model.spec.model_dump_json()}))


def read_spec(path: Path) -> ModelSpec:
    """The header of a model file, without its weights.

    Raises:
        ModelFileError: there is no such file, or it is not a tomopick model.
    """
    wanted = "give the model.safetensors that `tomopick train` left"
    if path.is_dir() and (path / "model.safetensors").is_file():
        wanted = f"the model of that folder is {path / 'model.safetensors'}"
    if not path.is_file():
        raise ModelFileError(f"there is no model file {path}; {wanted}")
    try:
        with safe_open(str(path), framework="pt") as file:
            header = (file.metadata() or {}).get(KEY)
    except SafetensorError as error:
        fault = ": it is empty" if path.stat().st_size == 0 else " of tomopick, or one that was cut short"
        raise ModelFileError(f"{path} is not a model file{fault}; {wanted}") from error
    except OSError as error:
        raise ModelFileError(f"cannot read {path}: {error}") from error
    if header is None:
        raise ModelFileError(f"{path} holds weights but no tomopick header; give a model that tomopick trained")
    try:
        return ModelSpec.model_validate_json(header)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        what = ": ".join([".".join(map(str, first["loc"])), first["msg"]]).lstrip(": ")
        raise ModelFileError(f"{path} has a header that this version does not understand: {what}") from error


def _name_of(path: Path) -> str:
    """What a model is called: its file, or its folder where `tomopick train` gave the file its usual name."""
    folder = path.resolve().parent.name
    return folder if path.stem == "model" and folder else path.stem


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
    classes = spec.arguments.get("num_classes", len(spec.objects) + 1)
    if classes != len(spec.objects) + 1:
        raise ModelFileError(f"{path} names {len(spec.objects)} objects for a network of {classes} classes")
    network.load_state_dict(_weights(path, spec, network.state_dict()), strict=True, assign=True)
    return Model(network.requires_grad_(False).eval(), spec, _name_of(path))


def _weights(path: Path, spec: ModelSpec, expected: dict[str, Tensor]) -> dict[str, Tensor]:
    """The weights, read only once their names and shapes are known to be right."""
    with safe_open(str(path), framework="pt") as file:
        sizes = {name: tuple(file.get_slice(name).get_shape()) for name in file.keys()}  # noqa: SIM118
        odd = [n for n in {*sizes, *expected} if n not in expected or sizes.get(n) != tuple(expected[n].shape)]
        weights = {} if odd else {name: file.get_tensor(name) for name in sizes}
    odd += [name for name, value in weights.items() if value.dtype != expected[name].dtype]
    if odd:
        raise ModelFileError(
            f"{path}: weights do not fit '{spec.architecture}' {spec.arguments}: {', '.join(sorted(odd)[:3])}"
        )
    return weights
