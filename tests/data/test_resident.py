"""Crops cut on a device are those that the processor cuts."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tomopick.data.dataset import Annotated, CropDataset, cut
from tomopick.data.normalise import Scaling
from tomopick.data.resident import Resident, view
from tomopick.data.sampling import Crop, CropShape, Particles, random_pose
from tomopick.recipe import Augmentation
from tomopick.symmetry import orientations
from tomopick.tomogram import Tomogram

SHAPES = [CropShape(16, 8, 8, 2), CropShape(2, 0, 2, 12, inside=True), CropShape(21, 10, 4, 3)]
ALL = orientations(Augmentation(rotations="all"))


def run(shape: tuple[int, int, int], kinds: int = 1) -> Annotated:
    rng = np.random.default_rng(0)
    seen = [
        (Tomogram(rng.normal(size=shape).astype(np.float32), 10.0, "t"), Scaling(0.1 * i, 0.5 + i, 1.5))
        for i in range(kinds)
    ]
    particles = Particles(np.array([[20.0, 21, 22], [30, 30, 33]]), np.array([0, 1]), np.full(2, 3.0), 1.0, 2)
    return Annotated(*seen[0], particles, tuple(seen[1:]))


def crops(count: int, runs: int = 1) -> list[Crop]:
    rng = np.random.default_rng(1)
    augmentation = Augmentation(turn=180, lean=20, scale=0.1)
    made = []
    for i in range(count):
        axes, reverse = ALL[rng.integers(len(ALL))]
        start = tuple(rng.integers(-12, 30, size=3).tolist())
        made.append(Crop(i % runs, start, axes, reverse, int(rng.integers(1000)), random_pose(augmentation, rng)))
    return made


@pytest.mark.parametrize("shape", SHAPES)
def test_crops_are_those_of_the_processor_turned_mirrored_and_scaled(shape: CropShape) -> None:
    runs = [run((40, 45, 50), kinds=3), run((33, 60, 41))]
    asked = crops(40, runs=2)
    assert {crop.pose is None for crop in asked} == {True, False}
    found = Resident.of(runs, torch.device("cpu")).cut(asked, shape).numpy()
    for crop, densities in zip(asked, found, strict=True):
        wanted, *_ = cut(runs[crop.run], crop, shape)
        np.testing.assert_allclose(densities[0], wanted, atol=2e-3)


def test_autocast_does_not_round_where_a_crop_is_cut() -> None:
    runs, asked = [run((40, 200, 210))], crops(4)
    resident = Resident.of(runs, torch.device("cpu"))
    plain = resident.cut(asked, SHAPES[0])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(resident.cut(asked, SHAPES[0]), plain)


def test_a_view_says_which_voxel_a_crop_shows() -> None:
    """A tomogram whose densities are where they are, seen by an odd crop, which is reversed about its middle."""
    z, y, x = np.meshgrid(np.arange(60), np.arange(60), np.arange(60), indexing="ij")
    source = run((60, 60, 60))
    for part, densities in enumerate((z, y, x)):
        ramp = Annotated(Tomogram(densities.astype(np.float32), 10.0, "t"), Scaling(0, 1, 1e9), source.particles)
        for crop in (Crop(0, (20, 21, 22), (2, 0, 1), (True, False, True), 0, p) for p in (None, np.diag([1, 0.9, 1]))):
            matrix, first = view(crop, SHAPES[2])
            shown, *_ = cut(ramp, crop, SHAPES[2])
            at = np.array([3, 10, 17])
            assert shown[tuple(at)] == pytest.approx((matrix @ at + first)[part], abs=1e-4)


def test_labels_come_without_densities_and_are_the_same() -> None:
    runs, asked = [run((60, 60, 60))], crops(12)
    whole = CropDataset(runs, asked, SHAPES[1])
    told = CropDataset(runs, asked, SHAPES[1], densities=False)
    for index in range(len(asked)):
        _, *wanted = whole[index]
        at, *found = told[index]
        assert int(at) == index
        assert all(torch.equal(torch.as_tensor(a), torch.as_tensor(b)) for a, b in zip(found, wanted, strict=True))


def test_a_processor_keeps_no_copy() -> None:
    assert Resident.where_it_fits([run((20, 20, 20))], torch.device("cpu")) is None


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_a_gpu_cuts_the_crops_of_the_processor() -> None:
    runs, asked = [run((40, 45, 50))], crops(20)
    resident = Resident.where_it_fits(runs, torch.device("cuda"))
    assert resident is not None
    with torch.autocast("cuda", dtype=torch.bfloat16):
        found = resident.cut(asked, SHAPES[1]).cpu().numpy()
    for crop, densities in zip(asked, found, strict=True):
        np.testing.assert_allclose(densities[0], cut(runs[0], crop, SHAPES[1])[0], atol=2e-3)
