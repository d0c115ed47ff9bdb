"""`tomopick pick`: many tomograms, one picks file, nothing done twice and nothing lost."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from tomopick.atomic import replacing
from tomopick.commands.screen import notice, out, progress_bar
from tomopick.commands.sources import Source, tomograms_of
from tomopick.errors import DataError, TomopickError
from tomopick.inference.picking import pick
from tomopick.io.picks import TomogramSize, picks_format, read_picks, write_picks
from tomopick.io.tomograms import read_tomogram
from tomopick.models.modelfile import Model, load_model
from tomopick.objects import object_named
from tomopick.picks import Picks

__all__ = ["PickOptions", "pick_all"]

DTYPES = ("fp32", "bf16", "fp16", "auto")


@dataclass(frozen=True)
class PickOptions:
    """Everything that decides what is picked; two runs with the same options give the same picks."""

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


@dataclass
class _Journal:
    """What is finished, kept beside the picks file, so that starting again goes on where it stopped."""

    path: Path
    settings: str
    sizes: dict[str, TomogramSize] = field(default_factory=dict)
    counts: dict[str, int] = field(default_factory=dict)

    @classmethod
    def beside(cls, picks_file: Path, settings: str, overwrite: bool) -> _Journal:
        path = picks_file.with_name(f"{picks_file.name}.progress.json")
        journal = cls(path, settings)
        if overwrite or not picks_file.exists():
            return journal
        try:
            stored: dict[str, Any] = json.loads(path.read_text())
            if stored["settings"] != settings:
                raise DataError(
                    f"{picks_file} holds picks of another model or other options; add --overwrite to replace them, "
                    "or give another --out"
                )
            journal.sizes = {k: TomogramSize(tuple(v["xyz"]), v["pixel_size"]) for k, v in stored["sizes"].items()}
            journal.counts = stored["counts"]
        except FileNotFoundError as error:
            raise DataError(
                f"{picks_file} exists and was not written by this command; add --overwrite to replace it, "
                "or give another --out"
            ) from error
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged; add --overwrite to pick everything anew") from error
        return journal

    def finished(self, picks_file: Path) -> dict[str, Picks]:
        """The picks of each finished tomogram, as the file holds them."""
        if not self.counts:
            return {}
        table = read_picks(picks_file)
        found = {name: table.where(run=name) for name in self.counts}
        if any(len(found[name]) != count for name, count in self.counts.items()):
            raise DataError(
                f"{picks_file} was changed since it was written; add --overwrite to pick everything anew, or give "
                "another --out"
            )
        return found

    def save(self) -> None:
        sizes = {name: asdict(size) for name, size in self.sizes.items()}
        stored = {"settings": self.settings, "counts": self.counts, "sizes": sizes}
        with replacing(self.path) as temporary:
            temporary.write_text(json.dumps(stored, indent=1))


def pick_all(
    model_path: Path,
    inputs: Sequence[Path],
    picks_file: Path,
    options: PickOptions,
    *,
    runs: Sequence[str] | None = None,
    write_copick: bool = False,
    overwrite: bool = False,
) -> list[str]:
    """Pick every tomogram of the inputs; each one's picks are in the file as soon as it is finished.

    Returns:
        A line for each tomogram that failed.

    Raises:
        TomopickError: nothing could be done at all; where there is a single tomogram, also its failure.
    """
    _check(picks_file, options)
    model = load_model(model_path)
    sources = tomograms_of(inputs, options.kind or model.spec.kind or "wbp", options.spacing, model.spec.spacing, runs)
    if options.kind and model.spec.kind and options.kind != model.spec.kind:
        notice(f"the model was trained on tomograms of type '{model.spec.kind}', not '{options.kind}'")
    if write_copick:
        _check_copick(sources, model)
    journal = _Journal.beside(picks_file, _digest(model_path, options), overwrite)
    picks = journal.finished(picks_file)
    failures = []
    for number, source in enumerate(sources, start=1):
        label = f"{source.name} ({number} of {len(sources)})"
        before = source.name in picks
        try:
            if not before:
                picks[source.name] = _pick_one(source, label, model, options, journal)
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
            _into_copick(source, picks[source.name], model, overwrite)
    return failures


def _check(picks_file: Path, options: PickOptions) -> None:
    """What must not come to light only after an hour of computing: the options, and whether the file can be written."""
    picks_format(picks_file)
    if options.dtype not in DTYPES:
        raise TomopickError(f"unknown dtype '{options.dtype}'; choose {', '.join(DTYPES)}")
    if options.threshold is not None and options.expected_precision is not None:
        raise TomopickError("--threshold and --precision both say which picks to keep; give one of them")
    try:
        picks_file.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=picks_file.parent):
            pass
    except OSError as error:
        raise DataError(f"cannot write {picks_file}: {error.strerror or error}") from error


def _say(text: str) -> None:
    out.print(text, highlight=False, markup=False, soft_wrap=True)


def _check_copick(sources: Sequence[Source], model: Model) -> None:
    """Whether each source is in a project that knows the model's objects."""
    for source in sources:
        if source.project is None:
            raise DataError("--write-copick needs a copick project as input; a tomogram file has none")
        for particle in model.spec.objects:
            object_named(particle.name, source.project.objects)


