"""Random changes of a crop's densities; turning it is in `sampling`, where its labels turn with it."""

from __future__ import annotations

import torch
from monai.transforms import Compose, RandGaussianNoise, RandGaussianSmooth, RandScaleIntensity, RandShiftIntensity
from monai.utils import convert_to_tensor
from torch import Tensor

from tomopick.recipe import Augmentation

__all__ = ["Intensity"]


class Intensity:
    """Contrast, brightness, noise and blur, as an `Augmentation` says, reproducible from a seed."""

    def __init__(self, augmentation: Augmentation) -> None:
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
        self._changes.set_random_state(seed=seed)
        # a plain tensor: MONAI's subclass, carried through a network, makes its backward pass twice as slow
        changed: Tensor = convert_to_tensor(self._changes(densities), dtype=torch.float32, track_meta=False)
        return changed
