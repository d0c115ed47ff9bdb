"""One pass of a network over a tomogram: the scores of every voxel ``first + stride * i``, piece by piece.

A network that pads takes the tomogram in slabs, each layer keeping what it needs of the last ones, or where it cannot
(it runs elsewhere, as ONNX or OpenVINO) in tiles with their context. One that does not pad takes tiles with a halo, a
slab's at a time.
Either way a score is what the whole tomogram at once would give.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from tomopick.data.normalise import Scaling
from tomopick.inference.augmented import Readable
from tomopick.inference.tiling import Tile, tiles
from tomopick.inference.transfer import Transfer
from tomopick.models.registry import DenseNetwork, lead
from tomopick.models.streamed import NotStreamable, Streamed, peak_bytes, planes_first

__all__ = [
    "DTYPES",
    "Pass",
    "Piece",
    "Progress",
    "Triple",
    "exact",
    "fits",
    "pieces",
    "slab_axis",
    "streams",
    "tiled_voxels",
]

DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Triple = tuple[int, int, int]
Progress = Callable[[float], None]
Piece = tuple[tuple[slice, slice, slice], NDArray[np.float32]]
"""Where in a pass's grid, and the probabilities (classes, z, y, x) there."""

TILE = 128  # voxels along a tile's edge, beside its halo
PADDED_TILE = 320  # voxels along a tile's edge where the network pads: large, for each is read with its context
POSITIONS = 2**17  # scores computed at once, which bounds the memory of hidden layers
CELLS_SHARE = 0.7  # of the time that windows take, about
THICKEST = {"fp32": 24, "bf16": 32, "fp16": 32}  # voxels; thicker slabs are no faster
WORKSPACE = 1.8  # what memory tensors take, holes and what convolutions need for themselves included


def exact(device: torch.device, dtype: str) -> AbstractContextManager[object]:
    """The context in which a GPU does not round the factors of float32 products to 10 bits (TF32), as it may.

    It holds for all threads.
    """
    if device.type != "cuda" or dtype != "fp32":
        return nullcontext()
    return torch.backends.cudnn.flags(enabled=True, allow_tf32=False)


@dataclass(frozen=True, eq=False)
class Pass:
    """A network, what it looks at, and how.

    Attributes:
        network: what looks.
        tomogram: what it reads.
        scaling: of the densities.
        device: where it computes.
        dtype: "fp32", "bf16" or "fp16".
        room: bytes that it may take, as far as it can keep to that.
        first: voxel (zyx) of the first score.
        counts: scores along each axis, a network's stride apart.
    """

    network: DenseNetwork
    tomogram: Readable
    scaling: Scaling
    device: torch.device
    dtype: str
    room: int
    first: Triple
    counts: Triple

    def read(self, start: Triple, stop: Triple) -> NDArray[np.float32]:
        """The scaled region ``start <= voxel < stop``."""
        return self.scaling(self.tomogram.read(start, stop))

    @cached_property
    def transfer(self) -> Transfer:
        """What brings densities to the device, and scores back."""
        return Transfer(self.device)

    def autocast(self) -> AbstractContextManager[object]:
        """The context in which the network runs in its number format."""
        return torch.autocast(self.device.type, dtype=DTYPES[self.dtype], enabled=self.dtype != "fp32")

    @cached_property
    def slabs(self) -> _Slabs | None:
        """How slabs go through the network, or None where it cannot be fed in slabs."""
        axis = slab_axis(self.counts)
        network = _axis_first(self.network, axis)
        return None if network is None else _Slabs(network, axis, _thickness(self, network, axis, _voxels(self)))

    @property
    def plan(self) -> str:
        """What pieces the network takes, in words."""
        if not self.network.context:
            return f"tiles of up to {TILE} voxels with {self.network.halo} around"
        if self.slabs is None:
            return f"tiles of up to {PADDED_TILE} voxels with {self.network.context} around"
        return f"slabs of {max(self.slabs.room, self.network.align)} voxels along {'zyx'[self.slabs.axis]}"


@dataclass(frozen=True, eq=False)
class _Slabs:
    """A copy of a network that takes slabs along an axis first, and how thick slabs there is room for; 0: none."""

    network: nn.Module
    axis: int
    room: int


def streams(network: DenseNetwork) -> bool:
    """Whether the network's scores come slab by slab, in order."""
    return not network.context or _axis_first(network, 0) is not None


def _axis_first(network: DenseNetwork, axis: int) -> nn.Module | None:
    """A copy that takes slabs along this axis, or None where the network cannot be fed in slabs."""
    if not network.context or not isinstance(network, nn.Module):
        return None
    try:
        turned = planes_first(network, axis)
        Streamed(turned)
    except NotStreamable:
        return None
    return turned


