"""The acceptance gate of a leg: what arrived is sane, fits its net, and is scored on its validation images."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain

import torch
from torch import nn

from relay.config.devices import Devices
from relay.data.site import SiteData
from relay.errors import CarryError
from relay.handoff import Carry, gate, load_solver
from relay.handoff.desk import Desk
from relay.handoff.policy import Policy
from relay.handoff.receive import Weigh
from relay.handoff.refusals import GateFailed, PolicyBreach
from relay.leg.device import device_of, memory_format
from relay.leg.predict import batches, predict, scale
from relay.leg.sites import Sites
from relay.metrics.dice import SampleDice
from relay.plan import Leg


def weigher(leg: Leg, sites: Sites, devices: Devices) -> Weigh:
    """The acceptance gate of a leg: the weights are sane, fit its net, and are scored on its validation images."""

    def weigh(carry: Carry, desk: Desk, policy: Policy) -> list[str]:
        parts = [*carry.memories.values(), *([carry.running] if carry.running else [])]
        check_memory((part.kind for part in parts), policy)  # the roster may be newer than what was received
        notes = gate.weigh(carry, desk, policy)
        with torch.random.fork_rng(devices=[]):
            solver = leg.net.build()
        try:
            load_solver(solver, carry.solver)
        except CarryError as error:
            raise GateFailed(str(error), "Both sites must use the config that the study agreed on.") from error
        site = sites(leg.pool[0], train=True)
        if not site.split.val:
            return [*notes, "no validation images here to score them on"]
        device = device_of(devices)
        dice = validation_dice(solver.to(device, memory_format=memory_format(leg)).eval(), [site], device)
        gate.check_score(dice, policy.gate)
        return [*notes, f"they score {dice:.3f} (mean Dice) on the {len(site.split.val)} validation images here"]

    return weigh


def validation_dice(solver: nn.Module, sites: Sequence[SiteData], device: torch.device) -> float:
    """Mean Dice over the classes but background, at the network's resolution; NaN where nothing is to be found."""
    options = sites[0].dataset.options
    score = SampleDice(options.num_classes, sync_on_compute=False).to(device)  # only one process does this
    for batch in chain.from_iterable(batches(site.val) for site in sites):
        logits = predict(solver, scale(batch["image"].to(device), options.out_range), options.patch_size)
        score.update(logits.argmax(1), batch["label"].to(device).long())
    return float(score.class_mean())


def check_size(solver: nn.Module, policy: Policy) -> None:
    """Refuse before the training a net whose weights alone are larger than a bundle may be.

    Raises:
        PolicyBreach: they are.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in solver.state_dict().values())
    if size > policy.max_bundle_bytes:
        raise PolicyBreach(
            f"the net's weights have {size} bytes; a bundle of this study may have {policy.max_bundle_bytes}",
            "Use the net that the study agreed on, or ask the coordinator for another policy.max_bundle_bytes.",
        )


def check_memory(kinds: Iterable[str], policy: Policy) -> None:
    """Refuse before the training a memory that could not be sent after it. ``kinds``: of those that the leg will carry.

    Raises:
        PolicyBreach: the policy forbids one.
    """
    if odd := sorted({kind for kind in kinds if not policy.carries(kind)}):
        raise PolicyBreach(
            f"a memory of the kind {', '.join(odd)} may not travel in this study; allowed: {policy.kinds}",
            "Use a strategy or options without it (relay with owm_alpha: null carries no owm), or ask the coordinator "
            "for a roster with another policy.memory.",
        )


def check_samples(leg: Leg, samples: int, policy: Policy) -> None:
    """Refuse before the training what could not be sent after it.

    Raises:
        PolicyBreach: fewer training samples than the study wants of a site.
    """
    if samples < policy.min_samples:
        raise PolicyBreach(
            f"{leg.task_name} has {samples} training samples; the study wants at least {policy.min_samples}",
            "Train with more images, or ask the coordinator for a roster with another policy.min_samples.",
        )
