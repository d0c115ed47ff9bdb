"""Dense inference: a network over a whole tomogram, tile by tile, each value as if computed alone."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from itertools import product
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tomopick.data.normalise import Scaling, scaling_of
from tomopick.errors import TomopickError
from tomopick.inference.augmented import Readable, TurnedTomogram, trained_orientations
from tomopick.inference.resample import at_spacing
from tomopick.inference.scoremap import ScoreMap
from tomopick.inference.tiling import Tile, tiles
from tomopick.models.fused import fused
from tomopick.models.modelfile import Model
from tomopick.models.registry import DenseNetwork, lead
from tomopick.symmetry import turned
from tomopick.tomogram import Tomogram

__all__ = ["Progress", "chosen_dtype", "chosen_stride", "dense_pass", "fast_dtype", "keep_freed_memory", "score_map"]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Triple = tuple[int, int, int]
Progress = Callable[[float], None]
Piece = tuple[tuple[slice, slice, slice], NDArray[np.float32]]
"""Where in a pass's grid, and the probabilities (classes, z, y, x) there."""

DEFAULT_STRIDE = 4  # voxels; a match distance of 30 A needs 4 or less at 10 A voxels
TILE_CELLS = 16  # cells along a tile's edge: 128 voxels and their halo
PADDED_TILE = 320  # voxels along a tile's edge where the network pads: large, for each is read with its context
SLAB = 9  # planes of scores computed at once, which bounds the memory of hidden layers: those of one Fourier block


def keep_freed_memory() -> None:
    """Tell glibc to keep freed memory in the process instead of giving each large tensor back to the system.

    Layers of 3D networks free and take hundreds of megabytes each time, and fresh pages cost more than the
    arithmetic. Does nothing where there is no glibc.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        m_trim_threshold, m_top_pad, m_mmap_max = -1, -2, -4
        libc.mallopt(m_mmap_max, 0)
        libc.mallopt(m_trim_threshold, -1)
        libc.mallopt(m_top_pad, 2**28)


def fast_dtype(device: str) -> str:
    """The number format that "auto" means on a device: "bf16" where its arithmetic is fast, else "fp16" or "fp32"."""
    if device != "cpu" and torch.cuda.is_available():
        return "bf16" if torch.cuda.is_bf16_supported() else "fp16"
    try:
        flags = Path("/proc/cpuinfo").read_text()
    except OSError:
        return "fp32"
    return "bf16" if "avx512_bf16" in flags or "amx_bf16" in flags else "fp32"


def chosen_dtype(dtype: str, device: str) -> str:
    """The number format, "auto" being the fastest on the device.

    Raises:
        TomopickError: there is no such format.
    """
    if dtype == "auto":
        return fast_dtype(device)
    if dtype not in DTYPES:
        raise TomopickError(f"unknown dtype '{dtype}'; choose {', '.join(DTYPES)} or auto")
    return dtype


def chosen_stride(network: DenseNetwork, stride: int | None) -> int:
    """The stride, None being 4, or the network's own where that is finer.

    Raises:
        TomopickError: the stride does not fit the network.
    """
    if stride is None:
        return min(DEFAULT_STRIDE, network.stride)
    if stride < 1 or network.stride % stride:
        raise TomopickError(f"stride {stride} does not divide the network's stride of {network.stride} voxels")
    return stride


@dataclass(frozen=True, eq=False)
class _Seen:
    """What a network looks at, and how.

    Attributes:
        network: what looks.
        tomogram: what it reads.
        scaling: of the densities.
        device: where it computes.
        dtype: "fp32", "bf16" or "fp16".
    """

    network: DenseNetwork
    tomogram: Readable
    scaling: Scaling
    device: torch.device
    dtype: str

    def read(self, start: Triple, stop: Triple) -> Tensor:
        """The scaled region ``start <= voxel < stop`` as a batch of one, on the device."""
        densities = self.scaling(self.tomogram.read(start, stop))
        return torch.from_numpy(densities)[None, None].to(self.device, memory_format=torch.channels_last_3d)

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the network runs in its number format."""
        return torch.autocast(self.device.type, dtype=DTYPES[self.dtype], enabled=self.dtype != "fp32")


