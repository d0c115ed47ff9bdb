"""Correlation with large kernels by Fourier transforms."""

from __future__ import annotations

import math

import torch
from torch import Tensor

__all__ = ["correlate"]

MOST = 20  # results along each axis of a block: larger blocks multiply less and hold more
OUTPUTS = 32  # channels whose kernels' spectra are held at once


@torch.no_grad()
def correlate(cells: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    """What ``conv3d(cells, kernel, bias)`` gives, in float32, autocast or not, without gradients.

    Overlapping blocks of the cells are transformed, multiplied with the spectra of the kernels, and of each product
    the part is kept that does not wrap around (overlap-save; Oppenheim and Schafer, Discrete-Time Signal Processing,
    8.7). For kernels of 8^3 that is about 60 times fewer multiplications than one by one. The transforms are so short,
    of so many channels, and so much of them is zeros or not wanted, that products of matrices make them sooner than
    fast transforms.

    Args:
        cells: (B, C, z, y, x), at least as large as the kernel.
        kernel: (O, C, k, k, k).
        bias: (O,).

    Returns:
        (B, O, z - k + 1, y - k + 1, x - k + 1).
    """
    with torch.autocast(cells.device.type, enabled=False):  # of transforms rounded to bfloat16 nothing is left
        return _correlated(cells, kernel, bias)


def _correlated(cells: Tensor, kernel: Tensor, bias: Tensor) -> Tensor:
    batch, outputs, reach = len(cells), len(kernel), kernel.shape[-1]
    counts = [n - reach + 1 for n in cells.shape[2:]]
    parts = [-(-n // MOST) for n in counts]
    steps = [-(-n // p) for n, p in zip(counts, parts, strict=True)]
    edges = [s + reach - 1 for s in steps]
    seen = _spectra(_blocks(cells.float(), steps, parts, reach), edges)
    seen = seen.view(len(seen), -1, kernel.shape[1]).mT
    result = cells.new_empty((batch, outputs, *counts), dtype=torch.float32)
    for first in range(0, outputs, OUTPUTS):
        some = slice(first, first + OUTPUTS)
        values = kernel[some].float().permute(4, 3, 2, 0, 1)
        weights = _spectra(values.flatten(3), edges, backward=True).view(len(seen), *values.shape[3:])
        whole = _values(torch.bmm(weights, seen).flatten(1), edges, steps)  # (x, y, z, outputs * B * blocks)
        whole = whole.reshape(*steps[::-1], -1, batch, *parts).permute(4, 3, 5, 2, 6, 1, 7, 0)
        z, y, x = (slice(n) for n in counts)
        joined = whole.flatten(6, 7).flatten(4, 5).flatten(2, 3)[:, :, z, y, x]
        torch.add(joined, bias[some].view(-1, 1, 1, 1), out=result[:, some])
    return result


def _blocks(cells: Tensor, steps: list[int], parts: list[int], reach: int) -> Tensor:
    """Blocks (x, y, z, B * blocks * C) that start each so many steps after the one before, with zeros at the end."""
    lengths = [s * p + reach - 1 for s, p in zip(steps, parts, strict=True)]
    missing = [a - n for a, n in zip(lengths, cells.shape[2:], strict=True)]
    blocks = torch.nn.functional.pad(cells, [0, missing[2], 0, missing[1], 0, missing[0]])
    for axis, step in zip((2, 3, 4), steps, strict=True):
        blocks = blocks.unfold(axis, step + reach - 1, step)  # (B, C, parts, edges)
    return blocks.permute(7, 6, 5, 0, 2, 3, 4, 1).flatten(3)


def _spectra(values: Tensor, edges: list[int], backward: bool = False) -> Tensor:
    """Discrete Fourier transforms (frequencies, N) of values (x, y, z, N) with zeros after them up to zyx edges.

    Backward, their complex conjugates.
    """
    x, y, z, count = values.shape
    along_x, along_y, along_z = (
        _waves(edge, kept, n, -1 if backward else 1)
        for edge, kept, n in zip(edges[::-1], (edges[2] // 2 + 1, edges[1], edges[0]), (x, y, z), strict=True)
    )
    halves = torch.cat([along_x.real, along_x.imag]).to(values.device) @ values.flatten(1)
    made = torch.complex(*halves.chunk(2)).view(-1, y, z * count)
    made = _times(along_y, made)
    made = _times(along_z, made.view(-1, z, count))
    return made.view(-1, count)


def _values(spectra: Tensor, edges: list[int], steps: list[int]) -> Tensor:
    """The first values (x, y, z, N), so many along zyx, of those whose transforms these are."""
    count, half = spectra.shape[1], edges[2] // 2 + 1
    made = _times(_waves(edges[0], edges[0], steps[0], -1).mT, spectra.view(-1, edges[0], count))
    made = _times(_waves(edges[1], edges[1], steps[1], -1).mT, made.view(half, edges[1], -1))
    twice = torch.full((half,), 2.0)  # a frequency that is not its own mirror image stands for that, too
    twice[0] = 1.0
    if edges[2] % 2 == 0:
        twice[-1] = 1.0
    back = _waves(edges[2], half, steps[2], -1).mT * (twice / math.prod(edges))
    halves = torch.cat([back.real, -back.imag], dim=1).to(spectra.device)
    flat = torch.view_as_real(made.view(half, -1)).movedim(2, 0).flatten(0, 1)
    return (halves @ flat).view(steps[2], steps[1], steps[0], count)


def _times(matrix: Tensor, planes: Tensor) -> Tensor:
    """A matrix (F, n) times each of several (B, n, N)."""
    return torch.matmul(matrix.to(planes.device), planes)


def _waves(edge: int, frequencies: int, length: int, sign: int = 1) -> Tensor:
    """What a transform of this many values multiplies the first ones with, (frequencies, length)."""
    turns = torch.outer(torch.arange(frequencies), torch.arange(length)) % edge / edge
    return torch.polar(torch.ones_like(turns), -2 * sign * math.pi * turns)
