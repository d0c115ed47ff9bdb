"""`tomopick check`: a project's tomograms and picks, looked through before training."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from tomopick.atomic import replacing
from tomopick.commands.screen import out, progress_bar, table
from tomopick.commands.sources import held, project_at, tomograms_of
from tomopick.preflight import Finding, check_densities, check_picks, check_together, densities_of

__all__ = ["check_project"]


def check_project(
    config: Path,
    *,
    kind: str,
    spacing: float | None,
    runs: Sequence[str] | None,
    json_path: Path | None,
    user: str | None = None,
    session: str | None = None,
) -> list[Finding]:
    """Check the tomograms of a type and the annotations of a project, print what was found, perhaps write it as JSON.

    Raises:
        TomopickError: it is no project, or a run or the type is not there.
    """
    project = project_at(config)
    sources = tomograms_of([config], kind, spacing, spacing or 10.0, runs)
    picks = project.picks(user=user, session=session)
    tomograms, told, found = [], [], list[Finding]()
    for number, source in enumerate(sources, start=1):
        with progress_bar(f"{source.name} ({number} of {len(sources)})") as tell:
            tomogram = held(source.open())
            densities = densities_of(tomogram, tell)
        found += check_densities(tomogram, densities)
        found += check_picks(tomogram, densities, picks, project.objects)
        tomograms.append(tomogram)
        told.append(densities)
    found += check_together(tomograms, told, picks, project.objects)
    found.sort(key=lambda one: one.level)
    _tell(found, len(sources), len(picks))
    if json_path is not None:
        with replacing(json_path) as temporary:
            temporary.write_text(json.dumps([asdict(one) for one in found], indent=2) + "\n")
    return found


def _tell(found: Sequence[Finding], runs: int, picks: int) -> None:
    if found:
        rows = [[one.level, one.run or "all", one.check, one.text] for one in found]
        table("Found", ["", "run", "check", "what"], rows)
    errors = sum(one.level == "error" for one in found)
    out.print(
        f"{runs} tomograms and {picks} picks looked at: {errors} errors, {len(found) - errors} warnings",
        highlight=False,
    )
