"""Metrics of a classifier, from its probabilities. torchmetrics does the sums.

A value that can't be measured is *missing* (NaN), and counts in no mean: ``auroc`` of a class that no sample, or every
sample, belongs to; ``sensitivity`` of a class without samples; ``specificity`` of a class that all samples belong to;
``f1`` of a class that is neither true nor predicted anywhere. ``brier`` is the sum over classes (Brier 1950), from 0 to
2: for two classes, twice the usual value.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from relay import registry
from relay.errors import DataError
from relay.metrics.base import ClassMetric, ClassPair
from relay.metrics.installed import each, metrics

RULE = (
    "a class without any sample, or with all of them, has no AUROC; sensitivity is missing where no sample is of the "
    "class, specificity where all are, F1 where none is and none was predicted; missing values are left out of means"
)
SUM = 1e-3
"""How far a sample's probabilities may be from adding up to 1: they may have been rounded."""


def classification(probs: Any, target: Any, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every metric of a set of samples.

    Args:
        probs: (N, C) probabilities; each row adds up to 1.
        target: (N,) class indices 0..C-1.
        more: metrics beside those that are installed, each ``module:Class``.

    Returns:
        By metric a number, or a list over classes; of these lists the ``mean`` over classes. ``bins``: see
        :class:`~relay.metrics.calibration.CalibrationBins`. ``confusion``: (C, C) counts, a row for each true class, a
        column for each predicted one.

    Raises:
        DataError: there is no sample, the shapes do not fit, or values are not what they should be.
        UserError: a plug-in metric failed.
    """
    pair = ClassPair(*_checked(probs, target))
    known = metrics(more, "classification")
    found = {name: _value(metric, pair) for name, metric in known.items()}
    means = {name: float(torch.tensor(found[name]).nanmean()) for name, metric in known.items() if metric.per_class}
    return {**found, "bins": pair.calibration["bins"], "mean": means, "confusion": pair.confusion.tolist()}


def _value(metric: ClassMetric, pair: ClassPair) -> float | list[float]:
    with registry.blamed(f"metric '{metric.name}'", metric):
        said = metric.measure(pair)
        return each(said, pair.probs.shape[1]) if metric.per_class else float(said)  # type: ignore[arg-type]


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
