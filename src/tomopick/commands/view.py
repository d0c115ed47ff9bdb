"""`tomopick view`: a local page to look at picks and to correct them."""

from __future__ import annotations

import webbrowser
from collections.abc import Callable, Sequence
from pathlib import Path

from tomopick.commands.screen import notice
from tomopick.commands.screen import out as screen
from tomopick.commands.sources import is_project, objects_for, picks_of, projects_of, tomograms_of
from tomopick.errors import DataError
from tomopick.io.corrections import Corrections
from tomopick.models.modelfile import read_spec
from tomopick.objects import ParticleObject
from tomopick.picks import Picks

__all__ = ["view_picks"]


def view_picks(
    inputs: Sequence[Path],
    picks_path: Path | None,
    *,
    truth_path: Path | None,
    model: Path | None,
    compared: Path | None,
    scores: Path | None,
    copick_user: str | None,
    out: Path | None,
    kind: str,
    spacing: float | None,
    runs: list[str] | None,
    objects: Sequence[str],
    port: int,
    browser: bool,
) -> None:
    """Serve the page until Ctrl-C.

    Raises:
        DataError: there is nothing to show, it does not fit together, or the page cannot be served.
    """
    try:
        from tomopick.view.desk import Desk
        from tomopick.view.review import Review
        from tomopick.view.server import serve
    except ImportError as error:
        raise DataError(f"{error.name} is not installed: pip install 'tomopick[view]'") from error

    spec = read_spec(model) if model else None
    sources = tomograms_of(inputs, kind or (spec.kind if spec else "wbp"), spacing, spacing or 10.0, runs)
    names = [source.name for source in sources]
    picks = picks_of(picks_path, annotated=False).in_runs(names) if picks_path else Picks.empty()
    truth = picks_of(truth_path, annotated=True).in_runs(names) if truth_path else None
    known = spec.objects if spec and not objects else objects_for([*inputs, *_given(truth_path, picks_path)], objects)
    said = Corrections(out or _beside(picks_path or inputs[0]))
    review = Review(
        picks, _named(known, picks), said, truth=truth, thresholds=spec.thresholds if spec else {},
        others=picks_of(compared, annotated=False) if compared else None,
        save=_into_copick(inputs, said, copick_user) if copick_user else None,
    )  # fmt: skip
    tomograms = {source.name: source.open for source in sources}
    desk = Desk(tomograms, review, port=port + 1 if port else 0, scores=scores)

    def ready(address: str) -> None:
        screen.print(f"{len(picks)} picks in {len(names)} tomograms: open {address}", highlight=False, soft_wrap=True)
        notice(f"corrections are saved in {review.corrections.path} as they are made; Ctrl-C ends")
        if browser:
            webbrowser.open(address)

    serve(desk, port, ready)


def _into_copick(inputs: Sequence[Path], said: Corrections, user: str) -> Callable[[str], object]:
    """What keeps the accepted and added picks of a run in the project, too, under a user's id."""
    projects = projects_of(inputs)
    if len(projects) != 1:
        raise DataError("--write-copick needs one copick project as INPUT")
    return lambda run: projects[0].write_review(said.picks("accepted", "added"), user, run)


def _given(*paths: Path | None) -> list[Path]:
    return [path for path in paths if path is not None]


def _named(known: Sequence[ParticleObject], picks: Picks) -> list[ParticleObject]:
    """The objects, those without a pick last where there are more than the page has keys for."""
    return sorted(known, key=lambda one: one.name not in picks.objects) if len(known) > 9 else list(known)


def _beside(path: Path) -> Path:
    """Where corrections go by default: beside the picks, or in the project's folder."""
    if is_project(path):
        return (path if path.is_dir() else path.parent) / "corrections.csv"
    return path.with_name(f"{path.stem}.corrections.csv")
