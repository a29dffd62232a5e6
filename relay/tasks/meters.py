"""Scores of a fit's validation, accumulated over batches and processes (imports torch: import it late)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torchmetrics import Metric

if TYPE_CHECKING:
    from relay.tasks.base import Task


class GroupMean(Metric):  # type: ignore[misc]
    """The mean over samples in each group of a task, missing values left out: ``compute()`` gives (G,) float32.

    Args:
        task: scores the samples.
        kwargs: ``torchmetrics.Metric``'s.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    measured: Tensor

    def __init__(self, task: Task, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.task = task
        self.add_state("total", torch.zeros(len(task.groups)), dist_reduce_fx="sum")
        self.add_state("measured", torch.zeros(len(task.groups), dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, decided: Tensor, label: Tensor) -> None:
        """Add a batch: what :meth:`relay.tasks.Task.values` takes."""
        values = self.task.values(decided, label)
        self.total += values.nansum(0)
        self.measured += (~values.isnan()).sum(0)

    def compute(self) -> Tensor:
        """The mean of each group; NaN if it has no sample."""
        return torch.where(self.measured > 0, self.total / self.measured.clamp(min=1), torch.nan)

    def class_mean(self) -> Tensor:
        """The mean over groups: the primary metric."""
        mean: Tensor = self.compute().nanmean()
        return mean
