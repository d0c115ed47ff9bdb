"""What `tomopick pick` picks with: models, weights, backends, and options."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from tomopick.commands.journal import ModelRecord, file_digest
from tomopick.commands.screen import notice
from tomopick.errors import DataError
from tomopick.inference.backends import USUAL, choices_file, fastest, model_in, precision_of
from tomopick.inference.engine import MEMORY, chosen_dtype, chosen_stride
from tomopick.inference.ensemble import Ensemble
from tomopick.models.modelfile import Model, load_model

__all__ = ["PickOptions", "Team", "read_weights"]


@dataclass(frozen=True)
class PickOptions:
    """Everything that decides what is picked, beside the models; the same options give the same picks."""

    kind: str
    spacing: float | None
    stride: int | None
    threshold: float | None
    border: float
    mask: Path | None
    dtype: str
    expected_precision: float | None
    device: str
    pixels: bool
    augment: int = 1
    exclusive: bool = False
    memory: float = MEMORY
    backend: str = "torch"

    def record(self) -> dict[str, Any]:
        """The options as JSON can hold them, with the number format that "auto" means here.

        The backend is not among them, for it is each model's.
        """
        dtype = chosen_dtype(self.dtype, self.device)
        held = asdict(self) | {"dtype": dtype, "mask": None if self.mask is None else str(self.mask)}
        del held["backend"]
        return held


def read_weights(text: str | None) -> list[float] | None:
    """The numbers of ``--weights``.

    Raises:
        DataError: they are no numbers.
    """
    try:
        return None if text is None else [float(word) for word in text.split(",")]
    except ValueError as error:
        raise DataError(f"--weights '{text}' are not numbers separated by commas, as in 2,1") from error


@dataclass(frozen=True)
class Team:
    """The models that pick together.

    Attributes:
        together: the models and their weights.
        files: one for each.
        name: that they share in copick projects.
        backends: what computes each; none as long as that is not chosen.
    """

    together: Ensemble
    files: tuple[Path, ...]
    name: str
    backends: tuple[str, ...] = ()

    @classmethod
    def of(cls, given: Sequence[Path], weights: Sequence[float] | None) -> Self:
        """The models of files, and of folders of fold trainings; the weight of a folder is that of each of its models.

        Raises:
            TomopickError: a model cannot be read, or they do not go together.
        """
        if weights is not None and len(weights) != len(given):
            raise DataError(f"--weights has {len(weights)} numbers for {len(given)} models; give one for each")
        groups = [_model_files(path) for path in given]
        files = tuple(file for group in groups for file in group)
        loaded = [[load_model(file) for file in group] for group in groups]
        each = weights and [weight for weight, group in zip(weights, groups, strict=True) for _ in group]
        names = [path.resolve().name if path.is_dir() else own[0].name for path, own in zip(given, loaded, strict=True)]
        return cls(Ensemble.of([model for own in loaded for model in own], each), files, "-".join(names))

    def backends_for(self, options: PickOptions) -> tuple[str, ...]:
        """The backend of the options for each model; where that is "auto", the fastest."""
        return tuple(_backend_for(model, options) for model in self.together.models)

    def in_backends(self, names: tuple[str, ...]) -> Self:
        """The same models, each in one of these backends.

        Raises:
            TomopickError: a backend is not installed.
        """
        moved = tuple(model_in(model, name) for model, name in zip(self.together.models, names, strict=True))
        return replace(self, together=replace(self.together, models=moved), backends=names)

    def kind(self, options: PickOptions) -> str:
        """The type of the tomograms: that of the options, or what the first model was trained on."""
        return options.kind or self.together.models[0].spec.kind or "wbp"

    def records(self, options: PickOptions) -> list[ModelRecord]:
        """What a journal says of the models."""
        dtype = chosen_dtype(options.dtype, options.device)
        each = zip(self.together.models, self.files, self.together.shares, self.backends, strict=True)
        return [
            ModelRecord(
                model.name, file_digest(file), share, chosen_stride(model.network, options.stride), backend,
                precision_of(model, dtype),
            )
            for model, file, share, backend in each
        ]  # fmt: skip


def _backend_for(model: Model, options: PickOptions) -> str:
    """The backend of the options, or where that is "auto" the fastest, told of where it was found just now."""
    if options.backend != "auto":
        return options.backend
    choice = fastest(model, options.device, options.dtype)
    if choice.fresh:
        size = " x ".join(map(str, USUAL))
        times = ", ".join(f"{name} {time:.3g} s" for name, time in choice.seconds.items())
        notice(
            f"{choice.backend} is kept as this machine's backend for networks like that of '{model.name}': a tomogram "
            f"of {size} voxels would take {times}; to compare anew, remove {choices_file()}"
        )
    return choice.backend


def _model_files(path: Path) -> list[Path]:
    """A model file, or those of all folds where this is the folder of a fold training, in the folds' order."""
    folds = [fold for fold in path.glob("fold_*") if fold.name.removeprefix("fold_").isdigit()]
    folds.sort(key=lambda fold: int(fold.name.removeprefix("fold_")))
    return [fold / "model.safetensors" for fold in folds] or [path]
