"""The tasks by name."""

from __future__ import annotations

from typing import Any, Literal, TypeAlias, get_args

from relay.tasks.base import Task
from relay.tasks.classification import Classification
from relay.tasks.multilabel import Multilabel
from relay.tasks.regression import Regression
from relay.tasks.segmentation import Segmentation

TaskName: TypeAlias = Literal["segmentation", "classification", "multilabel", "regression"]
TASKS: dict[str, type[Task]] = {task.name: task for task in (Segmentation, Classification, Multilabel, Regression)}
assert set(TASKS) == set(get_args(TaskName))


def named(name: str | None) -> type[Task]:
    """The task of a name; None is segmentation: results from before there were other tasks name none.

    Raises:
        ValueError: there is no such task.
    """
    if name is None:
        return Segmentation
    if name not in TASKS:
        raise ValueError(f"'{name}' is no task; the tasks are {', '.join(TASKS)}")
    return TASKS[name]


def of_metric(sample_metric: str) -> type[Task] | None:
    """A task whose rows of single samples have this metric; None if it is another metric.

    Classification and multilabel share one: what is asked of the answer (``background``, ``gain``) is the same.
    """
    return next((task for task in TASKS.values() if task.sample_metric == sample_metric), None)


def of_primary(metric: str) -> type[Task] | None:
    """A task whose primary metric has this name, for what is asked of scores; None if there is none."""
    return next((task for task in TASKS.values() if task.primary.name == metric), None)


def task_of(options: Any) -> Task:
    """The task of a data set's options (:class:`relay.data.DatasetOptions`)."""
    if options.task == Regression.name:
        return Regression(options.outputs, options.names, options.target_scale)
    task = TASKS[options.task]
    return task(options.outputs, options.names)
