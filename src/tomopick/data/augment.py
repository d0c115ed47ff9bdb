"""Random changes of crops' densities; turning them is in `sampling`, where their labels turn with them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tomopick.recipe import Augmentation

__all__ = ["Intensity"]

KNOTS = 8  # frequencies, from 0 to the corner of the cube, between which a random gain runs straight
FULL_TILT = 60.0  # degrees; most tilt series end here
TILTED = 0.75  # share of the crops whose tilts end earlier
EVEN = 0.5  # share of these whose tilts end at the same angle on both sides, as most tilt series do
AXES = (-3, -2, -1)


@dataclass(frozen=True, eq=False)
class _Change:
    """What happens to one crop.

    Attributes:
        gain: factors at `KNOTS` radii of frequency, or None.
        tilts: tangents of the last tilts towards minus and plus x, or None where none are lost.
        noisy: whether lost tilts leave noise of the same amplitudes rather than nothing.
        shot_noise: amplitude of noise of the crop's own spectrum, over the crop's; 0 for none.
        blur: deviation of a Gaussian in voxels; 0 for none.
        scale: of all densities.
        shift: of all densities, after the scale.
        noise: deviation of white noise, which comes last; 0 for none.
        seed: of the noises.
    """

    gain: NDArray[np.float64] | None
    tilts: NDArray[np.float64] | None
    noisy: bool
    shot_noise: float
    blur: float
    scale: float
    shift: float
    noise: float
    seed: int

    @classmethod
    def drawn(cls, settings: Augmentation, seed: int) -> Self:
        """The change that belongs to a seed; every number is drawn, so that settings do not change one another's."""
        rng = np.random.default_rng([seed, 1])
        gained, tilted, even, noisy, blurred, noised = rng.random(6) < (0.5, TILTED, EVEN, 0.5, 0.33, 0.5)
        gain = 1 + settings.spectrum * np.linspace(0, 1, KNOTS) * rng.standard_normal(KNOTS)
        ends = FULL_TILT - settings.wedge * rng.random(2)
        blur, scale, shift, noise = rng.uniform((0, -1, -1, 0), 1)
        noises = int(rng.integers(2**31))
        shot_noise = max(0.0, rng.uniform(-1, 1))  # on every second crop
        return cls(
            gain=gain if gained and settings.spectrum else None,
            tilts=np.tan(np.radians(ends[[0, 0]] if even else ends)) if tilted and settings.wedge else None,
            noisy=bool(noisy),
            shot_noise=shot_noise * settings.shot_noise,
            blur=float(blurred * blur * settings.blur),
            scale=1 + settings.contrast * float(scale),
            shift=settings.brightness * float(shift),
            noise=float(noised * noise * settings.noise),
            seed=noises,
        )


class Intensity:
    """Gain by frequency, tilt range, blur, contrast, brightness and noise, as an `Augmentation` says.

    A crop's changes follow from its seed, whatever else is in the batch. Those by frequency come first, as the
    microscope comes before the noise. Tilts that are lost leave either nothing, as where they were not taken, or noise
    of the same amplitudes at each frequency, as where they were but did not see this part of the specimen, near the
    tomogram's borders in x.
    """

    def __init__(self, augmentation: Augmentation) -> None:
        self._settings = augmentation

    def __call__(self, crops: Tensor, seeds: Sequence[int]) -> Tensor:
        """Changed densities (B, 1, D, H, W), on the device of the given ones, which stay as they are; a seed each."""
        changed = crops.clone()
        for crop, seed in zip(changed, seeds, strict=True):
            self._change(crop[0], _Change.drawn(self._settings, seed))
        return changed

    def _change(self, crop: Tensor, change: _Change) -> None:
        """Change a crop (D, H, W) in place."""
        # a generator of its own device: on another, noise would be made slowly and copied
        generator = torch.Generator(crop.device).manual_seed(change.seed)
        if change.gain is not None or change.tilts is not None or change.shot_noise or change.blur:
            crop.copy_(_filtered(crop, change, generator))
        crop.mul_(change.scale).add_(change.shift)
        if change.noise:
            crop.add_(_white(crop, generator), alpha=change.noise)


def _filtered(crop: Tensor, change: _Change, generator: torch.Generator) -> Tensor:
    """A crop (D, H, W), each frequency times the gain and the blur, and those beyond the last tilts lost."""
    transformed = torch.fft.rfftn(crop, dim=AXES)
    z, y, x = _frequencies(crop)
    radius = (z**2 + y**2 + x**2).sqrt()
    if change.gain is not None:
        transformed *= _between(radius / 0.75**0.5, change.gain)
    if change.shot_noise:
        transformed += change.shot_noise * _noise_like(transformed, crop, generator)
        transformed /= (1 + change.shot_noise**2) ** 0.5
    if change.blur:
        transformed *= torch.exp(-2 * (np.pi * change.blur * radius) ** 2)
    if change.tilts is not None:
        lost = _lost(z, x, change.tilts)
        if change.noisy:
            transformed = torch.where(lost, _noise_like(transformed, crop, generator), transformed)
        else:
            transformed.masked_fill_(lost, 0)
    filtered: Tensor = torch.fft.irfftn(transformed, s=crop.shape, dim=AXES)
    return filtered


def _noise_like(transformed: Tensor, crop: Tensor, generator: torch.Generator) -> Tensor:
    """The transform of noise that has the amplitude of a transformed crop at each frequency."""
    other = torch.fft.rfftn(_white(crop, generator), dim=AXES)
    alike: Tensor = other * (transformed.abs() / other.abs().clamp_min(1e-12))
    return alike


def _white(crop: Tensor, generator: torch.Generator) -> Tensor:
    return torch.randn(crop.shape, generator=generator, device=crop.device)


def _between(share: Tensor, knots: NDArray[np.float64]) -> Tensor:
    """Values on the straight lines between knots that stand evenly from 0 to 1."""
    values = torch.from_numpy(knots).to(share)
    along = share * (len(knots) - 1)
    before = along.long().clamp_(0, len(knots) - 2)
    lines: Tensor = torch.lerp(values[before], values[before + 1], along - before)
    return lines


def _lost(z: Tensor, x: Tensor, tilts: NDArray[np.float64]) -> Tensor:
    """Which frequencies no tilt shows, where those of each side end at an angle of this tangent.

    The tilt axis is y: an image at some tilt holds the plane of x and z at that angle from x.
    """
    least, most = (float(t) for t in tilts)
    kept = ((z <= x * most) & (-z <= x * least)) | ((x == 0) & (z == 0))
    return ~kept


def _frequencies(crop: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Those of a real Fourier transform, along z, y and x, in cycles a voxel."""
    depth, height, width = crop.shape
    device = crop.device
    return (
        torch.fft.fftfreq(depth, device=device)[:, None, None],
        torch.fft.fftfreq(height, device=device)[:, None],
        torch.fft.rfftfreq(width, device=device),
    )
