"""`tomopick pick`: many tomograms, one picks file, nothing done twice and nothing lost."""

from __future__ import annotations

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from tomopick.commands.journal import Journal
from tomopick.commands.screen import notice, out, progress_bar
from tomopick.commands.sources import Source, tomograms_of
from tomopick.commands.team import PickOptions, Team
from tomopick.errors import DataError, TomopickError
from tomopick.inference.backends import check_backend
from tomopick.inference.device import chosen_dtype, device_in_turn, devices_together, sharing
from tomopick.inference.picking import check_picking, pick
from tomopick.inference.scoremap import Part
from tomopick.interrupts import stop_if_heard
from tomopick.io.picks import TomogramSize, picks_format, write_picks
from tomopick.io.score_maps import Piece, writing_scores
from tomopick.io.tomograms import read_tomogram
from tomopick.objects import ParticleObject, object_named
from tomopick.picks import Picks
from tomopick.processes import in_order, place, share_of_threads

__all__ = ["pick_all"]


@dataclass(frozen=True)
class _Order:
    """What to pick with what, as another process can be told."""

    models: tuple[Path, ...]
    weights: tuple[float, ...] | None
    inputs: tuple[Path, ...]
    runs: tuple[str, ...] | None
    options: PickOptions
    scores: Path | None

    def team(self) -> Team:
        """The models, read."""
        return Team.of(self.models, self.weights)

    def sources(self, team: Team) -> list[Source]:
        """All tomograms."""
        spacing = team.together.models[0].spec.spacing
        return tomograms_of(self.inputs, team.kind(self.options), self.options.spacing, spacing, self.runs)


@dataclass(frozen=True)
class _Picked:
    """The picks of a tomogram, its size, how the models went over it, in words, and the seconds that it took."""

    picks: Picks
    size: TomogramSize
    plan: str
    seconds: float


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
    workers: int | None = None,
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
        workers: processes, each with a tomogram of its own; they share the threads, and the CUDA devices in turn. None
            means one, or one for each CUDA device. A single process has all devices share each tomogram.

    Returns:
        A line for each tomogram that failed.

    Raises:
        TomopickError: nothing could be done at all; where there is a single tomogram, also its failure.
    """
    _check(picks_file, options)
    order = _Order(
        tuple(models),
        None if weights is None else tuple(weights),
        tuple(inputs),
        None if runs is None else tuple(runs),
        options,
        scores,
    )
    team = order.team()
    check_picking(team.together, options.stride, options.augment, options.expected_precision)
    sources = order.sources(team)
    _notice_kinds(team, team.kind(options))
    if write_copick:
        _check_copick(sources, team)
    team = team.in_backends(team.backends_for(options))
    journal = Journal.beside(picks_file, team.records(options), options.record(), overwrite)
    picks = journal.finished(picks_file)
    before = [s.name in picks and (scores is None or _score_file(scores, s).exists()) for s in sources]
    outcomes = _outcomes(order, team, sources, [i for i, done in enumerate(before) if not done], workers)
    failures = []
    for number, source in enumerate(sources):
        label = _label(sources, number)
        if not before[number]:
            outcome = _fitting(next(outcomes), options, journal)
            if isinstance(outcome, Exception):
                if len(sources) == 1:
                    raise outcome
                failures.append(f"{source.name}: {' '.join(str(outcome).split())}")
                _say(f"{label}: failed: {outcome}")
                continue
            _keep(source.name, outcome, picks, journal)
            _write(picks_file, picks, journal, options)
        _say(f"{label}: {'finished before, ' if before[number] else ''}{len(picks[source.name])} picks")
        if write_copick:
            _into_copick(source, picks[source.name], team, overwrite)
    _notice_absent(team, picks, options)
    return failures


def _outcomes(
    order: _Order, team: Team, sources: Sequence[Source], wanted: Sequence[int], workers: int | None
) -> Iterator[_Picked | Exception]:
    """What comes of each of the wanted tomograms, in their order."""
    jobs = min(sharing(order.options.device) if workers is None else workers, max(1, len(wanted)))
    if jobs == 1:
        for number in wanted:
            with progress_bar(_label(sources, number)) as tell:
                outcome = _attempt(sources[number], team, order, devices_together(order.options.device), tell)
            yield outcome
        return
    notice(f"{jobs} processes pick {len(wanted)} tomograms; each is told of when it is done")
    tasks = ((order, team.backends, sources[number].name) for number in wanted)
    yield from in_order(_of_another, tasks, jobs, share_of_threads(jobs))


def _of_another(order: _Order, backends: tuple[str, ...], name: str) -> _Picked | Exception:
    """What comes of a tomogram in one of several processes."""
    team, sources = _read_once(order, backends)
    if name not in sources:
        return DataError(f"tomogram {name} is no longer there")
    device = device_in_turn(order.options.device, place())
    return _attempt(sources[name], team, order, (device,), lambda share: stop_if_heard())


@lru_cache(maxsize=1)
def _read_once(order: _Order, backends: tuple[str, ...]) -> tuple[Team, dict[str, Source]]:
    """The models, and the tomograms by name, as the inputs are now: some may have come since the command began."""
    team = order.team()
    return team.in_backends(backends), {source.name: source for source in order.sources(team)}


def _attempt(
    source: Source, team: Team, order: _Order, devices: Sequence[str], tell: Callable[[float], None]
) -> _Picked | Exception:
    """The picks of a tomogram, or what went wrong."""
    try:
        saved = None if order.scores is None else _score_file(order.scores, source)
        return _pick_one(source, team, order.options, devices, saved, tell)
    except (TomopickError, MemoryError, OSError, RuntimeError) as error:  # the last: PyTorch without memory
        return error


def _fitting(outcome: _Picked | Exception, options: PickOptions, journal: Journal) -> _Picked | Exception:
    """The outcome, but no picks that the file cannot hold beside the others'."""
    if isinstance(outcome, Exception) or not options.pixels:
        return outcome
    size = outcome.size.pixel_size
    if any(other.pixel_size != size for other in journal.sizes.values()):
        return DataError(f"its voxels are {size:g} A, others' are not; --pixels needs one size for all")
    return outcome


