"""Random changes of a crop's densities; turning it is in `sampling`, where its labels turn with it."""

from __future__ import annotations

import numpy as np
import torch
from monai.transforms import Compose, RandGaussianNoise, RandGaussianSmooth, RandScaleIntensity, RandShiftIntensity
from monai.utils import convert_to_tensor
from torch import Tensor

from tomopick.recipe import Augmentation

__all__ = ["Intensity"]

KNOTS = 8  # frequencies, from 0 to the corner of the cube, between which a random gain runs straight
FULL_TILT = 60.0  # degrees; most tilt series end here


class Intensity:
    """Gain by frequency, tilt range, contrast, brightness, noise and blur, as an `Augmentation` says.

    Reproducible from a seed. The first two come before the others, as the microscope comes before the noise.
    """

    def __init__(self, augmentation: Augmentation) -> None:
        self._spectrum, self._wedge = augmentation.spectrum, augmentation.wedge
        blur = (0.0, max(augmentation.blur, 1e-6))
        changes = [
            RandScaleIntensity(factors=augmentation.contrast, prob=1.0),
            RandShiftIntensity(offsets=augmentation.brightness, prob=1.0),
        ]
        if augmentation.blur:
            changes.append(RandGaussianSmooth(sigma_x=blur, sigma_y=blur, sigma_z=blur, prob=0.33))
        if augmentation.noise:
            changes.append(RandGaussianNoise(std=augmentation.noise, prob=0.5))
        self._changes = Compose(changes)

    def __call__(self, densities: Tensor, seed: int) -> Tensor:
        """Changed densities (1, D, H, W)."""
        if self._spectrum or self._wedge:
            densities = self._filtered(densities, np.random.default_rng([seed, 1]))
        self._changes.set_random_state(seed=seed)
        # a plain tensor: MONAI's subclass, carried through a network, makes its backward pass twice as slow
        changed: Tensor = convert_to_tensor(self._changes(densities), dtype=torch.float32, track_meta=False)
        return changed

    def _filtered(self, densities: Tensor, rng: np.random.Generator) -> Tensor:
        """Densities (1, D, H, W), each frequency times a random smooth gain and those beyond a random tilt left out."""
        depth, height, width = densities.shape[1:]
        kz, ky = torch.fft.fftfreq(depth)[:, None, None], torch.fft.fftfreq(height)[:, None]
        kx = torch.fft.rfftfreq(width)
        factors = []
        if self._spectrum and rng.random() < 0.5:
            steps = np.linspace(0, 1, KNOTS)
            gain = 1 + self._spectrum * steps * rng.standard_normal(KNOTS)
            radius = (kz**2 + ky**2 + kx**2).sqrt() / 0.75**0.5
            factors.append(torch.from_numpy(np.interp(radius.numpy(), steps, gain).astype(np.float32)))
        if self._wedge and rng.random() < 0.5:
            # the tilt axis is y: an image at some tilt holds the plane of x and z at that angle from x. Each side loses
            # its own share, as near the tomogram's borders in x, where images of one side do not reach
            least, most = np.tan(np.radians(FULL_TILT - self._wedge * rng.random(2)))
            factors.append(((kz <= kx * most) & (-kz <= kx * least)) | ((kx == 0) & (kz == 0)))
        if not factors:
            return densities
        transformed = torch.fft.rfftn(densities[0])
        for factor in factors:
            transformed *= factor
        filtered: Tensor = torch.fft.irfftn(transformed, s=(depth, height, width))[None]
        return filtered
