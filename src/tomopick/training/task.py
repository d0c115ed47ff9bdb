"""What is trained, and how one step goes: the loss, the rate, the crops of an epoch, the mining of hard negatives."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pytorch_lightning import LightningModule
from torch import Tensor, nn
from torch.utils.data import DataLoader

from tomopick.data.augment import Intensity
from tomopick.data.dataset import Annotated, CropDataset
from tomopick.data.sampling import IGNORE, CropShape, Sampler
from tomopick.inference.engine import dense_pass
from tomopick.models.losses import FocalLoss, TverskyOverlap
from tomopick.recipe import Recipe

__all__ = ["DenseTask", "class_weights"]

Batch = tuple[Tensor, Tensor, Tensor, Tensor, Tensor]  # of `data.dataset.Sample`

HARD_SCORE = 0.3  # background that is this likely to be taken for a particle is worth another look
HARD_PER_RUN = 200
MINED_BOX = (16, 24, 24)  # score positions looked at in each run
# Adam moves each weight by about the rate, so a layer's output by the rate times its inputs: layers with more inputs
# than this get a rate that is as much lower (maximal update parametrisation, Yang et al. 2021). CryoET3DCNN's first
# Linear has 65536, and no rate that suits its convolutions suits it.
FAN_IN = 2048


class DenseTask(LightningModule):  # type: ignore[misc]
    """A dense classifier learning from crops.

    Everything random in an epoch follows from the recipe's seed and the epoch's number, and everything else that an
    epoch depends on is in the checkpoint, so training goes on after an interruption as if there had been none.

    Attributes:
        network: started, as by `DenseNetwork.start_training`, which gives `learning`.
        learning: by parameter name, how fast each weight learns, 0 to 1; weights that are not there learn at 1.
        known: which objects the weights know that the network starts from; none if not given.
        history: a row for each finished epoch: epoch, train_loss, train_loss_sd, val_loss, val_loss_sd (over batches),
            rate, minutes.
    """

    def __init__(
        self,
        network: Any,
        learning: dict[str, Tensor],
        recipe: Recipe,
        shape: CropShape,
        training: Sequence[Annotated],
        validation: Sequence[Annotated],
        workers: int = 0,
        known: Sequence[bool] = (),
    ) -> None:
        super().__init__()
        self.learning = learning
        self.network = network.to(memory_format=torch.channels_last_3d)
        self.recipe, self.shape, self.workers = recipe, shape, workers
        self.training_runs, self.validation_runs = training, validation
        self.sampler = self._sampler_of(training)
        weights = class_weights(training, recipe, shape.positions, known)
        self.loss = FocalLoss(recipe.alpha, recipe.gamma, weights, recipe.label_smoothing, IGNORE)
        self.overlap = TverskyOverlap(ignore_index=IGNORE) if recipe.tversky else None
        self.partial = any(run.particles.missing for run in [*training, *validation])
        self.intensity = Intensity(recipe.augmentation)
        self.history: list[dict[str, float]] = []
        self.train_losses: list[float] = []
        self.val_losses: list[float] = []
        self.best = float("inf")
        self.spent = 0.0
        self._started = time.monotonic()

    def _sampler_of(self, runs: Sequence[Annotated]) -> Sampler:
        return Sampler([r.tomogram.shape for r in runs], [r.particles for r in runs], self.shape, self.recipe)

    def minutes(self) -> float:
        """Minutes of training so far, those before an interruption included."""
        return self.spent + (time.monotonic() - self._started) / 60

    def progress(self) -> float:
        """Share of the schedule that is behind: of its steps, or of its time where that is further."""
        steps = float(self.global_step / max(1, self.trainer.estimated_stepping_batches))
        return max(steps, self.minutes() / self.recipe.time_limit) if self.recipe.time_limit else steps

    def rate(self, progress: float) -> float:
        """Learning rate: a linear rise, then half a cosine down to a hundredth."""
        warmup = self.recipe.warmup
        if progress < warmup:
            return self.recipe.learning_rate * (0.05 + 0.95 * progress / warmup)
        along = min(1.0, (progress - warmup) / (1 - warmup))
        return self.recipe.learning_rate * (0.01 + 0.99 * 0.5 * (1 + float(np.cos(np.pi * along))))

    def configure_optimizers(self) -> torch.optim.Optimizer:
        groups = [
            {"params": [p], "width": min(1.0, FAN_IN / self._inputs(name, p)), "weight_decay": self.recipe.weight_decay}
            for name, p in self.network.named_parameters()
            if p.ndim > 1
        ]
        rest = [p for p in self.network.parameters() if p.ndim <= 1]
        groups.append({"params": rest, "width": 1.0, "weight_decay": 0.0})
        # the fused step is several times faster, but undoes the scaling of float16 by itself, after the clipping
        fused = not str(self.trainer.precision).startswith("16")
        return torch.optim.AdamW(groups, lr=self.recipe.learning_rate, fused=fused)

    def _inputs(self, name: str, weight: Tensor) -> float:
        """How many inputs a layer has that learn."""
        rates = self.learning.get(name)
        return float(weight[0].numel() if rates is None else rates[0].sum())

    def optimizer_step(self, *arguments: Any, **named: Any) -> None:
        """A step in which single weights move by their own share of the way, whatever Adam makes of their gradients."""
        slow = [(self.network.get_parameter(name), rates) for name, rates in self.learning.items()]
        before = [weight.detach().clone() for weight, _ in slow]
        super().optimizer_step(*arguments, **named)
        with torch.no_grad():
            for (weight, rates), old in zip(slow, before, strict=True):
                weight.copy_(old.lerp_(weight, rates))

    def configure_gradient_clipping(self, *_: Any, **__: Any) -> None:
        nn.utils.clip_grad_norm_(self.network.parameters(), self.recipe.gradient_clip)

    def train_dataloader(self) -> DataLoader[Any]:
        crops = self.sampler.epoch(self.current_epoch)
        data = CropDataset(self.training_runs, crops, self.shape)
        return DataLoader(data, batch_size=self.recipe.batch_size, num_workers=self.workers)

    def val_dataloader(self) -> DataLoader[Any]:
        data = CropDataset(self.validation_runs, self._sampler_of(self.validation_runs).fixed(), self.shape)
        return DataLoader(data, batch_size=self.recipe.batch_size, num_workers=self.workers)

    def on_fit_start(self) -> None:
        self.learning = {name: rates.to(self.device) for name, rates in self.learning.items()}
        self._started = time.monotonic()

    def on_train_epoch_start(self) -> None:
        self.train_losses = []

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> None:
        # dropout follows from the step alone: loaders draw from the same generator, and not alike after a resume
        seed = [self.recipe.seed, 3, self.global_step, self.global_rank]
        torch.manual_seed(int(np.random.default_rng(seed).integers(2**31)))
        rate = self.rate(self.progress())
        for group in self.optimizers().optimizer.param_groups:
            group["lr"] = rate * group["width"]

    def _logits(self, crops: Tensor) -> Tensor:
        cells = self.network.embed(crops.contiguous(memory_format=torch.channels_last_3d))
        logits: Tensor = self.network.classify(cells)
        return logits

    def _loss(self, logits: Tensor, labels: Tensor, share: Tensor, possible: Tensor) -> Tensor:
        told = possible if self.partial else None, share if self.recipe.target == "gaussian" else None
        loss: Tensor = self.loss(logits, labels, *told)
        if self.overlap is not None:
            loss = loss + self.recipe.tversky * self.overlap(logits, labels, *told)
        return loss

    def training_step(self, batch: Batch, batch_idx: int) -> Tensor:
        crops, *truth, seeds = batch
        crops = self.intensity(crops, seeds.tolist())
        if self.recipe.mixup:
            # each crop with the one before it (mixup, Zhang et al. 2018)
            rng = np.random.default_rng([self.recipe.seed, 5, self.global_step, self.global_rank])
            share = float(rng.beta(self.recipe.mixup, self.recipe.mixup))
            logits = self._logits(share * crops + (1 - share) * crops.roll(1, 0))
            loss = share * self._loss(logits, *truth)
            loss = loss + (1 - share) * self._loss(logits, *(one.roll(1, 0) for one in truth))
        else:
            loss = self._loss(self._logits(crops), *truth)
        self.train_losses.append(float(loss.detach()))
        self.log("loss", loss, prog_bar=True, logger=True)
        return loss

    def on_train_batch_end(self, outputs: Any, batch: Any, batch_idx: int) -> None:
        if self.recipe.time_limit and self.progress() >= 1:
            self.trainer.should_stop = True

    def on_validation_epoch_start(self) -> None:
        self.val_losses = []

    def validation_step(self, batch: Batch, batch_idx: int) -> None:
        crops, *truth, _ = batch
        loss = self._loss(self._logits(crops), *truth)
        self.val_losses.append(float(loss))
        self.log("val_loss", loss, prog_bar=True, batch_size=len(crops), sync_dist=True)

    def on_train_epoch_end(self) -> None:
        row = {"epoch": float(self.current_epoch)}
        for name, losses in (("train_loss", self.train_losses), ("val_loss", self.val_losses)):
            row[name] = float(np.mean(losses)) if losses else float("nan")
            row[f"{name}_sd"] = float(np.std(losses)) if losses else float("nan")
        self.history.append(row | {"rate": self.rate(self.progress()), "minutes": self.minutes()})
        self._mine(self.current_epoch + 1)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        hard = [torch.from_numpy(h) for h in self.sampler.hard]
        checkpoint["tomopick"] = {
            "history": self.history, "hard": hard, "best": self.best, "minutes": self.minutes(),
        }  # fmt: skip

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        state = checkpoint["tomopick"]
        self.history, self.best, self.spent = state["history"], state["best"], state["minutes"]
        self.sampler.hard = [h.numpy() for h in state["hard"]]

    def _mine(self, epoch: int) -> None:
        """Before an epoch, find what the network takes for particles and is none, in the training runs."""
        late = epoch - self.recipe.mine_from
        if late < 0 or late % self.recipe.mine_every or not self.recipe.hard_negatives or self.progress() >= 1:
            return
        rng = np.random.default_rng([self.recipe.seed, 4, epoch])
        was_training = self.network.training
        self.network.eval()
        self.sampler.hard = [self._false_positives(run, rng) for run in self.training_runs]
        self.network.train(was_training)

    def _false_positives(self, run: Annotated, rng: np.random.Generator) -> NDArray[np.int64]:
        stride = self.network.stride
        # a random box is enough, and takes as long in a large tomogram as in a small one
        dz, dy, dx = (min(most, -(-n // stride)) for n, most in zip(run.tomogram.shape, MINED_BOX, strict=True))
        room = [n - stride * (d - 1) for n, d in zip(run.tomogram.shape, (dz, dy, dx), strict=True)]
        if run.particles.known is not None:  # nothing else is known
            about = run.particles.draw(run.tomogram.shape, rng) - stride * np.array([dz, dy, dx]) // 2
            z, y, x = (int(v) for v in np.clip(about, 0, np.array(room) - 1))
        else:
            z, y, x = (int(rng.integers(r)) for r in room)
        precision = "bf16" if "bf16" in str(self.trainer.precision) else "fp32"
        scores = dense_pass(
            self.network, run.tomogram, run.scaling, (z, y, x), (dz, dy, dx), self.device, precision
        )  # fmt: skip
        suspect = 1 - scores[run.particles.possible].sum(axis=0)
        grid = np.argwhere(suspect > HARD_SCORE)
        order = np.argsort(-suspect[tuple(grid.T)], kind="stable")
        places = grid[order] * stride + np.array([z, y, x])
        background = run.particles.labels(places) == run.particles.background
        return np.asarray(places[background][:HARD_PER_RUN], dtype=np.int64)


def class_weights(runs: Sequence[Annotated], recipe: Recipe, positions: int, known: Sequence[bool] = ()) -> Tensor:
    """Weights (objects + 1,) that balance the classes as the recipe says.

    Objects weigh 1 / count^balance, 1 on average over the particles; background weighs so that all of an epoch's
    background positions together count ``background_weight`` times as much as all particle positions. With an
    ``object_weight``, objects weigh as many times that, those that are `known` its ``known_share``, and background 1.
    """
    background = runs[0].particles.background
    counts = np.bincount(np.concatenate([r.particles.classes for r in runs]), minlength=background)[:background]
    weights = np.where(counts > 0, np.maximum(counts, 1.0) ** -recipe.balance, 0.0)
    weights = weights * counts.sum() / max((weights * counts).sum(), 1e-12)
    if recipe.object_weight is not None:
        shares = np.where(known, recipe.known_share, 1.0) if known else 1.0
        return torch.tensor([*(recipe.object_weight * shares * weights), 1.0], dtype=torch.float32)
    each = positions**3
    background_positions = counts.sum() * ((each - 1) + recipe.background * each)
    share = recipe.background_weight * counts.sum() / max(background_positions, 1.0)
    return torch.tensor([*weights, share], dtype=torch.float32)