def score_map(
    model: Model,
    tomogram: Tomogram,
    stride: int | None = None,
    *,
    augment: int = 1,
    device: str = "cpu",
    dtype: str = "fp32",
    progress: Progress | None = None,
) -> ScoreMap:
    """Class probabilities over the whole tomogram.

    Grid point i sits at voxel ``stride * i`` of the tomogram at the model's voxel spacing. A stride below the
    network's own is reached by passes that start at other voxels. Beyond its borders the tomogram is mirrored, or
    where the network pads there are zeros in its layers, as in training.

    Args:
        model: the loaded model.
        tomogram: any spacing; another one than the model's is resampled.
        stride: 1 or more, dividing the network's own stride (8, 4, 2 or 1 for CryoET3DCNN); None means 4, or the
            network's own where that is finer.
        augment: average over the tomogram in this many of the orientations that the model's training saw (test-time
            augmentation), the first being the tomogram as it is. Takes so many times as long, and no more memory.
        device: as PyTorch names it.
        dtype: "fp32", or "bf16", "fp16" or "auto" (the fastest) where small differences do not matter.
        progress: called with the share that is done, 0 to 1.

    Raises:
        TomopickError: the stride does not fit the network, there is no such dtype, or the training saw fewer
            orientations.
    """
    dtype = chosen_dtype(dtype, device)
    stride = chosen_stride(model.network, stride)
    ways = trained_orientations(model, augment)
    tomogram = at_spacing(tomogram, model.spec.spacing)
    scaling = scaling_of(tomogram, model.spec.normalisation)
    network = model.network.to(device).eval()
    if isinstance(network, torch.nn.Module):
        network = fused(network)
    z, y, x = (-(-n // stride) for n in tomogram.shape)
    last = (stride * (z - 1), stride * (y - 1), stride * (x - 1))
    array = np.zeros((len(model.spec.objects) + 1, z, y, x), np.float32)
    for done, way in enumerate(ways):

        def tell(share: float, done: int = done) -> None:
            if progress is not None:
                progress((done + share) / len(ways))

        seen = _Seen(network, TurnedTomogram(tomogram, last, way), scaling, torch.device(device), dtype)
        _add_scores(turned(array, way), seen, stride, tell)
    if len(ways) > 1:
        array /= len(ways)
    names = tuple(o.name for o in model.spec.objects)
    return ScoreMap(array, stride, (0.0, 0.0, 0.0), tomogram.spacing, names, tomogram.name)


def _add_scores(scores: NDArray[np.float32], seen: _Seen, stride: int, progress: Progress) -> None:
    """Add probabilities to an array (classes, z, y, x) of those of the voxels ``stride * i``, piece by piece."""
    step = seen.network.stride // stride
    counts = scores.shape[1:]
    shifts = [s for s in product(range(step), repeat=3) if all(a < n for a, n in zip(s, counts, strict=True))]
    for done, (sz, sy, sx) in enumerate(shifts):
        part = scores[:, sz::step, sy::step, sx::step]

        def tell(share: float, done: int = done) -> None:
            progress((done + share) / len(shifts))

        first, size = (sz * stride, sy * stride, sx * stride), (part.shape[1], part.shape[2], part.shape[3])
        for place, probabilities in _pieces(seen, first, size, tell):
            part[(slice(None), *place)] += probabilities


def dense_pass(
    network: DenseNetwork,
    tomogram: Readable,
    scaling: Scaling,
    first: Triple,
    counts: Triple,
    device: torch.device,
    dtype: str = "fp32",
    progress: Progress | None = None,
) -> NDArray[np.float32]:
    """Probabilities (classes, *counts) at the voxels ``first + network.stride * i``."""
    seen = _Seen(network, tomogram, scaling, device, dtype)
    found: NDArray[np.float32] | None = None
    for place, probabilities in _pieces(seen, first, counts, progress):
        if found is None:
            found = np.empty((len(probabilities), *counts), np.float32)
        found[(slice(None), *place)] = probabilities
    assert found is not None  # counts are at least 1
    return found


@torch.inference_mode()
def _pieces(seen: _Seen, first: Triple, counts: Triple, progress: Progress | None) -> Iterator[Piece]:
    """The probabilities of `dense_pass`, as they are computed; each place comes once."""
    network = seen.network
    if network.context:
        yield from _by_tile(seen, first, counts, progress)
        return
    with seen.autocast():
        cells = _all_cells(seen, first, counts, progress)
    for z in range(0, counts[0], SLAB):
        with seen.autocast():
            logits = network.classify(cells[:, :, z : z + SLAB + network.reach - 1])
        place = (slice(z, z + SLAB), slice(None), slice(None))
        yield place, torch.softmax(logits.float(), dim=1)[0].cpu().numpy()
        if progress is not None:
            progress(0.5 + 0.5 * min(1.0, (z + SLAB) / counts[0]))


def _by_tile(seen: _Seen, first: Triple, counts: Triple, progress: Progress | None) -> Iterator[Piece]:
    """`_pieces` of a network that pads: tiles with their context, but none beyond the borders of the pass.

    There the network pads, as it would if it had the whole in one tile, and as it does in training.
    """
    network = seen.network
    step = network.align // network.stride
    plan = list(tiles(counts, PADDED_TILE // network.stride, step))
    for done, tile in enumerate(plan):
        spans = [_span(network, a, b, n) for a, b, n in zip(tile.start, tile.stop, counts, strict=True)]
        start = [f + low for f, (low, _) in zip(first, spans, strict=True)]
        stop = [f + high for f, (_, high) in zip(first, spans, strict=True)]
        batch = seen.read((start[0], start[1], start[2]), (stop[0], stop[1], stop[2]))
        with seen.autocast():
            cells = network.embed(batch)
            inner = [a - low // network.stride for a, (low, _) in zip(tile.start, spans, strict=True)]
            z, y, x = (slice(i, i + b - a) for i, a, b in zip(inner, tile.start, tile.stop, strict=True))
            logits = network.classify(cells[:, :, z, y, x])
        yield tile.slices, torch.softmax(logits.float(), dim=1)[0].cpu().numpy()
        if progress is not None:
            progress((done + 1) / len(plan))


def _span(network: DenseNetwork, start: int, stop: int, count: int) -> tuple[int, int]:
    """First and last + 1 voxel, counted from the pass's first, that cells start to stop of count are computed from."""
    end = -(-count * network.stride // network.align) * network.align
    last = -(-stop * network.stride // network.align) * network.align
    return max(0, start * network.stride - network.context), min(end, last + network.context)


def _all_cells(seen: _Seen, first: Triple, counts: Triple, progress: Progress | None) -> Tensor:
    """The network's cells (1, F, *(counts + reach - 1)) that the scores of a pass need."""
    network = seen.network
    z, y, x = (n + network.reach - 1 for n in counts)
    origin = [f - lead(network) + network.halo for f in first]
    cells: Tensor | None = None
    plan = list(tiles((z, y, x), TILE_CELLS))
    for done, tile in enumerate(plan):
        part = network.embed(seen.read(*_region(network, tile, origin)))
        if cells is None:
            cells = part.new_empty((1, part.shape[1], z, y, x))
        cells[(..., *tile.slices)] = part
        if progress is not None:
            progress(0.5 * (done + 1) / len(plan))
    assert cells is not None  # counts are at least 1
    return cells


def _region(network: DenseNetwork, tile: Tile, origin: list[int]) -> tuple[Triple, Triple]:
    """First voxel, and last + 1, of a tile of cells with its halo."""
    z0, y0, x0 = (o + network.stride * a - network.halo for o, a in zip(origin, tile.start, strict=True))
    z1, y1, x1 = (o + network.stride * b + network.halo for o, b in zip(origin, tile.stop, strict=True))
    return (z0, y0, x0), (z1, y1, x1)
