"""Steps leave no garbage in cycles, which Python would have to look for: the commands let it look rarely."""

from __future__ import annotations

import gc
from pathlib import Path
from typing import Any

import pytest
import torch

from relay.leg.learner import Learner
from tests.strategies import toys
from tests.studies import simulate

STEPS = 5
"""In which garbage is let lie."""


class Cycle:
    """Refers to itself, and holds a tensor."""

    def __init__(self) -> None:
        self.me, self.held = self, torch.zeros(3)


def tensors_in_garbage() -> int:
    """How many there were."""
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        gc.collect()
        return sum(isinstance(found, torch.Tensor) for found in gc.garbage)
    finally:
        gc.set_debug(0)
        gc.garbage.clear()


def test_garbage_is_noticed() -> None:
    gc.collect()
    Cycle()
    assert tensors_in_garbage() == 1


def test_steps_of_a_relay_leave_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With replay, teacher and projection: only the end of a fit leaves Lightning's trainer, and what that holds."""
    found, steps, real = list[int](), [0], Learner.training_step

    def checked(self: Learner, *given: Any) -> Any:
        steps[0] = steps[0] + 1 if self.trainer.global_step else 0
        if steps[0] == 1:
            gc.collect()  # what the beginning of the fit has left
            gc.disable()
        elif steps[0] == STEPS:
            found.append(tensors_in_garbage())
            gc.enable()
        return real(self, *given)

    monkeypatch.setattr(Learner, "training_step", checked)
    changes = {"common.strategy.name": "relay", "common.train.num_epochs": 1, "common.train.batch_size": 4}
    gc.collect()
    gc.freeze()  # what other tests have left is not gone through each time
    try:
        simulate(tmp_path, **toys.SMALL, **changes)
    finally:
        gc.unfreeze()
        gc.enable()
    assert len(found) >= 2, "legs"
    assert not any(found)
