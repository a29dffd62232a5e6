"""Metrics of a net that says of several labels whether an image has them, from its probabilities.

Each label is a question of its own: its metrics are those of two classes, with a label predicted where its
probability is above 0.5. A value that can't be measured is *missing* (NaN), and counts in no mean, as in
:mod:`relay.metrics.classification`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from relay import registry
from relay.errors import DataError
from relay.metrics.base import LabelMetric, LabelPair
from relay.metrics.installed import each, metrics

if TYPE_CHECKING:
    from torch import Tensor

RULE = (
    "a label that no sample has, or all have, has no AUROC and no balanced accuracy; sensitivity is missing where no "
    "sample has it, specificity where all have it, F1 where none has it and it was never predicted; missing values are "
    "left out of means"
)
_ADVICE = "Correct the predictions, or the table of what is true."


def multilabel(probs: Any, target: Any, more: tuple[str, ...] = ()) -> dict[str, Any]:
    """Every metric of a set of samples.

    Args:
        probs: (N, K) probabilities, of each label by itself.
        target: (N, K) zeros and ones.
        more: metrics beside those that are installed, each ``module:Class``.

    Returns:
        By metric a list over labels, or a number; of the lists the ``mean`` over labels.

    Raises:
        DataError: there is no sample, the shapes differ, or values are not what they should be.
        UserError: a plug-in metric failed.
    """
    pair = LabelPair(*_checked(probs, target))
    known = metrics(more, "multilabel")
    found = {name: _value(metric, pair) for name, metric in known.items()}
    means = {name: _mean(found[name]) for name, metric in known.items() if metric.per_label}  # type: ignore[arg-type]
    return {**found, "mean": means}


def _value(metric: LabelMetric, pair: LabelPair) -> float | list[float]:
    with registry.blamed(f"metric '{metric.name}'", metric):
        said = metric.measure(pair)
        return each(said, pair.probs.shape[1]) if metric.per_label else float(said)  # type: ignore[arg-type]


def _mean(values: list[float]) -> float:
    import torch

    return float(torch.tensor(values, dtype=torch.float64).nanmean())


def _checked(probs: Any, target: Any) -> tuple[Tensor, Tensor]:
    import torch

    found, true = (torch.as_tensor(values).detach().cpu().double() for values in (probs, target))
    if found.ndim != 2 or found.shape != true.shape or not found.numel():
        shapes = f"{tuple(found.shape)} and {tuple(true.shape)}"
        raise DataError(f"probabilities and labels of shapes {shapes}; they must be (N, K) both", _ADVICE)
    for values, odd, allowed in (
        (found, ~((found >= 0) & (found <= 1)), "a probability must be in 0..1"),
        (true, (true != 0) & (true != 1), "a label must be 0 or 1"),
    ):
        if odd.any():
            row, column = (int(place) for place in odd.nonzero()[0])
            raise DataError(f"row {row}, label {column}: {float(values[row, column]):g}; {allowed}", _ADVICE)
    return found, true.long()


class LabelBalancedAccuracy(LabelMetric):
    """The mean of ``sensitivity`` and ``specificity``; missing unless both are known."""

    name = "balanced_accuracy"
    title = "Balanced accuracy"
    meaning = "mean share of the cases and of the non-cases that were told right"

    def measure(self, labels: LabelPair) -> list[float]:
        """See :meth:`LabelMetric.measure`."""
        parts = (LabelSensitivity().measure(labels), LabelSpecificity().measure(labels))
        return [(found + left) / 2 for found, left in zip(*parts, strict=True)]


class LabelAUROC(LabelMetric):
    """Of the samples with a label against those without it."""

    name = "auroc"
    title = "AUROC"
    meaning = "chance that a case is ranked above a non-case; 0.5 is guessing"

    def measure(self, labels: LabelPair) -> list[float]:
        """See :meth:`LabelMetric.measure`."""
        from relay.metrics.class_metrics import auroc

        return [auroc(score, true > 0) for score, true in zip(labels.probs.T, labels.target.T, strict=True)]


class LabelF1(LabelMetric):
    """``2 TP / (2 TP + FP + FN)``."""

    name = "f1"
    title = "F1"
    meaning = "balance of finding cases and of not raising false alarms"

    def measure(self, labels: LabelPair) -> list[float]:
        """See :meth:`LabelMetric.measure`."""
        hits, said, true = labels.hits, labels.said.sum(0), labels.target.sum(0)
        return _shares(2 * hits, said + true)


class LabelSensitivity(LabelMetric):
    """``TP / (TP + FN)``."""

    name = "sensitivity"
    title = "Sensitivity"
    meaning = "share of the cases that were found"

    def measure(self, labels: LabelPair) -> list[float]:
        """See :meth:`LabelMetric.measure`."""
        return _shares(labels.hits, labels.target.sum(0))


class LabelSpecificity(LabelMetric):
    """``TN / (TN + FP)``."""

    name = "specificity"
    title = "Specificity"
    meaning = "share of the non-cases that were left alone"

    def measure(self, labels: LabelPair) -> list[float]:
        """See :meth:`LabelMetric.measure`."""
        without = 1 - labels.target
        return _shares((without * ~labels.said).sum(0), without.sum(0))


class LabelBrier(LabelMetric):
    """The mean squared error of a label's probability, 0 to 1."""

    name = "brier"
    title = "Brier score"
    meaning = "squared error of the probability; smaller is better"
    higher_is_better = False

    def measure(self, labels: LabelPair) -> list[float]:
        """See :meth:`LabelMetric.measure`."""
        found: list[float] = (labels.probs - labels.target).square().mean(0).tolist()
        return found


def _shares(some: Tensor, all_: Tensor) -> list[float]:
    """0 of 0 is missing."""
    found: list[float] = (some.double() / all_.double()).tolist()
    return found
