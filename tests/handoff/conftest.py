"""Worlds to start from, made once and copied for each test."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from tests.handoff.relays import World

At = Callable[[int], World]


@pytest.fixture(scope="session")
def _stages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, World]:
    """The relay of north, south and east after so many legs: the last one lies on the stick, not received yet."""
    folder = tmp_path_factory.mktemp("relay")
    world = World(folder / "now")
    stages = {0: world.copy(folder / "0")}
    for leg in (1, 2, 3):
        if leg > 1:
            world.deliver(world.bundle(leg - 1), world.roster.order[leg - 1])
        world.make(leg)
        stages[leg] = world.copy(folder / str(leg))
    return stages


@pytest.fixture
def at(_stages: dict[int, World], tmp_path: Path) -> At:
    """``at(2)``: a world of one's own in which two legs were made; leg 1 was received, leg 2 lies on the stick."""
    return lambda leg: _stages[leg].copy(tmp_path / f"at_{leg}")
