"""`tomopick pick`: many tomograms, one picks file, nothing done twice and nothing lost."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from tomopick.commands.journal import Journal, ModelRecord, file_digest
from tomopick.commands.screen import notice, out, progress_bar
from tomopick.commands.sources import Source, tomograms_of
from tomopick.errors import DataError, TomopickError
from tomopick.inference.backends import USUAL, check_backend, choices_file, fastest, model_in, precision_of
from tomopick.inference.engine import MEMORY, chosen_dtype, chosen_stride
from tomopick.inference.ensemble import Ensemble
from tomopick.inference.picking import check_picking, pick
from tomopick.inference.scoremap import Part
from tomopick.io.picks import TomogramSize, picks_format, write_picks
from tomopick.io.score_maps import Piece, writing_scores
from tomopick.io.tomograms import read_tomogram
from tomopick.models.modelfile import Model, load_model
from tomopick.objects import ParticleObject, object_named
from tomopick.picks import Picks

__all__ = ["PickOptions", "pick_all", "read_weights"]


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
class _Team:
    """The models that pick together, their files, the name they share in copick projects, and what computes each."""

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

    def in_backend(self, options: PickOptions) -> Self:
        """The same models in the backend of the options; "auto" is the fastest for each.

        Raises:
            TomopickError: the backend is not installed.
        """
        models = self.together.models
        names = tuple(_backend_for(model, options) for model in models)
        moved = tuple(model_in(model, name) for model, name in zip(models, names, strict=True))
        return replace(self, together=replace(self.together, models=moved), backends=names)

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


def pick_all(
    models: Sequence[Path],
    inputs: Sequence[Path],
    picks_file: Path,
    options: PickOptions,
    *,
    weights: Sequence[float] | None = None,
    runs: Sequence[str] | None = None,
    write_copick: bool = False,
    overwrite: bool = False,
    scores: Path | None = None,
) -> list[str]:
    """Pick every tomogram of the inputs; each one's picks are in the file as soon as it is finished.

    Args:
        models: files of models that pick together, or folders of fold trainings.
        inputs: copick projects, tomogram files and folders of them.
        picks_file: where to.
        options: how.
        weights: what each of the models counts; all alike where there are none.
        runs: only these.
        write_copick: write into the projects, too.
        overwrite: replace results that are there.
        scores: folder to write score maps to, as OME-Zarr by the tomograms' names; a tomogram without one is picked
            again.

    Returns:
        A line for each tomogram that failed.

    Raises:
        TomopickError: nothing could be done at all; where there is a single tomogram, also its failure.
    """
    _check(picks_file, options)
    team = _Team.of(models, weights)
    check_picking(team.together, options.stride, options.augment, options.expected_precision)
    spec = team.together.models[0].spec
    kind = options.kind or spec.kind or "wbp"
    sources = tomograms_of(inputs, kind, options.spacing, spec.spacing, runs)
    _notice_kinds(team, kind)
    if write_copick:
        _check_copick(sources, team)
    team = team.in_backend(options)
    journal = Journal.beside(picks_file, team.records(options), options.record(), overwrite)
    picks = journal.finished(picks_file)
    failures = []
    for number, source in enumerate(sources, start=1):
        label = f"{source.name} ({number} of {len(sources)})"
        saved = None if scores is None else _score_file(scores, source)
        before = source.name in picks and (saved is None or saved.exists())
        try:
            if not before:
                picks[source.name] = _pick_one(source, label, team.together, options, journal, saved)
        except (TomopickError, MemoryError, OSError, RuntimeError) as error:  # the last: PyTorch without memory
            if len(sources) == 1:
                raise
            failures.append(f"{source.name}: {' '.join(str(error).split())}")
            _say(f"{label}: failed: {error}")
            continue
        if not before:
            _write(picks_file, picks, journal, options)
        _say(f"{label}: {'finished before, ' if before else ''}{len(picks[source.name])} picks")
        if write_copick:
            _into_copick(source, picks[source.name], team, overwrite)
    _notice_absent(team, picks, options)
    return failures


def _notice_absent(team: _Team, picks: dict[str, Picks], options: PickOptions) -> None:
    """Say which objects were found nowhere, for a threshold out of reach looks like a tomogram without them."""
    found = {name for one in picks.values() for name in one.objects}
    absent = [o.name for o in team.together.objects if o.name not in found]
    if absent and picks:
        why = "no score reaches its threshold"
        if options.expected_precision is not None:
            why = f"no pick is expected to be right in {100 * options.expected_precision:g} of 100 cases"
        notice(f"nothing was found of {', '.join(absent)}: {why}")


def _check(picks_file: Path, options: PickOptions) -> None:
    """What must not come to light only after an hour of computing: the options, and whether the file can be written."""
    form = picks_format(picks_file)
    if not form.several or not form.objects or form.read is None:
        raise TomopickError(
            f"a {form.name} cannot keep all that is picked: write .csv or .star, and `tomopick convert` it"
        )
    chosen_dtype(options.dtype, options.device)
    check_backend(options.backend, options.device, options.dtype)
    if options.threshold is not None and options.expected_precision is not None:
        raise TomopickError("--threshold and --precision both say which picks to keep; give one of them")
    try:
        picks_file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=picks_file.parent):
            pass
    except FileExistsError as error:
        raise DataError(f"cannot write {picks_file}: {picks_file.parent} is not a folder") from error
    except OSError as error:
        raise DataError(f"cannot write {picks_file}: {error.strerror or error}") from error


def _say(text: str) -> None:
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def _notice_kinds(team: _Team, kind: str) -> None:
    for model in team.together.models:
        if model.spec.kind and model.spec.kind != kind:
            which = "the model" if len(team.files) == 1 else f"model '{model.name}'"
            notice(f"{which} was trained on tomograms of type '{model.spec.kind}', not '{kind}'")


def _check_copick(sources: Sequence[Source], team: _Team) -> None:
    """Whether each source is in a project that knows the models' objects."""
    for source in sources:
        if source.project is None:
            raise DataError("--write-copick needs a copick project as input; a tomogram file has none")
        for particle in team.together.objects:
            object_named(particle.name, source.project.objects)


