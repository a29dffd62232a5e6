"""Experts: beside the one model, hand over each site's own, its expert: the model fine-tuned on that site's images.

A handover keeps the expert of every site, so that what one net can't hold at once stays available: graders who draw
differently, scanners that look different. Which expert suits an image is told by its looks
(:class:`relay.memory.Router`).

That each task has its own expert, and a gate that routes to it, is Expert Gate (Aljundi et al. 2017,
10.1109/CVPR.2017.753), with a gate of autoencoders; in a federation, FedSM (Xu et al. 2022, arXiv:2203.10144) trains a
model that selects.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, Any

from relay.config import Field, options

from .base import Batch, Phase, Strategy

if TYPE_CHECKING:
    from torch import Tensor, nn


@options
class ExpertsOptions:
    """Options of :class:`Experts`.

    Attributes:
        experts: fit an expert in every leg and hand it over.
        expert_share: the budget of its fit, as a share of the leg's.
        expert_rate: its learning rate, relative to the leg's.
    """

    experts: bool = True
    expert_share: Annotated[float, Field(gt=0)] = 1.0
    expert_rate: Annotated[float, Field(gt=0)] = 0.5


class Experts(Strategy):
    """After the model's fit, fine-tune a copy of it.

    Attributes:
        own: this leg's expert.
    """

    Options = ExpertsOptions
    any_training = True
    own: nn.Module | None = None

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.carries_expert = options.experts
        self.shares = (*self.shares, options.expert_share) if options.experts else self.shares

    def phases(self) -> Sequence[Phase]:
        """The model's fit, then the expert's, which begins with the model's weights."""
        if not self.options.experts:
            return super().phases()
        self.own = copy.deepcopy(self.model)
        share, rate = self.options.expert_share, self.options.expert_rate
        return [*super().phases(), Phase("expert", self.own, self.own_loss, share=share, rate=rate, start=self.model)]

    def own_loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The task's loss of the expert; nothing keeps it near what it was."""
        assert self.own is not None
        return {"task": self.criterion(self.own(batch.image), batch.label)}

    def expert(self) -> Mapping[str, Tensor] | None:
        """The expert's weights."""
        return None if self.own is None else self.own.float().state_dict()