def _label(sources: Sequence[Source], number: int) -> str:
    return f"{sources[number].name} ({number + 1} of {len(sources)})"


def _keep(name: str, one: _Picked, picks: dict[str, Picks], journal: Journal) -> None:
    picks[name] = one.picks
    journal.sizes[name] = one.size
    journal.counts[name] = len(one.picks)
    journal.plans[name] = one.plan
    journal.seconds[name] = one.seconds


def _notice_absent(team: Team, picks: dict[str, Picks], options: PickOptions) -> None:
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
    check_backend(options.backend, options.device, options.dtype)
    chosen_dtype(options.dtype, options.device)
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


def _notice_kinds(team: Team, kind: str) -> None:
    for model in team.together.models:
        if model.spec.kind and model.spec.kind != kind:
            which = "the model" if len(team.files) == 1 else f"model '{model.name}'"
            notice(f"{which} was trained on tomograms of type '{model.spec.kind}', not '{kind}'")


def _check_copick(sources: Sequence[Source], team: Team) -> None:
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
    source: Source,
    team: Team,
    options: PickOptions,
    devices: Sequence[str],
    scores: Path | None,
    tell: Callable[[float], None],
) -> _Picked:
    together = team.together
    tomogram = source.open()
    for here in sorted({model.spec.spacing for model in together.models}):
        if abs(tomogram.spacing / here - 1) > 0.02:
            there = tomogram.spacing
            notice(f"{source.name} has voxels of {there:g} A, the model {here:g} A: resampled on the fly")
    size = TomogramSize.of(tomogram)
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
    with _saving(scores, together.objects) as save:
        found = pick(
            together.models,
            tomogram,
            weights=together.shares,
            stride=options.stride,
            augment=options.augment,
            thresholds=thresholds,
            mask=mask,
            border=options.border,
            device=devices,
            dtype=options.dtype,
            expected_precision=options.expected_precision,
            exclusive=options.exclusive,
            memory=options.memory,
            each_part=see,
            progress=tell,
        )
    return _Picked(found, size, plan, round(time.monotonic() - started, 1))


def _write(path: Path, found: dict[str, Picks], journal: Journal, options: PickOptions) -> None:
    # by name, so that the file does not tell in which order tomograms were finished
    picks = Picks.join(found[name] for name in sorted(found))
    # the journal last: after an interruption between the two, the tomogram is picked again
    if options.pixels:
        write_picks(path, picks, spacing=next(iter(journal.sizes.values())).pixel_size)
    else:
        write_picks(path, picks, tomogram_sizes=journal.sizes)
    journal.save()


def _into_copick(source: Source, picks: Picks, team: Team, overwrite: bool) -> None:
    assert source.project is not None  # checked before anything was picked
    objects = [o.name for o in team.together.objects]
    sets = source.project.write_picks(picks, team.name, overwrite, runs=[source.name], objects=objects)
    kept = [s.object for s in sets if s.kept]
    if kept:
        notice(f"{source.name}: picks of {', '.join(kept)} by '{team.name}' were kept; --overwrite replaces them")
