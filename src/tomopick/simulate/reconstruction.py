"""From a tilt series back to a volume: weighted back-projection."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tomopick.simulate.imaging import TiltSeries

__all__ = ["reconstruct"]

_CUTOFF = 0.35  # Cycles per pixel where the low-pass begins to fall, and the width of its fall.
_FALL = 0.05


def reconstruct(images: torch.Tensor, series: TiltSeries) -> NDArray[np.float32]:
    """Weighted back-projection of images (tilts, rows, columns) into the series' box, zyx.

    It is done in real space: inserting Fourier slices would take a padded cube of the box's longest side, many times
    the memory of a slab.
    """
    filtered = _weighted(images)
    depth, height, width = series.shape_zyx
    rows = slice(series.first_row, series.first_row + height)
    volume = torch.zeros(1, height, depth, width)
    z, x = np.arange(depth)[:, None], np.arange(width)[None]
    for image, angle in zip(filtered, series.angles, strict=True):
        # The tilt axis is y: each row of the image smears out over its own xz plane, all of them in the same way.
        columns = torch.from_numpy(series.columns(z, x, angle)).float()
        across = 2 * columns / (image.shape[1] - 1) - 1
        grid = torch.stack([across, torch.zeros_like(across)], dim=-1)[None]
        volume += torch.nn.functional.grid_sample(image[rows][None, :, None], grid, align_corners=True)
    return np.ascontiguousarray(volume[0].permute(1, 0, 2).numpy())


def _weighted(images: torch.Tensor) -> torch.Tensor:
    """Images with a low-pass, and the ramp across the tilt axis that evens out how often tilts visit a frequency."""
    shape = images.shape[-2:]
    across = torch.fft.rfftfreq(shape[1])
    radius = torch.hypot(torch.fft.fftfreq(shape[0])[:, None], across)
    low_pass = torch.exp(-0.5 * ((radius - _CUTOFF).clamp_min(0) / _FALL) ** 2)
    weighted: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * across * low_pass, s=shape)
    return weighted
