"""CryoET3DCNN at a stride below its own: what windows that start at other voxels share is computed once."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from itertools import product

import torch
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["Finer"]

CELL = 8  # voxels that a cell pools
MARGIN = 8  # voxels about it that its convolutions reach, as far as whole cells count


@dataclass(frozen=True, eq=False)
class Finer:
    """A window classifier of three pooled blocks whose cells, and scores, stand a smaller stride apart.

    Windows two or four voxels further on have cells of their own, but these are the maxima of features that stand on
    one grid all the same: so layers run once, and only the last poolings overlap ("a trous", Holschneider et al. 1989).
    Each score is the one that passes over shifted tomograms would give.

    Attributes:
        features: convolutions, norms, rectifiers and poolings by two.
        classifier: gives logits (B, C, d - r + 1, ...) of cells (B, F, d, h, w) that stand side by side.
        window: r, cells along the edge of a window.
        stride: 4 or 2 voxels.
    """

    features: nn.Sequential
    classifier: Callable[[Tensor], Tensor]
    window: int
    stride: int
    context = 0
    align = 8

    @property
    def halo(self) -> int:
        """Half of what a cell covers beyond its stride, too, on either side."""
        return MARGIN + (CELL - self.stride) // 2

    @property
    def reach(self) -> int:
        """Cells from the first to the last of a window."""
        return (self.window - 1) * self._step + 1

    @property
    def _step(self) -> int:
        return CELL // self.stride

    def embed(self, tile: Tensor) -> Tensor:
        """Cells (B, F, (D - 2 halo) / stride, ...) of a tile (B, 1, D, H, W)."""
        cells, own, apart = tile, 1, 1  # voxels from one value to the next: in the network, and here
        for layer in self.features:
            spread = own // apart
            if isinstance(layer, nn.Conv3d) and spread > 1:
                cells = functional.conv3d(cells, layer.weight, layer.bias, padding=spread, dilation=spread)
            elif isinstance(layer, nn.MaxPool3d):
                skip = 2 if 2 * own <= self.stride else 1
                with torch.autocast(tile.device.type, enabled=False):
                    cells = functional.relu(functional.max_pool3d(cells, 2, skip, dilation=spread), inplace=True)
                own, apart = 2 * own, skip * apart
            elif not isinstance(layer, nn.ReLU):
                cells = layer(cells)
        first = MARGIN // self.stride
        z, y, x = (slice(first, first + (n - 2 * self.halo) // self.stride) for n in tile.shape[2:])
        return cells[:, :, z, y, x]

    def classify(self, cells: Tensor) -> Tensor:
        """Logits (B, C, d - reach + 1, ...) of cells (B, F, d, h, w): those of each shift, in turns."""
        step, counts = self._step, [n - self.reach + 1 for n in cells.shape[2:]]
        missing = [-n % step for n in counts]
        padded = functional.pad(cells, [0, missing[2], 0, missing[1], 0, missing[0]])
        shifts = list(product(range(step), repeat=3))
        apart = torch.cat([padded[:, :, z::step, y::step, x::step] for z, y, x in shifts])
        found = self.classifier(apart)
        logits = found.new_empty((len(cells), found.shape[1], *(step * n for n in found.shape[2:])))
        for (z, y, x), some in zip(shifts, found.chunk(len(shifts)), strict=True):
            logits[:, :, z::step, y::step, x::step] = some
        return logits[:, :, : counts[0], : counts[1], : counts[2]]
