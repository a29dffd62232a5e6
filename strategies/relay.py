"""Relay: learn the site's data while keeping what the incoming solver knew.

The solver starts from the incoming one and is regularised against it in two ways. While it learns, its
predictions are held near those of the *frozen* incoming solver on the same images (distillation, Hinton et
al. 2015, as in Learning without Forgetting, Li and Hoiem 2016). After it has learned, its weights are
averaged with the incoming ones, each side weighted by the training samples it has seen (McMahan et al. 2017
average this way over clients).
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Literal

from relay.config.options import Field, options

from .base import Batch, Phase, Strategy

if TYPE_CHECKING:
    from torch import Tensor, nn

    from relay.handoff import Carry

Fraction = Annotated[float, Field(ge=0, le=1)]


@options
class RelayOptions:
    """How strongly the incoming solver holds the new one.

    Attributes:
        distil_weight: weight of the distillation term against the task's loss; 0 turns it off.
        temperature: softens both predictions before they are compared.
        confidence: only voxels where the incoming solver is at least this sure are compared.
        merge: weight of the incoming solver in the average: ``samples`` (its share of all training samples
            seen so far), a number, or 0 for no averaging.
    """

    distil_weight: Annotated[float, Field(ge=0)] = 1.0
    temperature: Annotated[float, Field(gt=0)] = 2.0
    confidence: Fraction = 0.0
    merge: Literal["samples"] | Fraction = "samples"


class Relay(Strategy):
    """Distil from and average with the frozen incoming solver; the first leg is plain training."""

    Options = RelayOptions
    teacher: nn.Module | None = None

    def receive(self, carry: Carry | None) -> None:
        """Start from the incoming solver and keep a frozen copy of it."""
        super().receive(carry)
        if carry is not None:
            self.teacher = copy.deepcopy(self.solver).eval().requires_grad_(False)

    def phases(self) -> Sequence[Phase]:
        """One phase, with the teacher beside the solver."""
        return [Phase("learn", self.solver, self.loss, frozen=(self.teacher,) if self.teacher else ())]

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The task's loss, and the distance to the incoming solver's predictions."""
        import torch

        from relay.losses.distillation import distillation

        logits = self.solver(batch.image)
        terms = {"task": self.criterion(logits, batch.label)}
        if self.teacher is not None and self.options.distil_weight > 0:
            with torch.no_grad():
                wanted = self.teacher(batch.image)
            held = distillation(
                logits, wanted, temperature=self.options.temperature, confidence=self.options.confidence
            )
            terms["distil"] = self.options.distil_weight * held
        return terms

    def finish(self, samples: int, images: Callable[[], Iterable[Tensor]]) -> None:
        """Average with the incoming solver, then recompute normalisation statistics on this site's images."""
        from relay.merge import merge, refresh_statistics

        if self.incoming is None or self.options.merge == 0:
            return
        seen = self.incoming.samples_seen
        weight = seen / (seen + samples) if self.options.merge == "samples" else self.options.merge
        merge(self.solver, self.incoming.solver, weight)
        refresh_statistics(self.solver, images())
