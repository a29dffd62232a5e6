"""Metrics of a classifier, from its probabilities. torchmetrics does the sums.

A class is *missing* (NaN), and left out of means, where it can't be measured: ``auroc`` of a class without a sample or
with all of them; ``sensitivity`` without a sample of it; ``specificity`` where there is nothing else; ``f1`` where it
was neither true nor predicted. ``brier`` is the sum over classes (Brier 1950), 0 to 2, so twice what is usual for two.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING, Any

from relay import registry
from relay.errors import DataError
from relay.metrics.base import ClassMetric, ClassPair, each, metrics

if TYPE_CHECKING:
    from torch import Tensor

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
        :class:`~relay.metrics.calibration.CalibrationBins`. ``confusion``: (C, C) counts, a row a true class, a column
        a predicted one.

    Raises:
        DataError: there is no sample, the shapes do not fit, or values are not what they should be.
        UserError: a metric of somebody's own failed.
    """
    import torch

    pair = ClassPair(*_checked(probs, target))
    known = metrics(more, "classification")
    found = {name: _value(metric, pair) for name, metric in known.items()}
    means = {name: float(torch.tensor(found[name]).nanmean()) for name, metric in known.items() if metric.per_class}
    bins = _calibration(pair)["bins"]
    return {**found, "bins": bins, "mean": means, "confusion": pair.confusion.tolist()}


def _value(metric: ClassMetric, pair: ClassPair) -> float | list[float]:
    with registry.blamed(f"metric '{metric.name}'", metric):
        said = metric.measure(pair)
        return each(said, pair.probs.shape[1]) if metric.per_class else float(said)  # type: ignore[arg-type]


def _calibration(pair: ClassPair) -> dict[str, Any]:
    from relay.metrics.calibration import CalibrationBins

    bins = CalibrationBins(pair.probs.shape[1])
    bins.update(pair.probs, pair.target)
    return bins.compute()


class Accuracy(ClassMetric):
    """The share of samples whose class was named."""

    name = "accuracy"
    title = "Accuracy"
    meaning = "share of images that were classed right"

    def measure(self, classes: ClassPair) -> float:
        """See :meth:`ClassMetric.measure`."""
        return float(classes.confusion.diagonal().sum() / len(classes.target))


class BalancedAccuracy(ClassMetric):
    """The mean of ``sensitivity`` over the classes that there are (Brodersen et al. 2010, 10.1109/ICPR.2010.764)."""

    name = "balanced_accuracy"
    title = "Balanced accuracy"
    meaning = "mean share of each class that was classed right"

    def measure(self, classes: ClassPair) -> float:
        """See :meth:`ClassMetric.measure`."""
        import torch

        return float(torch.tensor(Sensitivity().measure(classes)).nanmean())


class AUROC(ClassMetric):
    """Of a class against all others (Hanley and McNeil 1982, 10.1148/radiology.143.1.7063747)."""

    name = "auroc"
    title = "AUROC"
    meaning = "chance that a case is ranked above a non-case; 0.5 is guessing"
    per_class = True

    def measure(self, classes: ClassPair) -> list[float]:
        """See :meth:`ClassMetric.measure`."""
        pairs = enumerate(classes.probs.unbind(1))
        return [_auroc(score, classes.target == label) for label, score in pairs]


class F1(ClassMetric):
    """``2 TP / (2 TP + FP + FN)``."""

    name = "f1"
    title = "F1"
    meaning = "balance of finding cases and of not raising false alarms"
    per_class = True

    def measure(self, classes: ClassPair) -> list[float]:
        """See :meth:`ClassMetric.measure`."""
        from torchmetrics.functional.classification import multiclass_f1_score

        there = classes.confusion.sum(1) + classes.confusion.sum(0) > 0
        found = multiclass_f1_score(classes.probs, classes.target, classes.probs.shape[1], average=None)
        return _known(found, there)


class Sensitivity(ClassMetric):
    """``TP / (TP + FN)``."""

    name = "sensitivity"
    title = "Sensitivity"
    meaning = "share of the cases that were found"
    per_class = True

    def measure(self, classes: ClassPair) -> list[float]:
        """See :meth:`ClassMetric.measure`."""
        from torchmetrics.functional.classification import multiclass_recall

        found = multiclass_recall(classes.probs, classes.target, classes.probs.shape[1], average=None)
        return _known(found, classes.confusion.sum(1) > 0)


class Specificity(ClassMetric):
    """``TN / (TN + FP)``."""

    name = "specificity"
    title = "Specificity"
    meaning = "share of the non-cases that were left alone"
    per_class = True

    def measure(self, classes: ClassPair) -> list[float]:
        """See :meth:`ClassMetric.measure`."""
        from torchmetrics.functional.classification import multiclass_specificity

        found = multiclass_specificity(classes.probs, classes.target, classes.probs.shape[1], average=None)
        return _known(found, classes.confusion.sum(1) < len(classes.target))


class Brier(ClassMetric):
    """The mean of :func:`brier` over the samples."""

    name = "brier"
    title = "Brier score"
    meaning = "squared error of the probabilities; smaller is better"
    bounds = (0.0, 2.0)
    higher_is_better = False

    def measure(self, classes: ClassPair) -> float:
        """See :meth:`ClassMetric.measure`."""
        return float(brier(classes.probs, classes.target).mean())


class ECE(ClassMetric):
    """The expected calibration error, see :mod:`relay.metrics.calibration`."""

    name = "ece"
    title = "ECE"
    meaning = "expected calibration error; smaller is better"
    higher_is_better = False

    def measure(self, classes: ClassPair) -> float:
        """See :meth:`ClassMetric.measure`."""
        return float(_calibration(classes)["ece"])


def brier(probs: Tensor, target: Tensor) -> Tensor:
    """Brier score of each sample: (N, C) and (N,) to (N,), 0 (sure and right) to 2 (sure and wrong)."""
    import torch

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
    import torch

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
    import torch

    found: list[float] = torch.where(known, values.double(), torch.nan).tolist()
    return found


def _auroc(score: Tensor, positive: Tensor) -> float:
    from torchmetrics.functional.classification import binary_auroc

    if positive.all() or not positive.any():
        return float("nan")
    return float(binary_auroc(score, positive.long()))
