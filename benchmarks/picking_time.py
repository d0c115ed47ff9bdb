"""Ratios of times: HeatmapUNet over a whole tomogram as tomopick does it, and as a sliding window does.

The tomogram is noise and the weights are random: neither changes how long it takes. All in one process, in turns, and
the ratios are of medians; the machine should do nothing else. Prints Markdown:

- tomopick: scores and picks of the whole tomogram, slab by slab;
- sliding window: MONAI's, the same weights in float32, windows of 128 voxels overlapping by a quarter, Gaussian;
- bare network: as many voxels through the network in tiles of 128 voxels that do not overlap and are never read;
- the rate of multiplications in the bare network and in tomopick, over that of a large matrix product.
"""

from __future__ import annotations

import argparse
import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from machine import Machine, peak_memory_gb
from measure import answer, markdown_table
from monai.inferers import sliding_window_inference
from torch.utils.flop_counter import FlopCounterMode

from tomopick.inference.engine import chosen_dtype
from tomopick.inference.picking import pick
from tomopick.models.modelfile import Model, ModelSpec
from tomopick.models.registry import build
from tomopick.objects import ParticleObject
from tomopick.recipe import Normalisation
from tomopick.tomogram import Tomogram

TILE, MATRIX = 128, 4096


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shape", type=int, nargs=3, default=(184, 630, 630), metavar=("Z", "Y", "X"),
                        help="voxels (%(default)s)")  # fmt: skip
    parser.add_argument("--size", default="small", help="of HeatmapUNet (%(default)s)")
    parser.add_argument("--repeats", type=int, default=5, help="times that each is timed (%(default)s)")
    parser.add_argument("--dtype", default="auto", help="tomopick's number format (%(default)s)")
    return parser.parse_args()


def random_model(size: str) -> Model:
    """HeatmapUNet of random weights for six objects."""
    torch.manual_seed(0)
    arguments = {"num_classes": 7, "size": size}
    objects = tuple(ParticleObject(name=f"object-{n}", radius=100, label=n) for n in range(1, 7))
    spec = ModelSpec(
        architecture="heatmap-unet", arguments=arguments, objects=objects, spacing=10.0, normalisation=Normalisation()
    )
    network = build("heatmap-unet", arguments)
    network.start_training()  # hardly anything is found, as in a tomogram
    return Model(network.eval(), spec)


def seconds(run: Callable[[], object]) -> float:
    """How long it takes."""
    start = time.perf_counter()
    run()
    return time.perf_counter() - start


@torch.inference_mode()
def window_scores(model: Model, volume: np.ndarray) -> torch.Tensor:
    """Probabilities of every class on the network's grid, as a user of MONAI would make them."""
    batch = torch.from_numpy(volume)[None, None]
    logits = sliding_window_inference(batch, (TILE,) * 3, 1, model.network, overlap=0.25, mode="gaussian")
    return torch.softmax(logits, dim=1)


@torch.inference_mode()
def bare_network(model: Model, voxels: int) -> None:
    """The network on about as many voxels, in whole tiles."""
    tile = torch.zeros(1, 1, TILE, TILE, TILE).to(memory_format=torch.channels_last_3d)
    for _ in range(max(1, round(voxels / TILE**3))):
        model.network(tile)


def main() -> None:
    """Time all of them in turns, and print the ratios."""
    args = parsed()
    model, shape = random_model(args.size), tuple(args.shape)
    volume = np.random.default_rng(0).normal(size=shape).astype(np.float32)
    voxels = volume.size
    left, right = torch.randn(2, MATRIX, MATRIX)
    runs: dict[str, Callable[[], object]] = {
        "tomopick": lambda: pick(model, Tomogram(volume, 10.0, "noise"), dtype=args.dtype),
        "sliding window": lambda: window_scores(model, volume),
        "bare network": lambda: bare_network(model, voxels),
        "matrix product": lambda: left @ right,
    }
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(args.repeats):
        for name, run in runs.items():
            times[name].append(seconds(run))
            print(f"{name}: {times[name][-1]:.2f} s", flush=True)
    median = {name: statistics.median(t) for name, t in times.items()}
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        model.network(torch.zeros(1, 1, 64, 64, 64))
    work = counter.get_total_flops() / 64**3 * voxels
    matrix = 2 * MATRIX**3 / median["matrix product"]
    rows = [
        [name, f"{median[name]:.2f}", f"{median[name] / median['tomopick']:.2f}", f"{work / median[name] / matrix:.2f}"]
        for name in ("tomopick", "sliding window", "bare network")
    ]
    lines = [
        f"# HeatmapUNet {args.size} over {' x '.join(map(str, shape))} voxels, {args.repeats} times each", "",
        *Machine().lines(), f"- tomopick in {chosen_dtype(args.dtype, 'cpu')}, the others in float32",
        f"- a float32 matrix product of {MATRIX}: {matrix / 1e9:.0f} GFLOP/s",
        f"- peak memory {peak_memory_gb():.2f} GB", "",
        *markdown_table(["way", "seconds", "over tomopick's", "network's work, over the matrix rate"], rows),
    ]  # fmt: skip
    print("\n".join(lines))


if __name__ == "__main__":
    answer(main)
