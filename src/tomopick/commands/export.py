"""`tomopick export`: a model for another runtime, with a report of how far it gives the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import numpy as np

from tomopick.atomic import replacing
from tomopick.commands.screen import notice, out, progress_bar
from tomopick.commands.sources import project_at
from tomopick.errors import TomopickError
from tomopick.inference.engine import score_map
from tomopick.inference.peaks import find_peaks
from tomopick.models.exported import export, exported_network, remove_exported
from tomopick.models.modelfile import Model, load_model
from tomopick.picks import Picks
from tomopick.simulate import simulate_runs
from tomopick.tomogram import Tomogram

__all__ = ["Parity", "changed_picks", "export_model", "parity"]

ENOUGH = 500  # picks that a share of changed ones is told of
MOST_CHANGED = 0.01
SHAPE = (96, 192, 192)
MOST_PHANTOMS = 8
SAME_SCORE = 0.01
SAME_PLACE = 0.1  # voxels


@dataclass(frozen=True)
class Parity:
    """How far an exported network gives what PyTorch gives, both in float32.

    Attributes:
        difference: the largest of any score.
        picks: how many PyTorch finds, whatever their score.
        changed: how many of these are not found, or elsewhere, or with another score, and how many are found beside.
        tomograms: that were picked.
    """

    difference: float
    picks: int
    changed: int
    tomograms: int

    @property
    def share(self) -> float:
        """Of the picks, how many changed."""
        return self.changed / max(1, self.picks)


def export_model(
    path: Path, form: str, target: Path, config: Path | None, kind: str, spacing: float | None, runs: list[str] | None
) -> Path:
    """Export a model, compare picks, and write the comparison to ``TARGET.parity.json``.

    The comparison is on runs of a project, or on tomograms simulated for it.

    Raises:
        TomopickError: more than 1 of 100 picks changed; the exported files are removed, the comparison stays.
    """
    model = load_model(path)
    written = export(model, target, form)
    out.print(f"{form}: {written}", highlight=False, soft_wrap=True)
    kind = kind or model.spec.kind or "wbp"
    found = parity(model, written, _phantoms(model) if config is None else _opened(config, kind, spacing, runs))
    with replacing(written.with_name(written.name + ".parity.json")) as temporary:
        temporary.write_text(json.dumps(asdict(found) | {"share": found.share}, indent=2) + "\n")
    out.print(
        f"beside PyTorch, on {found.tomograms} tomograms: largest difference of a score {found.difference:.1e}, "
        f"{found.changed} of {found.picks} picks changed",
        highlight=False,
        soft_wrap=True,
    )
    if found.picks < ENOUGH:
        notice(f"fewer than {ENOUGH} picks to compare: name a project with more tomograms to be sure")
    elif found.share > MOST_CHANGED:
        remove_exported(written)
        raise TomopickError(f"{found.share:.1%} of the picks changed, more than {MOST_CHANGED:.0%}: not exported")
    return written


def _opened(config: Path, kind: str, spacing: float | None, runs: list[str] | None) -> Iterator[Tomogram]:
    project = project_at(config)
    for run in runs or project.runs:
        yield project.tomogram(run, kind, spacing)


def _phantoms(model: Model) -> Iterator[Tomogram]:
    """Simulated tomograms, of the model's voxel spacing whatever was simulated."""
    for tomogram, _ in simulate_runs(MOST_PHANTOMS, SHAPE, seed=0):
        yield replace(tomogram, spacing=model.spec.spacing)


def parity(model: Model, written: Path, tomograms: Iterator[Tomogram]) -> Parity:
    """Compare score maps and picks, tomogram by tomogram, until there are enough picks."""
    other = replace(model, network=exported_network(written, model.network))
    difference, picks, changed, count = 0.0, 0, 0, 0
    with progress_bar("comparing picks") as tell:
        for tomogram in tomograms:
            here, there = (score_map(one, tomogram, dtype="fp32") for one in (model, other))
            difference = max(difference, float(np.abs(here.array - there.array).max()))
            mine, theirs = (find_peaks(scores, model.spec.objects) for scores in (here, there))
            picks, count = picks + len(mine), count + 1
            changed += changed_picks(mine, theirs, tomogram.spacing)
            tell(min(1.0, picks / ENOUGH))
            if picks >= ENOUGH:
                break
    return Parity(difference, picks, changed, count)


def changed_picks(mine: Picks, theirs: Picks, spacing: float) -> int:
    """How many picks of one tomogram have no counterpart among the others, in either direction.

    A counterpart is of the same object, within a tenth of a voxel (of ``spacing`` Angstrom) and 0.01 of the score.
    """
    changed = 0
    for some, others in ((mine, theirs), (theirs, mine)):
        for name in some.objects:
            here, there = some.where(name=name), others.where(name=name)
            apart = np.linalg.norm(here.xyz()[:, None] - there.xyz()[None], axis=2) <= SAME_PLACE * spacing
            alike = np.abs(here.scores()[:, None] - there.scores()[None]) <= SAME_SCORE
            changed += int((~(apart & alike).any(axis=1)).sum())
    return changed
