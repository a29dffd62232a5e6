"""FedAvg: federated averaging in a ring (McMahan et al. 2017, arXiv:1602.05629); a lap of the relay is a round.

Every leg of a round trains from the round's initial weights. It hands over the average of all legs of the round so far,
each weighted by its training samples, together with the initial weights. A site that has its second turn starts the
next round, from the average. So the last leg of a round hands over what a central server would have
computed.

With ``proximal`` it is FedProx (Li et al. 2020, arXiv:1812.06127).
"""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Annotated

from relay.config import Field, check, options
from relay.errors import HandoverError

from .base import Batch, Phase, Strategy, Training

if TYPE_CHECKING:
    from torch import Tensor, nn

    from relay.handover import Handover, MemoryState

__all__ = ["FedAvg", "FedAvgOptions", "Round"]

KIND = "fedavg"


@options
class FedAvgOptions:
    """How close a leg stays to the initial weights of its round.

    Attributes:
        proximal: FedProx's mu: half of it times the squared distance from the start's weights is added to the loss;
            0 is FedAvg.
    """

    proximal: Annotated[float, Field(ge=0)] = 0.0


@options
class Round:
    """A round so far, as described in its cumulative memory.

    Attributes:
        samples: training samples of its legs, in the form that may be disclosed.
        sites: the sites that have done a leg of it, in order.
    """

    samples: Annotated[int, Field(ge=0)] = 0
    sites: tuple[str, ...] = ()


class FedAvg(Strategy):
    """Average all legs of a round, each trained from the same weights. Normalisation statistics are averaged, too."""

    Options = FedAvgOptions
    any_training = True
    laps = 3
    kinds = ("fedavg",)
    round: Round
    start: Mapping[str, Tensor]
    anchor: nn.Module | None = None

    def receive(self, handover: Handover | None) -> None:
        """Return to the initial weights of the round; a new round starts from the incoming model.

        Raises:
            HandoverError: the weights don't match the model, or the cumulative memory is not from this strategy.
        """
        from relay.handover import load_model

        super().receive(handover)
        self.round = Round()
        if handover is not None and handover.cumulative is not None:
            begun = read_round(handover.cumulative)
            if self.task.site not in begun.sites:
                self.round = begun
                load_model(self.model, handover.cumulative.tensors)
        self.start = {name: tensor.detach().to("cpu", copy=True) for name, tensor in self.model.state_dict().items()}
        if self.options.proximal > 0:
            self.anchor = copy.deepcopy(self.model).requires_grad_(False)

    def phases(self) -> Sequence[Phase]:
        """One phase; with ``proximal``, the initial weights are beside the model."""
        return [Phase("learn", self.model, self.loss, frozen=(self.anchor,) if self.anchor else ())]

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The task's loss, and the distance from the initial weights."""
        terms = dict(super().loss(batch))
        if self.anchor is not None:
            pairs = zip(self.model.parameters(), self.anchor.parameters(), strict=True)
            terms["proximal"] = self.options.proximal / 2 * sum((now - then).square().sum() for now, then in pairs)
        return terms

    def finish(self, training: Training) -> None:
        """Add this leg to the round's average."""
        from relay.merge import merge

        before, samples = self.round, self.round.samples + training.samples
        if before.sites:
            assert self.incoming is not None
            merge(self.model, self.incoming.model, before.samples / samples)
        self.round = Round(samples=samples, sites=(*before.sites, self.task.site))

    def cumulative(self) -> MemoryState:
        """The initial weights, for the other sites of the round."""
        from relay.handover import MemoryState, Privacy

        about = {"samples": self.round.samples, "sites": list(self.round.sites)}
        return MemoryState(self.start, KIND, Privacy(derived="weights"), about)


def read_round(cumulative: MemoryState) -> Round:
    """The round described in a cumulative memory.

    Raises:
        HandoverError: it is from another strategy, or does not describe a round.
    """
    if cumulative.kind != KIND:
        raise HandoverError(
            f"fedavg: the cumulative memory has the kind '{cumulative.kind}', not '{KIND}'",
            "Use the same strategy as the previous leg: all legs of a study must use the same one.",
        )
    found, problems = check(Round, dict(cumulative.about))
    if found is None:
        raise HandoverError(f"fedavg: the cumulative memory's 'about' is wrong: {'; '.join(map(str, problems))}")
    return found
