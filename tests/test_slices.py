"""The circles on the slices: where they are, how large, and in which colour."""

from __future__ import annotations

from io import BytesIO

import numpy as np
import pytest
from matplotlib import colors
from matplotlib.image import imread
from matplotlib.patches import Circle

from tomopick.errors import DataError
from tomopick.objects import ParticleObject
from tomopick.picks import Picks
from tomopick.slices import plot_slices
from tomopick.tomogram import Tomogram

BALL = ParticleObject(name="ball", radius=50, label=1, color=(255, 0, 0, 255))
CUBE = ParticleObject(name="cube", radius=100, label=2, color=(0, 0, 255, 255))
OBJECTS = (BALL, CUBE)
SPACING = 10.0
GREEN, YELLOW, RED = "#2fd55b", "#ffd92f", "#ff3b30"


def tomogram(shape=(21, 30, 40)) -> Tomogram:
    return Tomogram(np.random.default_rng(0).normal(size=shape), SPACING, "a")


def circles(axes) -> list[tuple[float, float, float, str]]:
    """x, y, radius (voxels) and colour of every circle."""
    found = [p for p in axes.patches if isinstance(p, Circle)]
    return sorted((*p.center, p.radius, colors.to_hex(p.get_edgecolor())) for p in found)


def test_hits_misses_and_false_picks_are_told_apart(drawn, tmp_path):
    truth = Picks.of("a", "ball", [[100, 200, 100], [300, 100, 100]])
    picks = Picks.of("a", "ball", [[110, 200, 100], [200, 200, 100]])
    caption = plot_slices(tomogram(), picks, OBJECTS, tmp_path / "slices.png", truth=truth, slices=1)

    (axes,) = drawn[0].axes
    assert circles(axes) == [(11, 20, 5, GREEN), (20, 20, 5, RED), (30, 10, 5, YELLOW)]
    crosses = [line for line in axes.lines if line.get_marker() == "x"]
    assert [(line.get_xdata()[0], line.get_ydata()[0]) for line in crosses] == [(20, 20)]
    assert axes.get_title() == "z = 100 Å"
    assert [t.get_text() for t in drawn[0].legends[0].get_texts()] == ["found", "missed", "false (crossed)"]
    assert "found, missed and false" in caption
    assert imread(tmp_path / "slices.png").ndim == 3


def test_a_circle_is_the_sphere_cut_at_the_slice(drawn):
    # Slice at z = 100 A (the middle one); 30 A above it a ball of 50 A shows 40 A, 60 A below it nothing.
    picks = Picks.of("a", "ball", [[100, 100, 100], [200, 100, 130], [300, 100, 40]])
    plot_slices(tomogram(), picks, OBJECTS, BytesIO(), slices=1)
    assert [c[:3] for c in circles(drawn[0].axes[0])] == [(10, 10, 5), (20, 10, pytest.approx(4))]


def test_without_truth_picks_have_the_colours_of_their_objects(drawn):
    picks = Picks.join([Picks.of("a", "cube", [[100, 100, 100]]), Picks.of("b", "ball", [[100, 100, 100]])])
    caption = plot_slices(tomogram(), picks, OBJECTS, BytesIO(), slices=1)
    assert circles(drawn[0].axes[0]) == [(10, 10, 10, "#0000ff")]
    assert [t.get_text() for t in drawn[0].legends[0].get_texts()] == ["cube"]
    assert "coloured by object" in caption


def test_the_picture_is_the_mean_of_the_planes_around_the_slice(drawn):
    volume = tomogram()
    plot_slices(volume, Picks.of("a", "ball", [[100, 100, 70]]), OBJECTS, BytesIO(), slices=1, thickness=3)
    image = drawn[0].axes[0].images[0]
    np.testing.assert_allclose(image.get_array(), volume.array[6:9].mean(axis=0), atol=1e-6)
    assert image.origin == "lower"


def test_slices_go_where_the_particles_are(drawn):
    picks = Picks.of("a", "ball", [[100, 100, z] for z in (20, 30, 150, 160)])
    plot_slices(tomogram(), picks, OBJECTS, BytesIO(), slices=2)
    depths = [float(axes.get_title().split()[2]) for axes in drawn[0].axes]
    assert 20 <= depths[0] <= 60
    assert 120 <= depths[1] <= 160
    plot_slices(tomogram(), Picks.empty(), OBJECTS, BytesIO(), slices=2)
    assert [axes.get_title() for axes in drawn[1].axes] == ["z = 50 Å", "z = 150 Å"]


def test_a_single_plane_and_particles_outside_are_fine(drawn):
    outside = Picks.of("a", "ball", [[100, 100, -400]])
    plot_slices(tomogram((1, 8, 9)), outside, OBJECTS, BytesIO(), truth=outside, slices=3)
    assert circles(drawn[0].axes[0]) == []


def test_no_slices_is_refused():
    with pytest.raises(DataError, match="at least 1"):
        plot_slices(tomogram(), Picks.empty(), OBJECTS, BytesIO(), slices=0)
