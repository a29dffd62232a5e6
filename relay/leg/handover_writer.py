"""What a leg reports when it hands over: its config, its data, its scores, its facts."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from relay.bundle import Facts, cards, documents, handover_files, manifest
from relay.config import WORDS, flat
from relay.data import SPLITS, SiteData, people, spec
from relay.errors import ConfigError, Problem, UserError
from relay.exchange import ExpectedConfig
from relay.handover import Handover, compact
from relay.plan import SHARED, Leg
from relay.results import matrix, no_nan, of_model
from relay.tasks import Task, named
from relay.trust import BadDocument, canonical, digest, travels

if TYPE_CHECKING:
    from torch import Tensor

    from relay.leg.guarantee import Guarantee


def input_spec(leg: Leg) -> dict[str, Any]:
    """What the model expects of an image, and what it predicts."""
    data = leg.data
    said: dict[str, Any] = {"task": data.task, "classes": list(data.names), "channels": data.channels}
    said |= {"intensity_range": list(data.intensity_range), "steps": _steps(leg), "slices": data.slices}
    return said if data.target_scale is None else said | {"target_scale": list(data.target_scale)}


def _steps(leg: Leg) -> list[dict[str, Any]] | None:
    return None if leg.data.steps is None else spec(leg.data.steps)


def net_of(leg: Leg) -> dict[str, Any]:
    """The net with all its options, except the source of its initial weights, which only concerns this machine."""
    options = dataclasses.asdict(leg.net.options)
    return {"name": leg.conf.model.name, "kwargs": {k: v for k, v in options.items() if not k.startswith("pretrained")}}


def scientific(leg: Leg) -> dict[str, Any]:
    """Everything the leg's result depends on that may be disclosed: every option, with defaults, flat; but no path, no
    file name pattern, and of the data set only the options that all sites share."""
    conf = leg.conf
    train = {key: value for key, value in dataclasses.asdict(conf.train).items() if key not in conf.train.runtime}
    if conf.train.privacy is not None:
        train["privacy"].pop("budget")  # the site's own business
    for part in ("loss", "optimizer", "scheduler"):
        train[part] = {"name": getattr(conf.train, part).name, "kwargs": dataclasses.asdict(getattr(leg, part))}
    data = {key: getattr(leg.data, key) for key in SHARED} | {"steps": _steps(leg)}
    if leg.data.target_scale is None:  # as before there was this option, so that digests stay the same
        del data["target_scale"]
    strategy = {"name": conf.strategy.name, "kwargs": dataclasses.asdict(leg.strategy.options)}
    tree = {"random_seed": conf.random_seed, "data": data, "strategy": strategy, "model": net_of(leg), "train": train}
    tree |= {"predict": dataclasses.asdict(conf.predict)}
    return {key: _plain(value) for key, value in flat(tree).items()}


def known(leg: Leg) -> dict[str, Any]:
    """:func:`scientific`, without what is not known of a leg that the site's own code trains: how it was trained."""
    return {key: value for key, value in scientific(leg).items() if not (leg.own_code and key.startswith("train."))}


def _plain(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(key): _plain(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item) for item in value]
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)


def expected_config(leg: Leg) -> ExpectedConfig:
    """What a bundle must have to match this leg's config."""
    return ExpectedConfig(_plain(net_of(leg)), input_spec(leg), digest(canonical(scientific(leg))))


NUMBER = (
    "can't be written to a signed document: numbers must be below 2^53 (9.007e15), or at least 1e21",
    "Choose a number in that range. For no limit, leave the option out or set it to its default.",
)
NOT_FINITE = (
    "can't be written to a signed document: numbers must be finite",
    "Choose a finite number. For no limit, leave the option out or set it to its default.",
)
TEXT = (
    "can't be written to a signed document: text must be valid UTF-8, without halves of characters",
    "Type the text again: it was cut inside a character, or comes from a file in another encoding.",
)


def _why(value: Any) -> tuple[str, str]:
    """Why a value can't travel, and the fix. For a list, this is about its first item that can't."""
    if isinstance(value, Mapping):
        return _why([*value, *value.values()])
    if isinstance(value, list):
        return next(_why(item) for item in value if travels({"": item}))
    if isinstance(value, str):
        return TEXT
    return NUMBER if math.isfinite(value) else NOT_FINITE


def check(leg: Leg) -> None:
    """Check that everything other sites need to know about the leg can be written down, before it is trained.

    Raises:
        UserError: an option has a value that can't travel.
    """
    head = {"format": 1, "model": _plain(net_of(leg)), "data": input_spec(leg)}
    disclosed = scientific(leg)
    if odd := travels(disclosed):
        why = [(key, *_why(disclosed[key])) for key in odd]
        problems = [Problem(key, disclosed[key], allowed, cure=cure) for key, allowed, cure in why]
        raise ConfigError(problems, f"task {leg.task_id}")
    try:
        documents.check_schema(manifest.HANDOVER, head)
        documents.check_schema(manifest.CONFIG, disclosed)
    except BadDocument as error:
        raise UserError(
            f"task {leg.task_id}: the leg can't be described to other sites: {error}", documents.ADVICE
        ) from error