def _score_file(folder: Path, source: Source) -> Path:
    if Path(source.name).name != source.name:
        raise DataError(f"the tomogram's name '{source.name}' makes no name of a file; its scores cannot be saved")
    return folder / f"{source.name}.zarr"


@contextmanager
def _saving(path: Path | None, objects: Sequence[ParticleObject]) -> Iterator[Callable[[Part], None] | None]:
    """What writes each part of a score map to the path; the map is there when the block ends well."""
    if path is None:
        yield None
        return
    with ExitStack() as opened:
        pieces: list[Piece] = []

        def save(part: Part) -> None:
            if not pieces:
                apart = part.scores.stride * part.scores.spacing
                pieces.append(opened.enter_context(writing_scores(path, part.counts, objects, apart, part.scores.name)))
            pieces[0](part.own, part.own_start)

        yield save


def _pick_one(
    source: Source, label: str, together: Ensemble, options: PickOptions, journal: Journal, scores: Path | None
) -> Picks:
    tomogram = source.open()
    for here in sorted({model.spec.spacing for model in together.models}):
        if abs(tomogram.spacing / here - 1) > 0.02:
            there = tomogram.spacing
            notice(f"{source.name} has voxels of {there:g} A, the model {here:g} A: resampled on the fly")
    size = TomogramSize.of(tomogram)
    if options.pixels and any(other.pixel_size != size.pixel_size for other in journal.sizes.values()):
        raise DataError(f"its voxels are {size.pixel_size:g} A, others' are not; --pixels needs one size for all")
    mask = None
    if options.mask is not None:
        mask = read_tomogram(options.mask, tomogram.spacing).array
        if tuple(mask.shape) != tomogram.shape:
            raise DataError(f"mask {options.mask} is {tuple(mask.shape)} voxels, {source.name} is {tomogram.shape}")
    objects = [o.name for o in together.objects]
    thresholds = None if options.threshold is None else dict.fromkeys(objects, options.threshold)
    plan = ""

    def see(part: Part) -> None:
        nonlocal plan
        plan = part.scores.plan
        if save is not None:
            save(part)

    started = time.monotonic()
    with _saving(scores, together.objects) as save, progress_bar(label) as tell:
        found = pick(
            together.models,
            tomogram,
            weights=together.shares,
            stride=options.stride,
            augment=options.augment,
            thresholds=thresholds,
            mask=mask,
            border=options.border,
            device=options.device,
            dtype=options.dtype,
            expected_precision=options.expected_precision,
            exclusive=options.exclusive,
            memory=options.memory,
            each_part=see,
            progress=tell,
        )
    journal.sizes[source.name] = size
    journal.counts[source.name] = len(found)
    journal.plans[source.name] = plan
    journal.seconds[source.name] = round(time.monotonic() - started, 1)
    return found


def _write(path: Path, found: dict[str, Picks], journal: Journal, options: PickOptions) -> None:
    # by name, so that the file does not tell in which order tomograms were finished
    picks = Picks.join(found[name] for name in sorted(found))
    # the journal last: after an interruption between the two, the tomogram is picked again
    if options.pixels:
        write_picks(path, picks, spacing=next(iter(journal.sizes.values())).pixel_size)
    else:
        write_picks(path, picks, tomogram_sizes=journal.sizes)
    journal.save()


def _into_copick(source: Source, picks: Picks, team: _Team, overwrite: bool) -> None:
    assert source.project is not None  # checked before anything was picked
    objects = [o.name for o in team.together.objects]
    sets = source.project.write_picks(picks, team.name, overwrite, runs=[source.name], objects=objects)
    kept = [s.object for s in sets if s.kept]
    if kept:
        notice(f"{source.name}: picks of {', '.join(kept)} by '{team.name}' were kept; --overwrite replaces them")
