"""A leg whose model the site's own code trains, in place of the strategy's phases that train it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import nn

from relay.config import Devices
from relay.data import SiteData
from relay.errors import HandoverError, UserError, some
from relay.handover import load_model
from relay.leg.acceptance import check_expert, check_memory, check_outputs, check_samples, check_size
from relay.leg.training import task_of
from relay.plan import Leg
from relay.trust import Policy, PolicyBreach

if TYPE_CHECKING:
    from torch import Tensor

    from relay.handover import Handover

AGAIN = "The leg is still open. Correct that, and call finish again."


@dataclass(frozen=True)
class Trained:
    """What the site's own code has made.

    Attributes:
        weights: of the study's net, by name.
        seconds: how long it took.
    """

    weights: Mapping[str, Tensor]
    seconds: float

    def load(self, model: nn.Module) -> None:
        """Put the weights into the study's net.

        Raises:
            HandoverError: names, shapes or types differ, or a value is not finite. The net is unchanged.
        """
        if odd := [str(name) for name, value in self.weights.items() if not isinstance(value, torch.Tensor)]:
            raise HandoverError(f"these weights are no tensors: {some(odd)}", AGAIN)
        try:
            load_model(model, self.weights)
        except HandoverError as error:
            raise HandoverError(str(error), f"Hand back the state_dict of leg.net(), as float32. {AGAIN}") from error


def check_own_code(leg: Leg, policy: Policy, devices: Devices) -> None:
    """Refuse a leg of which something is asked that nobody can promise for the site's own code.

    Raises:
        UserError: the config asks for it.
        PolicyBreach: the study's policy does.
    """
    whose = f"the site's own code trains leg {leg.number} ({leg.task_name})"
    if leg.train.privacy is not None:
        raise UserError(
            f"train.privacy: {whose}, and what it guarantees its patients is not known",
            "Set train.privacy to null, or train this leg with relay train.",
        )
    if not vars(type(leg.strategy)).get("any_training", False):
        raise UserError(
            f"{whose}, but strategy '{leg.conf.strategy.name}' needs to see each step of the training",
            "Use one that does not, such as sequential, relay or ewc, or train this leg with relay train.",
        )
    if len(leg.pool) > 1 or devices.world_size > 1:
        raise UserError(f"{whose}, which must be one site's, in one process", "Use one site and one GPU.")
    if policy.same_config:
        raise PolicyBreach(f"{whose}; the study's policy (same_config) requires that all sites train alike")
    if policy.max_training_epsilon is not None:
        raise PolicyBreach(f"{whose}; the study's policy (max_training_epsilon) requires differential privacy")
    if policy.audit == "require":
        raise PolicyBreach(f"{whose}, which can't be repeated for the privacy audit that the study's policy requires")


def start_of(
    leg: Leg, model: nn.Module, incoming: Handover | None, sites: Sequence[SiteData], policy: Policy
) -> nn.Module:
    """The study's net with the weights that a leg's training starts from, after all checks that come before a training.

    Args:
        model: the net with its initial weights.

    Raises:
        UserError, PolicyBreach: the result could not be handed over.
    """
    check_samples(leg, sum(len(site.split.train) for site in sites), policy)
    check_size(model, policy)
    check_memory(leg.strategy.kinds, policy)
    check_expert(leg, model, policy)
    check_outputs(leg, model, sites[0], torch.device("cpu"))
    leg.strategy.setup(model, leg.loss.build(leg.data.outputs), task_of(leg))
    leg.strategy.receive(incoming)
    return model.requires_grad_(True)
