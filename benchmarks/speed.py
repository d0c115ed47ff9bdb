"""How fast tomopick picks, as ratios: what `make bench` runs.

All is noise and random weights, which change nothing of the time. Each part times its ways in turns in one process, or
whole processes in turns, and ratios are of medians; the machine should do nothing else. Parts:

- windows: CryoET3DCNN over a whole tomogram at strides 8 and 4, and as a loop over windows, of which 64 are timed and
  all that fit into the tomogram are counted; and how far scores are from those of lone windows in their context;
- heatmap: HeatmapUNet with peaks, and MONAI's sliding window (windows of 128 voxels that overlap by a quarter,
  Gaussian, float32), the bare network in lone tiles, and products of matrices of 4096;
- process: all of `tomopick pick`, from an MRC to a STAR file, over the bare network's time, of which 9
  tiles are timed and all voxels counted, and the process's memory;
- large: the same with 14.5 times as many voxels, once;
- workers: two processes of one thread each on a tomogram each, and one process of two threads on both.

Where there is a CUDA device the first three parts run there as well. Prints Markdown, and writes DIR/speed.json,
DIR/speed.md, DIR/speed.png (each figure over its aim) and DIR/roofs.png (rates under those of the machine).
"""

from __future__ import annotations

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path

import mrcfile
import numpy as np
import torch
from machine import Machine
from measure import answer, make_folder, markdown_table
from monai.inferers import sliding_window_inference
from speed_plot import Roofs, plot_ratios, plot_roofs
from torch.utils.flop_counter import FlopCounterMode

from tomopick.atomic import replacing
from tomopick.data.normalise import scaling_of
from tomopick.errors import TomopickError
from tomopick.inference.engine import chosen_dtype, keep_freed_memory, score_map
from tomopick.inference.passes import DTYPES
from tomopick.inference.picking import pick
from tomopick.inference.scoremap import ScoreMap
from tomopick.models.modelfile import Model, ModelSpec, save_model
from tomopick.models.registry import build, field, lead
from tomopick.objects import ParticleObject
from tomopick.recipe import Normalisation
from tomopick.tomogram import Tomogram

SPACING, TILE, TILES, MATRIX, WINDOWS, BATCH = 10.0, 128, 9, 4096, 64, 8
LARGE = (512, 1440, 1440)
PARTS = ("windows", "heatmap", "process", "large", "workers")


@dataclass(frozen=True)
class Row:
    """One figure: what it is, on which device, its value, and the aim, which it should reach or stay below."""

    what: str
    device: str
    value: float
    unit: str
    aim: float
    below: bool = False
    note: str = ""

    def cells(self) -> list[str]:
        """As a line of a table."""
        bound = "at most" if self.below else "at least"
        good = self.value <= self.aim if self.below else self.value >= self.aim
        number = f"{self.value:.3g}{self.unit}"
        return [self.what, self.device, number, f"{bound} {self.aim:g}{self.unit}", "yes" if good else "no", self.note]


def parsed() -> argparse.Namespace:
    """The arguments of the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder for all results")
    parser.add_argument("--shape", type=int, nargs=3, default=(184, 630, 630), metavar=("Z", "Y", "X"),
                        help="voxels (%(default)s)")  # fmt: skip
    parser.add_argument("--large", type=int, nargs=3, default=LARGE, metavar=("Z", "Y", "X"),
                        help="of the large one (%(default)s)")  # fmt: skip
    parser.add_argument("--size", default="small", help="of HeatmapUNet (%(default)s)")
    parser.add_argument(
        "--repeats",
        type=int,
        default=5,
        help="times of most; sliding window 3, workers 2, what takes minutes 1 (%(default)s)",
    )
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS, metavar="PART", help="(%(default)s)")
    there = ("cpu", "cuda") if torch.cuda.is_available() else ("cpu",)
    parser.add_argument("--devices", nargs="+", choices=there, default=there, metavar="DEVICE", help="(%(default)s)")
    return parser.parse_args()


def random_model(name: str, **arguments: object) -> Model:
    """A network of random weights for six objects, which finds hardly anything, as in a tomogram."""
    torch.manual_seed(0)
    built = {"num_classes": 7, **arguments}
    objects = tuple(ParticleObject(name=f"object-{n}", radius=100, label=n) for n in range(1, 7))
    spec = ModelSpec(
        architecture=name, arguments=built, objects=objects, spacing=SPACING, normalisation=Normalisation()
    )
    network = build(name, built)
    network.start_training()
    return Model(network.eval(), spec)


def seconds(run: Callable[[], object], device: str) -> float:
    """How long it takes, until the device has done it."""
    start = time.perf_counter()
    run()
    if device == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


def medians(
    runs: dict[str, Callable[[], object]], repeats: int, device: str, fewer: Mapping[str, int] | None = None
) -> dict[str, float]:
    """Median seconds of each, taken in turns; those named in ``fewer`` at most so many times."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    if device == "cuda":  # choice of kernels, and libraries loaded
        for run in runs.values():
            run()
    for turn in range(repeats):
        for name in (name for name in runs if turn < (fewer or {}).get(name, repeats)):
            times[name].append(seconds(runs[name], device))
            print(f"{device}, {name}: {times[name][-1]:.3g} s", file=sys.stderr, flush=True)
    return {name: statistics.median(t) for name, t in times.items()}


