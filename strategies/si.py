"""SI: keep each weight near its incoming value, in proportion to its contribution to learning earlier sites.

Synaptic intelligence (Zenke et al. 2017, arXiv:1703.04200): during training, each weight is credited with the
decrease in loss that its own moves caused. The credits need no extra image or backward pass.

To combine it with another strategy, inherit from both, this one first: ``class RelaySI(SI, Relay)``, with the options
of both. Decreases in the terms of the other strategy are credited as well.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated, ClassVar

from relay.config import Field, options

from .base import Batch, Phase, Strategy, Training

if TYPE_CHECKING:
    from torch import Tensor

    from relay.handover import Handover, MemoryState
    from relay.memory import Anchor, PathIntegral


@options
class SIOptions:
    """How strongly weights are kept.

    Attributes:
        si_weight: c, the weight of the penalty relative to the task's loss; 1 would hold exactly what was credited.
        si_damping: xi, added to the squared total change of a weight, so that an unchanged weight isn't infinitely
            important.
    """

    si_weight: Annotated[float, Field(ge=0)] = 10.0
    si_damping: Annotated[float, Field(gt=0)] = 1e-3


class SI(Strategy):
    """Add ``c * sum Omega (w - w_incoming)^2``; the first leg is plain training, with the importances recorded."""

    Options: ClassVar[type] = SIOptions
    kinds = ("si",)
    anchor: Anchor
    path: PathIntegral

    def receive(self, handover: Handover | None) -> None:
        """Start from the incoming weights and store them, with their importances.

        Raises:
            HandoverError: there are no importances, or they don't match the model.
        """
        super().receive(handover)
        from relay.memory import Anchor, PathIntegral

        self.anchor = Anchor.of(self.model, handover, "si")
        self.path = PathIntegral(self.anchor.weights)

    def phases(self) -> Sequence[Phase]:
        """The phases of the combined strategies; in those that train the model, credits are recorded."""
        from relay.memory import IntegrateAlongPath, beside

        watch = IntegrateAlongPath(self.model, self.path, self.anchor, self.options.si_weight)
        return beside(super().phases(), self.model, frozen=(self.anchor,), extra_state=(self.path,), callbacks=(watch,))

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The terms of the combined strategies, and the penalty."""
        terms = super().loss(batch)
        if self.incoming is None:
            return terms
        return {**terms, "si": self.options.si_weight * self.anchor(self.model)}

    def finish(self, training: Training) -> None:
        """Turn the credits into importances; before anything else moves the weights."""
        from relay.memory import as_vector, trained

        weights = as_vector(trained(self.model).values()).detach()
        anchor, path = self.anchor.to(weights), self.path.to(weights)
        own = path.importance(weights - anchor.weights, self.options.si_damping)
        self.importance = anchor.importance + own
        super().finish(training)

    def cumulative(self) -> MemoryState | None:
        """The importances of all sites so far."""
        from relay.memory import named, state, trained

        return state("si", named(self.importance, trained(self.model)), super().cumulative())