def _pick_one(source: Source, label: str, model: Model, options: PickOptions, journal: _Journal) -> Picks:
    tomogram = source.open()
    if abs(tomogram.spacing / model.spec.spacing - 1) > 0.02:
        there, here = tomogram.spacing, model.spec.spacing
        notice(f"{source.name} has voxels of {there:g} A, the model {here:g} A: resampled on the fly")
    size = TomogramSize.of(tomogram)
    if options.pixels and any(other.pixel_size != size.pixel_size for other in journal.sizes.values()):
        raise DataError(f"its voxels are {size.pixel_size:g} A, others' are not; --pixels needs one size for all")
    mask = None
    if options.mask is not None:
        mask = read_tomogram(options.mask, tomogram.spacing).array
        if tuple(mask.shape) != tomogram.shape:
            raise DataError(f"mask {options.mask} is {tuple(mask.shape)} voxels, {source.name} is {tomogram.shape}")
    objects = [o.name for o in model.spec.objects]
    thresholds = None if options.threshold is None else dict.fromkeys(objects, options.threshold)
    with progress_bar(label) as tell:
        found = pick(
            model,
            tomogram,
            stride=options.stride,
            thresholds=thresholds,
            mask=mask,
            border=options.border,
            device=options.device,
            dtype=options.dtype,
            expected_precision=options.expected_precision,
            progress=tell,
        )
    journal.sizes[source.name] = size
    journal.counts[source.name] = len(found)
    return found


def _write(path: Path, found: dict[str, Picks], journal: _Journal, options: PickOptions) -> None:
    # by name, so that the file does not tell in which order tomograms were finished
    picks = Picks.join(found[name] for name in sorted(found))
    # the journal last: after an interruption between the two, the tomogram is picked again
    if options.pixels:
        write_picks(path, picks, spacing=next(iter(journal.sizes.values())).pixel_size)
    else:
        write_picks(path, picks, tomogram_sizes=journal.sizes)
    journal.save()


def _into_copick(source: Source, picks: Picks, model: Model, overwrite: bool) -> None:
    assert source.project is not None  # checked before anything was picked
    objects = [o.name for o in model.spec.objects]
    sets = source.project.write_picks(picks, model.name, overwrite, runs=[source.name], objects=objects)
    kept = [s.object for s in sets if s.kept]
    if kept:
        notice(f"{source.name}: picks of {', '.join(kept)} by this model were kept; --overwrite replaces them")


def _digest(model_path: Path, options: PickOptions) -> str:
    """A hash of the model file and of all options."""
    digest = hashlib.sha256(repr(asdict(options)).encode())
    with model_path.open("rb") as file:
        while block := file.read(2**20):
            digest.update(block)
    return digest.hexdigest()
