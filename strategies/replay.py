"""Replay: train a part of each batch on images that stand for earlier sites. What ``relay`` and ``der`` share.

The images come from a memory (:mod:`relay.memory`), what they should become from the frozen incoming solver.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from relay.config.options import Field, options
from relay.config.schema import Named
from relay.memory.choice import Choice, build

from .base import Batch, Phase, Task, Training
from .lwf import LwF, LwFOptions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from relay.handoff import Carry, Part


@options
class ReplayOptions(LwFOptions):
    """What is replayed, and how much of it.

    Attributes:
        memory: what travels beside the solver, by name with kwargs; null for nothing.
        replay: the part of each batch that stands for earlier sites.
        replay_weight: of its term against the task's loss.
    """

    memory: Choice = dataclasses.field(default_factory=lambda: Named(name="style"))
    replay: Annotated[float, Field(gt=0, lt=1)] = 0.5
    replay_weight: Annotated[float, Field(ge=0)] = 2.0


class Replay(LwF):
    """Distil from the frozen incoming solver on what a memory draws."""

    Options = ReplayOptions

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.remembered = build(options.memory)
        self.kinds = self.remembered.kinds

    def setup(self, solver: nn.Module, criterion: Any, task: Task) -> None:
        """Take the solver, the task's loss and the task."""
        super().setup(solver, criterion, task)
        self.remembered.setup(task)

    def receive(self, carry: Carry | None) -> None:
        """Start from the incoming solver, with its memory and a frozen copy of it."""
        super().receive(carry)
        self.remembered.receive(carry)
        self.remembered.teacher = self.taught if self.teacher is not None else None

    def begin(self, training: Training) -> None:
        """Let the memory look at the images."""
        self.remembered.begin(training)

    def phases(self) -> Sequence[Phase]:
        """The solver's fit, then those that renew the memory."""
        return [*super().phases(), *self.remembered.phases()]

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The task's loss on one part of the batch, the incoming solver's predictions on what replaces the other."""
        import torch

        many = round(len(batch.image) * self.options.replay)
        drawn = self.remembered.draw(batch[:many]) if self.teacher is not None and many else None
        if drawn is None:
            return super().loss(batch)
        own = batch[many:]
        logits = self.solver(torch.cat([drawn.image, own.image]))
        wanted = self.taught(drawn.image)
        terms = self.terms(logits[many:], own) if len(own.image) else {}
        return {**terms, "replay": self.options.replay_weight * self.recall(logits[:many], wanted, drawn)}

    def recall(self, logits: Tensor, wanted: Tensor, drawn: Batch) -> Tensor:
        """How far the solver is from the incoming one on the drawn images."""
        raise NotImplementedError

    def finish(self, training: Training) -> None:
        """Let the memory take in this site."""
        super().finish(training)
        self.remembered.learn(training)

    def memory(self) -> Part | None:
        """The memory of this site."""
        return self.remembered.own()

    def running(self) -> Part | None:
        """The memory of all sites so far."""
        return self.remembered.running()
