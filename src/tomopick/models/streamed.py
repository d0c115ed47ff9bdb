"""A network fed the planes of a volume in order, each layer keeping what its kernel needs of those before.

A tile must be computed with all voxels that its scores depend on, and these are computed again for the next tile. A
volume that passes through in slabs needs none of that: every feature is computed once, and only a few planes of each
layer are held, whatever the length.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass, field
from threading import Condition
from typing import Any, Protocol, cast

import torch
from torch import Tensor, fx, nn

from tomopick.models.convolve import convolve, side_by_side

__all__ = ["NotStreamable", "Streamed", "peak_bytes", "planes_first"]

Planes = Tensor | None  # (1, C, planes, H, W); None where there are none

POINTWISE = (nn.ReLU, nn.LeakyReLU, nn.PReLU, nn.Identity, nn.Dropout, nn.Dropout3d, nn.BatchNorm3d)
FUNCTIONS: dict[Any, Callable[..., Tensor]] = {
    operator.add: torch.add, operator.iadd: torch.add, torch.add: torch.add, torch.relu: torch.relu,
    torch.relu_: torch.relu_, torch.cat: torch.cat,
}  # fmt: skip
"""Functions whose plane i is made of planes i of what they are given."""


class _OneOrMany:
    """A lock that many threads may hold together, or one alone, which goes first."""

    def __init__(self) -> None:
        self._changed = Condition()
        self._together, self._alone = 0, False

    @contextmanager
    def together(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._together += 1
        try:
            yield
        finally:
            with self._changed:
                self._together -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        with self._changed:
            self._changed.wait_for(lambda: not self._alone)
            self._alone = True
        try:  # even where an interrupt ends the wait
            with self._changed:
                self._changed.wait_for(lambda: not self._together)
            yield
        finally:
            with self._changed:
                self._alone = False
                self._changed.notify_all()


# tracing changes what it is to call a layer, in all threads: no other may trace or compute meanwhile
_tracing = _OneOrMany()


class NotStreamable(Exception):
    """A network holds a layer that this module does not know how to feed in slabs."""


class _Stage(Protocol):
    """A layer: planes in, planes out, in order.

    What it is given it takes out of the list, and leaves there what it made its planes of.
    """

    def feed(self, given: list[Planes], last: bool) -> Planes: ...

    def held(self) -> Sequence[Planes]: ...


@dataclass
class _Convolution:
    """A convolution, which keeps the planes that the next output needs as well."""

    layer: nn.Conv3d
    kept: Planes = None
    begun: bool = False

    def feed(self, given: list[Planes], last: bool) -> Planes:
        layer = self.layer
        kernel, stride, padding = layer.kernel_size[0], layer.stride[0], cast("tuple[int, ...]", layer.padding)
        before, after = (0 if self.begun else padding[0]), (padding[0] if last else 0)
        planes = _joined(self.kept, given.pop(), before, after)
        if planes is None:
            return None
        self.begun = True
        count = (planes.shape[2] - kernel) // stride + 1
        if count < 1:
            self.kept = planes
            return None
        rest = planes[:, :, count * stride :]
        self.kept = None if last or not rest.shape[2] else _copied(rest)
        given.append(planes)
        return convolve(planes[:, :, : (count - 1) * stride + kernel], layer, (0, *padding[1:]))

    def held(self) -> Sequence[Planes]:
        return [self.kept]


@dataclass
class _Interpolation:
    """Twice as many planes between those that come; each needs its neighbours, and beyond the ends there are none."""

    layer: nn.Upsample
    kept: Planes = None
    begun: bool = False

    def feed(self, given: list[Planes], last: bool) -> Planes:
        planes = _joined(self.kept, given.pop())
        if planes is None or (planes.shape[2] < 2 and not last):
            self.kept = planes
            return None
        finer: Tensor = self.layer(planes)
        first, end = (2 if self.begun else 0), finer.shape[2] - (0 if last else 2)
        given.append(planes)
        self.begun = True
        self.kept = None if last else _copied(planes[:, :, -2:])
        return finer[:, :, first:end] if end > first else None

    def held(self) -> Sequence[Planes]:
        return [self.kept]


@dataclass
class _Alike:
    """A layer whose output planes are made of one input plane each: nothing is kept."""

    layer: Callable[[Tensor], Tensor]

    def feed(self, given: list[Planes], last: bool) -> Planes:
        return None if given[0] is None else self.layer(given[0])

    def held(self) -> Sequence[Planes]:
        return []


@dataclass
class _Together:
    """A function of several inputs, of which the one that is ahead waits for the others, in the pieces it came in."""

    function: Callable[[list[Tensor]], Tensor]
    waiting: list[list[Tensor]] = field(default_factory=list)

    def feed(self, given: list[Planes], last: bool) -> Planes:
        self.waiting = self.waiting or [[] for _ in given]
        for pieces, planes in zip(self.waiting, given, strict=True):
            pieces += [] if planes is None else [planes]
        count = min(sum(piece.shape[2] for piece in pieces) for pieces in self.waiting)
        if count == 0:
            return None
        ready = [_first(pieces, count) for pieces in self.waiting]
        given[:] = ready
        return self.function(ready)

    def held(self) -> Sequence[Planes]:
        return [piece for pieces in self.waiting for piece in pieces]


@dataclass
class _Delivery:
    """Planes on their way from one layer to another; no more follow after the last."""

    giver: fx.Node
    taker: fx.Node
    planes: Planes
    last: bool


class _Tracer(fx.Tracer):
    """Convolutions are leaves, whatever their class."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return isinstance(m, (nn.Conv3d, nn.ConvTranspose3d)) or super().is_leaf_module(m, module_qualified_name)


