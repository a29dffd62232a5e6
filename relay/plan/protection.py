"""What training with differential privacy can't cover, as far as a config tells: each with what to set instead."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any

from relay.config import Train
from relay.plan.legs import Leg

POSTPROCESSED = ("fedavg",)
"""Kinds of memories that are made of the trained weights alone: they tell no more than those."""
CURES = {
    "style": "has an epsilon of its own, which is now a part of this one: set the memory's epsilon to null",
    "flow": "is trained on this site's images and keeps a pool of them: set common.strategy.kwargs.memory=null",
    "owm": "is measured on this site's images: set common.strategy.kwargs.owm_alpha=null",
    "ewc": "is measured on this site's images: choose lwf, merge or fedavg, which keep weights by public means",
    "si": "adds up gradients without noise: choose lwf, merge or fedavg, which keep weights by public means",
}
"""Why a memory is not covered, and what to set."""

Unprotected = tuple[str, object, str, str]
"""A key, its value, what is allowed, and the cure."""


def unprotected(train: Train, strategy: Any, data: Any) -> Iterator[Unprotected]:
    """Settings of a leg that its guarantee would not hold with; nothing without ``train.privacy``."""
    if train.privacy is None:
        return
    if train.precision not in (32, 64):
        yield "train.precision", train.precision, "must be 32 or 64", "Set common.train.precision=32"
    if train.accumulate > 1:
        cure = "Leave it out, and raise batch_size: patients are processed one by one, so memory does not limit it."
        yield "train.accumulate", train.accumulate, "must be 1", cure
    for name in ("compile", "activation_checkpointing"):
        if getattr(train, name):
            told = "must be false: gradients are computed for one patient at a time"
            yield f"train.{name}", True, told, f"Leave out train.{name}"
    chosen = "validation patients would choose the weights, and they get no noise"
    if train.keep == "best":
        yield "train.keep", "best", f"must be last: {chosen}", "Set common.train.keep=last"
    if train.early_stopping is not None:
        yield "train.early_stopping", "...", f"must be null: {chosen}", "Set common.train.early_stopping=null"
    if data.balance:
        told = "must be false: how often an image is drawn would depend on the classes of all others"
        yield "dataset.kwargs.balance", True, told, "Set balance: false, and weigh the classes in the loss"
    for kind in strategy.kinds:
        if kind not in (*POSTPROCESSED, *getattr(strategy, "noised", ())):
            told = CURES.get(kind, "may be made from this site's images without noise: choose another strategy")
            allowed = f"no '{kind}' memory can be handed over: it {told.split(': ')[0]}"
            yield "strategy", "...", allowed, f"Instead, {told.split(': ')[-1]}"


def over_budget(legs: Sequence[Leg]) -> Iterator[tuple[Leg, str]]:
    """Legs with which a site would spend more than its budget, as far as the config alone tells."""
    spent: dict[str, float] = defaultdict(float)
    for leg in legs:
        if (privacy := leg.train.privacy) is None or privacy.epsilon is None:
            continue
        spent[leg.task_name] += privacy.epsilon
        if privacy.budget is not None and spent[leg.task_name] > privacy.budget:
            total, turn = spent[leg.task_name], leg.number
            yield leg, f"with leg {turn}, {leg.task_name} would have spent epsilon {total:g}: fewer laps, or less a leg"
