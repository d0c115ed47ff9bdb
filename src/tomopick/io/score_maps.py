"""Score maps as OME-Zarr, written piece by piece."""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tomopick.errors import DataError, reason
from tomopick.objects import ParticleObject

__all__ = ["Piece", "SavedScores", "open_scores", "writing_scores"]

CHUNK = 64  # grid points along each axis
Piece = Callable[[NDArray[np.float32], tuple[int, int, int]], None]


@dataclass(frozen=True)
class SavedScores:
    """A score map on the disk, of which a region is read when it is asked for.

    Attributes:
        array: scores, (objects, z, y, x).
        spacing: Angstrom between grid points, of which the first is the centre of the tomogram's first voxel.
        objects: names, in the order of the array.
    """

    array: Any
    spacing: float
    objects: tuple[str, ...]


def open_scores(path: Path) -> SavedScores:
    """A score map that `writing_scores` wrote.

    Raises:
        DataError: there is none, or it is something else.
    """
    import zarr

    try:
        group = zarr.open_group(str(path), mode="r")
        told = group.attrs.asdict()
        scale = told["multiscales"][0]["datasets"][0]["coordinateTransformations"][0]["scale"]
        return SavedScores(group["0"], float(scale[-1]), tuple(c["label"] for c in told["omero"]["channels"]))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise DataError(f"{path} is not a score map of `pick --save-scores`: {reason(error)}") from error


@contextmanager
def writing_scores(
    path: Path,
    counts: tuple[int, int, int],
    objects: Sequence[ParticleObject],
    spacing: float,
    name: str,
) -> Iterator[Piece]:
    """Write a score map to a folder that is there, whole, when the block ends well; an older one is replaced.

    The folder is an OME-Zarr image (version 0.4) of axes c, z, y, x: one channel for each object, named and coloured
    like it, with scores from 0 to 1. Background is left out.

    Args:
        path: the folder, by custom ending in ``.zarr``.
        counts: grid points, zyx.
        objects: in the order of the scores.
        spacing: Angstrom between grid points, of which the first is the centre of the tomogram's first voxel.
        name: the run.

    Yields:
        A function that writes scores (objects or more, z, y, x), of which the first are the objects', from a grid
        point (zyx) on.

    Raises:
        DataError: the folder cannot be written.
    """
    import zarr
    from numcodecs import Blosc
    from ome_zarr.format import FormatV04
    from ome_zarr.writer import write_multiscales_metadata

    mark = secrets.token_hex(4)
    partial, old = (path.with_name(f".{path.name}.{mark}.{word}") for word in ("partial", "old"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        group = zarr.open_group(str(partial), mode="w")
        chunks = (1, *(min(CHUNK, n) for n in counts))
        array = group.create_dataset(
            "0", shape=(len(objects), *counts), chunks=chunks, dtype="f4", dimension_separator="/",
            compressor=Blosc("zstd", clevel=3, shuffle=Blosc.BITSHUFFLE),
        )  # fmt: skip
        scale = {"type": "scale", "scale": [1.0, spacing, spacing, spacing]}
        channels = [
            {
                "label": o.name,
                "color": o.hex_color[1:].upper(),
                "active": True,
                "window": {"min": 0, "max": 1, "start": 0, "end": 1},
            }
            for o in objects
        ]
        axes = [{"name": "c", "type": "channel"}]
        axes += [{"name": axis, "type": "space", "unit": "angstrom"} for axis in "zyx"]
        write_multiscales_metadata(
            group, [{"path": "0", "coordinateTransformations": [scale]}], FormatV04(), axes, name,
            metadata={"omero": {"channels": channels}},
        )  # fmt: skip

        def write(scores: NDArray[np.float32], start: tuple[int, int, int]) -> None:
            box = tuple(slice(first, first + n) for first, n in zip(start, scores.shape[1:], strict=True))
            array[(slice(None), *box)] = scores[: len(objects)]

        yield write
        if path.exists():
            path.rename(old)
        partial.rename(path)
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror or error}") from error
    finally:
        for left in (partial, old):
            with suppress(OSError):
                shutil.rmtree(left)