class Streamed:
    """A network of 3D convolutions that takes one volume slab by slab, along its first axis.

    The scores are those of the whole volume at once, up to rounding: at its ends, and nowhere else, layers pad as the
    network says.

    Args:
        network: in evaluation mode; its weights are used, not copied.
        watched: whether to note the peak, which takes a while.

    Raises:
        NotStreamable: it holds a layer that does not work plane by plane as those of U-Nets do.

    Attributes:
        peak: bytes of all planes held at one time, at most, those that are copied for a layer and made by it included;
            0 where it is not watched.
    """

    def __init__(self, network: nn.Module, *, watched: bool = False) -> None:
        try:
            with _tracing.alone():
                self._graph = _Tracer().trace(network)
        except (fx.proxy.TraceError, TypeError, RuntimeError) as error:
            raise NotStreamable(str(error)) from error
        self._stages = {n: _stage(network, n) for n in self._graph.nodes if n.op not in ("placeholder", "output")}
        # what waits for others first: else these come before what they wait for, and it goes on in two portions
        self._takers = {n: sorted(n.users, key=self._does_not_wait) for n in self._graph.nodes}
        self._ended: dict[fx.Node, set[fx.Node]] = {n: set() for n in self._stages}
        self._most: dict[fx.Node, int] = {}
        self.peak, self._watched = 0, watched

    def push(self, planes: Tensor, last: bool) -> Planes:
        """The scores that follow from these planes and those before.

        Args:
            planes: (1, 1, D, H, W), the next of the volume.
            last: no more follow.

        Returns:
            (1, classes, d, h, w), the next of the scores, or None where more planes are needed first.
        """
        source = next(node for node in self._graph.nodes if node.op == "placeholder")
        found: list[Planes] = []
        coming = self._deliveries(source, planes, last)
        del planes
        while coming:  # what is made goes on at once: so little waits, and none that is used up is held
            one = coming.pop()
            if one.taker.op == "output":
                found.append(one.planes)
                continue
            stage, ended, givers = self._stages[one.taker], self._ended[one.taker], one.taker.all_input_nodes
            if one.last:
                ended.add(one.giver)
            end = len(ended) == len(givers)
            given = [one.planes if node is one.giver else None for node in givers]
            taker = one.taker
            del one
            with _tracing.together():
                made = stage.feed(given, end)
            if self._watched:
                self._note([made, *given, *found, *(other.planes for other in coming)])
            coming += self._deliveries(taker, made, end)
            del given, made
        scores = [planes for planes in found if planes is not None]
        return torch.cat(scores, dim=2) if scores else None

    def _deliveries(self, giver: fx.Node, planes: Planes, last: bool) -> list[_Delivery]:
        """What a layer made for each that takes it, the last to be handed over first.

        At the end of a volume a layer makes more planes at once than ever before, and hands over no more than before at
        a time.
        """
        if planes is None:
            return [_Delivery(giver, taker, None, True) for taker in reversed(self._takers[giver])] if last else []
        count = planes.shape[2]
        most = self._most.get(giver, count) if last else count
        self._most[giver] = max(most, self._most.get(giver, 1))
        starts = range(0, count, most)
        return [
            _Delivery(giver, taker, planes[:, :, start : start + most], last and start == starts[-1])
            for start in reversed(starts)
            for taker in reversed(self._takers[giver])
        ]

    def _does_not_wait(self, taker: fx.Node) -> bool:
        return not isinstance(self._stages.get(taker), _Together)

    def _note(self, moving: Sequence[Planes]) -> None:
        held = [planes for stage in self._stages.values() for planes in stage.held()]
        storages = [planes.untyped_storage() for planes in (*held, *moving) if planes is not None]
        self.peak = max(self.peak, sum({one._cdata: one.nbytes() for one in storages}.values()))


