"""The ways to turn a volume without touching its values: the cube's symmetries."""

from __future__ import annotations

from itertools import permutations, product
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomopick.recipe import Augmentation

__all__ = ["Orientation", "orientations", "turned"]

Orientation = tuple[tuple[int, int, int], tuple[bool, bool, bool]]
"""Axis order and reversed axes: axes are reversed where they stand, and then put in that order."""


def orientations(augmentation: Augmentation) -> list[Orientation]:
    """The symmetries of the cube that an augmentation allows, the first being none.

    The tilt axis is y and the beam is z, so the missing wedge stays where it is under every reversal of axes and no
    exchange of them.
    """
    allowed = {"none": [(0, 1, 2)], "tilt-axis": [(0, 1, 2)], "z": [(0, 1, 2), (0, 2, 1)]}
    orders = allowed.get(augmentation.rotations, [(a, b, c) for a, b, c in permutations(range(3))])
    both = (False, True)
    found = []
    for axes, reverse in product(orders, list(product(both, both, both))):
        mirrored = (np.linalg.det(np.eye(3)[list(axes)]) < 0) ^ (sum(reverse) % 2 == 1)
        changed = axes != (0, 1, 2) or any(reverse)
        about_z_only = augmentation.rotations == "z" and not augmentation.flips
        if (mirrored and not augmentation.flips) or (about_z_only and reverse[0]):
            continue
        if changed and augmentation.rotations == "none" and not augmentation.flips:
            continue
        found.append((axes, reverse))
    return found


def turned(array: NDArray[Any], orientation: Orientation) -> NDArray[Any]:
    """A view of an array (..., z, y, x) whose last three axes are turned."""
    axes, reverse = orientation
    lead = array.ndim - 3
    flipped: NDArray[Any] = np.flip(array, tuple(lead + axis for axis, r in enumerate(reverse) if r))
    return flipped.transpose(*range(lead), *(lead + axis for axis in axes))
