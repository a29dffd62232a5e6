"""Metrics of a classifier, from its probabilities. torchmetrics does the sums.

A class is *missing* (NaN), and left out of means, where it can't be measured: ``auroc`` of a class without a sample or
with all of them; ``sensitivity`` without a sample of it; ``specificity`` where there is nothing else; ``f1`` where it
was neither true nor predicted. ``brier`` is the sum over classes (Brier 1950), 0 to 2, so twice what is usual for two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from relay.errors import DataError
from relay.metrics.calibration import CalibrationBins

PER_CLASS = ("auroc", "f1", "sensitivity", "specificity")
OVERALL = ("accuracy", "balanced_accuracy", "brier", "ece")
METRICS = (*OVERALL[:2], *PER_CLASS, *OVERALL[2:])
RULE = (
    "a class without any sample, or with all of them, has no AUROC; sensitivity is missing where no sample is of the "
    "class, specificity where all are, F1 where none is and none was predicted; missing values are left out of means"
)
SUM = 1e-3
"""How far a sample's probabilities may be from adding up to 1: they may have been rounded."""


def classification(probs: Any, target: Any) -> dict[str, Any]:
    """All metrics of a set of samples.

    Args:
        probs: (N, C) probabilities; each row adds up to 1.
        target: (N,) class indices 0..C-1.

    Returns:
        ``accuracy``, ``balanced_accuracy`` (mean of ``sensitivity``), ``brier``, ``ece``: numbers. ``auroc`` (one class
        against all others), ``f1``, ``sensitivity``, ``specificity``: a list over classes. ``mean``: of each of these
        lists, over classes. ``bins``: see :class:`~relay.metrics.calibration.CalibrationBins`. ``confusion``: (C, C)
        counts, a row a true class, a column a predicted one.

    Raises:
        DataError: there is no sample, the shapes do not fit, or values are not what they should be.
    """
    from torchmetrics.functional import classification as sums

    probs, target = _checked(probs, target)
    classes = probs.shape[1]
    confusion = sums.multiclass_confusion_matrix(probs, target, classes)
    true, named, hits = confusion.sum(1), confusion.sum(0), confusion.diagonal()
    each = {
        "f1": _known(sums.multiclass_f1_score(probs, target, classes, average=None), true + named > 0),
        "sensitivity": _known(sums.multiclass_recall(probs, target, classes, average=None), true > 0),
        "specificity": _known(sums.multiclass_specificity(probs, target, classes, average=None), true < len(target)),
        "auroc": [_auroc(probs[:, label], target == label) for label in range(classes)],
    }
    means = {name: float(torch.tensor(values).nanmean()) for name, values in each.items()}
    calibration = CalibrationBins(classes)
    calibration.update(probs, target)
    return {
        "accuracy": float(hits.sum() / len(target)),
        "balanced_accuracy": means["sensitivity"],
        "brier": float(brier(probs, target).mean()),
        **each,
        **calibration.compute(),
        "mean": means,
        "confusion": confusion.tolist(),
    }


def brier(probs: Tensor, target: Tensor) -> Tensor:
    """Brier score of each sample: (N, C) and (N,) to (N,), 0 (sure and right) to 2 (sure and wrong)."""
    return (probs - torch.nn.functional.one_hot(target, probs.shape[1])).square().sum(1)


def flaws(probs: Tensor, names: Sequence[str] | None = None) -> Iterator[tuple[int, str]]:
    """What is wrong with samples' probabilities, (N, C): the row, and a text; the first flaw of each.

    Args:
        names: of the classes; None: their numbers.
    """
    sums = probs.sum(1)
    for row in ((probs < 0) | (probs > 1) | ~probs.isfinite()).any(1).logical_or((sums - 1).abs() > SUM).nonzero():
        index = int(row)
        for label, value in enumerate(probs[index].tolist()):
            if not 0 <= value <= 1:
                yield index, f"probability of class {names[label] if names else label} is {value:g}; it must be in 0..1"
                break
        else:
            yield index, f"probabilities add up to {float(sums[index]):g}; they must add up to 1"


def _checked(probs: Any, target: Any) -> tuple[Tensor, Tensor]:
    probs, target = torch.as_tensor(probs).detach().cpu().double(), torch.as_tensor(target).detach().cpu()
    if probs.ndim != 2 or target.shape != probs.shape[:1] or not probs.numel():
        shapes = f"{tuple(probs.shape)} and {tuple(target.shape)}"
        raise DataError(f"probabilities and classes of shapes {shapes}; they must be (N, C) and (N,)", _ADVICE)
    for row, text in flaws(probs):
        raise DataError(f"row {row}: {text}", _ADVICE)
    wrong = (target < 0) | (target >= probs.shape[1])
    if target.is_floating_point() or wrong.any():
        row = int(wrong.int().argmax())
        raise DataError(f"row {row}: class {target[row].item()} is not one of 0 to {probs.shape[1] - 1}", _ADVICE)
    return probs, target.long()


_ADVICE = "Correct the predictions, or the table of what is true."


def _known(values: Tensor, known: Tensor) -> list[float]:
    """What torchmetrics calls 0 for want of samples is missing."""
    found: list[float] = torch.where(known, values.double(), torch.nan).tolist()
    return found


def _auroc(score: Tensor, positive: Tensor) -> float:
    from torchmetrics.functional.classification import binary_auroc

    if positive.all() or not positive.any():
        return float("nan")
    return float(binary_auroc(score, positive.long()))
