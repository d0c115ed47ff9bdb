"""A blob detector, the baseline that a trained network has to beat: difference of Gaussians at each object's radius."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.ndimage import gaussian_filter, maximum_filter
from scipy.spatial import cKDTree

from tomopick.geometry import angstrom_from_voxel
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.tomogram import Tomogram

__all__ = ["find_blobs"]

MOST = 2000  # candidates of an object that are looked at, best first


def find_blobs(tomogram: Tomogram, objects: Sequence[ParticleObject]) -> Picks:
    """Dark blobs of the size of each object, best first, apart by the object's radius; the contrast is the score.

    For an object of radius r the response is a Gaussian of sigma r / 2 taken from one that is 1.6 times as wide
    (Marr and Hildreth 1980), which answers most to a solid ball of about that radius.
    """
    densities = tomogram.read((0, 0, 0), tomogram.shape)
    parts = []
    for obj in objects:
        sigma = obj.radius / 2 / tomogram.spacing
        response = gaussian_filter(densities, 1.6 * sigma) - gaussian_filter(densities, sigma)
        peaks = np.argwhere((response == maximum_filter(response, size=5)) & (response > 0))
        values = response[tuple(peaks.T)].astype(np.float64)
        order = np.argsort(-values, kind="stable")[:MOST]
        xyz = angstrom_from_voxel(peaks[order], tomogram.spacing)
        kept = _apart(xyz, obj.radius)
        parts.append(Picks.of(tomogram.name, obj.name, xyz[kept], values[order][kept]))
    return Picks.join(parts)


def _apart(xyz: np.ndarray[tuple[int, int], np.dtype[np.float64]], distance: float) -> list[int]:
    """Indices that stay when each point, in this order, drops the later ones within the distance."""
    tree = cKDTree(xyz)
    gone = np.zeros(len(xyz), dtype=bool)
    kept = []
    for i, point in enumerate(xyz):
        if not gone[i]:
            kept.append(i)
            gone[tree.query_ball_point(point, distance)] = True
    return kept
