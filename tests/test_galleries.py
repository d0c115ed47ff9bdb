import io

import numpy as np
import pytest
from matplotlib.image import imread

from tomopick.galleries import means_of, plot_gallery
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.subtomograms import central_slices
from tomopick.tomogram import Tomogram

BALL = ParticleObject(name="ball", radius=40, label=1)


def with_balls(places: list[tuple[int, int, int]], name: str = "ts") -> Tomogram:
    """Dark balls of 3 voxels about these voxels, zyx, in a little noise."""
    volume = np.random.default_rng(0).normal(0, 0.1, (40, 50, 60)).astype(np.float32)
    z, y, x = np.indices(volume.shape)
    for at in places:
        volume[(z - at[0]) ** 2 + (y - at[1]) ** 2 + (x - at[2]) ** 2 <= 9] -= 5
    return Tomogram(volume, 10.0, name)


def test_central_slices_show_the_particle_in_the_middle_of_both():
    picture = central_slices(with_balls([(20, 25, 30)]), np.array([300.0, 250.0, 200.0]), 40)
    assert picture.shape == (13, 26)
    for half in (picture[:, :13], picture[:, 13:]):
        weight = np.maximum(-half - 1, 0)
        centre = (weight * np.indices(half.shape)).sum(axis=(1, 2)) / weight.sum()
        assert centre.tolist() == pytest.approx([6, 6], abs=0.1)


def test_a_slice_is_the_mean_of_five_planes():
    tomogram = with_balls([])
    picture = central_slices(tomogram, np.array([300.0, 250.0, 200.0]), 40)
    volume = np.asarray(tomogram.array)
    np.testing.assert_allclose(picture[:, :13], volume[18:23, 19:32, 24:37].mean(axis=0), atol=1e-6)
    np.testing.assert_allclose(picture[:, 13:], volume[14:27, 23:28, 24:37].mean(axis=1), atol=1e-6)


def test_a_gallery_tells_hits_from_false_picks():
    tomogram = with_balls([(20, 25, 10 + 10 * i) for i in range(5)])
    picks = Picks.of("ts", "ball", [[100.0 + 100 * i, 250, 200] for i in range(5)], np.linspace(0.9, 0.5, 5))

    def colours(truth: Picks | None) -> tuple[bool, bool]:
        file = io.BytesIO()
        plot_gallery([tomogram], picks, BALL, file, truth=truth)
        red, green, _ = np.moveaxis(imread(io.BytesIO(file.getvalue()))[..., :3], -1, 0)
        return bool((green > red + 0.3).any()), bool((red > green + 0.3).any())

    assert colours(Picks(picks.table)) == (True, False)
    assert colours(Picks.empty()) == (False, True)
    assert colours(Picks(picks.table[:3])) == (True, True)
    assert colours(None) == (False, False)


def test_means_are_of_the_best_whole_subtomograms():
    tomogram = with_balls([(20, 25, 30), (20, 25, 45)])
    picks = Picks.of("ts", "ball", [[300, 250, 200], [450, 250, 200], [0, 0, 0]], [0.9, 0.8, 0.7])
    means = means_of([tomogram], picks, [BALL, ParticleObject(name="none", radius=40, label=2)])
    assert list(means) == ["ball"]
    assert means["ball"].count == 2
    volume = means["ball"].volume
    assert np.unravel_index(volume.argmin(), volume.shape) != (0, 0, 0)
    assert volume[6, 6, 6] < volume.mean() - 2 * volume.std()
