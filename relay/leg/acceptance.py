"""The acceptance check of a leg, before anything is accepted: the weights are sane, match its net, can be read by its
strategy, give finite outputs for images of this site, and are scored on its validation images.

So anything that training would refuse is refused here, while the bundle can still be replaced by a good one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from relay.bundle import documents
from relay.config import Devices
from relay.data import SiteData, Store, prepare, scaled, train_loader
from relay.errors import DataError, HandoverError, UserError, first_line
from relay.exchange import AcceptanceCheck, StudyStore, gate, measures
from relay.handover import Handover, load_model
from relay.leg.candidates import expert
from relay.leg.device import device_of, memory_format
from relay.leg.inference import batches, predict, reflected
from relay.leg.sites import Sites
from relay.leg.training import task_of, validation_score
from relay.plan import Leg
from relay.registry import blamed
from relay.trust import GateFailed, Policy, PolicyBreach

OTHER_SIZE = (
    "Choose another size (img_size or patch_size, or the steps that lead to it) or another net; model.kwargs may say "
    "what the net's size must be divisible by."
)
LOOK = 4
"""How many images of each site are examined if none are scored."""
SAME = 1e-12
"""Logits that differ by no more than this count as equal."""


def full_check(leg: Leg, sites: Sites, devices: Devices) -> AcceptanceCheck:
    """The acceptance check of a leg: all validation images of all its sites are scored; for a site without any, a few
    training images are examined."""

    def weigh(handover: Handover, store: StudyStore, policy: Policy) -> list[str]:
        model, notes = check_handover(leg, handover, policy, gate.last_known(store))
        device = device_of(devices)
        pool = [sites(dataset, train=True) for dataset in leg.pool]
        scored = [site for site in pool if site.split.val]
        check_expert_answers(leg, handover, pool[0], device)
        model.to(device, memory_format=memory_format(leg)).eval()
        notes += [check_answers(model, site, device) for site in pool if not site.split.val]
        if not scored:
            return [*notes, "there are no validation images here to score them on"]
        with _useful_answers(model):
            score = validation_score(model, scored, device)
        gate.check_score(score, policy.gate, type(leg.data.does))
        count = sum(len(site.split.val) for site in scored)
        return [*notes, f"they score {score:.3f} ({leg.data.does.score_name}) on the {count} validation images here"]

    return weigh


def quick_check(leg: Leg) -> AcceptanceCheck:
    """The acceptance check for a bundle that is received before the leg is run: a few images are examined, if they are
    available, and none are scored."""

    def weigh(handover: Handover, store: StudyStore, policy: Policy) -> list[str]:
        model, notes = check_handover(leg, handover, policy, gate.last_known(store))
        later = "relay train does this before it trains"
        if missing := [str(data.options.task_name) for data in leg.pool if not data.accessible()]:
            away = ", ".join(missing)
            return [*notes, f"the images of {away} are not here, so the outputs for them were not checked; {later}"]
        try:
            pool = [prepare(dataset, leg.conf.random_seed, splits=("train",)) for dataset in leg.pool]
            check_expert_answers(leg, handover, pool[0], torch.device("cpu"))
            return [*notes, *(check_answers(model.eval(), site, torch.device("cpu")) for site in pool)]
        except DataError as error:
            return [*notes, f"warning: their outputs were not checked; {later}: {error}"]

    return weigh


def check_handover(leg: Leg, handover: Handover, policy: Policy, last: Mapping[str, Tensor]) -> tuple[Any, list[str]]:
    """Check weights, experts and memories against the config, without images; return the net with the model's weights,
    and notes.

    Args:
        last: the last known weights of the model here; empty for none.

    Raises:
        GateFailed: they are not sane (:mod:`relay.exchange.gate`), or the net or its strategy can't load them.
        PolicyBreach: a memory may not travel.
    """
    states = [*handover.memories.values(), *([handover.cumulative] if handover.cumulative else [])]
    check_memory((state.kind for state in states), policy)  # the roster may be newer than what was received
    with torch.random.fork_rng(devices=[]):
        model = leg.net.build()
        fresh = {
            name: measures.rms(tensor) for name, tensor in model.state_dict().items() if tensor.is_floating_point()
        }
        notes = gate.check_weights(handover, policy, last, fresh)
        with _as_refusal():
            load_model(model, handover.model)
            gate.check_experts(handover)
            start = _rehearsed(leg, handover)
    gate.check_weights(Handover(start.state_dict()), policy, {}, fresh)
    return model, notes


def check_answers(model: nn.Module, site: SiteData, device: torch.device) -> str:
    """Check a net's outputs for a few validation images, or training images if there are none.

    Raises:
        GateFailed: some are not finite, or all are the same.
        DataError: the images can't be read.
    """
    options, kind = site.dataset.options, "val" if site.split.val else "train"
    few = Store(site.dataset, site.split[kind][:LOOK])  # type: ignore[index]
    with _useful_answers(model):
        for batch in batches(few):
            predict(model, scaled(batch["image"].to(device), options.intensity_range), options.patch_size)
    return f"their outputs are finite for {len(few)} images of this site"


def check_expert_answers(leg: Leg, handover: Handover, site: SiteData, device: torch.device) -> None:
    """Check the outputs of every expert as :func:`check_answers` does: the vote would mix in useless ones unnoticed.

    Raises:
        GateFailed: those of one are not finite, or all the same.
    """
    for number, weights in handover.experts.items():
        net = expert(leg, weights).to(device).eval()
        try:
            check_answers(net, site, device)
        except GateFailed as error:
            raise GateFailed(f"the expert of leg {number}: {error}", error.advice()) from error


def _rehearsed(leg: Leg, handover: Handover) -> nn.Module:
    """What the leg's strategy would start from, built by a temporary strategy."""
    strategy = type(leg.strategy)(leg.strategy.options)
    strategy.setup(leg.net.build(), leg.loss.build(leg.data.outputs), task_of(leg))
    strategy.receive(handover)
    start: nn.Module = strategy.model
    return start


