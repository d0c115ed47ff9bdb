"""`tomopick train`: from a copick project to a model file, once or with several seeds."""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from pathlib import Path
from statistics import mean, stdev

from tomopick.atomic import replacing
from tomopick.commands.corrections import corrected_runs
from tomopick.commands.screen import notice, out, table
from tomopick.commands.sources import project_at, split_names
from tomopick.errors import DataError, ModelFileError, TomopickError
from tomopick.io.project import Project
from tomopick.models.modelfile import ModelSpec, read_spec
from tomopick.models.registry import choices
from tomopick.models.shipped import SIMULATED, simulated_model
from tomopick.picks import check_inside
from tomopick.plots import plot_training
from tomopick.recipe import Init, Recipe
from tomopick.tomogram import Tomogram
from tomopick.training.run import Trained, TrainingRun, train

__all__ = [
    "FRESH",
    "check_known",
    "check_no_folds",
    "opened_runs",
    "read_recipe",
    "resumed_recipe",
    "split_runs",
    "train_project",
]

UNLIMITED = 100_000  # epochs
FRESH = "none"  # what a recipe or --init calls a start from nothing
LITTLE = 0.1  # a weighted F4 below which a model is of no use yet
DEFAULT_MODEL = str(Recipe.model_fields["model"].default)


def read_recipe(path: Path | None, changes: dict[str, object]) -> Recipe:
    """The network's own recipe, with the choices of a JSON file, and then the changes that are not None.

    Of the augmentation, a file may name some choices and leave the rest.

    A time limit without a number of epochs decides alone. Where the training starts from a model, the network and its
    arguments are the model's if nothing else is said. "none" as the model starts it from fresh weights.
    """
    try:
        read = json.loads(path.read_text()) if path else {}
        if not isinstance(read, dict):
            raise DataError(f"{path} is not a recipe: it must hold one JSON object, as OUT/recipe.json does")
        chosen = read | {k: v for k, v in changes.items() if v is not None}
        if chosen.get("time_limit") is not None:
            chosen.setdefault("epochs", UNLIMITED)
        if chosen.get("init") == FRESH:
            chosen["init"] = None
        if chosen.get("init") not in (None, SIMULATED):
            path = Path(str(chosen["init"])).resolve()
            if not path.exists():
                raise ModelFileError(f"there is no model file {path}; give one, or {SIMULATED} or {FRESH}")
            chosen = _network_of(read_spec(path)) | chosen | {"init": path}
        network = str(chosen.get("model", DEFAULT_MODEL))
        own = choices(network)
        if changes.get("init") == SIMULATED and simulated_model(network) is None:
            raise ModelFileError(f"tomopick brings no weights for {network}; leave out --init to start from fresh ones")
        augmentation = chosen.get("augmentation")
        if isinstance(augmentation, dict):  # what it does not say stays as the network has it
            chosen["augmentation"] = own.get("augmentation", {}) | augmentation
        return Recipe.model_validate(own | chosen)
    except OSError as error:
        raise DataError(f"cannot read the recipe {path}: {error.strerror}") from error
    except ValueError as error:
        text = " ".join(str(error).split("\n")[1:3]) or str(error)
        raise TomopickError(f"the training recipe does not hold: {' '.join(text.split())}") from error


def _network_of(spec: ModelSpec) -> dict[str, object]:
    """A model's network, as a recipe names it."""
    arguments = {name: value for name, value in spec.arguments.items() if name != "num_classes"}
    return {"model": spec.architecture, "arguments": arguments}


def resumed_recipe(folder: Path) -> Path:
    """The recipe of the training in a folder; of several seeds or folds, the first one's.

    Raises:
        DataError: no training was started there.
    """
    several = [*folder.glob("seed_*/recipe.json"), *folder.glob("fold_*/recipe.json")]
    several.sort(key=lambda path: int(path.parent.name.partition("_")[2]))
    found = [path for path in (folder / "recipe.json", *several) if path.is_file()]
    if not found:
        raise DataError(f"{folder} holds no training to go on with; leave out --resume to start one")
    return found[0]


