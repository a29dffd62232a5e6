"""What a metric plug-in is, and what it is given. This module does not import torch.

A metric is one class: its name, its meaning, its bounds, and how it is computed from a prediction and the truth.
Whatever is installed in the group ``relay.metrics`` is measured: it has rows in ``samples.csv``, means and intervals in
``evaluation.json`` and ``score.json``, and a column in the report. Files of metrics import without torch.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from numpy.typing import NDArray

from relay.metrics.voxels import Counts, counts

if TYPE_CHECKING:
    from torch import Tensor

Task = Literal["segmentation", "classification", "multilabel", "regression"]


@dataclass(frozen=True, eq=False)
class MaskPair:
    """One image's predicted mask beside its true one.

    Attributes:
        pred: ``(*S)`` labels of any integer type; a label outside 0..C-1 belongs to no class.
        truth: ``(*S)``, likewise.
        num_classes: C, background included.
        spacing: millimetres per voxel along each axis; None: unknown, and distances are in voxels.
        tolerance: of ``nsd``, in the unit of distances.
    """

    pred: NDArray[Any]
    truth: NDArray[Any]
    num_classes: int
    spacing: tuple[float, ...] | None = None
    tolerance: float = 2.0

    @cached_property
    def counts(self) -> Counts:
        """Voxels of each class, counted once for all metrics."""
        return counts(self.pred, self.truth, self.num_classes)

    @cached_property
    def surfaces(self) -> dict[str, list[float]]:
        """``hd95``, ``asd`` and ``nsd`` of each class, measured once for all three."""
        from relay.metrics.distances import surfaces

        return surfaces(self.pred, self.truth, self.num_classes, self.spacing, self.tolerance)


@dataclass(frozen=True, eq=False)
class ClassPair:
    """A classifier's predictions and the truth.

    Attributes:
        probs: (N, C) float64 probabilities; each row adds up to 1.
        target: (N,) int64 class indices.
    """

    probs: Tensor
    target: Tensor

    @cached_property
    def confusion(self) -> Tensor:
        """(C, C) counts: a row for each true class, a column for each predicted one."""
        from torchmetrics.functional.classification import multiclass_confusion_matrix

        found: Tensor = multiclass_confusion_matrix(self.probs, self.target, self.probs.shape[1])
        return found

    @cached_property
    def calibration(self) -> dict[str, Any]:
        """``ece`` and ``bins``, see :class:`~relay.metrics.calibration.CalibrationBins`."""
        from relay.metrics.calibration import CalibrationBins

        bins = CalibrationBins(self.probs.shape[1], sync_on_compute=False)  # one process measures
        bins.update(self.probs, self.target)
        return bins.compute()


@dataclass(frozen=True, eq=False)
class LabelPair:
    """Predictions and the truth of labels that a sample has or has not.

    Attributes:
        probs: (N, K) float64 probabilities, of each label by itself.
        target: (N, K) int64 zeros and ones.
    """

    probs: Tensor
    target: Tensor

    @property
    def said(self) -> Tensor:
        """(N, K) bool: which labels are predicted."""
        return self.probs > 0.5

    @property
    def hits(self) -> Tensor:
        """(K,) counts of samples that have a label and for which it is predicted."""
        return (self.target * self.said).sum(0)


@dataclass(frozen=True, eq=False)
class NumberPair:
    """Predicted numbers beside the true ones: (N,) float64 each, all finite."""

    pred: Tensor
    truth: Tensor


class Metric:
    """What every metric declares; derive yours from one of the classes below.

    Attributes:
        name: in ``samples.csv`` and everywhere else.
        title: heads its column in the report; default: the name.
        meaning: what it measures, in a few words for people who don't know it.
        bounds: lowest and highest possible value.
        higher_is_better: whether a higher value is better.
        in_unit: whether it is a distance: in mm if the spacing is known, in pixels otherwise.
    """

    task: ClassVar[Task]
    name: ClassVar[str]
    title: ClassVar[str] = ""
    meaning: ClassVar[str] = ""
    bounds: ClassVar[tuple[float, float]] = (0.0, 1.0)
    higher_is_better: ClassVar[bool] = True
    in_unit: ClassVar[bool] = False


class MaskMetric(Metric):
    """A metric of segmentation, constructed without arguments.

    Attributes:
        needs_spacing: whether it is missing if the spacing is unknown.
        background: whether class 0 is measured, too.
    """

    task = "segmentation"
    needs_spacing: ClassVar[bool] = False
    background: ClassVar[bool] = True

    @abstractmethod
    def measure(self, masks: MaskPair) -> Sequence[float]:
        """A number for each of the C classes, background first; NaN if it can't be measured."""


class CountMetric(MaskMetric):
    """A metric computed from counts of voxels, so it can also be measured over all images of a patient
    (subject-wise) and over a whole test set (voxel-wise)."""

    @abstractmethod
    def of_counts(self, counts: Counts) -> Sequence[float]:
        """A number for each of the C classes, background first; NaN if it can't be measured."""

    def measure(self, masks: MaskPair) -> Sequence[float]:
        """See :meth:`MaskMetric.measure`."""
        return self.of_counts(masks.counts)


class ClassMetric(Metric):
    """A metric of classification, over all samples of a set; constructed without arguments.

    Attributes:
        per_class: whether it has a number for each class; their mean is then reported, too.
    """

    task = "classification"
    per_class: ClassVar[bool] = False

    @abstractmethod
    def measure(self, classes: ClassPair) -> float | Sequence[float]:
        """A number or, with :attr:`per_class`, one for each of the C classes; NaN if it can't be measured."""


class LabelMetric(Metric):
    """A metric of labels that a sample has or has not, over all samples of a set; constructed without arguments.

    Attributes:
        per_label: whether it has a number for each label; their mean is then reported, too.
    """

    task = "multilabel"
    per_label: ClassVar[bool] = True

    @abstractmethod
    def measure(self, labels: LabelPair) -> float | Sequence[float]:
        """A number for each of the K labels or, without :attr:`per_label`, one; NaN if it can't be measured."""


class NumberMetric(Metric):
    """A metric of regression, over all samples of a set; constructed without arguments."""

    task = "regression"

    @abstractmethod
    def measure(self, numbers: NumberPair) -> float:
        """A number; NaN if it can't be measured."""
