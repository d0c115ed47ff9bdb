"""Microscopes and specimens as labs have them, one unlike the other."""

from __future__ import annotations

import numpy as np

from tomopick.simulate.imaging import Scope
from tomopick.simulate.particles import log_uniform

__all__ = ["varied"]

_STRANGERS = 6
_MOST_JITTER = 15.0  # Angstrom


def varied(rng: np.random.Generator) -> Scope:
    """A microscope, a data collection and a crowding drawn from what labs have; voxels are of 10 A.

    A network that learns from many of these shall know particles by their shape, not by one microscope's look.
    """
    defocus = float(rng.uniform(1.5, 6))
    return Scope(
        tilt_limit=float(rng.uniform(40, 60)),
        tilt_step=float(rng.choice([2, 3])),
        defocus=(defocus, defocus),
        dose=float(rng.uniform(2, 4)),
        b_factor=float(rng.uniform(100, 600)),
        noise=log_uniform(rng, 1.5, 7),
        particles=log_uniform(rng, 9000, 30000),
        crowders=log_uniform(rng, 10000, 120000),
        beads=int(rng.integers(0, 6, endpoint=True)),
        misalignment=float(rng.uniform(0, 10)),
        low_pass=float(rng.uniform(0.2, 0.5)),
        strangers=_STRANGERS,
        jitter=float(rng.uniform(0, _MOST_JITTER)),
    )
