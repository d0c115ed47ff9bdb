"""Random changes of densities: reproducible, absent when nothing is asked for, of the size that is asked for."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tomopick.data.augment import Intensity
from tomopick.recipe import Augmentation

NONE = dict.fromkeys(("contrast", "brightness", "noise", "shot_noise", "blur", "spectrum", "wedge"), 0.0)
CROP = torch.from_numpy(np.random.default_rng(0).normal(size=(1, 12, 12, 12)).astype(np.float32))


def changed(seed: int, **settings: float) -> torch.Tensor:
    return one(Intensity(Augmentation(**(NONE | settings))), CROP, seed)


def one(intensity: Intensity, crop: torch.Tensor, seed: int) -> torch.Tensor:
    return intensity(crop[None], [seed])[0]


@pytest.mark.parametrize(
    "settings",
    [
        {"contrast": 0.3},
        {"brightness": 0.3},
        {"noise": 0.5},
        {"shot_noise": 1.2},
        {"blur": 1.5},
        {"spectrum": 0.5},
        {"wedge": 20.0},
    ],
)
def test_the_seed_decides(settings):
    twice = [[changed(seed, **settings) for seed in range(12)] for _ in range(2)]
    assert all(torch.equal(a, b) for a, b in zip(*twice, strict=True))
    assert len({t.numpy().tobytes() for t in twice[0]}) > 2


def test_the_seed_decides_whatever_was_drawn_before():
    intensity = Intensity(Augmentation(blur=1.0))
    first = one(intensity, CROP, 7)
    one(intensity, CROP, 8)
    assert torch.equal(one(intensity, CROP, 7), first)


def test_each_crop_of_a_batch_changes_as_if_alone():
    intensity = Intensity(Augmentation(blur=1.0, spectrum=0.3, wedge=30.0))
    batch = torch.stack([CROP, 2 * CROP, CROP + 1])
    for crop, seed, alone in zip(intensity(batch, [3, 4, 5]), (3, 4, 5), batch, strict=True):
        assert torch.equal(crop, one(intensity, alone, seed))


def test_nothing_asked_for_changes_nothing():
    for seed in range(5):
        assert torch.equal(changed(seed), CROP)


def test_the_given_crop_is_left_alone():
    given = CROP.clone()
    one(Intensity(Augmentation(blur=1.0)), given, 3)
    assert torch.equal(given, CROP)


def test_contrast_and_brightness_stay_within_what_was_asked():
    scales = [float((changed(s, contrast=0.2) / CROP).mean()) for s in range(40)]
    shifts = [float((changed(s, brightness=0.1) - CROP).mean()) for s in range(40)]
    assert 0.8 <= min(scales) < 0.9
    assert 1.1 < max(scales) <= 1.2
    assert -0.1001 <= min(shifts) < -0.05
    assert 0.05 < max(shifts) <= 0.1001


def test_noise_comes_on_every_second_crop_and_no_stronger_than_asked():
    added = np.array([float((changed(s, noise=0.5) - CROP).std()) for s in range(60)])
    assert 0.3 < (added > 0).mean() < 0.7
    assert added.max() < 0.55


def test_shot_noise_is_of_the_crops_own_spectrum_and_leaves_its_deviation():
    # a smooth crop: white noise would put most of its strength where this has none
    smooth = torch.zeros(1, 24, 24, 24, dtype=torch.complex64)
    smooth[0, :4, :4, :4] = torch.fft.fftn(torch.randn(4, 4, 4, generator=torch.Generator().manual_seed(0)))
    what = torch.fft.ifftn(smooth, dim=(-3, -2, -1)).real
    what = what / what.std()
    there = torch.fft.rfftn(what[0]).abs() > 1e-2 * torch.fft.rfftn(what[0]).abs().max()
    intensity, likeness = Intensity(Augmentation(**(NONE | {"shot_noise": 1.2}))), []
    for seed in range(60):
        result = one(intensity, what, seed)
        assert float(torch.fft.rfftn(result[0]).abs()[~there].max()) < 0.05 * float(
            torch.fft.rfftn(what[0]).abs().max()
        )
        assert 0.6 < float(result.std()) < 1.4
        likeness.append(float((result * what).sum() / (result.norm() * what.norm())))
    assert 0.3 < (np.array(likeness) > 0.9999).mean() < 0.7
    # as strong as asked at most: a signal of 1 in a deviation of (1 + 1.2^2)^(1/2)
    assert 0.4 < min(likeness) < 0.85


def test_blur_comes_on_every_third_crop_and_smooths():
    spread = np.array([float(changed(s, blur=1.5).std()) for s in range(60)])
    assert 0.15 < (spread < 0.999 * float(CROP.std())).mean() < 0.55
    assert spread.max() <= float(CROP.std()) * 1.0001


def wave(kz: int, ky: int, kx: int) -> torch.Tensor:
    """A wave of this many periods along each axis of a crop of 24 voxels."""
    z, y, x = np.meshgrid(*[np.arange(24) / 24] * 3, indexing="ij")
    return torch.from_numpy(np.cos(2 * np.pi * (kz * z + ky * y + kx * x)).astype(np.float32))[None]


def gains(what: torch.Tensor, **settings: float) -> np.ndarray:
    """By how much a wave is scaled, for 60 seeds; a filter changes nothing else of it."""
    intensity = Intensity(Augmentation(**(NONE | settings)))
    found = []
    for seed in range(60):
        result = one(intensity, what, seed)
        gain = float((result * what).sum() / (what * what).sum())
        torch.testing.assert_close(result, gain * what, atol=1e-4, rtol=0)
        found.append(gain)
    return np.array(found)


def test_a_spectrum_leaves_the_mean_and_scales_fine_detail_more_than_coarse():
    constant = gains(torch.ones(1, 24, 24, 24), spectrum=0.5)
    coarse, fine = gains(wave(1, 0, 1), spectrum=0.5), gains(wave(8, 8, 8), spectrum=0.5)
    assert np.abs(constant - 1).max() < 1e-4
    assert 0.3 < (np.abs(fine - 1) > 1e-4).mean() < 0.7
    assert 3 * coarse.std() < fine.std() < 0.5


def test_a_wedge_loses_high_tilts_on_each_side_by_itself_and_no_others():
    assert np.abs(gains(wave(0, 5, 0), wedge=20.0) - 1).max() < 1e-4
    assert np.abs(gains(wave(4, 3, 5), wedge=20.0) - 1).max() < 1e-4  # a tilt of 39 degrees
    lost = []
    for kz in (6, -6):  # 50 degrees, either way
        changed = np.array([float((turned - wave(kz, 0, 5)).abs().max()) for turned in tilted(wave(kz, 0, 5))])
        lost.append(changed > 1e-3)
    assert all(0.15 < side.mean() < 0.5 for side in lost)
    assert (lost[0] != lost[1]).any()


def test_what_lost_tilts_leave_is_nothing_or_noise_as_strong():
    # of one tilt, so lost together; several, for the random phase of a single one may be what it was
    what = wave(3, 0, 2) + wave(6, 0, 4) + wave(9, 0, 6)
    left = [t for t in tilted(what) if float((t - what).abs().max()) > 1e-3]
    strength = np.array([float(t.norm() / what.norm()) for t in left])
    nothing = strength < 1e-3
    assert np.allclose(strength[~nothing], 1, atol=1e-3)
    assert 0.2 < nothing.mean() < 0.8
    likeness = np.array([float((t * what).sum() / what.norm() ** 2) for t in left])[~nothing]
    assert likeness.min() < 0 < likeness.max() < 0.999


def tilted(what: torch.Tensor) -> list[torch.Tensor]:
    intensity = Intensity(Augmentation(**(NONE | {"wedge": 20.0})))
    return [one(intensity, what, seed) for seed in range(80)]
