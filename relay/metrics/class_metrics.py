"""The metrics of a classifier, each a plug-in. torchmetrics does the sums; see :mod:`relay.metrics.classification`."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.metrics.base import ClassMetric, ClassPair

if TYPE_CHECKING:
    from torch import Tensor


class Accuracy(ClassMetric):
    """The share of samples whose class was predicted."""

    name = "accuracy"
    title = "Accuracy"
    meaning = "share of images that were classed right"

    def measure(self, classes: ClassPair) -> float:
        """See :meth:`ClassMetric.measure`."""
        return float(classes.confusion.diagonal().sum() / len(classes.target))


class BalancedAccuracy(ClassMetric):
    """The mean of ``sensitivity`` over the classes that occur (Brodersen et al. 2010, 10.1109/ICPR.2010.764)."""

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
        return [auroc(score, classes.target == label) for label, score in pairs]


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
        return float(classes.calibration["ece"])


def brier(probs: Tensor, target: Tensor) -> Tensor:
    """Brier score of each sample: (N, C) and (N,) to (N,), 0 (sure and right) to 2 (sure and wrong)."""
    import torch

    return (probs - torch.nn.functional.one_hot(target, probs.shape[1])).square().sum(1)


def _known(values: Tensor, known: Tensor) -> list[float]:
    """What torchmetrics calls 0 for want of samples is missing."""
    import torch

    found: list[float] = torch.where(known, values.double(), torch.nan).tolist()
    return found


def auroc(score: Tensor, positive: Tensor) -> float:
    """AUROC of one question: scores (N,) and bool (N,); NaN where all answers are the same."""
    from torchmetrics.functional.classification import binary_auroc

    if positive.all() or not positive.any():
        return float("nan")
    return float(binary_auroc(score, positive.long()))
