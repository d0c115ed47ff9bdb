"""Dense inference: a network over a whole tomogram, each value as if computed alone."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator, Sequence
from copy import deepcopy
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise, product
from typing import Any, Self

import numpy as np
import torch
from numpy.typing import NDArray

from tomopick.data.normalise import Scaling, scaling_of
from tomopick.errors import TomopickError
from tomopick.inference.abreast import abreast
from tomopick.inference.augmented import Readable, TurnedTomogram, trained_orientations
from tomopick.inference.backends import model_in
from tomopick.inference.device import chosen_dtype
from tomopick.inference.passes import Pass, Progress, Triple, exact, fits, pieces, slab_axis, streams
from tomopick.inference.peaks import margin_of
from tomopick.inference.resample import at_spacing
from tomopick.inference.scoremap import Part, ScoreMap
from tomopick.models.fused import fused
from tomopick.models.modelfile import Model
from tomopick.models.registry import DenseNetwork, Refinable
from tomopick.symmetry import Orientation, turned
from tomopick.tomogram import Tomogram

__all__ = [
    "MEMORY",
    "chosen_dtype",
    "chosen_stride",
    "dense_pass",
    "keep_freed_memory",
    "score_map",
    "score_parts",
]

DEFAULT_STRIDE = 4  # voxels; a match distance of 30 A needs 4 or less at 10 A voxels
MEMORY = 1.3  # GB of the whole process, where whole slabs go through the network
OFTEN = 4  # slabs of strips after which freed memory is given back, whose holes grow; lone strips end before that
LIBRARIES = 0.65  # GB of it that all else takes; a constant, so that the same options cut the same slabs everywhere


def keep_freed_memory(below: int | None = None) -> None:
    """Tell glibc to keep freed memory in the process instead of giving each large tensor back to the system.

    Layers of 3D networks free and take hundreds of megabytes each time, and fresh pages cost more than the
    arithmetic. But what is kept has holes, which in time take more than the tensors. Does nothing where there is no
    glibc.

    Args:
        below: keep blocks of fewer bytes only, which bounds the holes; None: all.
    """
    if sys.platform != "linux":
        return
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        m_trim_threshold, m_top_pad, m_mmap_threshold, m_mmap_max = -1, -2, -3, -4
        libc.mallopt(m_mmap_max, 0 if below is None else 2**16)
        libc.mallopt(m_mmap_threshold, below or 2**25)
        libc.mallopt(m_trim_threshold, -1)
        libc.mallopt(m_top_pad, 2**26)


def give_back_freed_memory() -> None:
    """Tell glibc to give back to the system what is freed and holds whole pages. Does nothing where there is none."""
    if sys.platform == "linux" and hasattr(libc := ctypes.CDLL(None), "malloc_trim"):
        libc.malloc_trim(0)


def chosen_stride(network: DenseNetwork, stride: int | None) -> int:
    """The stride, None being 4, or the network's own where that is finer.

    Raises:
        TomopickError: the stride does not fit the network.
    """
    if stride is None:
        return min(DEFAULT_STRIDE, network.stride)
    if stride < 1 or network.stride % stride:
        can = ", ".join(str(n) for n in range(network.stride, 0, -1) if network.stride % n == 0)
        raise TomopickError(f"stride {stride} does not fit this network; choose {can}")
    return stride


def score_map(
    model: Model,
    tomogram: Tomogram,
    stride: int | None = None,
    *,
    augment: int = 1,
    device: str = "cpu",
    dtype: str = "fp32",
    backend: str = "torch",
    memory: float = MEMORY,
    progress: Progress | None = None,
) -> ScoreMap:
    """Class probabilities over the whole tomogram.

    Grid point i sits at voxel ``stride * i`` of the tomogram at the model's voxel spacing. A stride below the
    network's own is the network's to give, or reached by passes that start at other voxels. Beyond its borders the
    tomogram is mirrored, or where the network pads there are zeros in its layers, as in training.

    Args:
        model: the loaded model.
        tomogram: any spacing; another one than the model's is resampled.
        stride: 1 or more, dividing the network's own stride (8, 4, 2 or 1 for CryoET3DCNN); None means 4, or the
            network's own where that is finer.
        augment: average over the tomogram in this many of the orientations that the model's training saw (test-time
            augmentation), the first being the tomogram as it is. Takes so many times as long, and no more memory.
        device: as PyTorch names it.
        dtype: "fp32", or "bf16", "fp16" or "auto" (the fastest) where small differences do not matter.
        backend: "torch", or where the extra ``export`` is installed "openvino" or "onnx", which compute in fp32 on the
            CPU, or "auto", the fastest of them.
        memory: GB of the whole process to stay below, beside the map itself. Heatmap networks take the tomogram in
            slabs as thick as that allows, at least 8 voxels; others take what they need.
        progress: called with the share that is done, 0 to 1.

    Raises:
        TomopickError: the stride does not fit the network, there is no such dtype, the training saw fewer
            orientations, or the backend is unknown, not installed, or does not go with device and dtype.
    """
    model = model_in(model, backend, device=device, dtype=dtype)
    stride = chosen_stride(model.network, stride)
    ways = trained_orientations(model, augment)
    return _mean_map(_Whole.of(model, tomogram, stride, device, dtype, memory), ways, progress)


def score_parts(
    model: Model,
    tomogram: Tomogram,
    stride: int | None = None,
    *,
    augment: int = 1,
    device: str | Sequence[str] = "cpu",
    dtype: str = "fp32",
    memory: float = MEMORY,
    progress: Progress | None = None,
) -> Iterator[Part]:
    """`score_map` in parts, each with what `find_peaks` looks at around it, so that the map need not be held.

    There are several parts where the network streams, at a stride that it has, and in one orientation; else the map is
    one, and the first device computes it.

    Args:
        model, tomogram, stride, augment, dtype, memory, progress: as for `score_map`.
        device: as PyTorch names it; several share the tomogram, each taking strips of it, and parts come in any order.

    Raises:
        TomopickError: as `score_map` does.
    """
    step = chosen_stride(model.network, stride)
    ways = trained_orientations(model, augment)
    devices = (device,) if isinstance(device, str) else device
    whole = _Whole.of(model, tomogram, step, devices[0], dtype, memory)
    if augment != 1 or step != whole.network.stride or not streams(whole.network):
        yield Part.whole(_mean_map(whole, ways, progress))
        return
    axis = slab_axis(whole.counts)
    across = max((other for other in (1, 2, 0) if other != axis), key=lambda other: whole.counts[other])
    strips = _strips(whole, across, len(devices))
    shares = [0.0] * len(strips)

    def told(strip: int) -> Progress:
        def tell(share: float) -> None:
            shares[strip] = share
            if progress is not None:
                progress(sum(shares) / len(shares))

        return tell

    def parts_on(place: int, here: _Whole) -> Iterator[Part]:
        for strip in range(place, len(strips), len(devices)):
            yield from _parts_of(here, axis, across, strips[strip], told(strip))

    with exact(whole.device, whole.dtype):  # around all threads, which would end it for one another
        each = [parts_on(place, here) for place, here in enumerate([whole, *map(whole.on, devices[1:])])]
        for number, part in enumerate(abreast(each) if len(each) > 1 else each[0]):
            if len(strips) > 1 and number % OFTEN == 0:
                give_back_freed_memory()
            plan = f"{part.scores.plan}, {_counted(len(strips), 'strip')}"
            yield replace(part, scores=replace(part.scores, plan=plan))


def _parts_of(whole: _Whole, axis: int, across: int, strip: tuple[int, int], progress: Progress) -> Iterator[Part]:
    """The parts of a strip, which is a span of grid points across the axis along which slabs follow each other."""
    margin, counts = margin_of(whole.stride), whole.counts
    low, high = whole.seen_from(across, strip)
    left, right = max(0, strip[0] - margin), min(counts[across], strip[1] + margin)
    shape = _with(counts, across, right - left)
    one = whole.itself(_with((0, 0, 0), across, low * whole.stride), _with(counts, across, high - low))
    held = np.zeros((len(whole.model.spec.objects) + 1, *_with(shape, axis, 0)), np.float32)
    start = own = 0  # the first plane that is held, and the first that no part has had for its own
    for place, probabilities in pieces(one, progress):
        fresh = _planes(probabilities, 1 + across, left - low, right - low)
        held = np.concatenate([held, fresh], axis=1 + axis)
        stop = place[axis].stop
        ready = stop if stop == counts[axis] else stop - margin
        if ready <= own:
            continue
        core = [slice(0, n) for n in shape]
        core[across] = slice(strip[0] - left, strip[1] - left)
        core[axis] = slice(own - start, ready - start)
        first = _with(_with((0, 0, 0), axis, start), across, left)
        yield Part(whole.named(held, one.plan, first), first, (core[0], core[1], core[2]), counts)
        own, kept = ready, max(ready - margin, start)
        held = _planes(held, 1 + axis, kept - start, held.shape[1 + axis]).copy()  # a view would hold the rest as well
        start = kept


def _strips(whole: _Whole, across: int, least: int) -> list[tuple[int, int]]:
    """As few spans of grid points across a tomogram as there is room for, hardly narrower than what they depend on.

    At least so many, where these are not narrower. With what they depend on they are alike: those at the borders, which
    depend on one side only, are wider.
    """
    count, step, reach = whole.counts[across], whole.step, whole.reach
    most = max(1, count // (2 * reach))
    for parts in range(min(least, most), most + 1):
        seen = (count + 2 * (parts - 1) * reach) / parts
        cuts = [0, *(step * round((i * seen - (2 * i - 1) * reach) / step) for i in range(1, parts)), count]
        strips = list(pairwise(cuts))
        low, high = max((whole.seen_from(across, strip) for strip in strips), key=lambda span: span[1] - span[0])
        if fits(whole.itself((0, 0, 0), _with(whole.counts, across, high - low))):
            break
    return strips


def _room(memory: float, device: torch.device) -> int:
    """Bytes that slabs may take of so many GB."""
    return int(1e9 * (memory - (LIBRARIES if device.type == "cpu" else 0)))


def _with(triple: Triple, axis: int, value: int) -> Triple:
    z, y, x = (value if i == axis else n for i, n in enumerate(triple))
    return z, y, x


def _planes(array: NDArray[np.float32], axis: int, start: int, stop: int) -> NDArray[np.float32]:
    """A view of some planes of an array."""
    return array[(slice(None),) * axis + (slice(start, stop),)]


def _ready(network: Any, device: str, stride: int) -> DenseNetwork:
    """The network as it is used on a device, and at a stride below its own where it has one."""
    ready: DenseNetwork = network.to(device).eval()
    if isinstance(ready, torch.nn.Module):
        ready = fused(ready)
    if stride < ready.stride and isinstance(ready, Refinable):
        ready = ready.finer(stride)
    return ready


@dataclass(frozen=True, eq=False)
class _Whole:
    """A model about to look at a tomogram."""

    model: Model
    network: DenseNetwork
    tomogram: Tomogram
    scaling: Scaling
    stride: int
    device: torch.device
    dtype: str
    room: int

    @classmethod
    def of(cls, model: Model, tomogram: Tomogram, stride: int, device: str, dtype: str, memory: float) -> Self:
        tomogram = at_spacing(tomogram, model.spec.spacing)
        network = _ready(model.network, device, stride)
        scaling = scaling_of(tomogram, model.spec.normalisation)
        where = torch.device(device)
        return cls(model, network, tomogram, scaling, stride, where, chosen_dtype(dtype, device), _room(memory, where))

    def on(self, device: str) -> Self:
        """The same, with a copy of the network on another device."""
        network = _ready(deepcopy(self.model.network), device, self.stride)
        return replace(self, network=network, device=torch.device(device))

    @property
    def counts(self) -> Triple:
        """Grid points, zyx."""
        z, y, x = (-(-n // self.stride) for n in self.tomogram.shape)
        return z, y, x

    @property
    def step(self) -> int:
        """Grid points from one place where a pass may start or end to the next."""
        return max(1, self.network.align // self.network.stride)

    @property
    def reach(self) -> int:
        """Grid points that scores depend on beside their own, and what is looked at with them, in whole steps."""
        return self.step * -(-(self.network.context // self.network.stride + margin_of(self.stride)) // self.step)

    def seen_from(self, axis: int, span: tuple[int, int]) -> tuple[int, int]:
        """The grid points along an axis that the scores of a span depend on."""
        return max(0, span[0] - self.reach), min(self.counts[axis], span[1] + self.reach)

    def one(self, seen: Readable, first: Triple, counts: Triple) -> Pass:
        """A pass over what is seen of the tomogram."""
        return Pass(self.network, seen, self.scaling, self.device, self.dtype, self.room, first, counts)

    def itself(self, first: Triple, counts: Triple) -> Pass:
        """The pass over the tomogram itself, the same each time: what slabs there is room for takes a while to try."""
        key = (first, counts)
        if key not in self._passes:
            self._passes[key] = self.one(self.tomogram, first, counts)
        return self._passes[key]

    @cached_property
    def _passes(self) -> dict[tuple[Triple, Triple], Pass]:
        return {}

    def named(self, array: NDArray[np.float32], plan: str, start: Triple = (0, 0, 0)) -> ScoreMap:
        """Scores (classes, z, y, x) from a grid point on, as a map."""
        z, y, x = (float(self.stride * n) for n in start)
        names = tuple(o.name for o in self.model.spec.objects)
        return ScoreMap(array, self.stride, (z, y, x), self.tomogram.spacing, names, self.tomogram.name, plan)


def _mean_map(whole: _Whole, ways: Sequence[Orientation], progress: Progress | None) -> ScoreMap:
    """The map of a tomogram, averaged over these orientations of it."""
    z, y, x = whole.counts
    last = (whole.stride * (z - 1), whole.stride * (y - 1), whole.stride * (x - 1))
    array = np.zeros((len(whole.model.spec.objects) + 1, z, y, x), np.float32)
    for done, way in enumerate(ways):

        def tell(share: float, done: int = done) -> None:
            if progress is not None:
                progress((done + share) / len(ways))

        plan = _add_scores(turned(array, way), whole, TurnedTomogram(whole.tomogram, last, way), tell)
    if len(ways) > 1:
        array /= len(ways)
    return whole.named(array, f"{plan}, {_counted(len(ways), 'orientation')}" if len(ways) > 1 else plan)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}{'' if count == 1 else 's'}"


def _add_scores(scores: NDArray[np.float32], whole: _Whole, seen: Readable, progress: Progress) -> str:
    """Add probabilities to an array (classes, z, y, x) of those of the voxels ``stride * i``, piece by piece.

    Returns:
        How, in words.
    """
    stride = whole.stride
    step = whole.network.stride // stride
    counts = scores.shape[1:]
    shifts = [s for s in product(range(step), repeat=3) if all(a < n for a, n in zip(s, counts, strict=True))]
    for done, (sz, sy, sx) in enumerate(shifts):
        part = scores[:, sz::step, sy::step, sx::step]

        def tell(share: float, done: int = done) -> None:
            progress((done + share) / len(shifts))

        first, size = (sz * stride, sy * stride, sx * stride), (part.shape[1], part.shape[2], part.shape[3])
        one = whole.one(seen, first, size)
        for place, probabilities in pieces(one, tell):
            part[(slice(None), *place)] += probabilities
    return one.plan if len(shifts) == 1 else f"{one.plan}, {_counted(len(shifts), 'shift')}"


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
    one = Pass(network, tomogram, scaling, device, dtype, _room(MEMORY, device), first, counts)
    found: NDArray[np.float32] | None = None
    for place, probabilities in pieces(one, progress):
        if found is None:
            found = np.empty((len(probabilities), *counts), np.float32)
        found[(slice(None), *place)] = probabilities
    assert found is not None  # counts are at least 1
    return found
