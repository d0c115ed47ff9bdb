"""`tomopick average`: the mean subtomogram of each object's picks, and the subtomograms themselves."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from tomopick.alignment import align
from tomopick.atomic import writing_into
from tomopick.commands.screen import notice, out, progress_bar, table
from tomopick.commands.sources import held, objects_for, picks_of, tomograms_of
from tomopick.errors import DataError
from tomopick.io.mrc import stacking, write_mrc
from tomopick.io.orientation import euler_from_rotation
from tomopick.io.picks import write_picks
from tomopick.objects import ParticleObject, object_named
from tomopick.picks import EULER, Picks
from tomopick.plots import plot_means
from tomopick.subtomograms import Mean, Volume, box_edge, complete, subtomograms
from tomopick.tomogram import Tomogram

__all__ = ["average_picks"]

MOST = 200  # subtomograms of an object that are aligned


def average_picks(
    inputs: Sequence[Path],
    picks_path: Path,
    folder: Path,
    *,
    kind: str,
    spacing: float | None,
    runs: Sequence[str] | None,
    objects: Sequence[str],
    annotated: bool = False,
    box: float | None = None,
    stacks: bool = False,
    aligned: bool = False,
) -> dict[str, Mean]:
    """Average the subtomograms about picks, as they are, and write OBJECT.mrc and averages.png into a folder.

    Args:
        inputs: tomograms.
        picks_path: a picks file or project.
        folder: where to, made if need be.
        kind: type of tomogram in projects.
        spacing: voxel spacing, where files do not say it or another one is wanted.
        runs: only these.
        objects: as NAME=RADIUS; a project's, or CZII's, where none are given.
        annotated: of a project, average the annotations rather than what tomopick picked.
        box: Angstrom along the edge of a subtomogram; three radii by default.
        stacks: write all subtomograms, too, as OBJECT_stack.mrc.
        aligned: turn each object's best-scored subtomograms onto one another, too: OBJECT_aligned.mrc, and their picks
            with angles as aligned.csv.

    Returns:
        The means, by object.

    Raises:
        DataError: no pick has a whole subtomogram in a tomogram, or an object is not known.
    """
    known = objects_for([*inputs, picks_path], objects)
    picks = picks_of(picks_path, annotated=annotated)
    sources = tomograms_of(inputs, kind, spacing, spacing or 10.0, runs)
    chosen = [o for o in known if o.name in picks.objects]
    if not objects:
        for name in picks.objects:
            object_named(name, known)
    tomograms = [source.open() for source in sources]
    kept, step = _kept(tomograms, picks, chosen, box)
    edges = {o.name: _edge(o, step, box) for o in chosen}
    means = {o.name: Mean.of_edge(edges[o.name]) for o in chosen if o.name in kept.objects}
    if not means:
        edge = max(edges.values(), default=0) * step
        raise DataError(
            f"no pick of {picks_path} has its whole box (up to {edge:g} A) in these tomograms; take a smaller "
            "--box, or are the runs called otherwise?"
        )
    with writing_into(folder):
        _sum(tomograms, kept, means, edges, step, folder if stacks else None)
    for name, mean in means.items():
        write_mrc(folder / f"{name}.mrc", mean.volume, step)
    turned = _aligned(tomograms, kept, edges, list(means), step, folder) if aligned else None
    caption = plot_means({n: m.volume for n, m in means.items()}, step, folder / "averages.png", turned)
    bare = [f"{o.name} ({len(picks.where(name=o.name))})" for o in chosen if o.name not in means]
    if bare:
        notice(f"left out, as no pick has its whole box in a tomogram (--box makes it smaller): {', '.join(bare)}")
    rows = [[n, str(m.count), str(len(picks.where(name=n)) - m.count), str(edges[n])] for n, m in means.items()]
    table("Averages, as the particles lie", ["object", "picks", "cut by a border", "box (voxels)"], rows)
    out.print(f"{folder / 'averages.png'}: {caption}", highlight=False, markup=False, soft_wrap=True)
    return means


def _sum(
    tomograms: Sequence[Tomogram],
    kept: Picks,
    means: Mapping[str, Mean],
    edges: Mapping[str, int],
    step: float,
    stacks: Path | None,
) -> None:
    """Add every subtomogram to its object's mean, and where there is a folder for stacks, to its stack."""
    counts = kept.table["object"].value_counts()
    with ExitStack() as opened:
        writers = {}
        if stacks is not None:
            for name in means:
                path = stacks / f"{name}_stack.mrc"
                writers[name] = opened.enter_context(stacking(path, int(counts[name]), edges[name], step))
        for number, tomogram in enumerate(tomograms, start=1):
            with progress_bar(f"{tomogram.name} ({number} of {len(tomograms)})") as tell:
                read = held(tomogram)
                for done, (name, mean) in enumerate(means.items(), start=1):
                    for one in subtomograms(read, kept.where(run=tomogram.name, name=name), edges[name]):
                        if stacks is not None:
                            writers[name][mean.count] = one
                        mean.add(one)
                    tell(done / len(means))


def _aligned(
    tomograms: Sequence[Tomogram],
    kept: Picks,
    edges: Mapping[str, int],
    names: Sequence[str],
    step: float,
    folder: Path,
) -> dict[str, Volume]:
    """The means of aligned subtomograms, which are written, too, with the picks that they are of."""
    best = {name: Picks(kept.where(name=name).table.nlargest(MOST, "score", keep="first")) for name in names}
    boxes: dict[str, list[Volume]] = {name: [] for name in names}
    for tomogram in tomograms:
        read = held(tomogram)  # once for all objects
        for name in names:
            boxes[name] += subtomograms(read, best[name].where(run=tomogram.name), edges[name])
    volumes, parts = {}, []
    for number, name in enumerate(names, start=1):
        there = Picks.join(best[name].where(run=tomogram.name) for tomogram in tomograms)
        order = np.argsort(-there.scores(), kind="stable")
        with progress_bar(f"aligning {name} ({number} of {len(names)})") as tell:
            turns, volume = align([boxes[name][i] for i in order], tell)
        volumes[f"{name}, {len(order)} aligned"] = volume
        write_mrc(folder / f"{name}_aligned.mrc", volume, step)
        angles = dict(zip(EULER, euler_from_rotation(turns).T, strict=True))
        parts.append(Picks(there.table.iloc[order].reset_index(drop=True).assign(**angles)))
    write_picks(folder / "aligned.csv", Picks.join(parts))
    return volumes


def _edge(one: ParticleObject, step: float, box: float | None) -> int:
    return box_edge(one.radius, step) if box is None else 2 * math.ceil(box / step / 2)


def _kept(
    tomograms: Sequence[Tomogram], picks: Picks, objects: Sequence[ParticleObject], box: float | None
) -> tuple[Picks, float]:
    """The picks whose subtomograms are whole, run by run, and the voxel spacing that all tomograms share."""
    spacings = [tomogram.spacing for tomogram in tomograms]
    parts = [
        complete(tomogram, picks.where(name=one.name), _edge(one, tomogram.spacing, box))
        for tomogram in tomograms
        for one in objects
    ]
    if not np.allclose(spacings, spacings[0], rtol=1e-3):
        there = ", ".join(f"{s:g}" for s in sorted(set(spacings)))
        raise DataError(f"tomograms of different voxel spacings ({there} A) cannot be averaged; choose with --runs")
    absent = [t.name for t in tomograms if t.name not in picks.runs]
    if absent:
        notice(f"no picks in {', '.join(absent)}")
    return Picks.join(parts), float(spacings[0])
