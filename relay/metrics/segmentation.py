"""All metrics of one sample, in this process or in workers; neither imports torch.

What a metric is: :mod:`relay.metrics.base`. Overlap is in :mod:`relay.metrics.overlap_measures`, surface
distances are in :mod:`relay.metrics.distances`.
"""

from __future__ import annotations

import math
import signal
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from types import TracebackType
from typing import Any

from relay.errors import DataError, RelayError, killed
from relay.metrics.base import MaskPair
from relay.metrics.installed import metrics, values_of
from relay.metrics.overlap_measures import Values
from relay.metrics.voxels import as_labels, check_shapes

TOLERANCE = 2.0
"""The default tolerance of ``nsd``."""
AHEAD = 1 << 28
"""Voxels that may wait to be measured: more would only fill the memory."""
_SPACING = "Give the millimetres per voxel along each axis, or none to have distances in voxels."


def measure(
    pred: Any,
    truth: Any,
    num_classes: int,
    spacing: Sequence[float] | None = None,
    tolerance: float = TOLERANCE,
    more: tuple[str, ...] = (),
) -> Values:
    """Every metric of one sample.

    Args:
        pred: ``(*S)`` labels of any integer type, NumPy or torch; a label outside 0..C-1 belongs to no class.
        truth: ``(*S)``, likewise.
        num_classes: C, background included.
        spacing: millimetres per voxel along each axis; None: distances and the tolerance are in voxels.
        tolerance: of ``nsd``.
        more: metrics beside those that are installed, each ``module:Class``.

    Raises:
        DataError: the shapes differ; the spacing is not one positive number per axis; the tolerance is negative.
        UserError: a plug-in metric failed.
    """
    pred, truth = as_labels(pred), as_labels(truth)
    check_shapes(pred, truth)
    check_spacing(spacing, truth.ndim)
    check_tolerance(tolerance)
    masks = MaskPair(pred, truth, num_classes, None if spacing is None else tuple(spacing), tolerance)
    return {name: values_of(metric, masks) for name, metric in metrics(more).items()}


def check_spacing(spacing: Sequence[float] | None, axes: int) -> None:
    """Refuse a spacing that an image with this number of axes can't have.

    Raises:
        DataError: it has another length, or a number that is not finite and above 0.
    """
    if spacing is None:
        return
    given = ", ".join(f"{mm:g}" for mm in spacing)
    if len(spacing) != axes:
        raise DataError(f"spacing ({given}) has {len(spacing)} numbers; the image has {axes} axes", _SPACING)
    if not all(math.isfinite(mm) and mm > 0 for mm in spacing):
        raise DataError(f"spacing ({given}) must be finite and above 0 along each axis", _SPACING)


def check_tolerance(tolerance: float) -> None:
    """Refuse a tolerance that ``nsd`` can't have.

    Raises:
        DataError: it is negative or not finite.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise DataError(f"tolerance {tolerance:g} must be finite and not negative", "Give a tolerance of 0 or more.")


class Measuring:
    """:func:`measure`, in other processes.

    ::

        with Measuring(workers=2) as measuring:
            jobs = [measuring.submit(mask, truth, 3) for mask, truth in predictions]
            for job in jobs:
                job.result()

    Take the results before the block ends. An error of ``measure`` is raised by ``result()``.

    Args:
        workers: how many processes; 0 measures in this one, as samples are submitted.
        more: metrics beside those that are installed, each ``module:Class``.
    """

    def __init__(self, workers: int = 0, more: tuple[str, ...] = ()) -> None:
        self._workers, self.more = workers, more
        self._pool: ProcessPoolExecutor | None = None
        self._waiting, self._fewer = 0, threading.Condition()

    def __enter__(self) -> Measuring:
        """Processes start when there is work for them."""
        if self._workers:  # spawned: a forked process would hold a copy of torch, and of its locks
            self._pool = ProcessPoolExecutor(self._workers, get_context("spawn"), initializer=_begin)
        return self

    def submit(
        self,
        pred: Any,
        truth: Any,
        num_classes: int,
        spacing: Sequence[float] | None = None,
        tolerance: float = TOLERANCE,
    ) -> Future[Values]:
        """The future result of :func:`measure`; blocks while too many voxels are waiting."""
        arguments = (as_labels(pred), as_labels(truth), num_classes, spacing, tolerance, self.more)
        if self._pool is None:
            return _now(*arguments)
        voxels = arguments[0].size
        with self._fewer:
            self._fewer.wait_for(lambda: self._waiting == 0 or self._waiting + voxels <= AHEAD)
            self._waiting += voxels
        job = self._pool.submit(measure, *arguments)
        job.add_done_callback(lambda _: self._done(voxels))
        return job

    def _done(self, voxels: int) -> None:
        with self._fewer:
            self._waiting -= voxels
            self._fewer.notify()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop the processes; after an error, drop what they haven't started.

        Raises:
            RelayError: a process was killed.
        """
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=error is not None)
        if isinstance(error, BrokenProcessPool):
            raise killed("measures", "Use fewer workers; with 0 everything is measured in one process.") from error


def _now(*arguments: Any) -> Future[Values]:
    job: Future[Values] = Future()
    try:
        job.set_result(measure(*arguments))
    except RelayError as error:
        job.set_exception(error)
    return job


def _begin() -> None:
    """Ignore Ctrl-C: the first process handles it and stops these."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