@torch.inference_mode()
def pieces(one: Pass, progress: Progress | None = None) -> Iterator[Piece]:
    """The probabilities, as they are computed; each place comes once.

    Where the network `streams`, pieces are whole slabs, in order along `slab_axis`.
    """
    if not one.network.context:
        yield from _by_halo(one, progress)
    elif one.slabs is not None:
        yield from _by_slab(one, one.slabs, progress)
    else:
        yield from _by_tile(one, progress)


def slab_axis(counts: Triple) -> int:
    """The axis along which slabs follow each other: the longest, as they are small then; of equal ones, y before x."""
    return max((1, 2, 0), key=lambda axis: counts[axis])


def _by_slab(one: Pass, slabs: _Slabs, progress: Progress | None) -> Iterator[Piece]:
    """Slabs of the whole pass along its longest axis, which this copy of the network takes first."""
    axis, voxels = slabs.axis, _voxels(one)
    streamed = Streamed(slabs.network.to(DTYPES[one.dtype]))
    thick = max(slabs.room, one.network.align)
    done = 0
    computed: Callable[[], Piece] | None = None
    for stop, planes in _ahead(one, axis, voxels, thick):
        with exact(one.device, one.dtype):
            logits = streamed.push(planes, stop == voxels[axis])
        if computed is not None:  # a GPU computes these planes meanwhile
            yield computed()
        computed = None if logits is None else _on_its_way(one, logits, axis, done)
        done += 0 if logits is None else logits.shape[2]
        if progress is not None:
            progress(stop / voxels[axis])
    if computed is not None:
        yield computed()


def _on_its_way(one: Pass, logits: Tensor, axis: int, start: int) -> Callable[[], Piece]:
    """What waits for the probabilities of logits, this axis of theirs first and from there on, and places them."""
    counts = list(one.counts)
    counts[0], counts[axis] = counts[axis], counts[0]
    logits = logits[0, :, : counts[0] - start, : counts[1], : counts[2]]
    back = one.transfer.back(torch.softmax(logits.float(), dim=0))
    place = [slice(None)] * 3
    place[axis] = slice(start, start + logits.shape[1])

    def piece() -> Piece:
        return (place[0], place[1], place[2]), back().swapaxes(1, 1 + axis)

    return piece


def _ahead(one: Pass, axis: int, voxels: list[int], thick: int) -> Iterator[tuple[int, Tensor]]:
    """Where slabs end, and these, scaled, their axis first; each is brought while the one before is computed."""

    def slab(start: int) -> Tensor:
        low, high = list(one.first), [f + n for f, n in zip(one.first, voxels, strict=True)]
        low[axis], high[axis] = low[axis] + start, min(low[axis] + start + thick, high[axis])
        densities = one.read((low[0], low[1], low[2]), (high[0], high[1], high[2]))
        return one.transfer.there(np.ascontiguousarray(densities.swapaxes(0, axis)))

    with ThreadPoolExecutor(1, thread_name_prefix="read") as reader:
        coming = reader.submit(slab, 0)
        for stop in range(thick, voxels[axis] + thick, thick):
            planes = coming.result()
            if stop < voxels[axis]:
                coming = reader.submit(slab, stop)
            yield min(stop, voxels[axis]), planes


