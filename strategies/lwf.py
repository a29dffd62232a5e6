"""LwF: keep the model's predictions for this site's own images near the incoming model's.

Learning without Forgetting (Li and Hoiem 2016, 10.1007/978-3-319-46493-0_37), with distillation (Hinton et al. 2015,
arXiv:1503.02531) from a *frozen* copy of the incoming model. It needs only the model, and can't preserve what
the model knows about appearances that don't occur here.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from relay.config import Field, options
from relay.parts import part

from .base import Batch, Phase, Strategy

if TYPE_CHECKING:
    from torch import Tensor, nn

    from relay.handover import Handover


@options
class LwFOptions:
    """How strongly the incoming model's predictions count.

    Attributes:
        distil_weight: weight of distillation on this site's images relative to the task's loss; 0 turns it off.
        temperature: softens both predictions before they are compared.
        confidence: least confidence of the incoming model for a voxel to be compared.
    """

    distil_weight: Annotated[float, Field(ge=0)] = 1.0
    temperature: Annotated[float, Field(gt=0)] = 2.0
    confidence: Annotated[float, Field(ge=0, le=1)] = 0.0


class LwF(Strategy):
    """Distil from the frozen incoming model; the first leg is plain training."""

    Options = LwFOptions
    any_training = True
    teacher: nn.Module | None = None

    def receive(self, handover: Handover | None) -> None:
        """Start from the incoming model and keep a frozen copy of it."""
        super().receive(handover)
        if handover is not None:
            self.teacher = copy.deepcopy(self.model).eval().requires_grad_(False)

    def phases(self) -> Sequence[Phase]:
        """One phase, with the teacher beside the model."""
        return [Phase("learn", self.model, self.loss, frozen=(self.teacher,) if self.teacher else ())]

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The task's loss, and the distance to the incoming model's predictions."""
        return self.terms(self.model(batch.image), batch)

    def terms(self, logits: Tensor, batch: Batch) -> dict[str, Tensor]:
        """The terms on this site's own images."""
        terms = {"task": self.criterion(logits, batch.label)}
        if self.teacher is not None and self.options.distil_weight > 0:
            from relay.losses import distillation

            wanted = self.taught(batch.image)
            kept = distillation(
                logits,
                wanted,
                temperature=self.options.temperature,
                confidence=self.options.confidence,
                likelihood=self.task.likelihood,
            )
            terms["distil"] = self.options.distil_weight * kept
        return terms

    def taught(self, image: Tensor) -> Tensor:
        """The incoming model's logits."""
        import torch

        assert self.teacher is not None
        with torch.no_grad(), part("teacher"):
            logits: Tensor = self.teacher(image)
        return logits