def products(dtype: torch.dtype, device: str) -> Callable[[], object]:
    """A product of two large matrices."""
    left, right = torch.randn(2, MATRIX, MATRIX, dtype=dtype, device=device)
    return lambda: left @ right


@torch.inference_mode()
def window_loop(model: Model, device: str) -> None:
    """Some windows through the network in batches, as a loop over a tomogram takes them."""
    for _ in range(WINDOWS // BATCH):
        torch.softmax(model.network(torch.zeros(BATCH, 1, 64, 64, 64, device=device)), dim=1).cpu()


@torch.inference_mode()
def farthest(model: Model, tomogram: Tomogram, scores: np.ndarray, stride: int) -> float:
    """The largest difference of scores from those of lone windows in their context, at some places."""
    network, rng = model.network, np.random.default_rng(0)
    scaling, edge, before = scaling_of(tomogram, model.spec.normalisation), field(network), lead(network)
    most = 0.0
    for _ in range(10):
        z, y, x = (int(rng.integers(n)) for n in scores.shape[1:])
        start = (stride * z - before, stride * y - before, stride * x - before)
        crop = scaling(tomogram.read(start, (start[0] + edge, start[1] + edge, start[2] + edge)))
        alone = torch.softmax(network.classify(network.embed(torch.from_numpy(crop)[None, None])), dim=1)
        most = max(most, float(np.abs(alone[0, :, 0, 0, 0].numpy() - scores[:, z, y, x]).max()))
    return most


def window_rows(args: argparse.Namespace, tomogram: Tomogram, device: str) -> Iterator[Row]:
    """CryoET3DCNN's."""
    model = random_model("cryoet3dcnn")
    with torch.no_grad():  # scores that differ from place to place, or their exactness would say nothing
        model.network.head.weight.mul_(1000)
    model = replace(model, network=model.network.to(device))
    dtype = chosen_dtype("auto", device)

    maps: dict[int, ScoreMap] = {}

    def whole(stride: int) -> Callable[[], object]:
        return lambda: maps.update({stride: score_map(model, tomogram, stride, device=device, dtype=dtype)})

    took = medians({"window loop": lambda: window_loop(model, device)}, args.repeats, device)
    took |= medians({"stride 8": whole(8), "stride 4": whole(4)}, 1, device)  # minutes
    for stride, aim in ((8, 120.0), (4, 150.0)):
        fit = math.prod((n - 64) // stride + 1 for n in tomogram.shape)
        ratio = took["window loop"] / WINDOWS * fit / took[f"stride {stride}"]
        note = (
            f"{took[f'stride {stride}']:.3g} s in {dtype}; loop {1000 * took['window loop'] / WINDOWS:.3g} ms a window"
        )
        yield Row(f"CryoET3DCNN, stride {stride}, over the window loop", device, ratio, " x", aim, note=note)
    exact = maps[8] if dtype == "fp32" else score_map(model, tomogram, 8, device=device)
    apart = farthest(replace(model, network=model.network.cpu()), tomogram, exact.array, 8)
    note = f"deviation of the scores over the tomogram {exact.array.std(axis=(1, 2, 3)).max():.2g}"
    yield Row("CryoET3DCNN, scores from lone windows in context, fp32", device, apart, "", 1e-3, below=True, note=note)


@torch.inference_mode()
def window_scores(model: Model, volume: np.ndarray, device: str) -> torch.Tensor:
    """Probabilities of every class on the network's grid, as a user of MONAI would make them."""
    batch = torch.from_numpy(volume)[None, None].to(device)
    logits = sliding_window_inference(batch, (TILE,) * 3, 1, model.network, overlap=0.25, mode="gaussian")
    return torch.softmax(logits, dim=1).cpu()


@torch.inference_mode()
def bare_network(model: Model, device: str) -> None:
    """The network on some whole tiles, as a loop over a tomogram takes them."""
    tile = torch.zeros(1, 1, TILE, TILE, TILE, device=device).to(memory_format=torch.channels_last_3d)
    for _ in range(TILES):
        model.network(tile)


def work_of(model: Model, voxels: int) -> tuple[float, float]:
    """Operations of the network on so many voxels, and the float32 values that its layers read and write, in bytes."""
    moved = []

    def note(_: torch.nn.Module, given: tuple[torch.Tensor, ...], made: torch.Tensor) -> None:
        moved.append(4 * (given[0].numel() + made.numel()))

    network = model.network.cpu()
    hooks = [layer.register_forward_hook(note) for layer in network.modules() if not list(layer.children())]
    with FlopCounterMode(display=False) as counter, torch.inference_mode():
        network(torch.zeros(1, 1, 64, 64, 64))
    for hook in hooks:
        hook.remove()
    share = voxels / 64**3
    return counter.get_total_flops() * share, sum(moved) * share


def copied(device: str) -> tuple[Callable[[], object], int]:
    """A copy that no cache holds, and how many bytes it reads and writes."""
    source, target = torch.zeros(2, 2**26, device=device)
    return lambda: target.copy_(source), 2 * 4 * 2**26


def heatmap_rows(args: argparse.Namespace, tomogram: Tomogram, device: str, roofs: list[Roofs]) -> Iterator[Row]:
    """HeatmapUNet's; adds what the device can to the roofs."""
    model, volume = random_model("heatmap-unet", size=args.size), tomogram[:, :, :]
    work, moved = work_of(model, volume.size)
    copy, copied_bytes = copied(device)
    model = replace(model, network=model.network.to(device))
    dtype = chosen_dtype("auto", device)
    took = medians(
        {
            "tomopick": lambda: pick(model, tomogram, device=device),
            "sliding window": lambda: window_scores(model, volume, device),
            "bare network": lambda: bare_network(model, device),
            "product": products(DTYPES[dtype], device),
            "copy": copy,
        },
        args.repeats, device, fewer={"sliding window": 3},
    )  # fmt: skip
    rate = 2 * MATRIX**3 / took["product"]
    took["bare network"] *= volume.size / (TILES * TILE**3)
    done = {name: (work / moved, work / took[name]) for name in ("tomopick", "bare network", "sliding window")}
    roofs.append(Roofs(device, rate, copied_bytes / took["copy"], done))
    name = f"HeatmapUNet {args.size}"
    note = f"{took['tomopick']:.3g} s in {dtype}, sliding window {took['sliding window']:.3g} s"
    yield Row(
        f"{name} over MONAI's sliding window", device, took["sliding window"] / took["tomopick"], " x", 6, note=note
    )
    note = f"{work / took['tomopick'] / 1e9:.0f} of {rate / 1e9:.0f} GFLOP/s ({dtype})"
    yield Row(f"{name}, share of the matrix rate", device, work / took["tomopick"] / rate, "", 0.5, note=note)


def write_noise(path: Path, shape: tuple[int, int, int]) -> Path:
    """An MRC of noise, written plane by plane."""
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(shape[1:], dtype=np.float32)
    with mrcfile.new_mmap(path, shape, mrc_mode=2, overwrite=True) as file:
        for plane in file.data:
            plane[:] = np.roll(noise, rng.integers(noise.size))
        file.voxel_size = SPACING
    return path


# a process between counts its own small memory, where a child of this one would be counted with what this one holds
MEMORY = """
import resource, subprocess, sys
done = subprocess.run(sys.argv[1:], stdout=subprocess.DEVNULL)
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(done.returncode)
"""


def picked(
    model: Path, inputs: list[Path], out: Path, device: str, threads: int | None = None
) -> subprocess.Popen[str]:
    """A process of `tomopick pick`, begun."""
    words = ["pick", str(model), *map(str, inputs), "--out", str(out), "--device", device, "--overwrite"]
    wishes = {} if threads is None else {"OMP_NUM_THREADS": str(threads)}
    command = [sys.executable, "-c", MEMORY, sys.executable, "-m", "tomopick", *words]
    return subprocess.Popen(command, env=os.environ | wishes, stdout=subprocess.PIPE, text=True)


def finished(process: subprocess.Popen[str]) -> float:
    """The most memory, in GB, that a process held; waits for it."""
    told, _ = process.communicate()
    if process.returncode:
        raise TomopickError("tomopick pick failed; see above")
    return int(told) * 1024 / 1e9


def process_rows(args: argparse.Namespace, folder: Path, device: str) -> Iterator[Row]:
    """Those of whole processes."""
    model = random_model("heatmap-unet", size=args.size)
    path = folder / "model.safetensors"
    save_model(path, model)
    tomogram = write_noise(folder / "one.mrc", tuple(args.shape))
    model = replace(model, network=model.network.to(device))
    voxels, memory = math.prod(args.shape), []

    def whole() -> None:
        memory.append(finished(picked(path, [tomogram], folder / "one.star", device)))

    took = medians({"whole process": whole, "bare network": lambda: bare_network(model, device)}, args.repeats, device)
    took["bare network"] *= voxels / (TILES * TILE**3)
    one, most = took["whole process"], statistics.median(memory)
    yield Row("tomopick pick, over the bare network", device, one / took["bare network"], " x", 1.5, below=True,
              note=f"{one:.3g} s; the network in float32 {took['bare network']:.3g} s")  # fmt: skip
    yield Row("its memory", device, most, " GB", 1.5, below=True)
    if "large" not in args.parts or device != "cpu":
        return
    big = write_noise(folder / "large.mrc", tuple(args.large))
    start = time.perf_counter()
    held = finished(picked(path, [big], folder / "large.star", device))
    ratio = (time.perf_counter() - start) / one / (math.prod(args.large) / voxels)
    big.unlink()
    size = " x ".join(map(str, args.large))
    yield Row(f"time a voxel at {size}", device, ratio, " x", 1.1, below=True, note="timed once")
    yield Row("its memory", device, held / most, " x", 1.15, below=True, note=f"{held:.2f} GB")


def worker_rows(args: argparse.Namespace, folder: Path) -> Iterator[Row]:
    """Two processes beside each other, and one that has all threads."""
    path = folder / "model.safetensors"
    save_model(path, random_model("heatmap-unet", size=args.size))
    files = [write_noise(folder / f"{name}.mrc", tuple(args.shape)) for name in ("first", "second")]

    def beside() -> None:
        for process in [picked(path, [file], file.with_suffix(".star"), "cpu", 1) for file in files]:
            finished(process)

    def after() -> None:
        finished(picked(path, files, folder / "both.star", "cpu", 2))

    took = medians({"two workers": beside, "one worker": after}, min(2, args.repeats), "cpu")
    two, one = took["two workers"], took["one worker"]
    note = f"{two:.3g} and {one:.3g} s for two tomograms"
    yield Row("two workers of one thread, over one of two", "cpu", two / one, " x", 1.0, below=True, note=note)


def measured(args: argparse.Namespace, devices: list[str], roofs: list[Roofs]) -> Iterator[Row]:
    """All figures, as they come; what the devices can goes to the roofs."""
    volume = np.random.default_rng(0).standard_normal(tuple(args.shape), dtype=np.float32)
    tomogram = Tomogram(volume, SPACING, "noise")
    for device in devices:
        if "heatmap" in args.parts:
            yield from heatmap_rows(args, tomogram, device, roofs)
        if "windows" in args.parts:
            yield from window_rows(args, tomogram, device)
        with tempfile.TemporaryDirectory(dir=args.out) as folder:
            if "process" in args.parts:
                yield from process_rows(args, Path(folder), device)
            if "workers" in args.parts and device == "cpu":
                yield from worker_rows(args, Path(folder))


def main() -> None:
    """Measure, print and plot."""
    args = parsed()
    if min(args.shape) < 64:
        raise TomopickError("--shape must be at least 64 voxels along each axis, as a window is")
    make_folder(args.out)
    keep_freed_memory()
    started, rows, roofs = time.perf_counter(), [], []
    for row in measured(args, args.devices, roofs):
        rows.append(row)
        print(" | ".join(row.cells()), flush=True)
    minutes = (time.perf_counter() - started) / 60
    columns = ["what", "device", "measured", "aim", "reached", ""]
    gpu = torch.cuda.get_device_name() if "cuda" in args.devices else "none, so nothing of this is about CUDA"
    lines = [
        f"# Speed, {' x '.join(map(str, args.shape))} voxels where no size is told", "", *Machine().lines(),
        f"- CUDA device: {gpu}",
        f"- {args.repeats} times each (sliding window at most 3, workers 2, CryoET3DCNN and the large tomogram 1)",
        f"- {minutes:.1f} minutes in all", "",
        *markdown_table(columns, [row.cells() for row in rows]),
    ]  # fmt: skip
    facts = {
        "machine": asdict(Machine()), "cuda": gpu, "rows": [asdict(row) for row in rows],
        "roofs": [asdict(one) for one in roofs],
    }  # fmt: skip
    for name, text in (("speed.md", "\n".join(lines) + "\n"), ("speed.json", json.dumps(facts, indent=2) + "\n")):
        with replacing(args.out / name) as temporary:
            temporary.write_text(text)
    plot_ratios(rows, args.out / "speed.png")
    if roofs:
        plot_roofs(roofs, args.out / "roofs.png")
    print("\n".join(["", *lines]))


if __name__ == "__main__":
    answer(main)
