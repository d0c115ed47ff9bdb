"""Several models as one: the weighted mean of their calibrated score maps, on one grid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self

import numpy as np
from numpy.typing import NDArray

from tomopick.errors import DataError
from tomopick.inference.backends import model_in
from tomopick.inference.engine import MEMORY, chosen_stride, score_map
from tomopick.inference.passes import Progress
from tomopick.inference.resample import at_spacing, on_grid
from tomopick.inference.scoremap import ScoreMap
from tomopick.models.modelfile import Model
from tomopick.objects import ParticleObject
from tomopick.tomogram import Tomogram

__all__ = ["Ensemble"]


@dataclass(frozen=True, eq=False)
class Ensemble:
    """One or more models for the same objects, and what each counts.

    Attributes:
        models: radii and the order of objects are the first one's.
        shares: weights that sum to 1.
    """

    models: tuple[Model, ...]
    shares: tuple[float, ...]

    @classmethod
    def of(cls, models: Model | Sequence[Model], weights: Sequence[float] | None = None) -> Self:
        """Models with their weights, by default all alike.

        Raises:
            DataError: there are no models, they find different objects, or the weights are not one number above 0 for
                each.
        """
        together = (models,) if isinstance(models, Model) else tuple(models)
        if not together:
            raise DataError("there are no models to pick with; give at least one")
        for other in together[1:]:
            _check_same_objects(together[0], other)
        given = np.ones(len(together)) if weights is None else np.asarray(weights, dtype=np.float64)
        if given.shape != (len(together),):
            raise DataError(f"{given.size} weights for {len(together)} models; give one for each")
        if not (np.isfinite(given) & (given > 0)).all():
            raise DataError(f"the weights {', '.join(f'{w:g}' for w in given)} are not all numbers above 0")
        return cls(together, tuple(float(share) for share in given / given.sum()))

    def in_backend(self, backend: str, *, device: str = "cpu", dtype: str = "auto") -> Self:
        """The same models with their networks in a backend; "auto" is the fastest for each.

        Raises:
            TomopickError: it is unknown, not installed, or does not go with device and dtype.
        """
        return replace(self, models=tuple(model_in(one, backend, device=device, dtype=dtype) for one in self.models))

    @property
    def objects(self) -> tuple[ParticleObject, ...]:
        """What is found."""
        return self.models[0].spec.objects

    def floors(self, floor: float) -> dict[str, float]:
        """The calibrated score, by object, that a raw score stands for: the weighted mean over the models."""
        return self._mean([self._floors_of(model, floor) for model in self.models])

    def thresholds(self, floor: float) -> dict[str, float]:
        """The weighted mean of the models' thresholds, by object; a model without one counts with its floor."""
        return self._mean([self._floors_of(model, floor) | model.spec.thresholds for model in self.models])

    def score_map(
        self,
        tomogram: Tomogram,
        stride: int | None = None,
        *,
        augment: int = 1,
        device: str = "cpu",
        dtype: str = "fp32",
        memory: float = MEMORY,
        progress: Progress | None = None,
    ) -> ScoreMap:
        """The weighted mean of the models' maps, each calibrated object by object.

        The grid is the finest of all, in voxels of the first model; the maps of the others are interpolated linearly.
        No more than two maps are held at once.

        Args:
            tomogram: any spacing.
            stride: voxels between scores, each model's own; None means for each 4, or its network's where that is
                finer.
            augment: orientations of the tomogram to average over, for each model.
            device: as PyTorch names it.
            dtype, memory: as for `tomopick.inference.engine.score_map`.
            progress: called with the share that is done, 0 to 1.

        Raises:
            TomopickError: the stride does not fit one of the networks, or a model's training saw fewer orientations.
        """
        first = at_spacing(tomogram, self.models[0].spec.spacing)
        steps = [chosen_stride(m.network, stride) * at_spacing(tomogram, m.spec.spacing).spacing for m in self.models]
        finest = max(1, int(min(steps) / first.spacing + 1e-6))
        z, y, x = (-(-n // finest) for n in first.shape)
        total = np.zeros((len(self.objects) + 1, z, y, x), np.float32)
        plans: list[str] = []
        for done, (model, share) in enumerate(zip(self.models, self.shares, strict=True)):

            def tell(part: float, done: int = done) -> None:
                if progress is not None:
                    progress((done + part) / len(self.models))

            # not named here, or it would still be there while the next is made
            plan = self._add(
                total,
                finest * first.spacing,
                score_map(
                    model, tomogram, stride, augment=augment, device=device, dtype=dtype, memory=memory, progress=tell
                ),
                model,
                share,
            )
            plans.append(plan)
        names = tuple(o.name for o in self.objects)
        return ScoreMap(total, finest, (0.0, 0.0, 0.0), first.spacing, names, first.name, "; ".join(plans))

    def _add(self, total: NDArray[np.float32], step: float, scores: ScoreMap, model: Model, share: float) -> str:
        """Add a model's map to the total, whose points are ``step`` Angstrom apart, class by class; return its plan."""
        factor = step / (scores.stride * scores.spacing)
        counts = (total.shape[1], total.shape[2], total.shape[3])
        for place, particle in enumerate(self.objects):
            part = scores.array[scores.objects.index(particle.name)]
            if particle.name in model.spec.calibration:
                part = model.spec.calibration[particle.name].apply(part)
            total[place] += np.float32(share) * on_grid(part, factor, counts)
        total[-1] += np.float32(share) * on_grid(scores.array[-1], factor, counts)
        return scores.plan

    def _floors_of(self, model: Model, floor: float) -> dict[str, float]:
        known = model.spec.calibration
        names = [o.name for o in self.objects]
        return {n: float(known[n].apply(np.array([floor]))[0]) if n in known else floor for n in names}

    def _mean(self, values: Sequence[dict[str, float]]) -> dict[str, float]:
        pairs = list(zip(self.shares, values, strict=True))
        return {o.name: sum(share * by_name[o.name] for share, by_name in pairs) for o in self.objects}


def _check_same_objects(first: Model, other: Model) -> None:
    here, there = ({o.name for o in m.spec.objects} for m in (first, other))
    if here != there:
        only = [
            f"only '{model.name}' finds {', '.join(sorted(names))}"
            for model, names in ((first, here - there), (other, there - here))
            if names
        ]
        raise DataError(f"models that pick together must find the same objects: {'; '.join(only)}")
