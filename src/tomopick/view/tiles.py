"""Small pictures of places in a tomogram, and the range of grey in which to show it."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray

from tomopick.subtomograms import central_slices
from tomopick.tomogram import Tomogram

__all__ = ["contrast", "tile"]

SAMPLE = 24  # planes that the contrast is taken from
NARROWER = 0.7  # averaging five planes of noise narrows the range of densities


def contrast(tomogram: Tomogram) -> tuple[float, float]:
    """Densities to show as black and white: 0.5 and 99.5 of 100 in a few planes from all depths."""
    depth = tomogram.shape[0]
    planes = np.unique(np.linspace(0, depth - 1, min(SAMPLE, depth)).round().astype(int))
    seen: NDArray[np.float32] = np.concatenate([tomogram[z : z + 1, :, :][:, ::4, ::4].ravel() for z in planes])
    low, high = np.percentile(seen[np.isfinite(seen)], [0.5, 99.5])
    return float(low), float(max(high, low + 1e-6))


def tile(tomogram: Tomogram, xyz: tuple[float, float, float], radius: float, grey: tuple[float, float]) -> bytes:
    """A PNG of a particle: its xy slice and, beside it, its xz slice, as `central_slices` gives them.

    Args:
        tomogram: where it is.
        xyz: its centre, Angstrom.
        radius: the particle's, Angstrom.
        grey: densities to show as black and white in a single plane.
    """
    from matplotlib.image import imsave

    picture = central_slices(tomogram, np.array(xyz), radius)
    middle, width = (grey[0] + grey[1]) / 2, (grey[1] - grey[0]) / 2 * NARROWER
    file = io.BytesIO()
    imsave(file, picture, cmap="gray", vmin=middle - width, vmax=middle + width, format="png", origin="lower")
    return file.getvalue()