def check_known(runs: Sequence[str], asked: Sequence[str]) -> None:
    """Refuse runs that a project, which has these runs, does not have.

    Raises:
        DataError: it names them.
    """
    unknown = sorted(set(asked) - set(runs))
    if unknown:
        raise DataError(f"the project has no run {', '.join(unknown)}; it has: {', '.join(runs) or 'none'}")


def split_runs(runs: Sequence[str], training: list[str] | None, validation: list[str] | None) -> tuple[list[str], ...]:
    """Which runs train and which validate: those named, the others train; unnamed, the last fifth validates.

    Raises:
        DataError: a run that the project does not have, or too few runs to have one on each side.
    """
    check_known(runs, [*(training or []), *(validation or [])])
    if validation is None:
        rest = [r for r in runs if r not in (training or [])]
        if training is None:
            rest = rest[-max(1, len(rest) // 5) :]
        validation = rest
    chosen = [r for r in runs if r not in validation] if training is None else training
    if not chosen or not validation:
        raise DataError(f"training needs a run to learn from and another to validate on; the project has {len(runs)}")
    return chosen, validation


def train_project(
    config: Path,
    folder: Path,
    recipe: Recipe,
    *,
    kind: str,
    spacing: float | None,
    training: list[str] | None,
    validation: list[str] | None,
    user: str | None = None,
    session: str | None = None,
    partial: bool = False,
    corrections: Path | None = None,
    seeds: int = 1,
    resume: bool = False,
    device: str = "cpu",
    devices: int = 1,
    workers: int | None = None,
) -> Trained:
    """Train on a project's annotated runs and leave model, log and curve in the folder.

    Of several types of tomogram, separated by commas, each crop shows one at random; validation, and the model, is for
    the first. With `partial`, an object that a run has no set of picks of may be in it all the same. `corrections` are
    what a reviewer said of picks: they add to a training run's annotations, and are all that counts in a run without.
    With several seeds, each has a folder of its own in it, and the model with the lowest validation loss is copied up.
    """
    _check_seeds(folder, seeds)
    project = project_at(config)
    chosen, held = split_runs(project.runs, training, validation)
    opened = opened_runs(project, [*chosen, *held], chosen, kind, spacing, recipe.init, user, session, partial)
    if corrections is not None:
        opened |= corrected_runs({run: opened[run] for run in chosen}, corrections, project.objects)
    sides = [[opened[run] for run in names] for names in (chosen, held)]
    counts = [sum(len(r.picks) for r in side) for side in sides]
    out.print(
        f"training on {', '.join(chosen)} ({counts[0]} particles), validating on {', '.join(held)} ({counts[1]})",
        highlight=False,
    )
    results = []
    for seed in range(recipe.seed, recipe.seed + seeds):
        where = folder / f"seed_{seed}" if seeds > 1 else folder
        if seeds > 1:
            out.print(f"seed {seed}:", highlight=False)
        one = recipe.model_copy(update={"seed": seed})
        results.append(
            train(sides[0], sides[1], project.objects, one, where, resume=resume, device=device, devices=devices,
                  workers=workers)
        )  # fmt: skip
    best = min(results, key=lambda r: float(read_spec(r.model).provenance["validation_loss"]))
    if seeds > 1:
        with replacing(folder / "model.safetensors") as temporary:
            shutil.copyfile(best.model, temporary)
    caption = plot_training([r.history for r in results], folder / "training_progress.png")
    if seeds > 1:
        _tell_spread(results, best, recipe.seed)
    _tell(best, folder, caption)
    return best


def opened_runs(
    project: Project,
    names: Sequence[str],
    training: Sequence[str],
    kind: str,
    spacing: float | None,
    init: Init,
    user: str | None,
    session: str | None,
    partial: bool,
) -> dict[str, TrainingRun]:
    """Runs of a project with their tomograms and annotations, by name.

    Raises:
        DataError: none of the training runs has a tomogram of one of the types, or an annotation lies more than a
            particle's radius outside of its tomogram.
    """
    kinds = split_names(kind) or [kind]
    lacking = set(kinds[1:]).difference(*(_there(project, run, kinds) for run in training))
    if lacking:
        raise DataError(
            f"no training run has a tomogram of type {', '.join(sorted(lacking))}; leave it out of --tomogram"
        )

    def opened(run: str) -> TrainingRun:
        first, *others = (_tomogram(project, run, k, spacing, init) for k in _there(project, run, kinds))
        annotated = project.annotated(run, user, session) if partial else None
        picks = project.picks(run, user, session)
        check_inside(picks, first, slack=max(o.radius for o in project.objects))
        return TrainingRun(first, picks, annotated, tuple(others))

    return {run: opened(run) for run in names}


def _check_seeds(folder: Path, seeds: int) -> None:
    check_no_folds(folder)
    several = any(folder.glob("seed_*/recipe.json"))
    if several and seeds == 1:
        raise DataError(f"{folder} holds a training of several seeds; add --seeds, or give another --out")
    if (folder / "recipe.json").exists() and seeds > 1:
        raise DataError(f"{folder} holds a training of one seed; leave out --seeds, or give another --out")


def check_no_folds(folder: Path) -> None:
    """Raise a DataError if a folder holds a training in folds, which would be mixed up with another."""
    if any(folder.glob("fold_*/recipe.json")):
        raise DataError(f"{folder} holds a training in folds; add --folds, or give another --out")


def _there(project: Project, run: str, kinds: Sequence[str]) -> list[str]:
    """The first of these types of tomogram, and those others that a run has."""
    have = {kind for _, kind in project.tomogram_kinds(run)}
    return [kinds[0], *(kind for kind in kinds[1:] if kind in have)]


def _tomogram(project: Project, run: str, kind: str, spacing: float | None, init: Init) -> Tomogram:
    """A run's tomogram of the spacing asked for, or near that of the model to start from, or else the finest."""
    there = [s for s, k in project.tomogram_kinds(run) if k == kind]
    if spacing is None and isinstance(init, Path) and there:
        wanted = read_spec(init).spacing
        spacing = min(there, key=lambda s: abs(s - wanted))
    return project.tomogram(run, kind, spacing)


def _tell_spread(results: Sequence[Trained], best: Trained, first: int) -> None:
    """Each seed's losses and score on the validation runs, and their mean and deviation."""
    losses = [float(r.history["val_loss"].min()) for r in results]
    scores = [r.validation.score for r in results]
    rows = [
        [str(seed), str(len(r.history)), f"{loss:.4f}", f"{score:.3f}", "chosen" if r is best else ""]
        for seed, (r, loss, score) in enumerate(zip(results, losses, scores, strict=True), start=first)
    ]
    rows.append(["mean", "", f"{mean(losses):.4f}", f"{mean(scores):.3f}", ""])
    rows.append(["deviation", "", f"{stdev(losses):.4f}", f"{stdev(scores):.3f}", ""])
    columns = ["seed", "epochs", "best validation loss", f"weighted F{best.validation.beta:g}", ""]
    table("Seeds, on the validation runs", columns, rows)


def _tell(best: Trained, folder: Path, caption: str) -> None:
    found = best.validation
    rows = [[name, f"{value:.3f}"] for name, value in found.thresholds.items()]
    table("Score thresholds, from the validation runs", ["object", "threshold"], rows)
    epochs = len(best.history)
    out.print(
        f"{epochs} epochs, best validation loss {best.history['val_loss'].min():.4f}, "
        f"weighted F{found.beta:g} on the validation runs {found.score:.3f}\n"
        f"model   {folder / 'model.safetensors'}\n"
        f"curve   {folder / 'training_progress.png'}  ({caption})",
        highlight=False, markup=False, soft_wrap=True,
    )  # fmt: skip
    if found.score < LITTLE:
        notice("hardly anything is found on the validation runs yet: train for longer (--time-limit, --epochs)")