def planes_first(network: nn.Module, axis: int) -> nn.Module:
    """A copy that gives of a volume with its first axis and this one exchanged what the network gives of the volume.

    With its own axes exchanged, too. ``axis`` counts from 0 for z.

    Raises:
        NotStreamable: a layer treats one axis unlike another.
    """
    copy = deepcopy(network)
    for layer in copy.modules():
        if axis and isinstance(layer, (nn.Conv3d, nn.ConvTranspose3d)):
            for setting in (layer.kernel_size, layer.stride, layer.padding, layer.dilation):
                if len(set(setting)) != 1:
                    raise NotStreamable(str(layer))
            layer.weight = nn.Parameter(layer.weight.detach().transpose(2, 2 + axis).contiguous(), requires_grad=False)
    return copy


def peak_bytes(network: nn.Module, shape: tuple[int, int, int], length: int, dtype: torch.dtype) -> int:
    """The most bytes that a volume of this many planes holds at one time; they are as many times more as it is wider.

    It is tried, with a section that is small: PyTorch's own way to do without loads its compiler, which takes longer.

    Args:
        network: as for `Streamed`.
        shape: of one slab.
        length: planes of the volume, a multiple of the slab's.
        dtype: of all planes but the volume's, which are float32.
    """
    streamed = Streamed(deepcopy(network).to(dtype), watched=True)
    slab = torch.zeros((1, 1, *shape), device=next(network.parameters()).device)
    with torch.inference_mode():
        for start in range(0, length, shape[0]):
            streamed.push(slab, start + shape[0] >= length)
    return streamed.peak


def _stage(network: nn.Module, node: fx.Node) -> _Stage:
    found = _layer(network.get_submodule(str(node.target))) if node.op == "call_module" else _function(node)
    if found is None:
        raise NotStreamable(f"{node.op} {node.target}")
    return found


def _layer(layer: nn.Module) -> _Stage | None:
    if isinstance(layer, nn.Conv3d):
        plain = layer.dilation[0] == 1 and layer.padding_mode == "zeros" and not isinstance(layer.padding, str)
        return _Convolution(layer) if plain else None
    if isinstance(layer, nn.Upsample):
        twice = layer.scale_factor in (2, (2, 2, 2)) and layer.mode == "trilinear" and not layer.align_corners
        return _Interpolation(layer) if twice else None
    if isinstance(layer, nn.ConvTranspose3d):
        return _Alike(layer) if side_by_side(layer) else None
    return _Alike(layer) if isinstance(layer, POINTWISE) else None


def _function(node: fx.Node) -> _Stage | None:
    function = FUNCTIONS.get(node.target)
    if function is torch.cat:
        axis = node.kwargs.get("dim") if len(node.args) < 2 else node.args[1]
        return _Together(lambda planes: torch.cat(planes, 1)) if axis == 1 else None
    if function is None or node.kwargs or len(node.args) != len(node.all_input_nodes):
        return None
    return _Alike(function) if len(node.args) == 1 else _Together(lambda planes: function(*planes))


def _first(pieces: list[Tensor], count: int) -> Tensor:
    """So many planes, taken out of these pieces."""
    taken = []
    while count > 0:
        piece = pieces.pop(0)
        if piece.shape[2] > count:
            pieces.insert(0, piece[:, :, count:])
        taken.append(piece[:, :, :count])
        count -= taken[-1].shape[2]
    return torch.cat(taken, dim=2) if len(taken) > 1 else taken[0]


def _copied(planes: Tensor) -> Tensor:
    """A copy: a view of these few planes would hold the memory of all."""
    return planes.clone()


def _joined(first: Planes, second: Planes, before: int = 0, after: int = 0) -> Planes:
    """Both, one after the other, and so many planes of zeros before and after them; None of none."""
    there = [planes for planes in (first, second) if planes is not None]
    if not there:
        return None
    if before or after:
        zeros = torch.zeros_like(there[0][:, :, :1])
        there = [*[zeros] * before, *there, *[zeros] * after]
    return torch.cat(there, dim=2) if len(there) > 1 else there[0]
