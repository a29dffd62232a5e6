"""Dice overlap of label maps: a pure function, and its twins that accumulate over batches and processes.

``Dice = 2 |P and T| / (|P| + |T|)`` of the voxels P predicted as a class and T truly of it (Dice 1945,
10.2307/1932409). A class with no voxel in either is *missing*, NaN, and left out of every mean: it was not
measured. A class in only one of the two has Dice 0. Background is class 0: it is measured, but never in
:func:`class_mean`. Nothing here waits for the device, so a metric costs a training loop next to nothing.

``torchmetrics.segmentation.DiceScore`` (1.9) agrees; it is not used because it makes int64 one-hot maps,
16 bytes a voxel and class, and keeps a row for each sample.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric

from relay.metrics.overlap_measures import RULE as RULE


def sizes(pred: Tensor, target: Tensor, num_classes: int) -> tuple[Tensor, Tensor]:
    """``2 |P and T|`` and ``|P| + |T|`` in voxels, each (B, C) int64.

    Args:
        pred: ``(B, *S)`` labels of any integer type; a label outside 0..C-1 is of no class.
        target: ``(B, *S)``, likewise.
        num_classes: C, background included.

    Raises:
        ValueError: the shapes differ.
    """
    if pred.shape != target.shape:
        raise ValueError(f"shapes differ: prediction {tuple(pred.shape)}, truth {tuple(target.shape)}")
    both, either = [], []
    for label in range(num_classes):  # one class at a time: a few booleans a voxel, whatever C is
        p, t = (pred == label).flatten(1), (target == label).flatten(1)
        both.append(2 * (p & t).sum(1))
        either.append(p.sum(1) + t.sum(1))
    return torch.stack(both, dim=1), torch.stack(either, dim=1)


def sample_dice(pred: Tensor, target: Tensor, num_classes: int) -> Tensor:
    """Dice of each sample and class.

    Args:
        pred: ``(B, *S)`` labels of any integer type; a label outside 0..C-1 is of no class.
        target: ``(B, *S)``, likewise.
        num_classes: C, background included.

    Returns:
        (B, C) float32 in 0..1; NaN where the class is missing.

    Raises:
        ValueError: the shapes differ.
    """
    both, either = sizes(pred, target, num_classes)
    return _ratio(both, either)


def class_mean(dice: Tensor) -> Tensor:
    """The mean over the classes but background, (..., C) to (...); missing ones left out, NaN if all are."""
    return dice[..., 1:].nanmean(dim=-1)


class _Dice(Metric):  # type: ignore[misc]
    is_differentiable = False
    higher_is_better = True
    full_state_update = False

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.num_classes = num_classes

    def class_mean(self) -> Tensor:
        """:func:`class_mean` of :meth:`compute`: the scalar to log or to choose a model by."""
        return class_mean(self.compute())


class SampleDice(_Dice):
    """Mean over samples of each class's Dice, missing ones left out: ``compute()`` gives (C,) float32.

    ``update(pred, target)`` takes what :func:`sample_dice` takes; ``kwargs`` are ``torchmetrics.Metric``'s.
    """

    total: Tensor
    measured: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.add_state("total", torch.zeros(num_classes), dist_reduce_fx="sum")
        self.add_state("measured", torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Add a batch, ``(B, *S)`` and ``(B, *S)``."""
        dice = sample_dice(pred, target, self.num_classes)
        self.total += dice.nansum(dim=0)
        self.measured += (~dice.isnan()).sum(dim=0)

    def compute(self) -> Tensor:
        """(C,) float32 in 0..1; NaN for a class missing in every sample."""
        return _ratio(self.total, self.measured)


class VoxelDice(_Dice):
    """Dice of each class over all voxels of the set, as of one volume: ``compute()`` gives (C,) float32.

    ``update(pred, target)`` takes what :func:`sample_dice` takes; ``kwargs`` are ``torchmetrics.Metric``'s.
    """

    both: Tensor
    either: Tensor

    def __init__(self, num_classes: int, **kwargs: Any) -> None:
        super().__init__(num_classes, **kwargs)
        self.add_state("both", torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")
        self.add_state("either", torch.zeros(num_classes, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, pred: Tensor, target: Tensor) -> None:
        """Add a batch, ``(B, *S)`` and ``(B, *S)``."""
        both, either = sizes(pred, target, self.num_classes)
        self.both += both.sum(dim=0)
        self.either += either.sum(dim=0)

    def compute(self) -> Tensor:
        """(C,) float32 in 0..1; NaN for a class missing in the whole set."""
        return _ratio(self.both, self.either)


def _ratio(above: Tensor, below: Tensor) -> Tensor:
    """0 / 0 is NaN, which is what missing means here."""
    return above.float() / below.float()
