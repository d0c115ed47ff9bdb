"""Whole runs: a tomogram and the truth about it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from tomopick.errors import DataError
from tomopick.objects import CZII_OBJECTS
from tomopick.picks import Picks
from tomopick.processes import in_order
from tomopick.simulate.imaging import Scope, TiltSeries, observe, project
from tomopick.simulate.particles import (
    GOLD_BEAD,
    Particle,
    altered_model,
    crowder_models,
    particle_model,
    random_crowders,
)
from tomopick.simulate.reconstruction import reconstruct
from tomopick.simulate.specimen import Placed, place
from tomopick.simulate.variety import varied
from tomopick.structures import Structure
from tomopick.tomogram import Tomogram

__all__ = ["simulate_run", "simulate_runs"]

_LEAST_SIZE = 16
_VARIETY = 1000  # Above any letter's number: no run's own random choices begin with the same seed.
_LEAST_COPIES = 3
_CUBIC_MICROMETRE = 1e12
_SHARES = {
    "apo-ferritin": 0.24,
    "beta-amylase": 0.16,
    "beta-galactosidase": 0.17,
    "ribosome": 0.13,
    "thyroglobulin": 0.17,
    "virus-like-particle": 0.13,
}


def simulate_run(
    name: str,
    shape_zyx: tuple[int, int, int] = (96, 192, 192),
    seed: int = 0,
    settings: Scope | None = None,
    structures: Sequence[Structure] = (),
) -> tuple[Tomogram, Picks]:
    """A phantom tomogram of the six CZII objects, or of given structures, and the true positions in it.

    It is a phantom, not a physical simulation: CZII's particles are clouds of blobs, scattering is a plain projection
    of mass under one contrast transfer function, and the noise is white (docs/simulator.md says what is left out).

    Args:
        name: of the run; it and the seed settle every random choice.
        shape_zyx: size in voxels, at least 16 each.
        seed: 0 or more.
        settings: the specimen and the microscope; ``Scope()`` where none are given (`varied` draws one).
        structures: what is annotated instead of the six, about as many copies of each (of these names, in the shares
            of the six); they have no jitter.

    Returns:
        The tomogram (kind "wbp"; float32 zyx, zero mean, unit deviation, protein dark) and its picks (xyz in Angstrom,
        score 1, with RELION's Euler angles of the true rotation).

    Raises:
        DataError: the shape or the seed is out of range, or two structures have one name.
    """
    scope = settings or Scope()
    _check(shape_zyx, seed)
    rng = np.random.default_rng([seed, *name.encode()])
    models = {s.name: s for s in structures} or _czii_models(scope, rng)
    if structures and len(models) < len(structures):
        raise DataError(f"{len(structures)} structures with the names {', '.join(models)}; give each its own")
    specimen, picks = _specimen(name, shape_zyx, scope, models, rng)
    series = TiltSeries(shape_zyx, scope.spacing, scope.angles())
    images = observe(project(specimen, series), series, scope, rng)
    return Tomogram(_normalised(reconstruct(images, series, scope.low_pass)), scope.spacing, name, "wbp"), picks


def simulate_runs(
    n: int,
    shape_zyx: tuple[int, int, int] = (96, 192, 192),
    seed: int = 0,
    settings: Scope | None = None,
    vary: bool = False,
    jobs: int = 1,
    structures: Sequence[Structure] = (),
    first: int = 0,
) -> Iterator[tuple[Tomogram, Picks]]:
    """Runs ``SIM_0``, or of another number, to ``SIM_{n-1}`` in this order.

    Args:
        n: how many.
        shape_zyx: as in `simulate_run`, and so are `seed` and `settings`.
        seed: see there.
        settings: see there; the same for all runs.
        vary: draw the settings of each run by `varied`, from the seed and the run's number.
        jobs: processes that work at a time; the runs are the same for any number of them. With more than one, a
            script must guard its main part with ``if __name__ == "__main__":``.
        structures: as in `simulate_run`.
        first: the number of the run to begin with.

    Raises:
        DataError: as in `simulate_run`; settings are given though they shall vary; or a process ended early.
    """
    _check(shape_zyx, seed)
    if jobs < 1:
        raise DataError(f"{jobs} jobs; give 1 or more")
    if vary and settings is not None:
        raise DataError("settings are given, and each run shall draw its own; give settings or vary, not both")
    numbers = range(first, n)
    scopes = (varied(np.random.default_rng([seed, i, _VARIETY])) if vary else settings for i in numbers)
    tasks = ((f"SIM_{i}", shape_zyx, seed, scope, structures) for i, scope in zip(numbers, scopes, strict=True))
    yield from in_order(simulate_run, tasks, min(jobs, max(len(numbers), 1)))


def _check(shape_zyx: tuple[int, int, int], seed: int) -> None:
    if len(shape_zyx) != 3 or min(shape_zyx) < _LEAST_SIZE:
        raise DataError(f"cannot simulate a box of {tuple(shape_zyx)} voxels; give zyx, each at least {_LEAST_SIZE}")
    if seed < 0:
        raise DataError(f"the seed {seed} is negative; give 0 or more")


def _czii_models(scope: Scope, rng: np.random.Generator) -> dict[str, Particle]:
    return {
        o.name: altered_model(o.name, rng, scope.jitter) if scope.jitter else particle_model(o.name)
        for o in CZII_OBJECTS
    }


def _specimen(
    name: str,
    shape_zyx: tuple[int, int, int],
    scope: Scope,
    models: Mapping[str, Particle],
    rng: np.random.Generator,
) -> tuple[list[Placed], Picks]:
    """Everything in the box, and the picks of what is annotated: the models, by name."""
    volume = float(np.prod(shape_zyx)) * scope.spacing**3 / _CUBIC_MICROMETRE
    shares = _SHARES if models.keys() == _SHARES.keys() else dict.fromkeys(models, 1 / len(models))
    wanted: list[tuple[Particle, int]] = []
    if scope.particles > 0:
        for key, model in sorted(models.items(), key=lambda item: -item[1].radius):
            count = round(scope.particles * volume * shares[key] * rng.uniform(0.8, 1.2))
            wanted.append((model, max(count, _LEAST_COPIES)))
    wanted.append((GOLD_BEAD, scope.beads))
    kinds = (*random_crowders(rng, scope.strangers), *crowder_models())
    counts = rng.multinomial(round(scope.crowders * volume), np.full(len(kinds), 1 / len(kinds)))
    specimen = place([*wanted, *zip(kinds, counts.tolist(), strict=True)], shape_zyx, scope.spacing, rng)
    names = {id(model): key for key, model in models.items()}
    annotated = [p for p in specimen if id(p.model) in names]
    return specimen, Picks.join(Picks.of(name, names[id(p.model)], p.xyz, euler=p.euler()) for p in annotated)


def _normalised(volume: NDArray[np.float32]) -> NDArray[np.float32]:
    """The volume with zero mean and unit deviation."""
    deviation = volume.std(dtype=np.float64) or 1.0
    return np.asarray((volume - volume.mean(dtype=np.float64)) / deviation, dtype=np.float32)
