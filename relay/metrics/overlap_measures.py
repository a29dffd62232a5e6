"""Overlap of two label maps, and the rule for absent classes. Imports no torch.

Overlap is a matter of counts, and counts add up: over the slices of a patient (subject-wise), over a set (voxel-wise).
With the voxels predicted as a class (P) and truly of it (T): ``dice = 2 |P and T| / (|P| + |T|)``,
``sensitivity = |P and T| / |T|``, ``specificity = |neither| / |not T|``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.errors import DataError

RULE = (
    "a class absent from both truth and prediction is missing; in only one of the two, dice and nsd are 0, and hd95 "
    "and asd are missing; sensitivity is missing where the truth has none of the class, specificity where it has "
    "nothing else; surfaces of the background are not measured; missing values are left out of every mean"
)
"""The rule for absent classes, as results state it."""
NAMES = ("dice", "sensitivity", "specificity")
Values = dict[str, list[float]]
"""Metric → a number for each class; NaN is missing."""


@dataclass(frozen=True, eq=False)
class Counts:
    """Voxels of each class, each (C,) int64: ``+`` puts samples together."""

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    tn: NDArray[np.int64]

    def __add__(self, other: Counts) -> Counts:
        """As of one volume made of both."""
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)


def counts(pred: Any, truth: Any, num_classes: int) -> Counts:
    """Count the voxels of one sample.

    Args:
        pred: ``(*S)`` labels of any integer type, NumPy or torch; a label outside 0..C-1 is of no class.
        truth: ``(*S)``, likewise.
        num_classes: C, background included.

    Raises:
        DataError: the shapes differ.
    """
    pred, truth = as_labels(pred), as_labels(truth)
    check_shapes(pred, truth)
    found = np.empty((4, num_classes), np.int64)
    for label in range(num_classes):  # one class at a time: two booleans a voxel, whatever C is
        p, t = pred == label, truth == label
        both, predicted, true = (int(np.count_nonzero(mask)) for mask in (p & t, p, t))
        found[:, label] = both, predicted - both, true - both, p.size - predicted - true + both
    return Counts(*found)


def overlap(counts: Counts) -> Values:
    """``dice``, ``sensitivity`` and ``specificity`` of each class, in 0..1, after :data:`RULE`."""
    tp, fp, fn, tn = counts.tp, counts.fp, counts.fn, counts.tn
    there = tp + fp + fn > 0
    return {
        "dice": _ratio(2 * tp, 2 * tp + fp + fn),
        "sensitivity": _ratio(tp, tp + fn),
        "specificity": _ratio(tn, np.where(there, tn + fp, 0)),
    }


def check_shapes(pred: NDArray[Any], truth: NDArray[Any]) -> None:
    """Refuse two maps that are not of one image.

    Raises:
        DataError: the shapes differ.
    """
    if pred.shape != truth.shape:
        raise DataError(
            f"sizes differ: prediction {pred.shape}, truth {truth.shape}",
            "Bring the prediction to the size of the truth, with nearest-neighbour interpolation.",
        )


def as_labels(labels: Any) -> NDArray[Any]:
    """As NumPy; a tensor comes from wherever it is."""
    return np.asarray(labels.cpu() if hasattr(labels, "cpu") else labels)


def _ratio(above: NDArray[np.int64], below: NDArray[np.int64]) -> list[float]:
    """0 / 0 is NaN, which is what missing means here."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values: list[float] = np.where(below > 0, above / below, np.nan).tolist()
    return values
