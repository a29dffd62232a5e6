"""The modules behind :mod:`relay.losses.segmentation` (imports torch and monai: import it late).

Means over voxels are taken here and not by torch, whose reducing ``nll_loss`` of images is not
deterministic on CUDA.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from monai.losses.dice import DiceLoss
from monai.networks.utils import one_hot
from torch import Tensor, nn
from torch.nn import functional as F

NEARLY_ZERO = 1e-6


class CrossEntropy(nn.Module):
    """See :class:`relay.losses.segmentation.CE`."""

    weight: Tensor | None

    def __init__(self, weight: Sequence[float] | None, label_smoothing: float) -> None:
        super().__init__()
        self.register_buffer("weight", _as_buffer(weight), persistent=False)
        self.label_smoothing = label_smoothing

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """``(B, C, *S)`` and ``(B, *S)`` to a scalar."""
        loss = F.cross_entropy(
            logits.float(), target, self.weight, reduction="none", label_smoothing=self.label_smoothing
        )
        return loss.mean() if self.weight is None else loss.sum() / self.weight[target].sum()


class BinaryCrossEntropy(nn.Module):
    """See :class:`relay.losses.classification.BCE`."""

    weight: Tensor | None

    def __init__(self, positive_weight: Sequence[float] | None) -> None:
        super().__init__()
        self.register_buffer("weight", _as_buffer(positive_weight), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """``(B, K)`` and ``(B, K)`` to a scalar."""
        return F.binary_cross_entropy_with_logits(logits.float(), target.float(), pos_weight=self.weight)


class MeanSquaredError(nn.Module):
    """See :class:`relay.losses.classification.MSE`."""

    def forward(self, found: Tensor, target: Tensor) -> Tensor:
        """``(B, 1)`` and ``(B, 1)`` to a scalar."""
        return F.mse_loss(found.float(), target.float())


class SoftDice(nn.Module):
    """See :class:`relay.losses.segmentation.Dice`."""

    def __init__(self, include_background: bool, batch_dice: bool, smooth: float) -> None:
        super().__init__()
        self.loss = DiceLoss(
            include_background=include_background,
            to_onehot_y=True,
            softmax=True,
            batch=batch_dice,
            smooth_nr=smooth,
            smooth_dr=smooth,
        )

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """``(B, C, *S)`` and ``(B, *S)`` to a scalar."""
        loss: Tensor = self.loss(logits.float(), target.unsqueeze(1))
        return loss


class ExpLogSoftDice(nn.Module):
    """The Dice term of :class:`relay.losses.segmentation.ExpLogLoss`."""

    def __init__(self, gamma: float, include_background: bool, batch_dice: bool) -> None:
        super().__init__()
        self.gamma = gamma
        self.first = 0 if include_background else 1
        self.batch_dice = batch_dice

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """``(B, C, *S)`` and ``(B, *S)`` to a scalar."""
        probability = logits.float().softmax(dim=1)
        truth = one_hot(target.unsqueeze(1), logits.shape[1])
        axes = [*([0] if self.batch_dice else []), *range(2, logits.ndim)]
        both = (probability * truth).sum(axes)
        sizes = probability.sum(axes) + truth.sum(axes)
        dice = ((2 * both + 1) / (sizes + 1))[..., self.first :]
        return power(-dice.log(), self.gamma).mean()


class ExpLogCrossEntropy(nn.Module):
    """The cross-entropy term of :class:`relay.losses.segmentation.ExpLogLoss`."""

    weight: Tensor | None

    def __init__(self, gamma: float, weight: Sequence[float] | None) -> None:
        super().__init__()
        self.gamma = gamma
        self.register_buffer("weight", _as_buffer(weight), persistent=False)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """``(B, C, *S)`` and ``(B, *S)`` to a scalar."""
        surprise = F.cross_entropy(logits.float(), target, reduction="none")
        weight = self.weight if self.weight is not None else rarity(target, logits.shape[1])
        return (weight[target] * power(surprise, self.gamma)).mean()


class WeightedSum(nn.Module):
    """The sum of losses, each times its factor; those of factor 0 are left out."""

    def __init__(self, losses: Sequence[nn.Module], factors: Sequence[float]) -> None:
        super().__init__()
        kept = [(loss, factor) for loss, factor in zip(losses, factors, strict=True) if factor > 0]
        self.losses = nn.ModuleList(loss for loss, _ in kept)
        self.factors = [factor for _, factor in kept]

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """``(B, C, *S)`` and ``(B, *S)`` to a scalar."""
        terms = [f * loss(logits, target) for loss, f in zip(self.losses, self.factors, strict=True)]
        return torch.stack(terms).sum()


class EachOutput(nn.Module):
    """See :class:`relay.losses.deep.DeepSupervision`."""

    def __init__(self, loss: nn.Module, weights: Sequence[float]) -> None:
        super().__init__()
        self.loss, self.weights = loss, tuple(weights)

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        """``(B, C, *S)``, whose attribute ``deeper`` has further outputs, and ``(B, *S)`` to a scalar."""
        pairs = list(zip(self.weights, [logits, *getattr(logits, "deeper", ())], strict=False))
        losses = torch.stack([weight * self.loss(output, target) for weight, output in pairs])
        return losses.sum() / sum(weight for weight, _ in pairs)


def power(x: Tensor, gamma: float) -> Tensor:
    """``x ** gamma`` for x >= 0, with a finite gradient at 0 where ``gamma < 1``.

    Below 1e-6 it is the straight line from the origin to the curve; a negative x (rounding) counts as 0.
    """
    line = x.clamp(min=0) * NEARLY_ZERO ** (gamma - 1)
    return torch.where(x < NEARLY_ZERO, line, x.clamp(min=NEARLY_ZERO) ** gamma)


def rarity(target: Tensor, num_classes: int) -> Tensor:
    """``sqrt(sum_k f_k / f_l)`` of each label l in ``target`` (B, *S): (C,), by Wong et al. 2018.

    A label that does not occur has the weight of one that occurs once.
    """
    counts = torch.stack([(target == label).sum() for label in range(num_classes)])
    return (target.numel() / counts.clamp(min=1)).sqrt()


def _as_buffer(weight: Sequence[float] | None) -> Tensor | None:
    return None if weight is None else torch.tensor(weight, dtype=torch.float32)
