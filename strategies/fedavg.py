"""FedAvg: federated averaging round a ring (McMahan et al. 2017, arXiv:1602.05629); a lap of the relay is a round.

Every leg of a round trains from the weights that the round began with. What it hands over is the average of all legs of
the round so far, each weighted by its training samples; beside it travel the weights of the start. A site that comes up
for the second time begins the next round, from the average. So the last leg of a round hands over what a coordinator
would have made of it.

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
    """How near a leg stays to the start of its round.

    Attributes:
        proximal: FedProx's mu: half of it times the squared distance from the start's weights is added to the loss;
            0 is FedAvg.
    """

    proximal: Annotated[float, Field(ge=0)] = 0.0


@options
class Round:
    """A round so far: what its cumulative memory says of itself.

    Attributes:
        samples: training samples of its legs, as they may be told.
        sites: who has done a leg of it, in order.
    """

    samples: Annotated[int, Field(ge=0)] = 0
    sites: tuple[str, ...] = ()


class FedAvg(Strategy):
    """Average all legs of a round, each trained from the same weights. Normalisation statistics are averaged, too."""

    Options = FedAvgOptions
    laps = 3
    kinds = ("fedavg",)
    round: Round
    start: Mapping[str, Tensor]
    anchor: nn.Module | None = None

    def receive(self, handover: Handover | None) -> None:
        """Go back to the start of the round; a new one starts from what came.

        Raises:
            HandoverError: the weights do not fit the model, or the cumulative memory is not of this strategy.
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
        """One phase; the weights of the start beside the model where it is held near them."""
        return [Phase("learn", self.model, self.loss, frozen=(self.anchor,) if self.anchor else ())]

    def loss(self, batch: Batch) -> Mapping[str, Tensor]:
        """The task's loss, and the distance from the start."""
        terms = dict(super().loss(batch))
        if self.anchor is not None:
            pairs = zip(self.model.parameters(), self.anchor.parameters(), strict=True)
            terms["proximal"] = self.options.proximal / 2 * sum((now - then).square().sum() for now, then in pairs)
        return terms

    def finish(self, training: Training) -> None:
        """Take this leg into the round's average."""
        from relay.merge import merge

        before, samples = self.round, self.round.samples + training.samples
        if before.sites:
            assert self.incoming is not None
            merge(self.model, self.incoming.model, before.samples / samples)
        self.round = Round(samples=samples, sites=(*before.sites, self.task.site))

    def cumulative(self) -> MemoryState:
        """The weights of the start, for the other sites of the round."""
        from relay.handover import MemoryState, Privacy

        about = {"samples": self.round.samples, "sites": list(self.round.sites)}
        return MemoryState(self.start, KIND, Privacy(derived="weights"), about)


def read_round(cumulative: MemoryState) -> Round:
    """What a cumulative memory says of its round.

    Raises:
        HandoverError: it is another strategy's, or does not say it.
    """
    if cumulative.kind != KIND:
        raise HandoverError(
            f"fedavg: the cumulative memory is of the kind '{cumulative.kind}', not '{KIND}'",
            "Use the strategy of the leg before: all legs of a study have the same.",
        )
    found, problems = check(Round, dict(cumulative.about))
    if found is None:
        raise HandoverError(f"fedavg: the cumulative memory's 'about' is wrong: {'; '.join(map(str, problems))}")
    return found
