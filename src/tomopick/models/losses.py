"""Losses for class scores of windows and of voxels."""

from __future__ import annotations

import torch
from monai.losses import TverskyLoss
from torch import Tensor, nn
from torch.nn import functional

__all__ = ["FocalLoss", "TverskyOverlap"]


class FocalLoss(nn.Module):
    """Multi-class focal loss, ``alpha (1 - p)^gamma CE`` (Lin et al. 2017, eq. 5), p the probability of the true class.

    At gamma 0 it is alpha times the cross-entropy, with the same meaning of weights, smoothing and ignored targets.

    Where some objects are not annotated, what is labelled background may be one of them: there the probability of the
    true class is that of background and of all these together (the marginal loss of Shi et al. 2021, after Fang and
    Yan 2020), so that neither is pushed at the cost of the other.

    Args:
        alpha: scales the loss.
        gamma: how much easy examples count less.
        class_weights: (C,) weight of each class; the mean is then taken over the weights, as in cross-entropy.
        label_smoothing: share of the target spread evenly over all classes.
        ignore_index: targets of this value count nothing.
        reduction: "mean", "sum" or "none".
    """

    def __init__(
        self,
        alpha: float = 1.0,
        gamma: float = 2.0,
        class_weights: Tensor | None = None,
        label_smoothing: float = 0.0,
        ignore_index: int = -100,
        reduction: str = "mean",
    ) -> None:
        super().__init__()
        if gamma < 0:
            raise ValueError(f"gamma is {gamma}; give 0 or more")
        if not 0 <= label_smoothing < 1:
            raise ValueError(f"label_smoothing is {label_smoothing}; give at least 0 and less than 1")
        if reduction not in ("mean", "sum", "none"):
            raise ValueError(f"reduction is '{reduction}'; give mean, sum or none")
        self.alpha, self.gamma = alpha, gamma
        self.label_smoothing, self.ignore_index, self.reduction = label_smoothing, ignore_index, reduction
        self.class_weights: Tensor | None
        self.register_buffer("class_weights", class_weights, persistent=False)

    def forward(
        self, logits: Tensor, target: Tensor, possible: Tensor | None = None, share: Tensor | None = None
    ) -> Tensor:
        """Loss of logits (B, C, ...) against class indices (B, ...): one value, or (B, ...) unreduced.

        The mean over nothing but ignored targets is 0. Logits of half precision are computed with in float32.

        Args:
            logits: the last class is background, if `possible` or `share` is given.
            target: what is right.
            possible: (B, C) whether a target of background may be this class; true for background itself. Without it,
                background is background.
            share: (B, ...) how much of a target is what it says, 0 to 1, background being the rest; 1 without it. The
                loss, and the weight, are the means of both by these shares.
        """
        if logits.dtype in (torch.float16, torch.bfloat16):
            logits = logits.float()
        log_p = functional.log_softmax(logits, dim=1)
        kept = target != self.ignore_index
        safe = torch.where(kept, target, 0)
        loss, weight = self._each(log_p, safe, possible)
        if share is not None:
            rest, weight_of_rest = self._each(log_p, torch.full_like(safe, log_p.shape[1] - 1), possible)
            loss, weight = share * loss + (1 - share) * rest, share * weight + (1 - share) * weight_of_rest
        loss = loss * kept
        if self.reduction == "none":
            return loss
        if self.reduction == "sum":
            return loss.sum()
        return loss.sum() / (weight * kept).sum().clamp_min(torch.finfo(loss.dtype).tiny)

    def _each(self, log_p: Tensor, target: Tensor, possible: Tensor | None) -> tuple[Tensor, Tensor]:
        """The loss of each position, its weight applied, and that weight; nothing is ignored."""
        weight = None if self.class_weights is None else self.class_weights.to(log_p.dtype)
        if possible is not None:
            log_p = _marginal(log_p, target, possible)
        cross_entropy = functional.nll_loss(log_p, target, weight, reduction="none")
        if self.label_smoothing:
            weights = log_p.new_ones(log_p.shape[1]) if weight is None else weight
            spread = -torch.tensordot(log_p.movedim(1, -1), weights, dims=1) / log_p.shape[1]
            cross_entropy = (1 - self.label_smoothing) * cross_entropy + self.label_smoothing * spread
        log_true = log_p.gather(1, target.unsqueeze(1)).squeeze(1)
        # -expm1 keeps 1 - p exact near p = 1, and the floor keeps the power's gradient finite for gamma below 1
        modulation = (-torch.expm1(log_true)).clamp_min(1e-12).pow(self.gamma) if self.gamma else 1.0
        loss = self.alpha * modulation * cross_entropy
        return loss, torch.ones_like(loss) if weight is None else weight[target]


def _marginal(log_p: Tensor, target: Tensor, possible: Tensor) -> Tensor:
    """The log-probabilities (B, C, ...), at background that of all possible classes together in place of each one's."""
    shape = (*possible.shape, *[1] * (log_p.ndim - 2))
    among = possible.view(shape)
    together = log_p.masked_fill(~among, -torch.inf).logsumexp(dim=1, keepdim=True).clamp_max(0.0)
    background = (target == log_p.shape[1] - 1).unsqueeze(1)
    return torch.where(background & among, together, log_p)


class TverskyOverlap(nn.Module):
    """Tversky loss (Salehi et al. 2017) of the objects' probabilities, background and ignored positions left out.

    Args:
        alpha: how much a position wrongly given to an object counts.
        beta: how much a missed one does.
        ignore_index: targets of this value count nothing.
    """

    def __init__(self, alpha: float = 0.3, beta: float = 0.7, ignore_index: int = -100) -> None:
        super().__init__()
        self.ignore_index = ignore_index
        # over the whole batch, for most crops hold but a few of the objects
        self._loss = TverskyLoss(alpha=alpha, beta=beta, batch=True)

    def forward(
        self, logits: Tensor, target: Tensor, possible: Tensor | None = None, share: Tensor | None = None
    ) -> Tensor:
        """Loss of logits (B, C, ...), the last class being background, against class indices (B, ...).

        With `possible` (B, C), objects that background may be, in an example, are left out of it. With a `share`
        (B, ...) a target is what it says by so much.
        """
        kept = (target != self.ignore_index).unsqueeze(1)
        classes = torch.where(kept.squeeze(1), target, 0)
        if possible is not None:
            kept = kept & ~possible.view(*possible.shape, *[1] * (logits.ndim - 2))
        probabilities = torch.softmax(logits.float(), dim=1) * kept
        wanted = functional.one_hot(classes, logits.shape[1]).movedim(-1, 1) * kept
        if share is not None:
            wanted = wanted * share.unsqueeze(1)
        loss: Tensor = self._loss(probabilities[:, :-1], wanted[:, :-1].float())
        return loss
