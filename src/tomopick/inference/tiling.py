"""How a grid of cells is cut into tiles. Numpy only, no network."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product

__all__ = ["Tile", "tiles"]

Triple = tuple[int, int, int]


@dataclass(frozen=True)
class Tile:
    """Cells ``start <= index < stop`` (zyx) of a grid."""

    start: Triple
    stop: Triple

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """The tile as three slices of the grid."""
        z, y, x = (slice(a, b) for a, b in zip(self.start, self.stop, strict=True))
        return z, y, x


def tiles(counts: Triple, edge: int, step: int = 1) -> Iterator[Tile]:
    """Tiles of at most ``edge`` cells along each axis that cover the grid once, of nearly equal size.

    Each cell stands in exactly one tile: cells do not depend on their tile, so nothing has to be blended.

    Args:
        counts: cells of the grid, zyx.
        edge: a multiple of step.
        step: each tile but the last starts and ends at a multiple of this many cells.
    """
    cuts = []
    for count in counts:
        whole = -(-count // step)
        parts = -(-whole // (edge // step))
        cuts.append([min(count, step * round(i * whole / parts)) for i in range(parts + 1)])
    for z, y, x in product(*(range(len(c) - 1) for c in cuts)):
        yield Tile((cuts[0][z], cuts[1][y], cuts[2][x]), (cuts[0][z + 1], cuts[1][y + 1], cuts[2][x + 1]))