def check_outputs(leg: Leg, model: nn.Module, site: SiteData, device: torch.device) -> None:
    """Check that a net's outputs have the shape that the task needs: some losses would train another without a word.

    Args:
        site: its first training image is predicted, or one patch of it: a whole volume would take too long.

    Raises:
        UserError: the outputs have another shape, or the net fails.
    """
    (batch,) = batches(Store(site.dataset, site.split["train"][:1]))
    patch, training = leg.data.patch_size, model.training
    corner = tuple(slice(side) for side in (None, None, *(patch or ())))
    image = batch["image"][corner].to(device)
    if patch:
        image, _ = reflected(image, patch)
    size = "×".join(map(str, image.shape[2:]))
    try:
        with blamed(type(leg.net).__name__, leg.net):
            # as a whole: blending windows would fail where the shape is wrong
            logits = predict(model.eval(), scaled(image, leg.data.intensity_range))
    except (RuntimeError, ValueError, AssertionError) as error:  # nets refuse sizes in many ways
        why = first_line(error)
        raise UserError(f"net '{leg.conf.model.name}' can't process an image of {size}: {why}", OTHER_SIZE) from error
    model.train(training)
    dense = leg.data.does.dense
    wanted = (1, leg.data.outputs, *(image.shape[2:] if dense else ()))
    if tuple(logits.shape) != wanted:
        raise UserError(
            f"net '{leg.conf.model.name}' gives outputs of shape {tuple(logits.shape)} for an image; it must give "
            f"{wanted}",
            _right_shape(leg, logits.ndim),
        )


def check_net(leg: Leg, site: SiteData) -> None:
    """Check what training would begin with, without training: the batches of a site's images, and the net on one.

    Raises:
        UserError: the images don't go into one batch, the net can't be built, or as :func:`check_outputs`.
    """
    train_loader([site.train], leg.data, batch_size=1, seed=0, site=site.dataset.options.task_name)
    for device in (torch.device("meta"), torch.device("cpu")):
        with torch.random.fork_rng(devices=[]):
            model = leg.net.build()
        try:
            return check_outputs(leg, model.to(device), site, device)
        except UserError:
            if device.type == "cpu":  # tensors without content cost nothing, but not every net can do with them
                raise


def _right_shape(leg: Leg, axes: int) -> str:
    if not leg.data.does.dense:
        return f"{leg.data.task} needs a net that gives (batch, {leg.data.outputs}), not a map."
    if axes == 2:
        return f"{leg.data.task} needs a net that gives a map, such as U-Net; this one gives one answer for each image."
    return "It needs one output per class and pixel: use the in_channels and num_classes of self.channels()."


@contextmanager
def _as_refusal() -> Iterator[None]:
    try:
        yield
    except HandoverError as error:
        raise GateFailed(str(error), "Both sites must use the study's agreed config.") from error


