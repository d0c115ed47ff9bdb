"""Small pictures of places in a tomogram, and the range of grey in which to show it."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from tomopick.geometry import voxel_from_angstrom
from tomopick.tomogram import Tomogram

__all__ = ["contrast", "tile"]

THICKNESS = 5  # planes that a picture averages
ROOM = 3.0  # edge of a picture, in radii of its particle
SAMPLE = 24  # planes that the contrast is taken from


def contrast(tomogram: Tomogram) -> tuple[float, float]:
    """Densities to show as black and white: 0.5 and 99.5 of 100 in a few planes from all depths."""
    depth = tomogram.shape[0]
    planes = np.unique(np.linspace(0, depth - 1, min(SAMPLE, depth)).round().astype(int))
    seen: NDArray[np.float32] = np.concatenate([tomogram[z : z + 1, :, :][:, ::4, ::4].ravel() for z in planes])
    low, high = np.percentile(seen[np.isfinite(seen)], [0.5, 99.5])
    return float(low), float(max(high, low + 1e-6))


def tile(tomogram: Tomogram, xyz: tuple[float, float, float], radius: float, grey: tuple[float, float]) -> bytes:
    """A PNG of a particle: its xy slice and, beside it, its xz slice, each averaged over 5 planes.

    Args:
        tomogram: where it is.
        xyz: its centre, Angstrom.
        radius: the particle's, Angstrom; the picture is three of them wide.
        grey: densities to show as black and white.
    """
    from matplotlib.image import imsave

    z, y, x = (int(v) for v in np.rint(voxel_from_angstrom(np.array([xyz]), tomogram.spacing)[0]))
    half = int(np.ceil(ROOM / 2 * radius / tomogram.spacing))
    box = tomogram.read((z - half, y - half, x - half), (z + half + 1, y + half + 1, x + half + 1))
    near = slice(half - THICKNESS // 2, half + THICKNESS // 2 + 1)
    gap = np.full((2 * half + 1, 1), grey[1], np.float32)
    picture = np.hstack([box[near].mean(axis=0), gap, box[:, near].mean(axis=1)])
    # averaging five planes of noise narrows the range of densities
    middle, width = (grey[0] + grey[1]) / 2, (grey[1] - grey[0]) / 2 / np.sqrt(THICKNESS) * 1.5
    file = io.BytesIO()
    imsave(file, picture, cmap="gray", vmin=middle - width, vmax=middle + width, format="png", origin="lower")
    return file.getvalue()
