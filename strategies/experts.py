"""Experts: beside the one model, fine-tune the previous site's own model into this site's own, its expert.

A handover keeps the expert of every site, so that what one net can't hold at once stays available: graders who draw
differently, scanners that look different. Which expert suits an image is told by its looks
(:class:`relay.memory.Router`); experts also teach the one model (:mod:`.replay`).

That each task has its own expert, and a gate that routes to it, is Expert Gate (Aljundi et al. 2017,
10.1109/CVPR.2017.753), with a gate of autoencoders; in a federation, FedSM (Xu et al. 2022, arXiv:2203.10144) trains a
model that selects.
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from relay.config import options

from .base import Batch, Phase, Strategy

if TYPE_CHECKING:
    from torch import Tensor, nn

    from relay.handover import Handover


@options
class ExpertsOptions:
    """Options of :class:`Experts`.

    Attributes:
        experts: fit an expert in every leg and hand it over; each leg then takes about twice as long.
    """

    experts: bool = True


class Experts(Strategy):
    """Fit an expert before the model; the first leg's model is its expert.

    Attributes:
        own: this leg's expert; None while it is the model.
        experts: the frozen experts of the other sites, by name.
    """

    Options = ExpertsOptions
    own: nn.Module | None = None
    experts: Mapping[str, nn.Module] = {}

    def __init__(self, options: Any) -> None:
        super().__init__(options)
        self.carries_expert = options.experts

    def receive(self, handover: Handover | None) -> None:
        """Start the expert from that of the previous leg, and keep those of the other sites.

        Raises:
            HandoverError: an expert does not match the model.
        """
        super().receive(handover)
        if handover is None or not self.options.experts:
            return
        from relay.handover import load_expert

        def net(weights: Mapping[str, Tensor]) -> nn.Module:
            made = copy.deepcopy(self.model)
            load_expert(made, weights)
            return made

        newest = max(handover.experts, default=None)
        self.own = copy.deepcopy(self.model) if newest is None else net(handover.experts[newest])
        found = handover.by_site(handover.experts).items()
        self.experts = {
            site: net(weights).eval().requires_grad_(False) for site, weights in found if site != self.task.site
        }

    def phases(self) -> Sequence[Phase]:
        """The expert's fit, then the model's."""
        first = [Phase("expert", self.own, self.own_loss)] if self.own is not None else []
        return [*first, *super().phases()]

    def own_loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The task's loss of the expert; nothing keeps it near what it was."""
        assert self.own is not None
        return {"task": self.criterion(self.own(batch.image), batch.label)}

    def expert(self) -> Mapping[str, Tensor] | None:
        """The expert's weights."""
        return (self.own or self.model).float().state_dict() if self.options.experts else None
