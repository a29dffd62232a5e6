"""Losses of tasks whose target is not a mask: labels that an image has or has not, and numbers.

For one class out of several, the cross-entropy ``CE`` of :mod:`relay.losses.segmentation` does for images as it does
for voxels. All are computed in float32, whatever the precision around them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from relay.config import Field, options
from relay.errors import UserError
from relay.losses.segmentation import Loss, Positive

if TYPE_CHECKING:
    from torch import nn

Labels = Annotated[tuple[Positive, ...], Field(min_length=1)]


@options
class BCE(Loss):
    """Binary cross-entropy of each label, as ``torch.nn.BCEWithLogitsLoss``: the mean over labels and samples.

    Attributes:
        positive_weight: one for each label: how much more a sample with the label counts than one without it. The
            ratio of samples without it to samples with it balances a rare label.
    """

    tasks = ("multilabel",)
    positive_weight: Labels | None = None

    def build(self, num_classes: int | None = None) -> nn.Module:
        """``(B, K)`` logits and ``(B, K)`` zeros and ones to a scalar; see :meth:`Loss.build`."""
        from .modules import BinaryCrossEntropy

        weight = self.positive_weight
        if weight is not None and num_classes is not None and len(weight) != num_classes:
            raise UserError(
                f"BCE.positive_weight has {len(weight)} values, but there are {num_classes} labels",
                f"Give {num_classes} weights, or none.",
            )
        return BinaryCrossEntropy(weight)


@options
class MSE(Loss):
    """The mean squared error."""

    tasks = ("regression",)

    def build(self, num_classes: int | None = None) -> nn.Module:
        """``(B, 1)`` and ``(B, 1)`` to a scalar; see :meth:`Loss.build`."""
        from .modules import MeanSquaredError

        return MeanSquaredError()
