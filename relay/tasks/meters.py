"""Scores of a fit's validation, accumulated over batches and processes (imports torch: import it late)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from torchmetrics import Metric


class GroupMean(Metric):  # type: ignore[misc]
    """The mean over samples in each group of a task, missing values left out: ``compute()`` gives (G,) float32.

    Args:
        values: scores a batch, ``(B, G)``: :meth:`relay.tasks.Task.values`.
        groups: G.
        kwargs: ``torchmetrics.Metric``'s.
    """

    is_differentiable = False
    full_state_update = False
    total: Tensor
    measured: Tensor

    def __init__(self, values: Callable[[Tensor, Tensor], Tensor], groups: int, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.values = values
        self.add_state("total", torch.zeros(groups), dist_reduce_fx="sum")
        self.add_state("measured", torch.zeros(groups, dtype=torch.int64), dist_reduce_fx="sum")

    def update(self, decided: Tensor, label: Tensor) -> None:
        """Add a batch: what :meth:`relay.tasks.Task.values` takes."""
        values = self.values(decided, label)
        self.total += values.nansum(0)
        self.measured += (~values.isnan()).sum(0)

    def compute(self) -> Tensor:
        """The mean of each group; NaN if it has no sample."""
        return torch.where(self.measured > 0, self.total / self.measured.clamp(min=1), torch.nan)

    def class_mean(self) -> Tensor:
        """The mean over groups: the primary metric."""
        mean: Tensor = self.compute().nanmean()
        return mean
