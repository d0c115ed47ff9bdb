"""Picks of one tomogram, from the model's scores to places that count."""

from __future__ import annotations

from collections.abc import Mapping

from tomopick.inference.engine import Progress, keep_freed_memory, score_map
from tomopick.inference.peaks import FLOOR, find_peaks, inside
from tomopick.models.modelfile import Model
from tomopick.picks import Picks
from tomopick.tomogram import LazyArray, Tomogram

__all__ = ["pick"]


def pick(
    model: Model,
    tomogram: Tomogram,
    *,
    stride: int = 4,
    thresholds: Mapping[str, float] | None = None,
    floor: float = FLOOR,
    mask: LazyArray | None = None,
    border: float = 0.0,
    device: str = "cpu",
    precision: str = "auto",
    progress: Progress | None = None,
) -> Picks:
    """The particles of one tomogram.

    Args:
        model: a loaded model.
        tomogram: any voxel spacing; coordinates come back in its own Angstrom.
        stride: voxels between scores; a match distance of 30 A needs 4 or less at 10 A voxels.
        thresholds: least score by object, instead of those that the model was stored with.
        floor: least score of any pick.
        mask: a volume of the tomogram's shape, above 0 where picks may be.
        border: Angstrom to keep clear at each face.
        device: as PyTorch names it.
        precision: "fp32", "bf16", "fp16" or "auto", which is the fastest of them on the device.
        progress: called with the share that is done, 0 to 1.

    Returns:
        run, object, x, y, z (Angstrom) and score of each pick.
    """
    keep_freed_memory()
    scores = score_map(model, tomogram, stride, device=device, precision=precision, progress=progress)
    least = model.spec.thresholds if thresholds is None else thresholds
    found = find_peaks(scores, model.spec.objects, least, floor=floor)
    return inside(found, tomogram.shape, tomogram.spacing, mask, border)