@contextmanager
def _useful_answers(model: nn.Module) -> Iterator[None]:
    """Check all outputs of a net in the block.

    Raises:
        GateFailed: some are not finite, or they are the same everywhere for all images: such a net is dead, and
            training can't revive it.
    """
    ranges: list[Tensor] = []  # lowest and highest value of the images and of each class's logits, batch by batch

    def look(_: nn.Module, images: tuple[Tensor, ...], logits: Tensor) -> None:
        if not logits.isfinite().all():
            raise GateFailed("the weights can't be used: the net's outputs for images of this site are not finite")
        values = [images[0].reshape(1, -1), logits.transpose(0, 1).flatten(1)]
        ranges.append(torch.stack([torch.cat([end(v, dim=1) for v in values]) for end in (torch.amin, torch.amax)]))

    hook = model.register_forward_hook(look)
    try:
        yield
    finally:
        hook.remove()
    seen, *answers = _spread(ranges)
    if seen > 0 and answers and max(answers) <= SAME:
        raise GateFailed(
            "the weights can't be used: the net's output is the same everywhere, for every image of this site"
        )


def _spread(ranges: list[Tensor]) -> list[float]:
    """Highest minus lowest value over all batches: of the images, then of each class."""
    if not ranges:
        return [0.0]
    every = torch.stack(ranges).double()
    return list(map(float, every[:, 1].amax(0) - every[:, 0].amin(0)))


def check_size(model: nn.Module, policy: Policy) -> None:
    """Before training, refuse a net whose weights alone exceed the size of a bundle.

    Raises:
        PolicyBreach: they do.
    """
    size = sum(tensor.numel() * tensor.element_size() for tensor in model.state_dict().values())
    if size > policy.max_bundle_bytes:
        raise PolicyBreach(
            f"the net's weights have {size} bytes; the limit for a bundle of this study is {policy.max_bundle_bytes}",
            "Use the study's agreed net, or ask the coordinator for another policy.max_bundle_bytes.",
        )


def check_memory(kinds: Iterable[str], policy: Policy) -> None:
    """Before training, refuse a memory that could not be sent afterwards. ``kinds``: of those the leg will carry.

    Raises:
        PolicyBreach: the policy forbids one.
    """
    if odd := sorted({kind for kind in kinds if not policy.allows(kind)}):
        raise PolicyBreach(
            f"memories of the kind {', '.join(odd)} may not travel in this study; allowed: {policy.kinds}",
            "Use a strategy or options without it (relay with owm_alpha: null carries no owm), or ask the coordinator "
            "for a roster with another policy.memory.",
        )


def check_guarantee(leg: Leg, policy: Policy) -> None:
    """Before training, refuse one whose result could not be sent afterwards, as far as the config tells.

    Raises:
        PolicyBreach: the policy requires differential privacy, and there is none, or too little.
    """
    limit, options = policy.max_training_epsilon, leg.train.privacy
    if limit is None:
        return
    weak = options is None or options.randomness == "seed" or (options.epsilon or 0) > limit
    if weak or options.delta > documents.MOST_DELTA:  # type: ignore[union-attr]  # None is weak
        raise PolicyBreach(
            f"this study needs training with differential privacy, with an epsilon of at most {limit:g}",
            f"Set train.privacy: {{epsilon: {limit:g}}} with secret randomness, or ask the coordinator for a roster "
            "with another policy.max_training_epsilon.",
        )


def check_expert(leg: Leg, model: nn.Module, policy: Policy) -> None:
    """Before training, refuse an expert that could not be sent afterwards.

    Raises:
        PolicyBreach: the policy lets none travel, or none as large as one of this net.
    """
    if not leg.strategy.carries_expert:
        return
    if policy.experts == "none":
        raise PolicyBreach(
            f"strategy '{leg.conf.strategy.name}' hands on an expert; this study lets none travel",
            "Use a strategy or options without experts (relay with experts: false), or ask the coordinator for a "
            "roster with policy.experts: full.",
        )
    halved = {torch.float32: 2}  # travels as float16 (relay.handover.compact)
    size = sum(w.numel() * halved.get(w.dtype, w.element_size()) for w in model.state_dict().values())
    if size > policy.max_expert_bytes:
        raise PolicyBreach(
            f"an expert of this net has {size} bytes; the limit for one in this study is {policy.max_expert_bytes}",
            "Use the study's agreed net, a strategy or options without experts (relay with experts: false), or ask the "
            "coordinator for another policy.max_expert_bytes.",
        )


def check_samples(leg: Leg, samples: int, policy: Policy) -> None:
    """Before training, refuse a leg that could not be sent afterwards.

    Raises:
        PolicyBreach: it has fewer training samples than the study requires.
    """
    if samples < policy.min_samples:
        raise PolicyBreach(
            f"{leg.task_name} has {samples} training samples; the study requires at least {policy.min_samples}",
            "Train with more images, or ask the coordinator for a roster with another policy.min_samples.",
        )
