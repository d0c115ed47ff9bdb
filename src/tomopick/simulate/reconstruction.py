"""From a tilt series back to a volume: weighted back-projection."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from tomopick.simulate.imaging import TiltSeries

__all__ = ["reconstruct"]

_FALL = 0.05  # Cycles per pixel over which the low-pass falls.


def reconstruct(images: torch.Tensor, series: TiltSeries, low_pass: float = 0.35) -> NDArray[np.float32]:
    """Weighted back-projection of images (tilts, rows, columns) into the series' box, zyx.

    The low-pass begins to fall at this frequency, in cycles per pixel.

    It is done in real space: inserting Fourier slices would take a padded cube of the box's longest side, many times
    the memory of a slab.
    """
    filtered = _weighted(images, low_pass)
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


def _weighted(images: torch.Tensor, low_pass: float) -> torch.Tensor:
    """Images with a low-pass, and the ramp across the tilt axis that evens out how often tilts visit a frequency."""
    shape = images.shape[-2:]
    across = torch.fft.rfftfreq(shape[1])
    radius = torch.hypot(torch.fft.fftfreq(shape[0])[:, None], across)
    passed = torch.exp(-0.5 * ((radius - low_pass).clamp_min(0) / _FALL) ** 2)
    weighted: torch.Tensor = torch.fft.irfft2(torch.fft.rfft2(images) * across * passed, s=shape)
    return weighted
