"""No training step waits for the GPU, neither in the losses nor in the strategies nor in what acts between steps."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from relay.strategies.ewc import EWC
from relay.strategies.fedavg import FedAvg
from relay.strategies.lwf import LwF
from relay.strategies.owm import OWM
from relay.strategies.si import SI

from relay import registry
from relay.leg.learner import Learner
from relay.memory.projection import Projected
from relay.phase import Batch
from tests.strategies import toys
from tests.studies import simulate
from tests.waiting import NoWaiting, Waited, one_hot

MASKS = ("CE", "Dice", "DiceCE", "ExpLogLoss", "Focal", "Tversky", "GeneralisedDice", "DiceFocal")
READ: list[Callable[[torch.Tensor], Any]] = [
    lambda x: x.sum().item(),
    lambda x: float(x.sum()),
    lambda x: bool((x > 0).any()),
    lambda x: x[x > 0],
    lambda x: x.nonzero(),
    lambda x: x + torch.tensor([1.0, 2.0]),
    lambda x: x.long().clamp(0).flatten().bincount(),
    lambda x: x.__setitem__(x > 0, x[:1].expand(int(x.numel() / 2), 2)[0]),
]


@pytest.fixture(autouse=True)
def _as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.nn.functional, "one_hot", one_hot)


@pytest.mark.parametrize("read", READ)
def test_waiting_is_noticed(read: Callable[[torch.Tensor], Any]) -> None:
    x = torch.tensor([[1.0, -1.0]])
    with NoWaiting(), pytest.raises(Waited):
        read(x)


def test_what_does_not_wait_is_let_through() -> None:
    x, mask = torch.ones(2, 2), torch.tensor([True, False])
    with NoWaiting():
        x[mask] = 0.0
        assert x[torch.zeros(1, dtype=torch.long)].shape == (1, 2)
        torch.where(mask, x, 0).masked_fill(mask, 1)


@pytest.mark.parametrize("name", MASKS)
def test_no_loss_waits(name: str) -> None:
    criterion = registry.find("losses", name)().build(3)
    logits = torch.randn(2, 3, 8, 8, requires_grad=True)
    label = torch.randint(3, (2, 8, 8))
    with NoWaiting():
        criterion(logits, label).backward()


@pytest.mark.parametrize(
    ("cls", "options"),
    [(LwF, {}), (EWC, {"ewc_images": 8}), (SI, {}), (OWM, {"owm_images": 8}), (FedAvg, {"proximal": 0.1})],
)
def test_no_strategy_waits_in_a_step(cls: Any, options: dict[str, Any]) -> None:
    first = toys.begun(cls, **options)
    toys.learn(first, [toys.site_a()])
    second = toys.begun(cls, toys.handover(first), **options)
    (phase,) = second.phases()
    batch: Batch = toys.site_b()
    with NoWaiting():
        torch.stack(list(phase.loss(batch).values())).sum().backward()
        for callback in phase.callbacks:
            callback.on_before_optimizer_step(None, None, None)
        for callback in phase.callbacks:
            callback.on_train_batch_end(None, None, None, batch, 0)


def test_no_step_of_a_relay_waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The learner's own part, with replay, teacher and projection."""
    steps = []

    def without_waiting(cls: Any, name: str) -> None:
        real = getattr(cls, name)

        def checked(self: Any, *given: Any) -> Any:
            with NoWaiting():
                steps.append(name)
                return real(self, *given)

        monkeypatch.setattr(cls, name, checked)

    without_waiting(Learner, "training_step")
    without_waiting(Projected, "on_before_optimizer_step")
    without_waiting(Projected, "on_train_batch_end")
    simulate(tmp_path, **toys.SMALL, **{"common.strategy.name": "relay", "common.train.num_epochs": 1})
    assert {"training_step", "on_before_optimizer_step", "on_train_batch_end"} == set(steps)
