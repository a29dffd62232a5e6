"""Overlap of two label maps, and the rule for absent classes. Imports no torch.

Overlap is computed from counts, which add up: over a patient's images (subject-wise) or a test set (voxel-wise).
With the voxels predicted as a class (P) and truly of it (T): ``dice = 2 |P and T| / (|P| + |T|)``,
``sensitivity = |P and T| / |T|``, ``specificity = |neither| / |not T|``.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from relay.metrics.base import CountMetric
from relay.metrics.installed import metrics, values_of
from relay.metrics.voxels import Counts

RULE = (
    "a class absent from both truth and prediction is missing; in only one of the two, dice and nsd are 0, and hd95 "
    "and asd are missing; sensitivity is missing where the truth has none of the class, specificity where it has "
    "nothing else; surfaces of the background are not measured; missing values are left out of every mean"
)
"""The rule for absent classes, as results state it."""
Values = dict[str, list[float]]
"""Metric → a number for each class; NaN is missing."""


class Dice(CountMetric):
    """``2 |P and T| / (|P| + |T|)`` (Dice 1945, 10.2307/1932409)."""

    name = "dice"
    title = "Dice"
    meaning = "overlap with the true contour: 1 is perfect, 0 is none"

    def of_counts(self, counts: Counts) -> list[float]:
        """See :meth:`CountMetric.of_counts`."""
        return _ratio(2 * counts.tp, 2 * counts.tp + counts.fp + counts.fn)


class Sensitivity(CountMetric):
    """``|P and T| / |T|``."""

    name = "sensitivity"
    title = "Sensitivity"
    meaning = "share of the true area that was found"

    def of_counts(self, counts: Counts) -> list[float]:
        """See :meth:`CountMetric.of_counts`."""
        return _ratio(counts.tp, counts.tp + counts.fn)


class Specificity(CountMetric):
    """``|neither| / |not T|``; missing, like the other metrics, for a class in neither map."""

    name = "specificity"
    title = "Specificity"
    meaning = "share of what is not of the class that was left alone"

    def of_counts(self, counts: Counts) -> list[float]:
        """See :meth:`CountMetric.of_counts`."""
        there = counts.tp + counts.fp + counts.fn > 0
        return _ratio(counts.tn, np.where(there, counts.tn + counts.fp, 0))


def overlap(counts: Counts, more: tuple[str, ...] = ()) -> Values:
    """Every :class:`~relay.metrics.base.CountMetric` of each class, by :data:`RULE`.

    Args:
        more: metrics beside those that are installed, each ``module:Class``.
    """
    found = {name: metric for name, metric in metrics(more).items() if isinstance(metric, CountMetric)}
    return {name: values_of(metric, counts) for name, metric in found.items()}


def _ratio(above: NDArray[np.int64], below: NDArray[np.int64]) -> list[float]:
    """0 / 0 is NaN, which is what missing means here."""
    with np.errstate(invalid="ignore", divide="ignore"):
        values: list[float] = np.where(below > 0, above / below, np.nan).tolist()
    return values
