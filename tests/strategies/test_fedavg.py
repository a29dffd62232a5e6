"""Federated averaging round a ring: against a loop over clients written out, and through bundles."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from relay.bundle.handover_files import load
from relay.errors import HandoverError, Interrupted
from relay.handover import Handover, MemoryState, Privacy
from relay.leg import run as leg_run
from relay.phase import Batch, Task, Training
from relay.registry import find
from tests.leg.test_resume import StopAt
from tests.studies import simulate

SAMPLES = {"a": 30, "b": 10, "c": 24}
LR, STEPS = 0.2, 4

Weights = Mapping[str, Tensor]


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.ReLU(), nn.Conv2d(4, 3, 1))


def criterion(logits: Tensor, label: Tensor) -> Tensor:
    return nn.functional.cross_entropy(logits, label)


def batches(site: str) -> list[Batch]:
    draw = torch.Generator().manual_seed(ord(site))
    shift = torch.randn(1, 3, 1, 1, generator=draw)
    return [
        Batch(
            torch.randn(4, 3, 8, 8, generator=draw) + shift,
            torch.randint(3, (4, 6, 6), generator=draw),
            torch.arange(4),
        )
        for _ in range(STEPS)
    ]


def begun(site: str, handover: Handover | None = None, **options: Any) -> Any:
    """A strategy that has received."""
    cls = find("strategies", "fedavg")
    strategy = cls(cls.Options(**options))
    strategy.setup(net(), criterion, Task(site, 3, 3, (-1.0, 1.0)))
    strategy.receive(handover)
    return strategy


def leg(site: str, handover: Handover | None = None, **options: Any) -> Handover:
    """What a leg makes of what it received."""
    strategy = begun(site, handover, **options)
    training = Training(SAMPLES[site], [], lambda: iter(()), lambda: 0.0)
    strategy.begin(training)
    (phase,) = strategy.phases()
    phase.module.train()
    optimizer = torch.optim.SGD(phase.module.parameters(), lr=LR)
    for batch in batches(site):
        optimizer.zero_grad()
        torch.stack(list(phase.loss(batch).values())).sum().backward()
        optimizer.step()
    strategy.finish(training)
    return Handover(copy.deepcopy(strategy.model.state_dict()), cumulative=strategy.cumulative())


def ring(sites: str, **options: Any) -> list[Handover]:
    """The carries of all legs, one after another."""
    made: list[Handover] = []
    for site in sites:
        made.append(leg(site, made[-1] if made else None, **options))
    return made


def trained(start: Weights, site: str, mu: float = 0.0) -> Weights:
    """A client's update, with nothing of the toolkit's."""
    model = net()
    model.load_state_dict(start)
    model.train()
    first = [p.detach().clone() for p in model.parameters()]
    for batch in batches(site):
        loss = criterion(model(batch.image), batch.label)
        for now, then in zip(model.parameters(), first, strict=True):
            loss = loss + mu / 2 * ((now - then) ** 2).sum()
        grads = torch.autograd.grad(loss, list(model.parameters()))
        with torch.no_grad():
            for parameter, grad in zip(model.parameters(), grads, strict=True):
                parameter -= LR * grad
    return model.state_dict()


def federated(rounds: Sequence[str], mu: float = 0.0) -> Weights:
    """Algorithm 1 of McMahan et al. 2017, in double precision, every client in every round that it is named in."""
    weights: Weights = net().state_dict()
    for clients in rounds:
        updates = {site: trained(weights, site, mu) for site in clients}
        total = sum(SAMPLES[site] for site in clients)
        weights = {
            name: sum(SAMPLES[s] / total * u[name].double() for s, u in updates.items()).float()  # type: ignore[union-attr]
            for name in weights
        }
    return weights


def near(a: Weights, b: Weights) -> bool:
    floats = [name for name in a if a[name].is_floating_point()]
    return bool(floats) and all(torch.allclose(a[n], b[n].to(a[n].dtype), rtol=0, atol=1e-6) for n in floats)


@pytest.mark.parametrize(
    ("order", "rounds"),
    [
        ("ab", ["ab"]),
        ("abab", ["ab", "ab"]),
        ("cabcab", ["abc", "abc"]),
        ("abba", ["ab", "ab"]),
        ("aa", ["a", "a"]),
        ("abcaca", ["abc", "ac", "a"]),  # b drops out of the second round
        ("abcac", ["abc", "ac"]),
        ("aba", ["ab", "a"]),  # evaluated in the middle of a round
    ],
)
def test_a_ring_is_a_loop_over_clients(order: str, rounds: list[str]) -> None:
    assert near(ring(order)[-1].model, federated(rounds))


def test_proximal_is_fedprox_and_matters() -> None:
    found = ring("abab", proximal=0.7)[-1].model
    assert near(found, federated(["ab", "ab"], mu=0.7))
    assert not near(found, federated(["ab", "ab"]))


def test_the_cumulative_memory_is_the_start_of_the_round() -> None:
    made = ring("abab")
    states = [handover.cumulative for handover in made]
    assert all(state and state.kind == "fedavg" and state.privacy.derived == "weights" for state in states)
    said = [(state.about["samples"], state.about["sites"]) for state in states if state]
    assert said == [(30, ["a"]), (40, ["a", "b"]), (30, ["a"]), (40, ["a", "b"])]
    for state, start in zip(states, [net().state_dict()] * 2 + [made[1].model] * 2, strict=True):
        assert state
        assert near(state.tensors, start)
        assert state.tensors.keys() == start.keys()


def test_without_a_round_in_the_handover_one_begins() -> None:
    """After legs of a strategy that keeps no cumulative memory."""
    came = Handover(trained(net().state_dict(), "c"))
    found = leg("a", came)
    assert near(found.model, trained(came.model, "a"))
    assert found.cumulative
    assert near(found.cumulative.tensors, came.model)


def cumulative(about: Mapping[str, Any], kind: str = "fedavg", **change: Tensor) -> Handover:
    weights = net().state_dict()
    return Handover(weights, cumulative=MemoryState({**weights, **change}, kind, Privacy(derived="weights"), about))


GOOD = {"samples": 30, "sites": ["a"]}


@pytest.mark.parametrize(
    ("handover", "said"),
    [
        (cumulative(GOOD, "ewc"), "has the kind 'ewc'"),
        (cumulative({**GOOD, "samples": -1}), "samples = -1"),
        (cumulative({**GOOD, "samples": "many"}), "samples"),
        (cumulative({**GOOD, "sites": "a"}), "sites"),
        (cumulative({**GOOD, "more": 1}), "more"),
        (cumulative(GOOD, **{"3.bias": torch.zeros(4)}), "3.bias"),
        (cumulative(GOOD, **{"3.bias": torch.full((3,), torch.nan)}), "3.bias: not finite"),
        (cumulative(GOOD, more=torch.zeros(1)), "more: not in the net"),
    ],
)
def test_a_round_that_can_not_be_gone_on_with_is_refused(handover: Handover, said: str) -> None:
    with pytest.raises(HandoverError, match=said):
        begun("b", handover)


def test_proximal_has_a_range() -> None:
    with pytest.raises(ValueError, match="greater than or equal to 0"):
        find("strategies", "fedavg").Options(proximal=-1)


def test_two_rounds_through_bundles(tmp_path: Path) -> None:
    """Both sites start each round from the same weights, whoever comes first, so that the order does not matter."""
    few = {"common.dataset.kwargs.count": 14, "common.dataset.kwargs.repeats": 1, "common.train.num_epochs": 1}
    changes = {"common.strategy.name": "fedavg", "common.model.kwargs.norm": "batch", **few}
    simulate(tmp_path / "there", **changes, **{"current_tasks.laps": 2})
    simulate(tmp_path / "back", **changes, **{"current_tasks.task_ids": [2, 1]})
    a, round_1, half, round_2 = (
        load(tmp_path / "there/checkpoints" / leg / "handover")
        for leg in ("task_1", "task_2", "task_1_lap2", "task_2_lap2")
    )
    b, back = (load(tmp_path / "back/checkpoints" / leg / "handover") for leg in ("task_2", "task_1"))
    mean = {name: (a.model[name] + b.model[name]) / 2 for name in a.model}
    assert near(mean, round_1.model)
    assert near(round_1.model, back.model)
    assert not near(a.model, b.model)
    for handover in (half, round_2):
        assert handover.cumulative
        assert all(torch.equal(handover.cumulative.tensors[name], round_1.model[name]) for name in round_1.model)
    assert round_2.cumulative
    assert round_2.cumulative.about == {"samples": 16, "sites": ["clinic_a", "clinic_b"]}


@pytest.mark.slow
def test_interrupted_in_the_middle_of_a_round_and_resumed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Six steps a leg: stopped in the second epoch of the second leg."""
    changes = {"common.strategy": {"name": "fedavg", "kwargs": {"proximal": 0.1}}}
    simulate(tmp_path / "whole", **changes)
    monkeypatch.setattr(leg_run, "ShowProgress", StopAt)
    monkeypatch.setattr(StopAt, "left", 10)
    with pytest.raises(Interrupted, match="leg"):
        simulate(tmp_path / "broken", **changes)
    assert list((tmp_path / "broken").rglob("task_2/phase_*"))
    simulate(tmp_path / "broken", **changes)
    whole, broken = (load(tmp_path / run / "checkpoints/task_2/handover") for run in ("whole", "broken"))
    assert all(torch.equal(whole.model[name], broken.model[name]) for name in whole.model)
    assert whole.cumulative
    assert broken.cumulative
    assert whole.cumulative.about == broken.cumulative.about
