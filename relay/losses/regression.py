"""Losses of a number for each image that mind outliers less than the squared error."""

from __future__ import annotations

from typing import TYPE_CHECKING

from relay.config import options
from relay.losses.segmentation import Loss, Positive

if TYPE_CHECKING:
    from torch import nn


@options
class L1(Loss):
    """The mean absolute error."""

    tasks = ("regression",)

    def build(self, num_classes: int | None = None) -> nn.Module:
        """``(B, 1)`` and ``(B, 1)`` to a scalar; see :meth:`Loss.build`."""
        from torch import nn

        return nn.L1Loss()


@options
class Huber(Loss):
    """Huber's loss (1964, 10.1214/aoms/1177703732): squared for small errors, absolute for large ones.

    Attributes:
        delta: where one becomes the other, in the unit of the target.
    """

    tasks = ("regression",)
    delta: Positive = 1.0

    def build(self, num_classes: int | None = None) -> nn.Module:
        """``(B, 1)`` and ``(B, 1)`` to a scalar; see :meth:`Loss.build`."""
        from torch import nn

        return nn.HuberLoss(delta=self.delta)
