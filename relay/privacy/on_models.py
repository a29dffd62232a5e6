"""Attacks on everything in a handover that is a model: the generalist, experts, and what they were made from."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
import torch
from torch import Tensor, nn

from relay.bundle import audits
from relay.handover import load_expert
from relay.leg import Progress
from relay.plan import Leg
from relay.privacy.attacks import Shadows, cheap, with_shadows
from relay.privacy.evidence import Floats
from relay.privacy.leaving import Leaving
from relay.privacy.signals import gradients, losses
from relay.privacy.subjects import Subjects

REFERENCES = 4
"""As many experts of other sites, the newest, tell how hard a patient is."""
Found = Iterator[tuple[str, str, Floats]]
"""Part, name and scores of each attack."""


def on_models(
    leg: Leg, subjects: Subjects, left: Leaving, shadows: Shadows | None, device: torch.device, progress: Progress
) -> Found:
    """The scores of every attack on models."""
    found: dict[tuple[str, str], Floats] = {}
    for (part, which), weights in _models(left).items():
        with progress.stage(f"attacking {audits.PARTS[part]}{which}"):
            signals = _signals(leg, subjects, net_of(leg, weights), device)
        yield from ((part, name + which, score) for name, score in cheap(signals))
        if shadows is not None:
            yield from ((part, name + which, score) for name, score in with_shadows(signals["loss"], shadows))
        found[part, which] = signals["loss"]
    own = {part: loss for (part, which), loss in found.items() if not which}
    if left.arrived is not None:
        with progress.stage(f"attacking {audits.PARTS['difference']}"):
            yield from _differences(leg, subjects, left, own, device)
    elif len(own) == 2:
        yield "difference", "loss of model against expert", own["model"] - own["expert"]


def _models(left: Leaving) -> dict[tuple[str, str], Mapping[str, Tensor]]:
    """Every model that was trained at the site, by part and by what tells it from others of that part."""
    found = {("model", ""): left.handover.model}
    if own := left.handover.experts.get(left.leg):
        found["expert", ""] = own
    before = left.arrived.experts if left.arrived else {}
    found |= {("expert", f" of leg {number}"): before[number] for number in left.earlier if number in before}
    if (alone := _alone(left)) is not None:
        found["difference", " of the model before averaging"] = alone
    return found


def _alone(left: Leaving) -> Mapping[str, Tensor] | None:
    """The leg's own model, where it leaves only in an average: whoever has what arrived, too, can take it out again.

    With ``share`` of what is averaged being the leg's, ``model = (1 - share) * arrived + share * own``.
    """
    now, before = left.handover.cumulative, left.arrived.cumulative if left.arrived else None
    if now is None or before is None or now.kind != "fedavg" or before.kind != "fedavg":
        return None
    share = 1 - float(before.about["samples"]) / float(now.about["samples"])
    if not 0 < share < 1:  # the first of a round: nothing has been averaged
        return None
    assert left.arrived is not None
    old = left.arrived.model
    return {
        name: (value - (1 - share) * old[name]) / share if value.is_floating_point() else value
        for name, value in left.handover.model.items()
    }


def _differences(leg: Leg, subjects: Subjects, left: Leaving, own: Mapping[str, Floats], device: torch.device) -> Found:
    """How much better the leg's models are for a patient than what arrived."""
    assert left.arrived is not None

    def loss_of(weights: Mapping[str, Tensor]) -> Floats:
        return subjects.mean(losses(net_of(leg, weights), subjects, leg, device)[0])

    before = loss_of(left.arrived.model)
    yield from (("difference", f"loss of {part} against arrived", before - loss) for part, loss in own.items())
    others = {number: made["site"] for made in left.arrived.legs if (number := made["leg"]) in left.arrived.experts}
    chosen = [number for number, site in others.items() if site != left.site][-REFERENCES:]
    if chosen:
        usual = np.mean([loss_of(left.arrived.experts[number]) for number in chosen], axis=0)
        yield from (
            ("difference", f"loss of {part} against experts of other sites", usual - loss) for part, loss in own.items()
        )


def _signals(leg: Leg, subjects: Subjects, model: nn.Module, device: torch.device) -> dict[str, Floats]:
    loss, entropy = losses(model, subjects, leg, device)
    found = {"loss": loss, "gradient": gradients(model, subjects, leg, device)}
    found |= {"entropy": entropy} if np.isfinite(entropy).all() else {}
    return {name: subjects.mean(values) for name, values in found.items()}


def net_of(leg: Leg, weights: Mapping[str, Tensor]) -> nn.Module:
    """A net with these weights, on the CPU; an expert's may be float16."""
    net = leg.net.build()
    load_expert(net, weights)
    return net
