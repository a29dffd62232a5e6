"""One model on one test set: measurements for each sample, for each patient, and for all voxels together."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, TypeVar

import numpy as np

from relay.data import Record
from relay.leg import Predicted, rows
from relay.metrics import Counts, Measuring, counts, overlap
from relay.predict.models import Model

T = TypeVar("T")


class Clock:
    """Adds up how long something takes."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def time(self, work: Callable[[], T]) -> T:
        """Do some work, and add its time."""
        began = time.perf_counter()
        try:
            return work()
        finally:
            self.seconds += time.perf_counter() - began


@dataclass
class Cell:
    """A model on a test set of masks; :class:`SampleCell` is of the other tasks.

    Attributes:
        options: of the data set.
        more_metrics: those of the config, beside the installed ones.
        unit: of distances: ``mm`` if every image of the test set has a spacing, else ``px``.
        samples: for each sample, metric → one value per class; NaN if it is missing.
        calibration: ``ece`` and ``bins``, of all voxels, or of all samples.
        confusion: of a classification, see :class:`relay.tasks.Measured`.
        inference: seconds of prediction.
        metrics: seconds this process spent on metrics.
    """

    study: str
    strategy: str
    model: Model
    options: Any
    unit: Literal["mm", "px"]
    tolerance: float
    more_metrics: tuple[str, ...] = ()
    samples: list[tuple[Record, dict[str, list[float]]]] = field(default_factory=list)
    calibration: Mapping[str, Any] = field(default_factory=dict)
    confusion: Sequence[Sequence[int]] = ()
    inference: float = 0.0

    def __post_init__(self) -> None:
        self._waiting: list[tuple[Record, Any]] = []
        self._patients: dict[str, Counts] = {}
        self._clock = Clock()

    @property
    def metrics(self) -> float:
        """See the class."""
        return self._clock.seconds

    def measure(self, found: Predicted, measuring: Measuring) -> None:
        """Add a prediction."""
        self._clock.time(lambda: self._measure(found, measuring))

    def _measure(self, found: Predicted, measuring: Measuring) -> None:
        classes, patient = self.options.num_classes, found.sample.patient
        here = counts(found.mask, found.truth, classes)
        self._patients[patient] = self._patients[patient] + here if patient in self._patients else here
        spacing = found.spacing if self.unit == "mm" else None
        future = measuring.submit(found.mask, found.truth, classes, spacing, self.tolerance)
        self._waiting.append((found.sample, future))

    def finish(self, calibration: Mapping[str, Any], inference: float) -> None:
        """After the last prediction, wait for outstanding measurements."""
        self.calibration, self.inference = calibration, inference
        self.samples = self._clock.time(lambda: [(sample, future.result()) for sample, future in self._waiting])
        self._waiting = []

    def patients(self) -> dict[str, dict[str, list[float]]]:
        """For each patient, the metrics of all its images counted as one volume: metric → one value per class."""
        return {patient: overlap(found, self.more_metrics) for patient, found in self._patients.items()}

    def voxels(self) -> dict[str, list[float]]:
        """The same over all voxels of the test set."""
        every = list(self._patients.values())
        return overlap(sum(every[1:], start=every[0]), self.more_metrics)

    def whole(self) -> Iterator[tuple[str, str, float]]:
        """Class, metric and value, over all samples of the test set together; none of masks, which have voxels."""
        yield from ()

    def rows(self) -> Iterator[dict[str, Any]]:
        """Tidy rows: one for each sample, metric and class, then one for each patient."""
        where = self._where()
        for sample, metrics in self.samples:
            yield from self._rows(metrics, where | {"patient": sample.patient, "sample": sample.id})
        for patient, metrics in self.patients().items():
            yield from self._rows(metrics, where | {"patient": patient, "sample": ""})

    def _where(self) -> dict[str, Any]:
        where = {"study": self.study, "strategy": self.strategy, "leg": self.model.number, "trained": self.model.site}
        return where | {"model": self.model.kind, "site": self.options.task_name}

    def _rows(self, metrics: dict[str, list[float]], where: dict[str, Any]) -> Iterator[dict[str, Any]]:
        for metric, values in metrics.items():
            for name, value in zip(self.options.names, values, strict=True):
                yield where | {"class": name, "metric": metric, "value": value}

    def values(self) -> dict[tuple[str, str], list[tuple[str, float]]]:
        """(class, metric) → (patient, value) for every sample."""
        table: dict[tuple[str, str], list[tuple[str, float]]] = defaultdict(list)
        for sample, metrics in self.samples:
            for metric, values in metrics.items():
                for name, value in zip(self.options.does.groups, values, strict=True):
                    table[name, metric].append((sample.patient, value))
        return table


@dataclass
class SampleCell(Cell):
    """A model on a test set whose targets are no masks: its metrics are over all samples together."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self._found: list[Predicted] = []
        self._whole: Sequence[tuple[str, str, float]] = ()

    def measure(self, found: Predicted, measuring: Measuring) -> None:
        """Add a prediction."""
        self._found.append(found)

    def finish(self, calibration: Mapping[str, Any], inference: float) -> None:
        """After the last prediction, measure the set."""
        task, found = self.options.does, self._found
        truths = np.stack([one.truth for one in found])
        measured = self._clock.time(lambda: task.measure([one.answer for one in found], truths, self.more_metrics))
        self._whole, self.confusion = measured.values, measured.confusion
        self.calibration, self.inference = measured.calibration, inference
        self.samples = [(one.sample, {task.sample_metric: one.scores}) for one in found]

    def patients(self) -> dict[str, dict[str, list[float]]]:
        """None: metrics of a set can't be measured on a single patient."""
        return {}

    def voxels(self) -> dict[str, list[float]]:
        """None."""
        return {}

    def whole(self) -> Iterator[tuple[str, str, float]]:
        """See :meth:`Cell.whole`."""
        yield from self._whole

    def rows(self) -> Iterator[dict[str, Any]]:
        """Tidy rows of each sample, as of :func:`relay.leg.rows`."""
        for one in self._found:
            yield from rows(one, self.options.does, **self._where())
