"""What is known of a run: its particles as crops take them, where not all of them or not all objects are annotated."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from tomopick.data.sampling import Known, Particles
from tomopick.errors import DataError
from tomopick.geometry import voxel_from_angstrom
from tomopick.objects import ParticleObject, object_named
from tomopick.picks import Picks
from tomopick.recipe import Recipe
from tomopick.tomogram import Tomogram

__all__ = ["TrainingRun", "judged", "learnable", "particles_of"]


MARGIN = 2.0  # voxels of background about a particle that a reviewer accepted


@dataclass(frozen=True)
class TrainingRun:
    """A tomogram and its true picks.

    Attributes:
        tomogram: what is seen.
        picks: the particles in it that are annotated.
        annotated: names of the objects that were looked for; all without it. Others may be anywhere in the run, beside
            those that the picks name.
        others: further reconstructions of the run, of other types, from which its training crops are cut, too.
        refused: places of which a reviewer said that the object is not there.
        reviewed: whether picks and refused places are a reviewer's, so that nothing is known of the rest of the run.
    """

    tomogram: Tomogram
    picks: Picks
    annotated: frozenset[str] | None = None
    others: tuple[Tomogram, ...] = ()
    refused: Picks = field(default_factory=Picks.empty)
    reviewed: bool = False


def learnable(training: Sequence[TrainingRun], objects: Sequence[ParticleObject]) -> frozenset[str]:
    """The objects that some training run is annotated for; nothing tells of the others, and a warning says so."""
    names = frozenset(o.name for o in objects)
    found = frozenset[str]().union(*(names if r.annotated is None else r.annotated for r in training)) & names
    if found != names:
        warnings.warn(
            f"no training run is annotated for {', '.join(sorted(names - found))}: taken as not being there at all",
            stacklevel=2,
        )
    return found


def particles_of(
    run: TrainingRun, objects: Sequence[ParticleObject], learnt: frozenset[str], recipe: Recipe, spacing: float
) -> Particles:
    """The particles of a run in voxels of this spacing, and what is not known beside them.

    Args:
        run: whose picks.
        objects: in the order of the classes.
        learnt: the objects that are learnt, as `learnable` gives them; others are never missing.
        recipe: tells how far a particle reaches, and how far background counts.
        spacing: Angstrom.

    Raises:
        DataError: a pick's object is not among the objects, or background would count nowhere.
    """
    index = {o.name: i for i, o in enumerate(objects)}
    table = run.picks.table
    radii = _radii(run.picks, objects) / spacing
    centres = voxel_from_angstrom(run.picks.xyz(), spacing)
    reach = np.minimum(recipe.positive_share * radii, recipe.positive_radius)
    least = float(reach.max(initial=0.0) + recipe.clear)
    refused = voxel_from_angstrom(run.refused.xyz(), spacing)
    known: Known | None = None
    if run.reviewed:  # no other particle's centre is within a particle's radius of its own
        about = np.maximum(radii, least + MARGIN)
        known = Known(
            np.concatenate([centres, refused]), np.concatenate([about, _radii(run.refused, objects) / spacing / 2])
        )
    elif recipe.ignore_unlabelled is not None:
        known = Known(centres, np.full(len(centres), recipe.ignore_unlabelled / spacing))
        if recipe.ignore_unlabelled / spacing <= least:
            raise DataError(
                f"--ignore-unlabelled {recipe.ignore_unlabelled:g} leaves no background about the particles; "
                f"give well over {np.ceil(least * spacing):g}"
            )
    return Particles(
        centres=centres,
        classes=np.array([index[n] for n in table["object"]], dtype=np.int64),
        reach=reach,
        clear=recipe.clear,
        background=len(objects),
        known=known,
        refused=refused,
        missing=tuple(index[n] for n in sorted(learnt - run.annotated)) if run.annotated is not None else (),
    )


def _radii(picks: Picks, objects: Sequence[ParticleObject]) -> NDArray[np.float64]:
    """The radius of each pick's object, Angstrom.

    Raises:
        DataError: it is not among the objects.
    """
    radius = {name: object_named(name, objects).radius for name in picks.objects}
    return np.array([radius[name] for name in picks.table["object"]], dtype=np.float64)


def judged(picks: Picks, runs: Sequence[TrainingRun], radius: float | None) -> Picks:
    """The picks that the runs' annotations can say right or wrong of.

    Left out are picks of an object in a run that is not annotated for it, and where only some particles are
    annotated, picks further than ``radius`` (Angstrom) from each of them.
    """
    table = picks.table
    kept = np.zeros(len(table), dtype=bool)
    for run in runs:
        here = (table["run"] == run.tomogram.name).to_numpy()
        if run.annotated is not None:
            here = here & table["object"].isin(run.annotated).to_numpy()
        if radius is not None:
            here = here & (_distance(picks.xyz(), run.picks.xyz()) <= radius)
        kept |= here
    return Picks(table[kept])


def _distance(points: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """From each point (n, 3) to the nearest of the others, one by one since these are few; infinite without any."""
    nearest = np.full(len(points), np.inf)
    for other in others:
        nearest = np.minimum(nearest, np.linalg.norm(points - other, axis=1))
    return nearest
