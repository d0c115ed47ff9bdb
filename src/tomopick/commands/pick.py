"""`tomopick pick`: many tomograms, one picks file, nothing done twice and nothing lost."""

from __future__ import annotations

import hashlib
import json
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
from tomopick.picks import Picks

__all__ = ["PickOptions", "pick_all"]


@dataclass(frozen=True)
class PickOptions:
    """Everything that decides what is picked; two runs with the same options give the same picks."""

    kind: str
    spacing: float | None
    stride: int
    threshold: float | None
    border: float
    mask: Path | None
    precision: str
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
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(f"{path} is damaged; add --overwrite to pick everything anew") from error
        return journal

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
    picks_format(picks_file)
    model = load_model(model_path)
    sources = tomograms_of(inputs, options.kind or model.spec.kind or "wbp", options.spacing, model.spec.spacing, runs)
    if options.kind and model.spec.kind and options.kind != model.spec.kind:
        notice(f"the model was trained on tomograms of type '{model.spec.kind}', not '{options.kind}'")
    if write_copick and any(source.project is None for source in sources):
        raise DataError("--write-copick needs a copick project as input; a tomogram file has none")
    journal = _Journal.beside(picks_file, _digest(model_path, options), overwrite)
    picks = read_picks(picks_file) if journal.counts else Picks.empty()
    picks = Picks.join(picks.where(run=name) for name in journal.counts)
    failures = []
    for number, source in enumerate(sources, start=1):
        label = f"{source.name} ({number} of {len(sources)})"
        if source.name in journal.counts:
            out.print(f"{label}: finished before, {journal.counts[source.name]} picks", highlight=False)
            continue
        try:
            picks = Picks.join([picks, _pick_one(source, label, model, options, journal)])
        except (TomopickError, MemoryError, OSError) as error:
            if len(sources) == 1:
                raise
            failures.append(f"{source.name}: {error}")
            out.print(f"{label}: failed: {error}", highlight=False, markup=False)
            continue
        _write(picks_file, picks, journal, options)
        out.print(f"{label}: {journal.counts[source.name]} picks", highlight=False)
        if write_copick:
            _into_copick(source, picks.where(run=source.name), model, overwrite)
    if journal.counts and not picks_file.exists():
        _write(picks_file, picks, journal, options)
    return failures


def _pick_one(source: Source, label: str, model: Model, options: PickOptions, journal: _Journal) -> Picks:
    tomogram = source.open()
    if abs(tomogram.spacing / model.spec.spacing - 1) > 0.02:
        there, here = tomogram.spacing, model.spec.spacing
        notice(f"{source.name} has voxels of {there:g} A, the model {here:g} A: resampled on the fly")
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
            precision=options.precision,
            progress=tell,
        )
    journal.sizes[source.name] = TomogramSize.of(tomogram)
    journal.counts[source.name] = len(found)
    return found


def _write(path: Path, picks: Picks, journal: _Journal, options: PickOptions) -> None:
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
