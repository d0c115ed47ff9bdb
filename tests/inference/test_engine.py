"""Dense inference: each score is what the network says of the crop about that voxel, and nothing else."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np
import pandas as pd
import pytest
import torch

from tomopick.data.normalise import scaling_of
from tomopick.errors import TomopickError
from tomopick.inference import device, passes
from tomopick.inference.device import fast_dtype
from tomopick.inference.engine import dense_pass, score_map, score_parts
from tomopick.inference.peaks import find_peaks
from tomopick.inference.scoremap import Part
from tomopick.models import cryoet3dcnn
from tomopick.models.modelfile import Model, ModelSpec
from tomopick.models.registry import build
from tomopick.objects import ParticleObject
from tomopick.recipe import Normalisation
from tomopick.tomogram import Tomogram

OBJECTS = (ParticleObject(name="a", radius=60, label=1), ParticleObject(name="b", radius=90, label=2))
Triple = tuple[int, int, int]


def random_model(window: int = 16, spacing: float = 10.0) -> Model:
    """A network whose scores differ much from place to place."""
    torch.manual_seed(window)
    arguments = {"num_classes": 3, "window": window}
    network = build("cryoet3dcnn", arguments)
    with torch.no_grad():
        for name, value in network.named_buffers():
            if name.endswith("running_var"):
                value.uniform_(0.5, 2.0)
        network.classifier[3].weight.mul_(30)
    spec = ModelSpec(
        architecture="cryoet3dcnn",
        arguments=arguments,
        objects=OBJECTS,
        spacing=spacing,
        normalisation=Normalisation(method="standard", clip=4.0),
    )
    return Model(network.eval(), spec)


def noise(shape: Triple, spacing: float = 10.0) -> Tomogram:
    volume = np.random.default_rng(0).normal(3.0, 20.0, shape).astype(np.float32)
    return Tomogram(volume, spacing, "t")


@torch.inference_mode()
def alone(model: Model, tomogram: Tomogram, voxel: Triple) -> np.ndarray:
    """Probabilities from the one context crop about a voxel: its window and 8 voxels more on each side."""
    half = model.spec.arguments["window"] // 2 + 8
    z, y, x = voxel
    crop = tomogram.read((z - half, y - half, x - half), (z + half, y + half, x + half))
    scaled = scaling_of(tomogram, model.spec.normalisation)(crop)
    cells = model.network.embed(torch.from_numpy(scaled)[None, None])
    logits = model.network.classify(cells)
    assert logits.shape == (1, 3, 1, 1, 1)
    return torch.softmax(logits, dim=1)[0, :, 0, 0, 0].numpy()


def places(counts: Triple, number: int = 10) -> list[Triple]:
    """All corners of a grid and some points inside."""
    rng = np.random.default_rng(1)
    inside = [tuple(int(v) for v in rng.integers(counts)) for _ in range(number)]
    return [*product(*[(0, n - 1) for n in counts]), *inside]


def check_against_lone_crops(model: Model, tomogram: Tomogram, stride: int, at: list[Triple] | None = None) -> None:
    scores = score_map(model, tomogram, stride)
    counts = scores.array.shape[1:]
    assert counts == tuple(-(-n // stride) for n in tomogram.shape)
    looked_at = at or places(counts)
    dense = np.array([scores.array[(slice(None), *i)] for i in looked_at])
    single = np.array([alone(model, tomogram, tuple(stride * v for v in i)) for i in looked_at])
    assert np.abs(dense - single).max() < 1e-4
    assert single.std(axis=0).max() > 0.02  # else the comparison says nothing


@pytest.mark.parametrize("stride", [8, 4, 2, 1])
@pytest.mark.parametrize("window", [16, 24])
def test_each_score_is_that_of_its_own_crop(window, stride):
    check_against_lone_crops(random_model(window), noise((12, 17, 21)), stride)


def test_each_score_is_that_of_its_own_crop_with_the_window_of_the_design():
    at = [(0, 0, 0), (1, 2, 1), (2, 3, 3)]
    check_against_lone_crops(random_model(64), noise((24, 25, 32)), 8, at)


@pytest.mark.parametrize("tile", [2, 3])
@pytest.mark.parametrize("stride", [8, 4])
@pytest.mark.parametrize("shape", [(25, 33, 41), (25, 41, 33)])
def test_tiles_and_slabs_leave_no_seams(shape, stride, tile, monkeypatch):
    model, tomogram = random_model(), noise(shape)
    whole = score_map(model, tomogram, stride)
    monkeypatch.setattr(passes, "TILE", 8 * tile)
    monkeypatch.setattr(passes, "POSITIONS", 50 * tile)
    assert np.abs(score_map(model, tomogram, stride).array - whole.array).max() < 1e-4
    check_against_lone_crops(model, tomogram, stride)


def test_a_stride_refines_the_map_of_a_larger_one():
    model, tomogram = random_model(), noise((20, 24, 30))
    coarse, fine = score_map(model, tomogram, 8), score_map(model, tomogram, 4)
    assert fine.array[:, ::2, ::2, ::2] == pytest.approx(coarse.array, abs=1e-4)


def test_probabilities_sum_to_one_and_the_map_says_what_it_is():
    scores = score_map(random_model(), noise((20, 24, 30)), 4)
    assert scores.array.dtype == np.float32
    assert scores.array.sum(axis=0) == pytest.approx(1.0, abs=1e-5)
    assert scores.array.min() >= 0
    assert (scores.stride, scores.offset, scores.spacing) == (4, (0.0, 0.0, 0.0), 10.0)
    assert (scores.objects, scores.name) == (("a", "b"), "t")
    assert scores.plan.startswith("tiles of up to 128 voxels with ")


@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 17, 9), (2, 40, 5)])
@pytest.mark.parametrize("stride", [8, 2])
def test_a_tomogram_smaller_than_a_window_works(shape, stride):
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    if shape == (1, 1, 1):
        with pytest.raises(TomopickError, match="one value"):
            score_map(random_model(), Tomogram(volume, 10.0, "t"), stride)
    else:
        check_against_lone_crops(random_model(), Tomogram(volume, 10.0, "t"), stride)


@pytest.mark.parametrize("stride", [0, -4, 3, 16])
def test_a_stride_that_does_not_fit_is_refused(stride):
    with pytest.raises(TomopickError, match=f"stride {stride} does not fit this network; choose 8, 4, 2, 1"):
        score_map(random_model(), noise((8, 8, 8)), stride)


def test_a_pass_starts_where_it_is_told():
    model, tomogram = random_model(), noise((30, 30, 30))
    scaling = scaling_of(tomogram, model.spec.normalisation)
    found = dense_pass(model.network, tomogram, scaling, (5, 3, 7), (2, 3, 2), torch.device("cpu"))
    for i in product(range(2), range(3), range(2)):
        at = tuple(a + 8 * b for a, b in zip((5, 3, 7), i, strict=True))
        assert found[(slice(None), *i)] == pytest.approx(alone(model, tomogram, at), abs=1e-4)


def test_units_of_the_densities_do_not_matter():
    model, tomogram = random_model(), noise((20, 24, 30))
    other = Tomogram(tomogram[:, :, :] * 0.01 - 7, 10.0, "t")
    assert score_map(model, other, 8).array == pytest.approx(score_map(model, tomogram, 8).array, abs=1e-3)


def test_another_voxel_spacing_is_resampled_and_nearly_the_same_is_not():
    model = random_model(spacing=20.0)
    scores = score_map(model, noise((30, 34, 38), spacing=10.0), 8)
    assert scores.spacing == 20.0
    assert scores.array.shape == (3, 2, 3, 3)
    assert score_map(random_model(), noise((16, 16, 16), 10.012), 8).spacing == 10.012


def test_progress_rises_to_one():
    told: list[float] = []
    score_map(random_model(), noise((20, 24, 30)), 4, progress=told.append)
    assert told == sorted(told)
    assert told[-1] == pytest.approx(1.0)


def test_a_trained_network_is_left_ready_for_use():
    model = random_model()
    model.network.train()
    first = score_map(model, noise((16, 16, 16)), 8).array
    assert np.array_equal(score_map(model, noise((16, 16, 16)), 8).array, first)


def padded_model(size: str = "tiny") -> Model:
    """A network that pads its own borders, whose scores differ much from place to place."""
    torch.manual_seed(1)
    arguments = {"num_classes": 3, "size": size}
    network = build("heatmap-unet", arguments)
    with torch.no_grad():
        for name, value in network.named_buffers():
            if name.endswith("running_var"):
                value.uniform_(0.1, 1.0)
        network.head.weight.mul_(3)
    return Model(network.eval(), random_model().spec.model_copy(update={"architecture": "heatmap-unet"}))


@torch.inference_mode()
def in_one_piece(model: Model, tomogram: Tomogram) -> np.ndarray:
    """Probabilities from the whole tomogram at once, mirrored at its far ends up to the next multiple of 8."""
    depth, height, width = (-(-n // 8) * 8 for n in tomogram.shape)
    scaled = scaling_of(tomogram, model.spec.normalisation)(tomogram.read((0, 0, 0), (depth, height, width)))
    logits = model.network(torch.from_numpy(scaled)[None, None])
    counts = [slice(-(-n // 2)) for n in tomogram.shape]
    return torch.softmax(logits, dim=1)[0].numpy()[(slice(None), *counts)]


class Elsewhere:
    """A network that is no PyTorch module, as those of other runtimes: all that the engine knows is what it asks."""

    def __init__(self, network: torch.nn.Module) -> None:
        self.network = network
        self.embed, self.classify = network.embed, network.classify
        self.stride, self.halo, self.reach = network.stride, network.halo, network.reach
        self.context, self.align = network.context, network.align

    def to(self, device: str) -> Elsewhere:
        return self

    def eval(self) -> Elsewhere:
        return self


@pytest.mark.parametrize("edge", [16, 40])
def test_a_network_that_runs_elsewhere_scores_in_tiles_as_in_one_piece(edge, monkeypatch):
    model, tomogram = padded_model(), noise((30, 61, 109))
    whole = in_one_piece(model, tomogram)
    assert np.ptp(whole[0]) > 0.5
    monkeypatch.setattr(passes, "PADDED_TILE", edge)
    tiled = score_map(Model(Elsewhere(model.network), model.spec), tomogram)
    assert (tiled.stride, tiled.offset) == (2, (0.0, 0.0, 0.0))
    np.testing.assert_allclose(tiled.array, whole, atol=1e-4)
    assert tiled.plan == f"tiles of up to {edge} voxels with {model.network.context} around"


@pytest.mark.parametrize("shape", [(30, 61, 109), (21, 109, 40), (110, 30, 29), (3, 9, 9)])
@pytest.mark.parametrize("thick", [8, 16, 64])
def test_a_network_that_pads_scores_in_slabs_as_in_one_piece(shape, thick, monkeypatch):
    model, tomogram = padded_model(), noise(shape)
    monkeypatch.setitem(passes.THICKEST, "fp32", thick)
    found = score_map(model, tomogram)
    assert (found.stride, found.offset) == (2, (0.0, 0.0, 0.0))
    np.testing.assert_allclose(found.array, in_one_piece(model, tomogram), atol=1e-4)


def test_little_memory_makes_slabs_thin_and_changes_no_score():
    model, tomogram = padded_model(), noise((40, 200, 40))
    told: dict[float, list[float]] = {0.0: [], 8.0: []}
    maps = [score_map(model, tomogram, memory=memory, progress=told[memory].append) for memory in told]
    np.testing.assert_allclose(*(scores.array for scores in maps), atol=1e-4)
    assert [scores.plan for scores in maps] == ["slabs of 8 voxels along y", "slabs of 24 voxels along y"]
    assert (len(told[0.0]), len(told[8.0])) == (25, 9)  # slabs of 8 voxels, and of 24


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
@pytest.mark.parametrize(("dtype", "apart"), [("fp32", 1e-3), ("bf16", 0.1), ("fp16", 0.02)])
@pytest.mark.parametrize(("stride", "padded"), [(8, False), (4, False), (2, True), (1, True)])
def test_a_gpu_gives_the_scores_of_the_cpu(stride, padded, dtype, apart):
    model, tomogram = padded_model() if padded else random_model(), noise((40, 61, 109))
    here = score_map(model, tomogram, stride)
    there = score_map(model, tomogram, stride, device="cuda", dtype=dtype)
    assert np.ptp(here.array, axis=(1, 2, 3)).max() > 0.03
    difference = np.abs(there.array - here.array)
    assert difference.mean() < apart / 10
    if dtype == "fp32":
        assert difference.max() < apart


no_bfloat16 = pytest.mark.skipif(fast_dtype("cpu") != "bf16", reason="needs a processor with bfloat16")


@pytest.mark.parametrize(("stride", "padded"), [(8, False), (4, False), pytest.param(2, True, marks=no_bfloat16)])
def test_bfloat16_gives_about_the_scores_of_float32_on_a_processor(stride, padded, monkeypatch):
    """It is the default where a processor has it; elsewhere only the layers of CryoET3DCNN can be computed in it."""
    monkeypatch.setattr(device, "computes_bf16", lambda: True)
    monkeypatch.setattr(cryoet3dcnn, "WORTH_TRANSFORMING", 1)  # as in a tomogram of usual size
    model, tomogram = padded_model() if padded else random_model(), noise((40, 61, 69))
    exact = score_map(model, tomogram, stride).array
    rounded = score_map(model, tomogram, stride, dtype="bf16").array
    assert np.ptp(exact, axis=(1, 2, 3)).max() > 0.03
    assert 0 < np.abs(rounded - exact).mean() < 0.01


def put_together(parts: Sequence[Part], shape: tuple[int, ...]) -> np.ndarray:
    """The map that parts make up, each place of which comes once."""
    found = np.full(shape, np.nan, np.float32)
    for part in parts:
        place = tuple(slice(a, a + n) for a, n in zip(part.own_start, part.own.shape[1:], strict=True))
        assert np.isnan(found[(slice(None), *place)]).all()
        found[(slice(None), *place)] = part.own
    return found


@pytest.mark.parametrize("shape", [(30, 61, 109), (29, 70, 31), (96, 30, 40)])
@pytest.mark.parametrize(("stride", "padded", "whole"), [(2, True, False), (1, True, True), (4, False, False)])
def test_parts_make_up_the_map_and_give_its_picks(shape, stride, padded, whole, monkeypatch):
    monkeypatch.setitem(passes.THICKEST, "fp32", 16)
    monkeypatch.setattr(passes, "POSITIONS", 200)
    model, tomogram = padded_model() if padded else random_model(), noise(shape)
    scores = score_map(model, tomogram, stride)
    parts = list(score_parts(model, tomogram, stride))
    assert (len(parts) < 3) == whole  # where passes fill the map in turns
    for part in parts:
        own = part.scores.array[(slice(None), *part.core)]
        start = tuple(a + core.start for a, core in zip(part.start, part.core, strict=True))
        assert (part.own_start, part.own.tolist()) == (start, own.tolist())
        assert part.scores.offset == tuple(float(stride * a) for a in part.start)
    np.testing.assert_array_equal(put_together(parts, scores.array.shape), scores.array)
    picks, whole = (find_peaks(one, OBJECTS).table for one in (parts, scores))
    assert len(whole) > 10
    pd.testing.assert_frame_equal(picks, whole)


@pytest.mark.parametrize(("shape", "across"), [((16, 236, 250), 1), ((16, 250, 236), 2)])
def test_a_section_that_there_is_no_room_for_goes_strip_by_strip(shape, across):
    model, tomogram = padded_model(), noise(shape)
    whole, told = score_map(model, tomogram), []
    parts = list(score_parts(model, tomogram, memory=0.5, progress=told.append))
    starts = sorted({part.own_start[across] for part in parts})
    assert {part.scores.plan for part in parts} == {f"slabs of 8 voxels along {'xy'[across - 1]}, 2 strips"}
    assert starts == [0, 60]  # no narrower than twice the context, and whole steps of 8 voxels
    np.testing.assert_allclose(put_together(parts, whole.array.shape), whole.array, atol=1e-4)
    picks, expected = (find_peaks(one, OBJECTS) for one in (parts, whole))
    assert len(expected) > 10
    np.testing.assert_allclose(picks.xyz(), expected.xyz(), atol=1e-2)
    assert told == sorted(told)
    assert told[-1] == 1.0


@pytest.mark.parametrize(
    ("stride", "padded", "devices", "strips"), [(2, True, 2, 2), (2, True, 9, 3), (4, False, 3, 3)]
)
def test_devices_share_a_tomogram_strip_by_strip(stride, padded, devices, strips):
    """The devices are all the CPU: what is tried is the sharing."""
    model, tomogram = padded_model() if padded else random_model(), noise((16, 350, 352) if padded else (16, 61, 109))
    whole, told = score_map(model, tomogram, stride), []
    parts = list(score_parts(model, tomogram, stride, device=["cpu"] * devices, progress=told.append))
    assert all(part.scores.plan.endswith(f"{strips} strips") for part in parts)
    np.testing.assert_allclose(put_together(parts, whole.array.shape), whole.array, atol=1e-4)
    assert max(told) == pytest.approx(1.0)


@pytest.mark.gpu
@pytest.mark.skipif(torch.cuda.device_count() < 2, reason="needs two CUDA devices")
@pytest.mark.parametrize(("stride", "padded"), [(4, False), (2, True)])
def test_two_gpus_give_the_picks_of_one(stride, padded):
    model, tomogram = padded_model() if padded else random_model(), noise((40, 236, 250))
    one, two = (
        find_peaks(score_parts(model, tomogram, stride, device=devices), OBJECTS)
        for devices in ("cuda", ["cuda:0", "cuda:1"])
    )
    assert len(one) > 10
    np.testing.assert_allclose(two.xyz(), one.xyz(), atol=1e-2)


def test_a_tomogram_smaller_than_its_cells_works():
    assert score_map(padded_model(), noise((1, 3, 9))).array.shape == (3, 1, 2, 5)
