"""The voxels of two label maps, counted class by class. Imports no torch."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.errors import DataError


@dataclass(frozen=True, eq=False)
class Counts:
    """Numbers of voxels per class, (C,) int64 each; ``+`` combines samples."""

    tp: NDArray[np.int64]
    fp: NDArray[np.int64]
    fn: NDArray[np.int64]
    tn: NDArray[np.int64]

    def __add__(self, other: Counts) -> Counts:
        """The counts of both, taken as one volume."""
        return Counts(self.tp + other.tp, self.fp + other.fp, self.fn + other.fn, self.tn + other.tn)


def counts(pred: Any, truth: Any, num_classes: int) -> Counts:
    """Count the voxels of one sample.

    Args:
        pred: ``(*S)`` labels of any integer type, NumPy or torch; a label outside 0..C-1 belongs to no class.
        truth: ``(*S)``, likewise.
        num_classes: C, background included.

    Raises:
        DataError: the shapes differ.
    """
    pred, truth = as_labels(pred), as_labels(truth)
    check_shapes(pred, truth)
    found = np.empty((4, num_classes), np.int64)
    for label in range(num_classes):  # one class at a time: two booleans per voxel, for any C
        p, t = pred == label, truth == label
        both, predicted, true = (int(np.count_nonzero(mask)) for mask in (p & t, p, t))
        found[:, label] = both, predicted - both, true - both, p.size - predicted - true + both
    return Counts(*found)


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
    """As a NumPy array; a tensor may be on any device."""
    return np.asarray(labels.cpu() if hasattr(labels, "cpu") else labels)
