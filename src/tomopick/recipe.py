"""Every choice of a training, in one documented and checked object."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

__all__ = ["Augmentation", "Init", "Normalisation", "Recipe"]


Init = Literal["simulated"] | Path | None
"""What weights to start from: those that come with tomopick, a model's, or fresh ones."""


class _Frozen(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Normalisation(_Frozen):
    """How densities are scaled before a network sees them, in training and in use."""

    method: Literal["robust", "standard"] = Field(
        default="robust", description="robust: median and 1.4826 x median absolute deviation; standard: mean and sd."
    )
    clip: float = Field(default=6.0, gt=0, description="Scaled densities are cut at plus and minus this.")


class Augmentation(_Frozen):
    """Random changes of training crops."""

    flips: bool = Field(default=True, description="Mirror along z, y and x.")
    rotations: Literal["none", "tilt-axis", "z", "all"] = Field(
        default="tilt-axis",
        description="tilt-axis: half turns, which leave the missing wedge where it is; z: also quarter turns about z; "
        "all: every quarter turn of the cube.",
    )
    turn: float = Field(
        default=0.0, ge=0, le=180, description="Turn four crops of five about z by up to this, in degrees, either way."
    )
    lean: float = Field(default=0.0, ge=0, le=90, description="And these about y and x, by up to this.")
    scale: float = Field(default=0.0, ge=0, lt=1, description="And make these larger or smaller by up to this share.")
    contrast: float = Field(default=0.2, ge=0, description="Scale by 1 +- this.")
    brightness: float = Field(default=0.1, ge=0, description="Shift by +- this, in deviations.")
    noise: float = Field(default=0.3, ge=0, description="Gaussian noise of up to this deviation, on every second crop.")
    shot_noise: float = Field(
        default=0.0,
        ge=0,
        description="On every second crop, noise of the crop's own spectrum of up to this times its deviation, scaled "
        "back to it: fewer electrons.",
    )
    blur: float = Field(default=0.0, ge=0, description="Gaussian blur of up to this many voxels, on every third crop.")
    spectrum: float = Field(
        default=0.0,
        ge=0,
        description="On every second crop, a gain that changes smoothly with frequency, by this deviation at the "
        "highest: another defocus, envelope or sharpness.",
    )
    wedge: float = Field(
        default=0.0,
        ge=0,
        lt=60,
        description="On three crops of four, lose the tilts beyond 60 less up to this, in degrees, on each side by "
        "itself or on both alike: to nothing on one half of them, to noise on the other.",
    )


class Recipe(_Frozen):
    """A training of any network.

    The defaults are those of `tomopick train` with CryoET3DCNN; a network's class tells in ``recipe`` where its own
    differ.
    """

    model: str = Field(default="cryoet3dcnn", description="Network, as `tomopick memory --help` lists them.")
    arguments: dict[str, Any] = Field(default_factory=dict, description="Arguments of the network.")
    init: Init = Field(
        default=None,
        description="Model of the same network, whose weights, spacing and normalisation to start from; simulated: the "
        "weights that come with tomopick, trained on its phantoms; null: fresh weights.",
    )
    epochs: int = Field(default=50, ge=1, description="Epochs; each training particle is seen once in each.")
    time_limit: float | None = Field(default=None, gt=0, description="Minutes; the schedule is fitted to them.")
    batch_size: int = Field(default=4, ge=1, description="Crops in a step.")
    positions: int = Field(
        default=2, ge=1, description="Score positions along each edge of a crop; neighbours share their features."
    )
    background: float = Field(
        default=0.125,
        ge=0,
        description="Background crops for each particle crop; each holds positions^3 windows, so 0.125 with two "
        "positions is as many background windows as particles.",
    )
    class_balanced: bool = Field(
        default=False, description="Draw as many crops around particles of each object, rather than each particle once."
    )
    target: Literal["ball", "gaussian"] = Field(
        default="ball",
        description="ball: a position near a particle's centre is the particle; gaussian: it is so the less the "
        "further it is from it, by a Gaussian of half the radius at which it stops, and background for the rest.",
    )
    positive_radius: float = Field(
        default=4.0,
        gt=0,
        description="Voxels around a particle's centre that count as it, at most; see positive_share.",
    )
    positive_share: float = Field(
        default=0.5, gt=0, le=1, description="Share of a particle's radius that counts as it, at most."
    )
    clear: float = Field(
        default=2.0, ge=0, description="Background keeps this many voxels clear of where a particle counts as itself."
    )
    ignore_unlabelled: float | None = Field(
        default=None,
        gt=0,
        description="Where only some particles are annotated: Angstrom from the nearest annotated one within which "
        "background counts; beyond, nothing does.",
    )
    hard_negatives: float = Field(default=0.5, ge=0, le=1, description="Share of background crops that is mined.")
    mine_from: int = Field(default=5, ge=0, description="First epoch that mines hard negatives.")
    mine_every: int = Field(default=5, ge=1, description="Epochs between minings.")
    learning_rate: float = Field(
        default=1e-3, gt=0, description="AdamW's, at its highest; from there it falls to a hundredth, by half a cosine."
    )
    weight_decay: float = Field(default=1e-2, ge=0, description="AdamW's.")
    warmup: float = Field(default=0.03, ge=0, lt=1, description="Share of the schedule in which the rate rises.")
    gradient_clip: float = Field(
        default=1.0, gt=0, description="Longest gradient of a step; longer ones are shortened."
    )
    ema: float = Field(default=0.98, ge=0, lt=1, description="Decay of the moving average of the weights.")
    alpha: float = Field(default=1.0, gt=0, description="Focal loss alpha.")
    gamma: float = Field(default=2.0, ge=0, description="Focal loss gamma.")
    tversky: float = Field(
        default=0.0, ge=0, description="Weight of a Tversky loss (alpha 0.3, beta 0.7) added to the focal loss."
    )
    mixup: float = Field(
        default=0.0, ge=0, description="Mix crops in pairs, by shares drawn from Beta(this, this); 0 mixes none."
    )
    label_smoothing: float = Field(
        default=0.0, ge=0, lt=1, description="Share of each label that is spread over all classes."
    )
    balance: float = Field(
        default=0.5, ge=0, le=1, description="Classes weigh 1 / count^this: 0 not balanced, 1 all alike."
    )
    background_weight: float = Field(
        default=1.0, gt=0, description="Weight of all background positions together, over that of all particles."
    )
    object_weight: float | None = Field(
        default=None,
        gt=0,
        description="Weight of a position of an object, one of background weighing 1; takes the place of "
        "background_weight.",
    )
    known_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="Share of object_weight for objects that the model to start from knows by name: these need not be "
        "called likely before they are found.",
    )
    keep: Literal["best", "last"] = Field(
        default="best",
        description="best: the epoch with the lowest validation loss makes the model; last: the last one does, and "
        "validation chooses nothing but thresholds.",
    )
    patience: int = Field(
        default=15, ge=1, description="With keep best, stop after this many epochs without a better validation loss."
    )
    beta: float = Field(
        default=4.0, gt=0, description="Thresholds are for the best F-beta: how much more a miss weighs than junk."
    )
    threshold_share: float = Field(
        default=1.0,
        gt=0,
        le=1,
        description="With a beta above 1, thresholds are this share of those that are best on the validation runs: on "
        "harder tomograms scores are lower, and below the best threshold less is lost than above it.",
    )
    at_precision: float | None = Field(
        default=None, gt=0, le=1, description="Thresholds are for this expected precision, instead."
    )
    seed: int = Field(default=0, ge=0, description="Of everything random.")
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="auto: bfloat16 where the processor has it, else float32."
    )
    normalisation: Normalisation = Field(default_factory=Normalisation)
    augmentation: Augmentation = Field(default_factory=Augmentation)
