"""Metrics of predicted numbers: MAE, RMSE and the coefficient of determination.

torchmetrics computes them, except R²: its ``r2_score`` (1.9) counts sums of squares below 1e-4 as 0, and returns 1 for
numbers that are small or close together.
"""

from __future__ import annotations

from math import inf, nan
from typing import Any

from relay import registry
from relay.errors import DataError
from relay.metrics.base import NumberMetric, NumberPair
from relay.metrics.installed import metrics

RULE = "R² is missing where there are fewer than two samples or all truths are equal"


def regression(pred: Any, truth: Any, more: tuple[str, ...] = ()) -> dict[str, float]:
    """Every metric of a set of predicted numbers.

    Args:
        pred: (N,) numbers, NumPy, torch or a list.
        truth: (N,) numbers, likewise.
        more: metrics beside those that are installed, each ``module:Class``.

    Raises:
        DataError: there is no sample, the lengths differ, or a number is not finite.
        UserError: a plug-in metric failed.
    """
    import torch

    found, true = (torch.as_tensor(values).detach().cpu().double() for values in (pred, truth))
    if found.ndim != 1 or found.shape != true.shape or not len(found):
        shapes = f"{tuple(found.shape)} and {tuple(true.shape)}"
        raise DataError(f"predictions and truths of shapes {shapes}; they must be (N,) both", _ADVICE)
    for row in (~(found.isfinite() & true.isfinite())).nonzero():
        index = int(row)
        values = f"prediction {float(found[index]):g}, truth {float(true[index]):g}"
        raise DataError(f"row {index}: {values}; both must be finite", _ADVICE)
    pair = NumberPair(found, true)
    return {name: _value(metric, pair) for name, metric in metrics(more, "regression").items()}


def _value(metric: NumberMetric, pair: NumberPair) -> float:
    with registry.blamed(f"metric '{metric.name}'", metric):
        return float(metric.measure(pair))


class MAE(NumberMetric):
    """The mean absolute error, in the unit of the numbers."""

    name = "mae"
    title = "MAE"
    meaning = "mean absolute error; smaller is better"
    bounds = (0.0, inf)
    higher_is_better = False

    def measure(self, numbers: NumberPair) -> float:
        """See :meth:`NumberMetric.measure`."""
        from torchmetrics.functional import mean_absolute_error

        return float(mean_absolute_error(numbers.pred, numbers.truth))


class RMSE(NumberMetric):
    """The root of the mean squared error, in the unit of the numbers."""

    name = "rmse"
    title = "RMSE"
    meaning = "root of the mean squared error; smaller is better"
    bounds = (0.0, inf)
    higher_is_better = False

    def measure(self, numbers: NumberPair) -> float:
        """See :meth:`NumberMetric.measure`."""
        from torchmetrics.functional import mean_squared_error

        return float(mean_squared_error(numbers.pred, numbers.truth, squared=False))


class R2(NumberMetric):
    """The coefficient of determination: 0 is no better than the mean of the truths, and it may be negative."""

    name = "r2"
    title = "R²"
    meaning = "share of the variance that is explained; 1 is all"
    bounds = (-inf, 1.0)

    def measure(self, numbers: NumberPair) -> float:
        """See :meth:`NumberMetric.measure`."""
        pred, truth = numbers.pred, numbers.truth
        left, whole = (pred - truth).square().sum(), (truth - truth.mean()).square().sum()
        known = bool((truth != truth[0]).any()) and bool(whole > 0)
        return float(1 - left / whole) if known else nan


_ADVICE = "Correct the predictions, or the table of what is true."
