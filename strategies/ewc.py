"""EWC: keep each weight near its incoming value, in proportion to its importance for earlier sites.

Elastic weight consolidation (Kirkpatrick et al. 2017, 10.1073/pnas.1611835114) in its online form (Schwarz et al. 2018,
arXiv:1805.06370): the importance is the diagonal of the Fisher information, one number per weight, summed over
the sites.

To combine it with another strategy, inherit from both, this one first: ``class RelayEWC(EWC, Relay)``, with the
options of both.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from relay.config import Field, options
from relay.seeds import derive

from .base import Batch, Phase, Strategy, Training

if TYPE_CHECKING:
    from torch import Tensor

    from relay.handover import Handover, MemoryState
    from relay.memory import Anchor


@options
class EWCOptions:
    """How strongly weights are kept.

    Attributes:
        ewc_weight: lambda, the weight of the penalty relative to the task's loss; 1 would be the Laplace approximation
            with equal weights for all sites, but the diagonal alone holds too little.
        ewc_decay: gamma, the factor for the importances of earlier sites when a site is added; 1 gives all sites the
            same weight.
        ewc_images: number of images for estimating the Fisher information; if there are fewer, they are repeated.
    """

    ewc_weight: Annotated[float, Field(ge=0)] = 100.0
    ewc_decay: Annotated[float, Field(ge=0, le=1)] = 1.0
    ewc_images: Annotated[int, Field(ge=1)] = 256


class EWC(Strategy):
    """Add ``lambda / 2 * sum F (w - w_incoming)^2``; the first leg is plain training."""

    Options: ClassVar[type] = EWCOptions
    any_training = True
    kinds = ("ewc",)
    anchor: Anchor

    def receive(self, handover: Handover | None) -> None:
        """Start from the incoming weights and store them, with their importances.

        Raises:
            HandoverError: there are no importances, or they don't match the model.
        """
        super().receive(handover)
        from relay.memory import Anchor

        self.anchor = Anchor.of(self.model, handover, "ewc")

    def phases(self) -> Sequence[Phase]:
        """The phases of the combined strategies, with the incoming weights beside the model."""
        from relay.memory import beside

        return beside(super().phases(), self.model, frozen=(self.anchor,))

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The terms of the combined strategies, and the penalty."""
        terms = super().loss(batch)
        if self.incoming is None:
            return terms
        return {**terms, "ewc": self.options.ewc_weight / 2 * self.anchor(self.model)}

    def finish(self, training: Training) -> None:
        """Add this site's Fisher information at the final weights."""
        super().finish(training)
        from relay.memory import fisher, views

        seed = derive(self.task.seed, self.task.site, "ewc")
        images = views(training, self.task.size, self.options.ewc_images, seed)
        own = fisher(self.model, images, seed, self.task.likelihood)
        self.importance = self.options.ewc_decay * self.anchor.importance.to(own) + own

    def cumulative(self) -> MemoryState | None:
        """The importances of all sites so far."""
        from relay.memory import named, state, trained

        return state("ewc", named(self.importance, trained(self.model)), super().cumulative())
