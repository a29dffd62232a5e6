"""The models that a handover offers for images that are not its maker's: the generalist, the vote, an expert."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import chain
from typing import Any

import torch
from torch import nn

from relay.data import SiteData, Store, scaled
from relay.errors import HandoverError
from relay.handover import Handover, load_expert, load_model
from relay.leg.inference import batches, predict
from relay.leg.vote import Vote
from relay.plan import Leg
from relay.results import EXPERT, GENERALIST, VOTE, mean
from relay.tasks import Task

UNLIKE = "unlike"
MOST = 32
"""How many images the arriving models are scored on."""


def candidates_in(leg: Leg, handover: Handover, site: str) -> dict[str, nn.Module]:
    """The models in a handover, on the CPU: the one model; if there are experts, their vote; and the site's own expert,
    if it has one.

    In the vote, images that are unlike all sites go to what has been better for strangers (:func:`preferred`): to the
    generalist, or to all experts alike.

    Raises:
        HandoverError: weights or memories don't match the leg's config.
    """
    found: dict[str, nn.Module] = {GENERALIST: leg.net.build()}
    load_model(found[GENERALIST], handover.model)
    experts = {name: expert(leg, weights) for name, weights in handover.by_site(handover.experts).items()}
    if experts:
        from relay.memory import Router

        router = Router.of(handover.by_site(handover.memories), leg.data.intensity_range)
        if router and router.channels != leg.data.channels:
            raise HandoverError(
                f"the style memories are of images with {router.channels} channels, this config's have "
                f"{leg.data.channels}",
                "Use the config that they were made with.",
            )
        better, _ = preferred(handover.legs, type(leg.data.does))
        otherwise = found[GENERALIST] if better == GENERALIST else None
        found[VOTE] = Vote(experts, router, otherwise, task=leg.data.does)
    if site in experts:
        found[EXPERT] = experts[site]
    return found


def expert(leg: Leg, weights: Mapping[str, torch.Tensor]) -> nn.Module:
    """An expert's net, on the CPU.

    Raises:
        HandoverError: its weights don't match the net of the leg's config.
    """
    net = leg.net.build()
    load_expert(net, weights)
    return net


def scores(model: nn.Module, site: SiteData, stores: Iterable[Store], device: torch.device) -> list[tuple[str, float]]:
    """The patient of each image, and the model's score for it (:meth:`relay.tasks.Task.each`).

    NaN if it has none. At the net's resolution, like the scores during training.
    """
    options = site.dataset.options
    task, patients, values = options.does, list[str](), list[torch.Tensor]()
    model.to(device).eval()
    for store in stores:
        for batch in batches(store):
            logits = predict(model, scaled(batch["image"].to(device), options.intensity_range), options.patch_size)
            values.append(task.values(task.decide(logits), task.label(batch["label"].to(device))))
            patients += [store.samples[index].patient for index in batch["index"].tolist()]
    return list(zip(patients, task.each(torch.cat(values)).tolist(), strict=True)) if values else []


def zero_shot(leg: Leg, handover: Handover, sites: list[SiteData], device: torch.device) -> list[dict[str, Any]]:
    """The primary metric of the models that arrived on images of this site, which none of them has seen: those to train
    and validate on, never those to test on. At most :data:`MOST` images, evenly spaced.

    Returns:
        A row for the generalist and, of two or more experts, one for their vote: ``model``, ``mean`` (NaN if
        nothing could be measured), ``images``.
    """
    models, rows = candidates_in(leg, handover, ""), []
    if isinstance(vote := models.pop(VOTE, None), Vote) and len(vote.sites) > 1:  # one expert says nothing about many
        experts = dict(zip(vote.sites, vote.nets, strict=False))  # without the generalist
        models[VOTE] = Vote(experts, vote.router, task=vote.task)
    for kind, model in models.items():
        found = [score for site in sites for _, score in scores(model, site, [few(site)], device)]
        rows.append({"model": kind, "mean": round(mean(found), 6), "images": len(found)})
    return rows


def routing(vote: Vote, site: SiteData, device: torch.device) -> dict[str, int]:
    """How many test images of a site look most like each expert's site; ``unlike`` counts those that resemble none.

    Empty if there is no router.
    """
    if vote.router is None:
        return {}
    counts = dict.fromkeys((*vote.sites, UNLIKE), 0)
    for batch in batches(site.test):
        image = scaled(batch["image"].to(device), site.dataset.options.intensity_range)
        strange, best = vote.router.strange(image), vote.weights(image)[:, : len(vote.sites)].argmax(1)
        for place, odd in zip(best.tolist(), strange.tolist(), strict=True):
            counts[UNLIKE if odd else vote.sites[place]] += 1
    return counts


def few(site: SiteData) -> Store:
    """At most :data:`MOST` of a site's images that are not for testing."""
    samples = list(chain(site.split.train, site.split.val))
    return Store(site.dataset, samples[:: max(1, -(-len(samples) // MOST))])


def preferred(legs: Iterable[Mapping[str, Any]], task: type[Task]) -> tuple[str, str]:
    """Which model to use for images that are unlike those of all sites, and why.

    Each leg has scored what arrived on its own images before it trained on them: to these models, it was such a
    hospital. The vote is preferred if it has scored better there, on average over those legs.

    Args:
        legs: of a handover; each may have ``zero_shot``.
        task: compares their scores.
    """
    pairs = []
    for leg in legs:
        said = {row["model"]: row["mean"] for row in leg.get("zero_shot", ()) if _measured(row["mean"])}
        if {GENERALIST, VOTE} <= said.keys():
            pairs.append((said[GENERALIST], said[VOTE]))
    if not pairs:
        return GENERALIST, "no leg has compared the two"
    one, many = (mean(side) for side in zip(*pairs, strict=True))
    where = f"on arrival at {len(pairs)} site{'s' if len(pairs) > 1 else ''}, before training there"
    told = f"{where}, the vote scored {many:.3f} and the generalist {one:.3f}"
    return (VOTE if task.gain(many, one) > 0 else GENERALIST), told


def _measured(value: float | None) -> bool:
    return value is not None and not math.isnan(value)
