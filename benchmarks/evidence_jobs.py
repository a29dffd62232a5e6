"""The runs behind the evidence: strategies, or relay with single options changed, in every order, with every seed."""

from __future__ import annotations

import copy
import dataclasses
import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from typing import Any, TypeAlias

from relay import registry
from relay.config.load import locate, read
from relay.memory.choice import build
from relay.plan import Study, plan

BASELINES = ("local", "sequential", "joint", "relay")
LAPS = {"fedavg": 3}
"""Rounds; each has its part of the budget, so that all strategies see as many images."""

Block: TypeAlias = Mapping[str, Any]
Values: TypeAlias = Mapping[str, Sequence[float | str]]


@dataclass(frozen=True)
class Job:
    """One run.

    Attributes:
        label: the strategy, or what is special about it: a row of the table.
        order: names of the sites; empty where the result does not depend on it.
        given: its config.
    """

    label: str
    order: tuple[str, ...]
    seed: int
    given: Block

    @property
    def key(self) -> str:
        """What its result depends on, but the code: SHA-256 of the config, without the folder of the data."""
        given = copy.deepcopy(dict(self.given))
        given.pop("paths", None)
        given["common"]["dataset"]["kwargs"].pop("root_path", None)
        return hashlib.sha256(json.dumps(given, sort_keys=True).encode()).hexdigest()

    def study(self) -> Study:
        """The checked plan.

        Raises:
            ConfigError: with every problem found.
        """
        return plan(self.given, "evidence")

    def __str__(self) -> str:
        return " ".join([self.label, *(["-".join(self.order)] if self.order else []), f"seed {self.seed}"])


def rows(strategies: Iterable[str], with_ablation: bool) -> dict[str, Block]:
    """The ``strategy`` blocks by label; an ablation is seen against the baselines and relay as it is."""
    if not with_ablation:
        return {name: {"name": name} for name in strategies}
    own = {label: {"name": "relay", "kwargs": kwargs} for label, kwargs in ablation().items()}
    return {**{name: {"name": name} for name in BASELINES}, **own}


def ablation() -> dict[str, Block]:
    """Relay with one option changed, by what is changed; what is the default anyway is left out."""
    style: Values = {"quantiles": (3, 9, 33), "directions": (0, 2, 8), "epsilon": (1, 4, 8)}
    plain: Values = {"owm_alpha": (0.01, 1), "distil_weight": (0, 1), "merge": (0, 0.2, "samples")}
    changes: list[tuple[str, Block]] = [("no memory", {"memory": None}), ("no projection", {"owm_alpha": None})]
    for key, values in style.items():
        changes += [(f"{key} {value}", {"memory": {"name": "style", "kwargs": {key: value}}}) for value in values]
    for key, values in plain.items():
        changes += [(f"{key} {value}", {key: value}) for value in values]
    return {f"relay, {what}": kwargs for what, kwargs in changes if _options(kwargs) != _options({})}


def _options(kwargs: Block) -> tuple[Any, ...]:
    """All that relay's options come to, defaults and all."""
    options = registry.find("strategies", "relay").Options(**kwargs)
    memory = build(options.memory)
    return dataclasses.replace(options, memory=None), type(memory), memory.options


def orders(ids: Sequence[int], many: int) -> list[list[int]]:
    """The first so many of: the rotations, in which each site is first once and last once; and these backwards."""
    turned = [[*ids[k:], *ids[:k]] for k in range(len(ids))]
    return [*turned, *(order[::-1] for order in turned)][:many]


def jobs(config: str, rows: Mapping[str, Block], many: int, seeds: int, overrides: Sequence[str] = ()) -> list[Job]:
    """A run for every row, order and seed; where no leg starts from another one, any order will do.

    Args:
        rows: the ``strategy`` block of each row of the table.
        overrides: ``key=value`` over the config.
    """
    base = read(locate(config)[0], overrides)
    names = {block["kwargs"]["task_id"]: block["kwargs"]["task_name"] for block in base["all_tasks_datasets"]}
    found, ways = [], enumerate(orders(base["current_tasks"]["task_ids"], many))
    for seed, (place, way), (label, block) in product(range(1, seeds + 1), ways, rows.items()):
        alone = not registry.find("strategies", block["name"]).uses_incoming
        if not (alone and place):
            order = () if alone else tuple(names[task_id] for task_id in way)
            found.append(Job(label, order, seed, _given(base, block, way, seed)))
    return found


def _given(base: Block, strategy: Block, way: Sequence[int], seed: int) -> dict[str, Any]:
    given = copy.deepcopy(dict(base))
    given["common"] |= {"random_seed": seed, "strategy": dict(strategy)}
    given["current_tasks"]["task_ids"] = list(way)
    if (laps := LAPS.get(strategy["name"], 1)) > 1:
        given["current_tasks"]["laps"] = laps
        given["common"]["train"]["num_mimgs"] /= laps
    return given
