"""Metrics of predicted numbers: MAE, RMSE and the coefficient of determination.

torchmetrics does the sums, but not of R²: its ``r2_score`` (1.9) takes sums of squares below 1e-4 for 0, and says 1 of
numbers that are small or close together.
"""

from __future__ import annotations

from typing import Any

import torch

from relay.errors import DataError

METRICS = ("mae", "rmse", "r2")
RULE = "R² is missing where there are fewer than two samples or all truths are equal"


def regression(pred: Any, truth: Any) -> dict[str, float]:
    """``mae`` and ``rmse`` in the unit of the numbers, ``r2`` up to 1 (0: no better than their mean; may be negative).

    Args:
        pred: (N,) numbers, NumPy, torch or a list.
        truth: (N,) numbers, likewise.

    Raises:
        DataError: there is no sample, the lengths differ, or a number is not finite.
    """
    from torchmetrics.functional import mean_absolute_error, mean_squared_error

    found, true = (torch.as_tensor(values).detach().cpu().double() for values in (pred, truth))
    if found.ndim != 1 or found.shape != true.shape or not len(found):
        shapes = f"{tuple(found.shape)} and {tuple(true.shape)}"
        raise DataError(f"predictions and truths of shapes {shapes}; they must be (N,) both", _ADVICE)
    for row in (~(found.isfinite() & true.isfinite())).nonzero():
        index = int(row)
        values = f"prediction {float(found[index]):g}, truth {float(true[index]):g}"
        raise DataError(f"row {index}: {values}; both must be finite", _ADVICE)
    left, whole = (found - true).square().sum(), (true - true.mean()).square().sum()
    known = bool((true != true[0]).any()) and bool(whole > 0)
    return {
        "mae": float(mean_absolute_error(found, true)),
        "rmse": float(mean_squared_error(found, true, squared=False)),
        "r2": float(1 - left / whole) if known else float("nan"),
    }


_ADVICE = "Correct the predictions, or the table of what is true."
