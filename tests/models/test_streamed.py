"""A network fed in slabs gives what it gives of the whole volume, whatever the slabs."""

from __future__ import annotations

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from itertools import chain, pairwise

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from tomopick.models.registry import build
from tomopick.models.streamed import NotStreamable, Streamed, peak_bytes, planes_first

NETWORKS = ("heatmap-unet", "dynunet", "segresnet")
EDGES = (88, 24, 16)


def network(name: str) -> nn.Module:
    torch.manual_seed(0)
    made = build(name, {"num_classes": 3} | ({"size": "tiny"} if name == "heatmap-unet" else {}))
    for module in made.modules():
        if isinstance(module, nn.BatchNorm3d):
            module.running_var.uniform_(0.5, 1.5)
            module.running_mean.normal_(0, 0.1)
    return made.eval()


@torch.inference_mode()
def in_slabs(made: nn.Module, volume: Tensor, cuts: list[int]) -> Tensor:
    streamed = Streamed(made)
    bounds = [0, *cuts, volume.shape[2]]
    found = [streamed.push(volume[:, :, a:b], b == volume.shape[2]) for a, b in pairwise(bounds)]
    return torch.cat([planes for planes in found if planes is not None], dim=2)


@pytest.mark.parametrize("name", NETWORKS)
@settings(deadline=None, max_examples=6)
@given(cuts=st.sets(st.integers(1, EDGES[0] // 8 - 1)))
def test_slabs_of_any_thickness_give_what_the_whole_gives(name, cuts):
    made, volume = network(name), torch.randn(1, 1, *EDGES)
    with torch.inference_mode():
        whole = made(volume)
    assert whole.std() > 0.01
    found = in_slabs(made, volume, [8 * cut for cut in sorted(cuts)])
    torch.testing.assert_close(found, whole, atol=1e-5, rtol=0)


def test_threads_feed_networks_at_the_same_time():
    made, volume = [network("heatmap-unet") for _ in range(4)], torch.randn(1, 1, *EDGES)
    expected = in_slabs(made[0], volume, [])
    with ThreadPoolExecutor(len(made)) as pool:  # all begin anew all the time, while others compute
        found = list(pool.map(lambda one: [in_slabs(one, volume, [16, 56]) for _ in range(6)], made))
    for one in chain(*found):
        torch.testing.assert_close(one, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("name", NETWORKS)
@pytest.mark.parametrize("axis", [0, 1, 2])
@torch.inference_mode()
def test_any_axis_may_go_first(name, axis):
    made, volume = network(name), torch.randn(1, 1, 16, 24, 32)
    turned = planes_first(made, axis)(volume.transpose(2, 2 + axis)).transpose(2, 2 + axis)
    torch.testing.assert_close(turned, made(volume), atol=1e-5, rtol=0)


def test_memory_does_not_grow_with_the_volume_and_is_foretold():
    made = network("heatmap-unet")
    held = []
    for length in (96, 240):
        streamed = Streamed(made, watched=True)
        with torch.inference_mode():
            for start in range(0, length, 24):
                before = streamed.peak
                streamed.push(torch.zeros(1, 1, 24, 16, 16), start + 24 == length)
        assert streamed.peak < 1.2 * before  # the end, where all that is left comes at once, takes little more
        held.append(streamed.peak)
    assert held[0] == held[1] == peak_bytes(made, (24, 16, 16), 96, torch.float32)
    with torch.inference_mode():
        features = sum(p.numel() for p in made.down1(torch.zeros(1, 1, 240, 16, 16))) * 4
    assert held[0] < 3 * features


def test_foretelling_memory_loads_no_compiler():
    code = (
        "import sys, torch\n"
        "from tomopick.models.registry import build\n"
        "from tomopick.models.streamed import peak_bytes\n"
        "network = build('heatmap-unet', {'num_classes': 3}).eval()\n"
        "print(peak_bytes(network, (8, 8, 8), 48, torch.float32), 'torch._dynamo' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    size, loaded = done.stdout.split()
    assert (int(size) > 0, loaded) == (True, "False")


@pytest.mark.parametrize("edge", [8, 16, 32])
def test_memory_grows_as_the_section_does(edge):
    made = network("heatmap-unet")
    sizes = [peak_bytes(made, (16, edge, n), 96, torch.float32) for n in (edge, 3 * edge)]
    assert sizes[1] == 3 * sizes[0]


class _Pooled(nn.Module):
    """Looks at all of a volume for each score."""

    def forward(self, volume: Tensor) -> Tensor:
        return volume - volume.mean()


class _Branching(nn.Module):
    """Does what its input says."""

    def forward(self, volume: Tensor) -> Tensor:
        return volume if volume.sum() > 0 else -volume


@pytest.mark.parametrize(
    "made",
    [
        _Pooled(), _Branching(), nn.Sequential(nn.Conv3d(1, 1, 3, dilation=2)), nn.Sequential(nn.MaxPool3d(2)),
        nn.Sequential(nn.ConvTranspose3d(1, 1, 3, stride=2)), nn.Sequential(nn.InstanceNorm3d(1)),
        nn.Sequential(nn.Upsample(scale_factor=2, mode="trilinear", align_corners=True)),
    ],
)  # fmt: skip
def test_what_cannot_be_fed_in_slabs_is_said_to_be_so(made):
    with pytest.raises(NotStreamable):
        Streamed(made)


def test_a_kernel_that_differs_by_axis_is_not_turned():
    with pytest.raises(NotStreamable):
        planes_first(nn.Sequential(nn.Conv3d(1, 1, (3, 1, 1), padding=(1, 0, 0))), 1)
