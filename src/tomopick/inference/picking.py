"""Picks of one tomogram, from the model's scores to places that count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

from tomopick.calibration import calibrated, threshold_for_precision
from tomopick.errors import DataError
from tomopick.inference.augmented import trained_orientations
from tomopick.inference.engine import MEMORY, chosen_stride, keep_freed_memory, score_parts
from tomopick.inference.ensemble import Ensemble
from tomopick.inference.passes import Progress
from tomopick.inference.peaks import FLOOR, find_peaks, inside, likelier
from tomopick.inference.scoremap import Part
from tomopick.models.modelfile import Model
from tomopick.picks import Picks
from tomopick.tomogram import LazyArray, Tomogram

__all__ = ["check_picking", "pick"]


LARGE = 2**24  # bytes: blocks of memory that are given back, lest holes between them take more than they do


def pick(
    model: Model | Sequence[Model],
    tomogram: Tomogram,
    *,
    weights: Sequence[float] | None = None,
    stride: int | None = None,
    augment: int = 1,
    thresholds: Mapping[str, float] | None = None,
    expected_precision: float | None = None,
    exclusive: bool = False,
    floor: float = FLOOR,
    mask: LazyArray | None = None,
    border: float = 0.0,
    device: str | Sequence[str] = "cpu",
    dtype: str = "auto",
    backend: str = "torch",
    memory: float = MEMORY,
    each_part: Callable[[Part], None] | None = None,
    progress: Progress | None = None,
) -> Picks:
    """The particles of one tomogram.

    Of several models, the calibrated score maps are averaged, and picks are found in the mean; their thresholds are
    the weighted mean of the models' own.

    Args:
        model: a loaded model, or several that find the same objects.
        tomogram: any voxel spacing; coordinates come back in its own Angstrom.
        weights: what each model counts; all alike where there are none.
        stride: voxels between scores; None means 4, or the network's own where that is finer.
        augment: average over the tomogram in this many of the orientations that the model's training saw, the first
            being the tomogram as it is. Takes so many times as long.
        thresholds: least score by object, calibrated where the model is, instead of those that the model was stored
            with.
        expected_precision: keep, instead of any thresholds, the picks of each object down to the score where this
            share of them is expected to be right. It counts the picks of this tomogram, within mask and border.
        exclusive: keep one object in one place: the likelier, of those that pass their thresholds. Thresholds for
            F-beta are chosen without this, for with a beta above 1 a doubtful pick is worth more than none.
        floor: least raw score of any pick; of several models, the mean of what they make of it.
        mask: a volume of the tomogram's shape, above 0 where picks may be.
        border: Angstrom to keep clear at each face.
        device: as PyTorch names it; several share a tomogram as far as `score_parts` says that they can.
        dtype: "fp32", "bf16", "fp16" or "auto", which is the fastest of them on the device.
        backend: "torch", or where the extra ``export`` is installed "openvino" or "onnx", which compute in fp32 on the
            CPU, or "auto", the fastest of them for each model.
        memory: GB of the whole process to stay below, as far as `score_map` says that it can.
        each_part: called with each part of the score map as it is done, on one device from first to last; of several
            models it is their mean, calibrated, in one part.
        progress: called with the share that is done, 0 to 1.

    Returns:
        run, object, x, y, z (Angstrom) and score of each pick; the score is calibrated where the model is.

    Raises:
        TomopickError: what `check_picking` raises; a mask of another shape; an unknown dtype; a backend that is
            unknown, not installed, or does not go with device and dtype.
    """
    first = device if isinstance(device, str) else device[0]
    together = Ensemble.of(model, weights).in_backend(backend, device=first, dtype=dtype)
    check_picking(together, stride, augment, expected_precision)
    keep_freed_memory(below=LARGE)
    objects = together.objects
    if len(together.models) == 1:
        (single,) = together.models
        parts = score_parts(
            single, tomogram, stride, augment=augment, device=device, dtype=dtype, memory=memory, progress=progress
        )
        found = calibrated(find_peaks(_shown(parts, each_part), objects, floor=floor), single.spec.calibration)
    else:
        scores = together.score_map(
            tomogram, stride, augment=augment, device=first, dtype=dtype, memory=memory, progress=progress
        )
        parts = _shown([Part.whole(scores)], each_part)
        found = find_peaks(parts, objects, together.floors(floor), floor=0.0)
    found = inside(found, tomogram.shape, tomogram.spacing, mask, border)
    least = together.thresholds(floor) if thresholds is None else thresholds
    if expected_precision is not None:
        least = threshold_for_precision(found, objects, expected_precision)
    kept = Picks.join(found.where(name=o.name, min_score=least.get(o.name)) for o in objects)
    return likelier(kept, objects) if exclusive else kept


def _shown(parts: Iterable[Part], each_part: Callable[[Part], None] | None) -> Iterator[Part]:
    """The parts, each shown on its way."""
    for part in parts:
        if each_part is not None:
            each_part(part)
        yield part


def check_picking(together: Ensemble, stride: int | None, augment: int, expected_precision: float | None) -> None:
    """Whether models can pick in this way, told before a tomogram is scored, which takes long.

    Raises:
        DataError: an expected precision out of range, or of a model whose scores are not calibrated; more orientations
            than a model's training saw.
        TomopickError: a stride that does not fit a network.
    """
    for model in together.models:
        chosen_stride(model.network, stride)
        trained_orientations(model, augment)
        if expected_precision is not None:
            _check_precision(model, expected_precision)


def _check_precision(model: Model, precision: float) -> None:
    if not 0 < precision <= 1:
        raise DataError(f"the expected precision is {precision}; give a number above 0 and at most 1")
    raw = [o.name for o in model.spec.objects if o.name not in model.spec.calibration]
    if raw:
        raise DataError(
            f"the scores of model '{model.name}' are not calibrated for {', '.join(raw)}, so no precision can be "
            "expected of them; give thresholds, or train with validation runs"
        )
