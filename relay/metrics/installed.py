"""Which metrics there are, and what they say of a prediction. Imports no torch."""

from __future__ import annotations

import math
from functools import cache
from typing import Any

from relay import registry
from relay.errors import UserError
from relay.metrics.base import MaskMetric, MaskPair, Metric, Task
from relay.metrics.voxels import Counts

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
    "multilabel": ("balanced_accuracy", "auroc", "f1", "sensitivity", "specificity", "brier"),
    "regression": ("mae", "rmse", "r2"),
}
"""Of each task, the metrics that tables begin with; others follow by name."""
BASES: dict[Task, str] = {
    "segmentation": "relay.metrics.MaskMetric or CountMetric",
    "classification": "relay.metrics.ClassMetric",
    "multilabel": "relay.metrics.LabelMetric",
    "regression": "relay.metrics.NumberMetric",
}


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


def about(more: tuple[str, ...] = (), task: Task = "segmentation") -> dict[str, dict[str, Any]]:
    """What results say about each metric, so that a report needs no metric to be installed."""
    return {
        name: {
            "title": metric.title or name,
            "meaning": metric.meaning,
            "higher_is_better": metric.higher_is_better,
            "in_unit": metric.in_unit,
        }
        for name, metric in metrics(more, task).items()
    }


def values_of(metric: MaskMetric, found: MaskPair | Counts) -> list[float]:
    """A metric's value for each class: from one image's masks or, for a :class:`CountMetric`, from counts.

    Raises:
        UserError: it is a plug-in, and failed or didn't return one number for each class.
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
