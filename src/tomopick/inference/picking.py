"""Picks of one tomogram, from the model's scores to places that count."""

from __future__ import annotations

from collections.abc import Mapping

from tomopick.calibration import calibrated, threshold_for_precision
from tomopick.errors import DataError
from tomopick.inference.engine import Progress, keep_freed_memory, score_map
from tomopick.inference.peaks import FLOOR, find_peaks, inside
from tomopick.models.modelfile import Model, ModelSpec
from tomopick.picks import Picks
from tomopick.tomogram import LazyArray, Tomogram

__all__ = ["pick"]


def pick(
    model: Model,
    tomogram: Tomogram,
    *,
    stride: int | None = None,
    thresholds: Mapping[str, float] | None = None,
    expected_precision: float | None = None,
    floor: float = FLOOR,
    mask: LazyArray | None = None,
    border: float = 0.0,
    device: str = "cpu",
    dtype: str = "auto",
    progress: Progress | None = None,
) -> Picks:
    """The particles of one tomogram.

    Args:
        model: a loaded model.
        tomogram: any voxel spacing; coordinates come back in its own Angstrom.
        stride: voxels between scores; None means 4, or the network's own where that is finer.
        thresholds: least score by object, calibrated where the model is, instead of those that the model was stored
            with.
        expected_precision: keep, instead of any thresholds, the picks of each object down to the score where this
            share of them is expected to be right. It counts the picks of this tomogram, within mask and border.
        floor: least raw score of any pick.
        mask: a volume of the tomogram's shape, above 0 where picks may be.
        border: Angstrom to keep clear at each face.
        device: as PyTorch names it.
        dtype: "fp32", "bf16", "fp16" or "auto", which is the fastest of them on the device.
        progress: called with the share that is done, 0 to 1.

    Returns:
        run, object, x, y, z (Angstrom) and score of each pick; the score is calibrated where the model is.

    Raises:
        DataError: an expected precision out of range, or of a model whose scores are not calibrated; a mask of another
            shape.
    """
    if expected_precision is not None:
        _check_precision(model.spec, expected_precision)
    keep_freed_memory()
    scores = score_map(model, tomogram, stride, device=device, dtype=dtype, progress=progress)
    found = calibrated(find_peaks(scores, model.spec.objects, floor=floor), model.spec.calibration)
    found = inside(found, tomogram.shape, tomogram.spacing, mask, border)
    least = model.spec.thresholds if thresholds is None else thresholds
    if expected_precision is not None:
        least = threshold_for_precision(found, model.spec.objects, expected_precision)
    return Picks.join(found.where(name=o.name, min_score=least.get(o.name)) for o in model.spec.objects)


def _check_precision(spec: ModelSpec, precision: float) -> None:
    """Said before the tomogram is scored, which takes long."""
    if not 0 < precision <= 1:
        raise DataError(f"the expected precision is {precision}; give a number above 0 and at most 1")
    raw = [o.name for o in spec.objects if o.name not in spec.calibration]
    if raw:
        raise DataError(
            f"the model's scores are not calibrated for {', '.join(raw)}, so no precision can be expected of them; "
            "give thresholds, or train with validation runs"
        )
