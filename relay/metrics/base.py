"""What a metric plug-in is, and which metrics there are. Imports no torch.

A metric is one class: its name, what it means, its bounds, and how it is computed from a prediction and the truth.
Whatever is installed in the group ``relay.metrics`` is measured: it has rows in ``samples.csv``, means and intervals in
``evaluation.json`` and ``score.json``, and a column in the report. Files of metrics import without torch.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import TYPE_CHECKING, Any, ClassVar, Literal

import numpy as np
from numpy.typing import NDArray

from relay import registry
from relay.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

Task = Literal["segmentation", "classification", "regression"]
ORDER: dict[Task, tuple[str, ...]] = {
    "segmentation": ("dice", "sensitivity", "specificity", "hd95", "asd", "nsd"),
    "classification": (
        "accuracy",
        "balanced_accuracy",
        "auroc",
        "f1",
        "sensitivity",
        "specificity",
        "brier",
        "ece",
    ),
    "regression": ("mae", "rmse", "r2"),
}
"""Of each task, the metrics that tables begin with; others follow by name."""
BASES: dict[Task, str] = {
    "segmentation": "relay.metrics.MaskMetric or CountMetric",
    "classification": "relay.metrics.ClassMetric",
    "regression": "relay.metrics.NumberMetric",
}


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


@dataclass(frozen=True, eq=False)
class MaskPair:
    """One image's predicted mask beside its true one.

    Attributes:
        pred: (*S) labels of any integer type; a label outside 0..C-1 is of no class.
        truth: (*S), likewise.
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
        from relay.metrics.overlap_measures import counts

        return counts(self.pred, self.truth, self.num_classes)

    @cached_property
    def surfaces(self) -> dict[str, list[float]]:
        """``hd95``, ``asd`` and ``nsd`` of each class, measured once for all three."""
        from relay.metrics.surface import surfaces

        return surfaces(self.pred, self.truth, self.num_classes, self.spacing, self.tolerance)


@dataclass(frozen=True, eq=False)
class ClassPair:
    """A classifier's answers beside what is true.

    Attributes:
        probs: (N, C) float64 probabilities; each row adds up to 1.
        target: (N,) int64 class indices.
    """

    probs: Tensor
    target: Tensor

    @cached_property
    def confusion(self) -> Tensor:
        """(C, C) counts, a row a true class, a column a predicted one."""
        from torchmetrics.functional.classification import multiclass_confusion_matrix

        found: Tensor = multiclass_confusion_matrix(self.probs, self.target, self.probs.shape[1])
        return found


@dataclass(frozen=True, eq=False)
class NumberPair:
    """Predicted numbers beside the true ones: (N,) float64 each, all finite."""

    pred: Tensor
    truth: Tensor


class Metric:
    """What every metric says of itself; derive yours from one of the four classes below.

    Attributes:
        name: in ``samples.csv`` and everywhere else.
        title: heads its column in the report; default: the name.
        meaning: what it says, in a few words for people who don't know it.
        bounds: the lowest and the highest value there can be.
        higher_is_better: whether more is better.
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
        in_unit: whether it is a distance, in mm where the spacing is known and in pixels elsewhere.
        needs_spacing: whether it is missing where the spacing is unknown.
        background: whether class 0 is measured, too.
    """

    task = "segmentation"
    needs_spacing: ClassVar[bool] = False
    background: ClassVar[bool] = True

    def measure(self, masks: MaskPair) -> Sequence[float]:
        """A number for each of the C classes, background first; NaN where it can't be measured."""
        raise NotImplementedError


class CountMetric(MaskMetric):
    """A metric that follows from counts of voxels, so that it can also be taken over all images of a patient
    (subject-wise) and over a whole test set (voxel-wise)."""

    def of_counts(self, counts: Counts) -> Sequence[float]:
        """A number for each of the C classes, background first; NaN where it can't be measured."""
        raise NotImplementedError

    def measure(self, masks: MaskPair) -> Sequence[float]:
        """See :meth:`MaskMetric.measure`."""
        return self.of_counts(masks.counts)


class ClassMetric(Metric):
    """A metric of classification, over all samples of a set; constructed without arguments.

    Attributes:
        per_class: whether it has a number for each class; the mean over classes is then made of them.
    """

    task = "classification"
    per_class: ClassVar[bool] = False

    def measure(self, classes: ClassPair) -> float | Sequence[float]:
        """A number, or, :attr:`per_class`, one for each of the C classes; NaN where it can't be measured."""
        raise NotImplementedError


class NumberMetric(Metric):
    """A metric of regression, over all samples of a set; constructed without arguments."""

    task = "regression"

    def measure(self, numbers: NumberPair) -> float:
        """A number; NaN where it can't be measured."""
        raise NotImplementedError


@cache
def metrics(more: tuple[str, ...] = (), task: Task = "segmentation") -> dict[str, Any]:
    """Every metric of a task by its name: those that are installed, then ``more``, each ``module:Class``.

    Raises:
        UserError: one can't be loaded, has no name, has the name of another, or is asked for and of another task.
    """
    found: dict[str, Metric] = {}
    for given, cls in registry.find_all("metrics", more).items():
        with registry.blamed(f"metric '{given}'", cls):
            made: Metric = cls()
        name = getattr(made, "name", None)
        if not isinstance(name, str) or not name:
            raise UserError(f"'{given}' in relay.metrics has no name", "Set name = '...' in its class.")
        if not isinstance(made, Metric):
            raise UserError(f"'{given}' in relay.metrics is no metric", f"Derive it from {BASES[task]}.")
        if given in more and made.task != task:
            raise UserError(f"metric '{name}' is for {made.task}, not for {task}", f"Derive it from {BASES[task]}.")
        if made.task != task:
            continue
        if name in found and type(found[name]) is not cls:
            raise UserError(f"two metrics are called '{name}'; one is {given}", "Give yours another name.")
        found[name] = made
    first = [name for name in ORDER[task] if name in found]
    return {name: found[name] for name in [*first, *sorted(set(found) - set(first))]}


def about(more: tuple[str, ...] = ()) -> dict[str, dict[str, Any]]:
    """What results say of each metric, so that a report can be made where the metric itself is not."""
    return {
        name: {
            "title": metric.title or name,
            "meaning": metric.meaning,
            "higher_is_better": metric.higher_is_better,
            "in_unit": metric.in_unit,
        }
        for name, metric in metrics(more).items()
    }


def values_of(metric: MaskMetric, found: MaskPair | Counts) -> list[float]:
    """What a metric says of one image's masks, or, a :class:`CountMetric`, of counts: a number a class.

    Raises:
        UserError: it is somebody's own, and it failed, or says something else than a number for each class.
    """
    classes = found.num_classes if isinstance(found, MaskPair) else len(found.tp)
    if isinstance(found, MaskPair) and metric.needs_spacing and found.spacing is None:
        return [math.nan] * classes
    with registry.blamed(f"metric '{metric.name}'", metric):
        said = metric.measure(found) if isinstance(found, MaskPair) else metric.of_counts(found)  # type: ignore[attr-defined]
        return each(said, classes)


def each(said: Any, classes: int) -> list[float]:
    """A number for each class, as a metric must give them.

    Raises:
        ValueError: there are more, or fewer.
    """
    values = [float(value) for value in said]
    if len(values) != classes:
        raise ValueError(f"it gave {len(values)} numbers; it must give one for each of {classes} classes")
    return values