def _thickness(one: Pass, network: nn.Module, axis: int, voxels: list[int]) -> int:
    """The most planes, a multiple of the network's align, that there is room for; perhaps none."""
    align = one.network.align
    beside = [n for other, n in enumerate(voxels) if other != axis]
    area, dtype = beside[0] * beside[1], DTYPES[one.dtype]
    for thick in range(min(THICKEST[one.dtype], voxels[axis]), 0, -align):
        length = -(-min(voxels[axis], 4 * one.network.context) // thick) * thick
        held = peak_bytes(network, (thick, align, align), length, dtype) * area / align**2
        read = 3 * 4 * thick * area  # a slab, the next one, and what either is made of
        if WORKSPACE * held + read <= one.room:
            return thick
    return 0


def fits(one: Pass) -> bool:
    """Whether there is room for slabs of the whole section, thin ones at least; yes for a network without context."""
    return one.slabs is None or one.slabs.room > 0


def _voxels(one: Pass) -> list[int]:
    """Voxels along each axis that a pass reads, whole steps of what its network aligns to."""
    return [-(-n * one.network.stride // one.network.align) * one.network.align for n in one.counts]


def _by_tile(one: Pass, progress: Progress | None) -> Iterator[Piece]:
    """Tiles with their context, but none beyond the borders of the pass, where the network pads as in training."""
    network = one.network
    plan = _padded_tiles(network, one.counts)
    for done, tile in enumerate(plan):
        spans = [_span(network, a, b, n) for a, b, n in zip(tile.start, tile.stop, one.counts, strict=True)]
        start = [f + low for f, (low, _) in zip(one.first, spans, strict=True)]
        stop = [f + high for f, (_, high) in zip(one.first, spans, strict=True)]
        batch = one.transfer.there(one.read((start[0], start[1], start[2]), (stop[0], stop[1], stop[2])))
        with one.autocast(), exact(one.device, one.dtype):
            cells = network.embed(batch)
            inner = [a - low // network.stride for a, (low, _) in zip(tile.start, spans, strict=True)]
            z, y, x = (slice(i, i + b - a) for i, a, b in zip(inner, tile.start, tile.stop, strict=True))
            logits = network.classify(cells[:, :, z, y, x])
        yield tile.slices, torch.softmax(logits.float(), dim=1)[0].cpu().numpy()
        if progress is not None:
            progress((done + 1) / len(plan))


def tiled_voxels(network: DenseNetwork, counts: Triple) -> int:
    """Voxels that a network that pads is given for so many scores, where it takes tiles: some more than once."""
    total = 0
    for tile in _padded_tiles(network, counts):
        spans = (_span(network, a, b, n) for a, b, n in zip(tile.start, tile.stop, counts, strict=True))
        total += math.prod(high - low for low, high in spans)
    return total


def _padded_tiles(network: DenseNetwork, counts: Triple) -> list[Tile]:
    return list(tiles(counts, PADDED_TILE // network.stride, network.align // network.stride))


def _span(network: DenseNetwork, start: int, stop: int, count: int) -> tuple[int, int]:
    """First and last + 1 voxel, counted from the pass's first, that cells start to stop of count are computed from."""
    end = -(-count * network.stride // network.align) * network.align
    last = -(-stop * network.stride // network.align) * network.align
    return max(0, start * network.stride - network.context), min(end, last + network.context)


def _by_halo(one: Pass, progress: Progress | None) -> Iterator[Piece]:
    """Slabs along the pass's longest axis, of whose cells the next slab gets those that its scores need, too."""
    network, axis = one.network, slab_axis(one.counts)
    length = one.counts[axis]
    parts = min(length, -(-math.prod(one.counts) // POSITIONS))
    held: Tensor | None = None
    for start, stop in pairwise(round(i * length / parts) for i in range(parts + 1)):

        def tell(share: float, start: int = start, stop: int = stop) -> None:
            if progress is not None:
                progress((start + share * (stop - start)) / length)

        with one.autocast(), exact(one.device, one.dtype):
            fresh = _cells(one, axis, (start + (0 if held is None else network.reach - 1), stop), tell)
            cells = fresh if held is None else torch.cat([held, fresh], dim=2 + axis)
            logits = network.classify(cells)
        held = cells.narrow(2 + axis, stop - start, network.reach - 1).clone()
        place = [slice(None)] * 3
        place[axis] = slice(start, stop)
        yield (place[0], place[1], place[2]), torch.softmax(logits.float(), dim=1)[0].cpu().numpy()
        tell(1.0)


def _cells(one: Pass, axis: int, span: tuple[int, int], progress: Progress) -> Tensor:
    """The network's cells (1, F, ...) of a span along an axis, and along the others all that the pass needs."""
    network = one.network
    counts = [n + network.reach - 1 for n in one.counts]
    counts[axis] = span[1] + network.reach - 1 - span[0]
    origin = [f - lead(network) + network.halo for f in one.first]
    origin[axis] += network.stride * span[0]
    cells: Tensor | None = None
    plan = list(tiles((counts[0], counts[1], counts[2]), max(1, TILE // network.stride)))
    for done, tile in enumerate(plan):
        part = network.embed(one.transfer.there(one.read(*_region(network, tile, origin))))
        if cells is None:
            cells = part.new_empty((1, part.shape[1], *counts)).to(memory_format=torch.channels_last_3d)
        cells[(..., *tile.slices)] = part
        progress(CELLS_SHARE * (done + 1) / len(plan))
    assert cells is not None  # there is at least one
    return cells


def _region(network: DenseNetwork, tile: Tile, origin: list[int]) -> tuple[Triple, Triple]:
    """First voxel, and last + 1, of a tile of cells with its halo."""
    z0, y0, x0 = (o + network.stride * a - network.halo for o, a in zip(origin, tile.start, strict=True))
    z1, y1, x1 = (o + network.stride * b + network.halo for o, b in zip(origin, tile.stop, strict=True))
    return (z0, y0, x0), (z1, y1, x1)
