"""What a reviewer said of picks, brought to the runs that training learns from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from tomopick.commands.screen import notice
from tomopick.errors import DataError
from tomopick.io.corrections import Corrections
from tomopick.matching import match_all
from tomopick.objects import ParticleObject
from tomopick.picks import Picks, check_inside
from tomopick.training.run import TrainingRun

__all__ = ["corrected_runs"]


def corrected_runs(
    runs: Mapping[str, TrainingRun], path: Path, objects: Sequence[ParticleObject]
) -> dict[str, TrainingRun]:
    """Those of the runs that the corrections speak of, with what they say.

    In a run that is annotated, accepted and added picks join the annotations where there is none of that object within
    its match distance. In a run that is not, nothing else counts: the rest of it is not known.

    Raises:
        DataError: the file is not there or cannot be read, or it speaks of none of the runs.
    """
    if not path.exists():
        raise DataError(f"there is no file {path}")
    said = Corrections(path)
    right, wrong = said.picks("accepted", "added"), said.picks("rejected")
    there = sorted({*right.runs, *wrong.runs})
    used = [run for run in there if run in runs]
    if not used:
        about = ", ".join(there)
        hint = f"; --train-runs must name {about}" if there else ""
        raise DataError(f"{path} is about {about or 'nothing'}, but training is on {', '.join(runs)}{hint}")
    unused = [run for run in there if run not in runs]
    if unused:
        notice(f"{path} is also about {', '.join(unused)}, which training is not on")
    slack = max(o.radius for o in objects)
    changed = {}
    for run in used:
        accepted, refused = right.where(run), wrong.where(run)
        for part in (accepted, refused):
            check_inside(part, runs[run].tomogram, slack)
        changed[run] = _corrected(runs[run], accepted, refused, objects)
    return changed


def _corrected(run: TrainingRun, accepted: Picks, refused: Picks, objects: Sequence[ParticleObject]) -> TrainingRun:
    if not len(run.picks):
        return replace(run, picks=accepted, refused=refused, reviewed=True)
    return replace(run, picks=Picks.join([run.picks, _far(accepted, run.picks, objects)]), refused=refused)


def _far(picks: Picks, others: Picks, objects: Sequence[ParticleObject]) -> Picks:
    """The picks that have none of the others of their object within its match distance."""
    parts = [
        Picks(picks.where(name=name).table[by_run[run].nearest < 0])
        for name, by_run in match_all(others, picks, objects).items()
        for run in by_run
    ]
    return Picks.join(parts)