def check_code(leg: Leg) -> None:
    """Check that the name of the code that trains a leg can be written into its statement.

    Raises:
        UserError: it can't.
    """
    name = leg.own_code or ""
    if not name.strip() or not re.fullmatch(WORDS, leg.method):
        raise UserError(
            f"code={name!r} can't be written into a signed statement",
            "Give your code a name and a version, up to 89 plain characters (letters, digits, spaces and _ . : + / ( ) "
            "-), such as 'nnU-Net 2.8.1'.",
        )


def _signed(scores: dict[str, float | None], task: Task) -> dict[str, Any]:
    """Scores as a statement has them: of segmentation plain, as all versions read them; else with the metric's name."""
    return scores if task.name == named(None).name else {s: {task.primary.name: v} for s, v in scores.items()}


def data_card(leg: Leg, sites: Sequence[SiteData], guarantee: Guarantee | None = None) -> dict[str, Any]:
    """Counts that describe the data a leg learned from, and what its training guarantees their patients."""
    options = leg.data
    splits = {name: [sample for site in sites for sample in site.split[name]] for name in SPLITS}
    by_hand = sum(sample.corrected is not None for sample in splits["train"])
    return {
        "format": 1,
        "site": leg.task_name,
        "task": options.task,
        "classes": list(options.names),
        "channels": options.channels,
        "size": _plain(options.fixed_size or options.patch_size),
        "images": {name: len(samples) for name, samples in splits.items()},
        "patients": {name: len(set(people(sample.patient for sample in samples))) for name, samples in splits.items()},
        **({"privacy": guarantee.stated} if guarantee else {}),
        **({"corrected": by_hand} if any(site.dataset.options.corrections for site in sites) else {}),
    }


def handover_of(leg: Leg, number: int) -> Handover:
    """What the finished leg hands over: its weights on the CPU, its own memory, the cumulative one, its expert, the
    facts.

    Args:
        number: the leg's number in the relay.
    """
    strategy = leg.strategy
    model, memory, expert = _leaving(strategy.model.state_dict()), strategy.memory(), strategy.expert()
    facts = {"model": _plain(net_of(leg)), "data": input_spec(leg)}
    experts = {number: compact(_leaving(expert))} if expert else {}
    return Handover(model, {number: memory} if memory else {}, strategy.cumulative(), facts, experts)


def _leaving(weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """A net's weights on the CPU, as they may leave the site: batch normalisation counts its batches, which would
    reveal how many images there are."""
    kept = {name: tensor.detach().cpu() for name, tensor in weights.items()}
    first = {tensor.data_ptr(): name for name, tensor in reversed(kept.items())}
    tied = [name for name, tensor in kept.items() if tensor.numel() and first[tensor.data_ptr()] != name]
    kept |= {name: kept[name].clone() for name in tied}  # safetensors writes no memory twice
    counts = [name for name in kept if name.endswith("num_batches_tracked")]
    return kept | {name: kept[name].new_zeros(kept[name].shape) for name in counts}


def as_received(
    leg: Leg,
    number: int,
    made: Handover,
    before: Handover | None,
    samples: int,
    arrived: Sequence[Mapping[str, Any]] = (),
) -> Handover:
    """What the next site will receive: also with the memories and experts of earlier legs, and what each leg said about
    itself.

    Args:
        made: the result of :func:`handover_of`.
        before: what the leg started from.
        samples: number of training samples, in the form that may be disclosed.
        arrived: as of :func:`write`.
    """
    own: dict[str, Any] = {
        "leg": number,
        "site": leg.task_name,
        "strategy": leg.method,
        "train_samples": samples,
    }
    own["zero_shot"] = no_nan(list(arrived))
    legs, memories, experts = (before.legs, before.memories, before.experts) if before else ([], {}, {})
    facts = {**made.facts, "legs": [*legs, own]}
    return Handover(made.model, {**memories, **made.memories}, made.cumulative, facts, {**experts, **made.experts})


def write(
    leg: Leg,
    number: int,
    made: Handover,
    sites: Sequence[SiteData],
    scores: Iterable[Mapping[str, Any]],
    start: str | None,
    paths: Any,
    arrived: Sequence[Mapping[str, Any]] = (),
    guarantee: Guarantee | None = None,
) -> None:
    """Write the finished leg's handover.

    Args:
        number: the leg's number in the relay.
        made: the result of :func:`handover_of`.
        scores: its rows for single test samples.
        start: digest of what it was trained from.
        paths: the leg's :class:`~relay.leg.paths.LegPaths`.
        arrived: scores of the models that it started from, before training: see
            :func:`relay.leg.candidates.zero_shot`.
        guarantee: of its training.
    """
    import torch

    rows = of_model(scores)
    states = {"memory": made.memories.get(number), "cumulative": made.cumulative}
    tensors = {"model": len(made.model), **{name: len(state.tensors) for name, state in states.items() if state}}
    tensors |= {"expert": len(made.experts[number])} if number in made.experts else {}
    mean = _signed(no_nan(next(iter(matrix(rows).values()), {})), leg.data.does)
    contents = {
        manifest.CONFIG: known(leg),
        manifest.DATA_CARD: data_card(leg, sites, guarantee),
        manifest.RESULTS: cards.results(number, leg.task_name, rows, no_nan(list(arrived))),
    }
    own = Facts(
        leg=number,
        site=leg.task_name,
        strategy=leg.method,
        start=start,
        samples=sum(len(site.train) for site in sites),
        result=mean,
        tensors=tensors,
        torch=torch.__version__,
    )
    handover_files.write(made, paths.handover, contents, own)
