"""Scaling of densities: the units of a reconstruction do not matter, and there must be something to see."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tomopick.data.normalise import scaling_of
from tomopick.errors import DataError
from tomopick.recipe import Normalisation
from tomopick.tomogram import Tomogram

VOLUME = np.random.default_rng(0).gamma(2.0, size=(24, 30, 36)).astype(np.float32)


def scaled(volume: np.ndarray, method: str, clip: float = 6.0) -> np.ndarray:
    tomogram = Tomogram(volume, 10.0, "t")
    return scaling_of(tomogram, Normalisation(method=method, clip=clip))(tomogram[:, :, :])


@pytest.mark.parametrize("method", ["robust", "standard"])
@settings(deadline=None, max_examples=20)
@given(factor=st.floats(1e-4, 1e4), shift=st.floats(-20, 20))
def test_brightness_and_contrast_do_not_matter(method, factor, shift):
    other = (VOLUME * factor + shift * factor).astype(np.float32)
    assert scaled(other, method) == pytest.approx(scaled(VOLUME, method), abs=2e-4)


def test_scaled_noise_has_mean_0_and_deviation_1():
    noise = np.random.default_rng(1).normal(-40, 7, (20, 64, 64)).astype(np.float32)
    for method in ("robust", "standard"):
        result = scaled(noise, method)
        assert result.mean() == pytest.approx(0, abs=0.02)
        assert result.std() == pytest.approx(1, abs=0.02)


def test_robust_scaling_does_not_look_at_a_few_gold_beads():
    beads = VOLUME.copy()
    beads[:, 3:7, 3:7] = -1e4
    assert np.median(np.abs(scaled(beads, "robust") - scaled(VOLUME, "robust"))) < 0.05
    assert np.median(np.abs(scaled(beads, "standard") - scaled(VOLUME, "standard"))) > 0.2


def test_scaled_densities_are_cut():
    result = scaled(VOLUME, "robust", clip=1.5)
    assert result.max() == 1.5
    assert (np.abs(result) < 1.5).mean() > 0.5


def test_a_thick_tomogram_is_measured_on_a_few_planes():
    class Counted:
        shape, dtype, planes = (300, 8, 8), np.dtype(np.float32), 0

        def __getitem__(self, region):
            self.planes += region[0].stop - region[0].start
            return np.random.default_rng(region[0].start).normal(size=(300, 8, 8))[region]

    array = Counted()
    scaling = scaling_of(Tomogram(array, 10.0, "t"), Normalisation(method="standard"))
    assert array.planes == 16
    assert scaling.scale == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize("method", ["robust", "standard"])
def test_a_constant_tomogram_is_refused(method):
    with pytest.raises(DataError, match=r"'t' holds one value almost everywhere \(3\)"):
        scaled(np.full((4, 5, 6), 3.0, np.float32), method)
