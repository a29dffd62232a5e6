"""Experts: fitted after the model, from its weights, without moving it; handed over in float32."""

from __future__ import annotations

import pytest
import torch
from relay.strategies.experts import Experts, ExpertsOptions
from torch import Tensor, nn
from torch.nn import functional as F

from relay.handover import compact, load_expert
from relay.phase import Batch, Task
from tests.studies import study


def criterion(logits: Tensor, label: Tensor) -> Tensor:
    return F.cross_entropy(logits, label)


def begun(**options: float) -> Experts:
    torch.manual_seed(3)
    strategy = Experts(ExpertsOptions(**options))  # type: ignore[arg-type]
    strategy.setup(nn.Conv2d(1, 2, 1), criterion, Task("south", 2, 1, (-1.0, 1.0), (4, 4)))
    strategy.receive(None)
    return strategy


def test_the_expert_is_fitted_after_the_model_and_from_it() -> None:
    strategy = begun(expert_share=0.25, expert_rate=0.1)
    learn, expert = strategy.phases()
    assert (learn.name, learn.module) == ("learn", strategy.model)
    assert (expert.name, expert.share, expert.rate) == ("expert", 0.25, 0.1)
    assert expert.start is strategy.model
    assert expert.module is not strategy.model
    assert strategy.shares == (1.0, 0.25)
    batch = Batch(torch.randn(2, 1, 4, 4), torch.ones(2, 4, 4, dtype=torch.long), torch.arange(2))
    before = {name: tensor.clone() for name, tensor in strategy.model.state_dict().items()}
    terms = expert.loss(batch)
    assert list(terms) == ["task"]
    assert float(terms["task"].detach()) == pytest.approx(float(criterion(expert.module(batch.image), batch.label)))
    terms["task"].backward()
    torch.optim.SGD(expert.module.parameters(), lr=0.5).step()
    found = strategy.expert()
    assert found is not None
    assert all(torch.equal(before[name], tensor) for name, tensor in strategy.model.state_dict().items())
    assert any(not torch.equal(before[name], tensor) for name, tensor in found.items())


def test_without_experts_there_is_only_the_model() -> None:
    strategy = begun(experts=False)
    assert [phase.name for phase in strategy.phases()] == ["learn"]
    assert strategy.expert() is None
    assert not strategy.carries_expert
    assert strategy.shares == (1.0,)


def test_an_expert_travels_at_half_the_size_where_its_values_allow() -> None:
    weights = {"small": torch.tensor([1.0, -2.5]), "large": torch.tensor([7e4]), "count": torch.tensor(3)}
    packed = compact(weights)
    assert [tensor.dtype for tensor in packed.values()] == [torch.float16, torch.float32, torch.int64]
    assert all(torch.equal(packed[name].to(tensor.dtype), tensor) for name, tensor in weights.items())


def test_it_is_loaded_into_a_net_of_float32() -> None:
    strategy, other = begun(), nn.Conv2d(1, 2, 1)
    load_expert(other, compact(strategy.model.state_dict()))
    for name, tensor in strategy.model.state_dict().items():
        assert other.state_dict()[name].dtype == torch.float32
        assert torch.equal(other.state_dict()[name], tensor.half().float())


def test_a_relay_carries_experts_unless_told_otherwise() -> None:
    carrying, bare = (study(**{"common.strategy": {"name": "relay", "kwargs": k}}) for k in ({}, {"experts": False}))
    assert carrying.legs[0].strategy.carries_expert
    assert not bare.legs[0].strategy.carries_expert
