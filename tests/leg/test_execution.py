"""How a net is executed: compiled if that works, and with activations computed twice for less memory."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from relay.config import Train
from relay.errors import ConfigError, UserError
from relay.leg.execution import blocks, compiles, executed
from relay.phase import Phase
from tests.leg.test_precision import same, weights
from tests.studies import finished, study

ONE = {"current_tasks.task_ids": [1], "common.train.num_epochs": 1}


def net_of(**kwargs: Any) -> nn.Module:
    torch.manual_seed(0)
    return study(**{f"common.model.kwargs.{key}": value for key, value in kwargs.items()}).legs[0].net.build()


def learned(net: nn.Module, image: Tensor) -> tuple[list[Tensor], int]:
    """The gradients, and the numbers kept between forward and backward."""
    kept: dict[int, int] = {}

    def pack(tensor: Tensor) -> Tensor:
        kept[tensor.data_ptr()] = tensor.numel()
        return tensor

    with saved_tensors_hooks(pack, lambda tensor: tensor):
        loss = net(image).square().mean()
    return list(torch.autograd.grad(loss, list(net.parameters()))), sum(kept.values())


@pytest.mark.parametrize("dropout", [0.0, 0.3])
def test_activations_computed_again_give_the_same_gradients_and_take_less_memory(dropout: float) -> None:
    net, image = net_of(dropout=dropout), torch.rand(2, 3, 32, 32)
    names, copied = list(net.state_dict()), copy.deepcopy(net)
    torch.manual_seed(1)
    plain, much = learned(net, image)
    with executed(Phase("learn", net, dict), Train(activation_checkpointing=True)) as callbacks:
        torch.manual_seed(1)
        again, little = learned(net, image)
        inside = copy.deepcopy(net)
        assert list(net.state_dict()) == names
    assert callbacks == []
    assert all(torch.equal(a, b) for a, b in zip(plain, again, strict=True))
    assert little < much / 2
    assert type(net) is type(copied)
    assert [type(part) for part in net.modules()] == [type(part) for part in copied.modules()]
    nn.init.zeros_(next(inside.parameters()))
    assert not torch.equal(inside.eval()(image), net.eval()(image))  # a copy computes with its own weights


def test_sequences_are_found_wherever_they_are() -> None:
    inner = nn.Sequential(nn.Conv2d(1, 1, 1), nn.ReLU())
    net = nn.Sequential(nn.ModuleDict({"all": nn.ModuleList([inner, nn.ReLU()]), "last": nn.Conv2d(1, 1, 1)}))
    assert blocks(net) == [inner]


def test_batch_normalisation_would_count_twice() -> None:
    with pytest.raises(UserError, match=r"batch normalisation \(.*\), which would count each batch twice"):
        blocks(net_of(norm="batch"))


def test_other_modules_of_a_phase_run_as_they_are() -> None:
    options = Train(activation_checkpointing=True, compile=True)
    with executed(Phase("generate", net_of(norm="batch"), dict, validate=False), options) as callbacks:
        assert callbacks == []


def test_a_leg_is_compiled_once_and_tested_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A compiler takes a minute, so this one only counts; both options at once give the weights of neither."""
    made: list[nn.Module] = []
    calls: list[bool] = []

    def stand_in(module: nn.Module) -> None:
        made.append(module)
        module._compiled_call_impl = lambda *given: (calls.append(module.training), module._call_impl(*given))[1]

    monkeypatch.setattr(nn.Module, "compile", stand_in)
    both = {"common.train.compile": True, "common.train.activation_checkpointing": True}
    one, other = finished(tmp_path / "plain", **ONE), finished(tmp_path / "fast", **ONE, **both)
    assert same(weights(one, "task_1"), weights(other, "task_1"))
    assert len(made) == 2  # the trial's copy, and the net
    assert calls
    assert made[1]._compiled_call_impl is None


def test_without_a_compiler_one_line_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    def none(module: nn.Module) -> None:
        raise RuntimeError("No working C++ compiler found\nand a long trace")

    monkeypatch.setattr(nn.Module, "compile", none)
    said: list[str] = []
    assert not compiles(nn.Conv2d(1, 1, 1), torch.rand(1, 1, 4, 4), said.append)
    (told,) = said
    assert told.endswith("it trains as without: RuntimeError: No working C++ compiler found")


def test_a_fused_step_in_16_bits_can_not_be_clipped() -> None:
    fused = {"common.train.optimizer": {"name": "AdamW", "kwargs": {"fused": True}}, "common.train.precision": 16}
    study(**fused)
    with pytest.raises(ConfigError, match=r"optimizer.kwargs.fused = True: can't be combined with precision 16"):
        study(**fused, **{"common.train.gradient_clip": 1.0})
