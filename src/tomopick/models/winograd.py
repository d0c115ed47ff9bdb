"""Convolutions of 3 x 3 x 3 with a quarter of the multiplications, as products of matrices, in float32.

Winograd's minimal filtering F(4 x 4, 3 x 3) within planes (Lavin and Gray 2016, arXiv 1509.09308), and a sum of three
products across them. A tile of 6 x 6 values and a kernel are taken for polynomials, evaluated at a few points and
multiplied there; 4 x 4 values are interpolated from the products (Toom 1963, Cook 1966). Rounding costs two to
four times as much with the points that are usual, 0, 1, -1, 2, -2 and infinity, as with those here.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

__all__ = ["convolve_by_tiles", "evaluated"]

MADE, KERNEL = 4, 3
EDGE = MADE + KERNEL - 1
POINTS = (0.0, 0.75, -0.75, 1.5, -1.5)  # and infinity


def _toom_cook() -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What values, kernels and products are multiplied with along one axis."""
    values, kernels, products = np.zeros((EDGE, EDGE)), np.zeros((EDGE, KERNEL)), np.zeros((MADE, EDGE))
    for row, point in enumerate(POINTS):
        others = np.delete(POINTS, row)
        values[row, :-1] = np.poly(others)[::-1]
        kernels[row] = point ** np.arange(KERNEL) / np.prod(point - others)
        products[:, row] = point ** np.arange(MADE)
    values[-1] = np.poly(POINTS)[::-1]
    kernels[-1, -1] = products[-1, -1] = 1
    return values, kernels, products


OF_VALUES, OF_KERNELS, OF_PRODUCTS = (torch.from_numpy(matrix) for matrix in _toom_cook())


def evaluated(weight: Tensor) -> Tensor:
    """Kernels (out, in, 3, 3, 3) as `convolve_by_tiles` wants them: (3, 36, in, out), four times as many values."""
    found = torch.einsum("by,ax,oizyx->zabio", OF_KERNELS, OF_KERNELS, weight.detach().double())
    return found.float().flatten(1, 2).contiguous()


def convolve_by_tiles(
    planes: Tensor, kernels: Tensor, bias: Tensor | None, padding: tuple[int, ...], rectified: bool
) -> Tensor:
    """The convolution of (1, C, D, H, W), channels last, one row of tiles after another, so that caches hold them.

    Args:
        planes: float32.
        kernels: (3, 36, C, out), `evaluated`.
        bias: (out,).
        padding: zeros on either side, zyx.
        rectified: whether what is below zero becomes zero.
    """
    values = planes[0].permute(1, 2, 3, 0).contiguous()
    depth, height, width = (edge + 2 * pad - 2 for edge, pad in zip(values.shape[:3], padding, strict=True))
    whole, rest = divmod(width, MADE)
    across, outputs = whole + bool(rest), kernels.shape[-1]
    of_values, of_products = OF_VALUES.float(), torch.kron(OF_PRODUCTS, OF_PRODUCTS).float()
    columns = values.new_zeros((EDGE, EDGE, depth + 2, across, values.shape[-1]))
    made = values.new_empty((depth, height, width, outputs))
    for row in range(0, height, MADE):
        _put_row(values, row, padding, columns)
        tiles = (of_values @ columns.flatten(1)).view(EDGE**2, *columns.shape[2:])
        products = torch.bmm(tiles[:, :depth].flatten(1, 2), kernels[0])
        for z in (1, 2):
            products.baddbmm_(tiles[:, z : z + depth].flatten(1, 2), kernels[z])
        found = (of_products @ products.flatten(1)).view(MADE, MADE, depth, across, outputs)
        found = found if bias is None else found.add_(bias)
        found = (found.relu_() if rectified else found).permute(2, 1, 3, 0, 4)  # planes, y, tiles, x, channels
        part = made[:, row : row + MADE]
        found = found[:, : part.shape[1]]
        part[:, :, : whole * MADE].view(*found.shape[:2], whole, MADE, outputs).copy_(found[:, :, :whole])
        if rest:
            part[:, :, whole * MADE :].copy_(found[:, :, whole, :rest])
    # batch first, then axes: only so does PyTorch see that channels are last
    return made[None].permute(0, 4, 1, 2, 3)


def _put_row(values: Tensor, row: int, padding: tuple[int, ...], columns: Tensor) -> None:
    """Put the tiles that begin at this row of the result, evaluated along y, where they are evaluated along x.

    What lies in the padding is left as it is: the same places in each row.

    Args:
        values: (D, H, W, C).
        row: of the result.
        padding: zeros on either side, zyx.
        columns: (6, 6, planes, tiles, C): x within a tile, evaluated along y.
    """
    depth, height, width, channels = values.shape
    z, y, x = padding
    begin = max(row - y, 0)
    end = max(min(row - y + EDGE, height), begin)
    of_values = OF_VALUES.float()[:, begin - row + y : end - row + y]
    lines = torch.matmul(of_values, values[:, begin:end].flatten(2)).view(depth, EDGE, width, channels)
    for place in range(EDGE):
        first = max(0, -((place - x) // MADE))  # the first tile that has this column of its own within the values
        found = lines[:, :, first * MADE + place - x :: MADE][:, :, : columns.shape[3] - first]
        columns[place, :, z : z + depth, first : first + found.shape[2]].copy_(found.transpose(0, 1))
