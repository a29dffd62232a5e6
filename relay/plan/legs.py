"""A plan: which legs will run, with what, starting from where. Made by :func:`relay.plan.plan`."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

from relay.config import Handoff, Results, TaskConf, Train, flat
from relay.data import Dataset, DatasetOptions
from relay.plan.parts import LossLike, NetLike, OptimizerLike, SchedulerLike, StrategyLike
from relay.tasks import Task
from relay.trust import OWN_CODE

RUNTIME_KEYS = (
    "num_workers",
    "train.log_every_n_steps",
    "train.save_every_n_seconds",
    "train.check_val_every_n_epoch",
    "dataset.kwargs.root_path",
    "checkpoint.",
)
"""Keys that change how and where a leg runs, not what it learns."""


@dataclass(frozen=True)
class Leg:
    """One site's turn, checked and ready to run.

    Attributes:
        number: the leg's place in the order, from 1.
        conf: the merged block; ``raw`` is the same as plain dicts.
        strategy, net: plug-ins, made from their checked options; loss, optimizer, scheduler: options with ``build``.
        pool: the data sets that are trained on: the site's own, or all accessible ones for a strategy that pools.
        folder: name of the leg's folder under ``checkpoints/``.
        start: None (from scratch; in a deployment, what was received) or the ``folder`` of an earlier leg.
        own_code: name and version of the site's own code that trains the model; None if the strategy trains it.
    """

    number: int
    task_id: int
    task_name: str
    conf: TaskConf
    raw: Mapping[str, Any] = field(repr=False)
    strategy: StrategyLike = field(repr=False)
    net: NetLike = field(repr=False)
    loss: LossLike = field(repr=False)
    optimizer: OptimizerLike = field(repr=False)
    scheduler: SchedulerLike = field(repr=False)
    pool: tuple[Dataset, ...] = field(repr=False)
    folder: str
    start: str | None
    own_code: str | None = None

    @property
    def train(self) -> Train:
        """The leg's ``train`` block."""
        return self.conf.train

    def with_train(self, **changes: Any) -> Leg:
        """The same leg, trained with other options of its ``train`` block; its config (``raw``) stays."""
        return replace(self, conf=replace(self.conf, train=replace(self.train, **changes)))

    @property
    def method(self) -> str:
        """How the model is trained, as the leg's statement says it: by a strategy, or by the site's own code."""
        return self.conf.strategy.name if self.own_code is None else OWN_CODE + self.own_code

    @property
    def data(self) -> DatasetOptions:
        """The options that all data sets of a study share: classes, channels, geometry."""
        return self.pool[0].options

    def scientific(self) -> dict[str, Any]:
        """The merged config, flat, without :data:`RUNTIME_KEYS`: what two runs must share to be the same leg."""
        runtime = tuple(k for k in RUNTIME_KEYS if not k.startswith("train."))
        runtime += tuple(f"train.{key}" for key in self.train.runtime)
        plain = {k: v for k, v in flat(self.raw).items() if not k.startswith(runtime)}
        return plain | ({"pool": [d.options.task_name for d in self.pool]} if len(self.pool) > 1 else {})


@dataclass(frozen=True)
class Study:
    """All legs of a config that run here, and the data sets they are tested on (``task_id`` → data set)."""

    name: str
    mode: str
    strategy: str
    legs: tuple[Leg, ...]
    datasets: Mapping[int, Dataset]
    given: Mapping[str, Any] = field(repr=False)
    handoff: Handoff | None = None
    results: Results = field(default_factory=Results)
    tests: Literal["all", "needed"] = "all"

    @property
    def task(self) -> Task:
        """What all of its data sets are for (:mod:`relay.tasks`)."""
        return next(iter(self.datasets.values())).options.does

    @property
    def test_sets(self) -> list[Dataset]:
        """The data sets that are on this machine."""
        return [d for d in self.datasets.values() if d.accessible()]

    def tests_made(self) -> int:
        """How often a leg's model is tested on a data set."""
        return sum(len(self.tested(leg)) for leg in self.legs)

    def tested(self, leg: Leg) -> list[Dataset]:
        """Those that a leg's model is tested on: all, or what the results need (``current_tasks.tests``).

        The scores at the end are of the last leg's model; backward transfer is measured from a site's own leg,
        forward transfer from the leg before it. Forgetting needs all. If legs start from nothing, all models are
        everybody's.
        """
        place = [each.folder for each in self.legs].index(leg.folder)
        last = place + 1 == len(self.legs)
        if self.tests == "all" or last or not leg.strategy.uses_incoming:
            return self.test_sets
        wanted = {d.options.task_id for each in self.legs[place : place + 2] for d in each.pool}
        return [d for d in self.test_sets if d.options.task_id in wanted]
