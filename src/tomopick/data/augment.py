"""Random changes of a crop's densities; turning it is in `sampling`, where its labels turn with it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from monai.transforms import Compose, RandGaussianNoise, RandGaussianSmooth, RandScaleIntensity, RandShiftIntensity
from monai.utils import convert_to_tensor
from torch import Tensor

from tomopick.recipe import Augmentation

__all__ = ["Intensity"]

KNOTS = 8  # frequencies, from 0 to the corner of the cube, between which a random gain runs straight
FULL_TILT = 60.0  # degrees; most tilt series end here
TILTED = 0.75  # share of the crops whose tilts end earlier
EVEN = 0.5  # share of these whose tilts end at the same angle on both sides, as most tilt series do


class Intensity:
    """Gain by frequency, tilt range, contrast, brightness, noise and blur, as an `Augmentation` says.

    Reproducible from a seed. The first two come before the others, as the microscope comes before the noise. Tilts that
    are lost leave either nothing, as where they were not taken, or noise of the same amplitudes at each frequency, as
    where they were but did not see this part of the specimen, near the tomogram's borders in x.
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
        """Densities (1, D, H, W), each frequency times a random smooth gain, and those beyond a random tilt lost."""
        shape = densities.shape[1:]
        gained, tilted = rng.random(2) < (0.5 if self._spectrum else 0.0, TILTED if self._wedge else 0.0)
        if not (gained or tilted):
            return densities
        transformed = torch.fft.rfftn(densities[0])
        if gained:
            transformed *= self._gain(shape, rng)
        if tilted:
            lost = self._lost(shape, rng)
            if rng.random() < 0.5:
                transformed[lost] = 0
            else:
                noise = np.random.default_rng(int(rng.integers(2**31))).standard_normal(shape, dtype=np.float32)
                other = torch.fft.rfftn(torch.from_numpy(noise))[lost]
                transformed[lost] = transformed[lost].abs() * other / other.abs().clamp_min(1e-12)
        filtered: Tensor = torch.fft.irfftn(transformed, s=shape)[None]
        return filtered

    def _gain(self, shape: Sequence[int], rng: np.random.Generator) -> Tensor:
        """A factor for each frequency that changes smoothly with its radius."""
        steps = np.linspace(0, 1, KNOTS)
        gain = 1 + self._spectrum * steps * rng.standard_normal(KNOTS)
        kz, ky, kx = _frequencies(shape)
        radius = (kz**2 + ky**2 + kx**2).sqrt() / 0.75**0.5
        factor: Tensor = torch.from_numpy(np.interp(radius.numpy(), steps, gain)).float()
        return factor

    def _lost(self, shape: Sequence[int], rng: np.random.Generator) -> Tensor:
        """Which frequencies no tilt shows, where the tilts of each side end at an angle of their own, or both at one.

        The tilt axis is y: an image at some tilt holds the plane of x and z at that angle from x.
        """
        ends = FULL_TILT - self._wedge * rng.random(2)
        least, most = np.tan(np.radians(ends[[0, 0]] if rng.random() < EVEN else ends))
        kz, ky, kx = _frequencies(shape)
        kept = ((kz <= kx * most) & (-kz <= kx * least)) | ((kx == 0) & (kz == 0))
        lost: Tensor = (~kept).expand(-1, len(ky), -1)
        return lost


def _frequencies(shape: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
    """Those of a real Fourier transform, along z, y and x, in cycles a voxel."""
    depth, height, width = shape
    return torch.fft.fftfreq(depth)[:, None, None], torch.fft.fftfreq(height)[:, None], torch.fft.rfftfreq(width)
