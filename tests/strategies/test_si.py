"""SI: its path integral, its penalty, and that it forgets less."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from relay.strategies.base import Batch
from relay.strategies.sequential import Sequential
from relay.strategies.si import SI
from torch import Tensor, nn

from relay.bundle.handover_files import load
from relay.errors import HandoverError, Interrupted
from relay.leg import run as leg_run
from relay.memory.path_integral import PathIntegral as Steps
from tests.leg.test_resume import StopAt
from tests.strategies.toys import SMALL, adam, begun, criterion, handover, learn, loss, relay, sgd, site_a, site_b
from tests.studies import simulate


def task_gradient(weight: Tensor, batch: Batch) -> Tensor:
    """Of the mean cross-entropy of logistic regression, by hand."""
    x, label = batch.image.movedim(1, -1).reshape(-1, 2), batch.label.reshape(-1)
    wrong = (x @ weight[:, :, 0, 0].T).softmax(1) - nn.functional.one_hot(label, 2)
    return (wrong.T @ x / len(x))[:, :, None, None]


@pytest.mark.parametrize("optimizer", [sgd, adam])
def test_two_legs_are_those_of_a_plain_loop(optimizer: Any) -> None:
    """Credits are of the task's loss alone, without the penalty; steps are the optimiser's own."""
    c, xi, steps = 3.0, 0.01, 6
    conf: Any = {"si_weight": c, "si_damping": xi}
    first = begun(SI, **conf)
    learn(first, [site_a()] * steps, optimizer)
    second = begun(SI, handover(first), **conf)
    learn(second, [site_b()] * steps, optimizer)

    w = begun(SI).model.weight.detach().clone()  # type: ignore[union-attr, operator]
    big = torch.zeros_like(w)
    for strategy, batch in ((first, site_a()), (second, site_b())):
        start, omega, stepper = w.clone(), torch.zeros_like(w), optimizer([w])
        for _ in range(steps):
            gradient, before = task_gradient(w, batch), w.clone()
            w.grad = gradient + 2 * c * big * (w - start)
            stepper.step()
            omega -= gradient * (w - before)
        big = big + omega.clamp(min=0) / ((w - start) ** 2 + xi)
        assert torch.allclose(strategy.model.weight, w, atol=1e-5)  # type: ignore[arg-type]
        found = strategy.cumulative().tensors["weight"]  # type: ignore[union-attr]
        assert torch.allclose(found, big, rtol=1e-3, atol=1e-5)


def test_in_small_steps_the_credits_add_up_to_what_the_loss_fell_by() -> None:
    strategy: Any = begun(SI)
    before = loss(strategy, site_a())
    learn(strategy, [site_a()] * 400, lambda parameters: torch.optim.SGD(parameters, lr=0.005))
    assert float(strategy.path.omega.sum()) == pytest.approx(before - loss(strategy, site_a()), rel=0.01)


def test_a_step_that_was_left_out_gives_no_credit() -> None:
    path = Steps(torch.zeros(2))
    path.add(torch.tensor([torch.inf, 2.0]), torch.tensor([0.0, -0.5]))
    assert path.omega.tolist() == [0.0, 1.0]


def test_weights_on_which_the_loss_rose_are_of_no_importance() -> None:
    path = Steps(torch.zeros(2))
    path.add(torch.tensor([1.0, 1.0]), torch.tensor([0.5, -0.5]))
    assert path.importance(torch.tensor([0.5, 0.5]), 0.25).tolist() == [0.0, 1.0]


def test_the_first_leg_is_plain_training() -> None:
    first, plain = begun(SI), begun(Sequential)
    assert list(first.loss(site_a())) == ["task"]
    for strategy in (first, plain):
        learn(strategy, [site_a()] * 3)
    assert torch.equal(first.model.weight, plain.model.weight)  # type: ignore[arg-type]


@pytest.mark.parametrize("optimizer", [sgd, adam])
def test_it_forgets_less_than_sequential_and_still_learns(optimizer: Any) -> None:
    before, forgotten, _ = relay(Sequential, optimizer)
    same, kept, learned = relay(SI, optimizer, si_weight=10.0)
    assert same == before
    assert forgotten > before + 0.5
    assert kept < before + 0.05
    assert learned < 0.45


def test_a_leg_without_what_came_is_refused() -> None:
    with pytest.raises(HandoverError, match="but received none"):
        begun(SI, handover(begun(Sequential)))


CHANGES = {**SMALL, "common.strategy": {"name": "si", "kwargs": {"si_weight": 2.0}}}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run that nobody broke off."""
    folder = tmp_path_factory.mktemp("whole")
    simulate(folder, **CHANGES)
    return folder


@pytest.mark.parametrize("steps", [pytest.param(4, marks=pytest.mark.slow), 10])
def test_interrupted_and_resumed_gives_the_same_weights_and_importances(
    steps: int, whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In the second epoch of the first leg, and of the second."""
    monkeypatch.setattr(leg_run, "ShowProgress", StopAt)
    monkeypatch.setattr(StopAt, "left", steps)
    with pytest.raises(Interrupted, match="its last state is in"):
        simulate(tmp_path, **CHANGES)
    simulate(tmp_path, **CHANGES)
    for leg in ("task_1", "task_2"):
        ours, theirs = (load(root / "checkpoints" / leg / "handover") for root in (tmp_path, whole))
        assert ours.cumulative is not None
        assert theirs.cumulative is not None
        assert max(float(t.max()) for t in ours.cumulative.tensors.values()) > 0
        for a, b in ((ours.model, theirs.model), (ours.cumulative.tensors, theirs.cumulative.tensors)):
            assert a.keys() == b.keys()
            assert not {name for name in a if not torch.equal(a[name], b[name])}, leg


def test_the_gradient_by_hand_is_torchs() -> None:
    model: Any = begun(SI).model
    batch = site_b()
    criterion(model(batch.image), batch.label).backward()
    assert torch.allclose(model.weight.grad, task_gradient(model.weight.detach(), batch), atol=1e-6)
