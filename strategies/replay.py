"""Replay: use part of each batch for images that represent earlier sites. ``relay`` and ``der`` share this.

The images come from a memory (:mod:`relay.memory`), their targets from the frozen incoming model.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from relay.config import Field, Named, options
from relay.memory import Choice, build
from relay.parts import part

from .base import Batch, Phase, Task, Training
from .lwf import LwF, LwFOptions

if TYPE_CHECKING:
    from torch import Tensor, nn

    from relay.handover import Handover, MemoryState


@options
class ReplayOptions(LwFOptions):
    """What is replayed, and how much.

    Attributes:
        memory: what travels with the model, as name and kwargs; null for nothing.
        replay: share of each batch that stands for earlier sites.
        replay_weight: weight of the replay term relative to the task's loss.
    """

    memory: Choice = dataclasses.field(default_factory=lambda: Named(name="style"))
    replay: Annotated[float, Field(gt=0, lt=1)] = 0.5
    replay_weight: Annotated[float, Field(ge=0)] = 1.0


class Replay(LwF):
    """Distil from the frozen incoming model on images from a memory.

    Attributes:
        earlier: weight of the earlier sites, relative to what the options say.
    """

    Options = ReplayOptions
    any_training = True
    earlier: float = 1.0

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.remembered = build(options.memory)
        self.kinds = (*type(self).kinds, *self.remembered.kinds)
        self.noised = self.remembered.kinds if self.remembered.noised else ()

    def setup(self, model: nn.Module, criterion: Any, task: Task) -> None:
        """Take the model, the task's loss and the task."""
        super().setup(model, criterion, task)
        self.remembered.setup(task)

    def receive(self, handover: Handover | None) -> None:
        """Start from the incoming model, with its memory and a frozen copy of it."""
        super().receive(handover)
        self.remembered.receive(handover)
        self.remembered.teacher = self.taught if self.teacher is not None else None

    def begin(self, training: Training) -> None:
        """Let the memory process the images."""
        super().begin(training)
        self.remembered.begin(training)

    def phases(self) -> Sequence[Phase]:
        """The model's fit, then those that renew the memory."""
        return [*super().phases(), *self.remembered.phases()]

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The task's loss on one part of the batch, the incoming model's predictions on what replaces the other."""
        import torch

        size, replay, weight = len(batch.image), self.options.replay, self.earlier
        share = replay * weight / (1 - replay * (1 - weight))  # to the rest of the batch as it was, times the weight
        many = max(1, min(size - 1, int(size * share + 0.5)))
        with part("replay"):
            drawn = self.remembered.draw(batch[:many]) if self.teacher is not None else None
        if drawn is None:
            return super().loss(batch)
        own = batch[many:] if size > 1 else batch  # a single image is learned and, with another appearance, replayed
        logits = self.model(torch.cat([drawn.image, own.image]))
        recalled = self.recall(logits[:many], self.taught(drawn.image), drawn)
        return {**self.terms(logits[many:], own), "replay": self.options.replay_weight * weight * recalled}

    def recall(self, logits: Tensor, wanted: Tensor, drawn: Batch) -> Tensor:
        """How far the model is from the incoming one on the replayed images: the mean squared distance of their
        logits."""
        from torch.nn import functional as F

        return F.mse_loss(logits.float(), wanted.float())

    def finish(self, training: Training) -> None:
        """Let the memory add this site."""
        super().finish(training)
        self.remembered.learn(training)

    def memory(self) -> MemoryState | None:
        """The memory of this site."""
        return self.remembered.own()

    def cumulative(self) -> MemoryState | None:
        """The memory of all sites so far."""
        return self.remembered.cumulative()
