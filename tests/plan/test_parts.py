"""What a leg asks of its parts: the toolkit's own have it, and so may others that derive from nothing of it."""

from __future__ import annotations

import dataclasses
from typing import Any, get_type_hints

import pytest

from relay import registry
from relay.losses import Loss
from relay.optim import OptimizerOptions, Schedule
from relay.plan import Leg, LossLike, NetLike, OptimizerLike, SchedulerLike, StrategyLike


def test_no_part_of_a_leg_is_anything_at_all() -> None:
    hints = get_type_hints(Leg)
    assert not [field.name for field in dataclasses.fields(Leg) if hints[field.name] in (Any, tuple[Any, ...])]
    assert hints["strategy"] is StrategyLike


@pytest.mark.parametrize("name", registry.names("strategies"))
def test_every_strategy_has_what_a_leg_asks_for(name: str) -> None:
    cls = registry.find("strategies", name)
    strategy = cls(cls.Options())
    strategy.model = None  # which setup gives it
    assert isinstance(strategy, StrategyLike)


@pytest.mark.parametrize("name", registry.names("nets"))
def test_every_net_has_what_a_leg_asks_for(name: str) -> None:
    cls = registry.find("nets", name)
    assert isinstance(cls(cls.Options()), NetLike)


def test_losses_optimisers_and_schedules_have_what_a_leg_asks_for() -> None:
    assert isinstance(Loss(), LossLike)
    assert isinstance(OptimizerOptions(), OptimizerLike)
    assert isinstance(Schedule(), SchedulerLike)


def test_a_part_that_lacks_something_is_none() -> None:
    assert not isinstance(object(), StrategyLike | NetLike | LossLike)
