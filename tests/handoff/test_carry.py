"""A carry arrives as it was sent, or not at all."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from relay.errors import CarryError
from relay.handoff import Carry, is_carry, load_solver, receive, send


def carry() -> Carry:
    solver = {"w": torch.randn(3, 4), "norm.count": torch.tensor(5), "t": torch.randn(4, 3).t()}
    return Carry(solver, {"leg1.mean": torch.arange(3.0)}, {"legs": [{"train_samples": 7}, {"train_samples": 5}]})


def test_round_trip(tmp_path: Path) -> None:
    sent = carry()
    send(sent, tmp_path / "c")
    got = receive(tmp_path / "c")
    assert is_carry(tmp_path / "c")
    assert got.facts == sent.facts
    assert got.samples_seen == 12
    for mine, theirs in ((sent.solver, got.solver), (sent.memory, got.memory)):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[k], theirs[k]) and mine[k].dtype == theirs[k].dtype for k in mine)


def test_sending_again_replaces_the_whole_folder(tmp_path: Path) -> None:
    send(carry(), tmp_path / "c")
    send(Carry({"w": torch.zeros(1)}), tmp_path / "c")
    assert sorted(p.name for p in (tmp_path / "c").iterdir()) == ["carry.json", "solver.safetensors"]
    assert [p.name for p in tmp_path.iterdir()] == ["c"]


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7), name=st.sampled_from(["solver", "memory"]))
def test_any_flipped_bit_is_noticed(
    place: float, bit: int, name: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("flip") / "c"
    send(carry(), folder)
    path = folder / f"{name}.safetensors"
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    path.write_bytes(data)
    with pytest.raises(CarryError, match="not the file that was sent"):
        receive(folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda head: head | {"format": 99}, "format version 99"),
        (lambda head: head | {"sha256": {"facts": head["sha256"]["facts"]}}, "allowed: solver"),
        (lambda head: head | {"sha256": head["sha256"] | {"../../etc/passwd": "0"}}, "allowed: solver"),
        (lambda head: head | {"facts": {"legs": [{"train_samples": 10**6}]}}, "facts .* are not those that were sent"),
        (lambda head: head | {"sha256": {}}, "facts .* are not those that were sent"),
        (lambda head: {"format": 1}, "not the head of a carry"),
        (lambda head: [], "not the head of a carry"),
    ],
)
def test_odd_heads_are_refused(tmp_path: Path, change: object, message: str) -> None:
    send(carry(), tmp_path / "c")
    head = tmp_path / "c" / "carry.json"
    head.write_text(json.dumps(change(json.loads(head.read_text()))))  # type: ignore[operator]
    with pytest.raises(CarryError, match=message):
        receive(tmp_path / "c")


@pytest.mark.parametrize("legs", [[{"train_samples": -1}], [{"train_samples": True}], [{}], [3], {"a": 1}])
def test_counts_that_averaging_relies_on_are_checked(tmp_path: Path, legs: object) -> None:
    send(Carry({"w": torch.zeros(1)}, {}, {"legs": legs}), tmp_path / "c")
    with pytest.raises(CarryError, match="train_samples"):
        receive(tmp_path / "c")


def test_missing_files_are_named(tmp_path: Path) -> None:
    with pytest.raises(CarryError, match=r"carry\.json"):
        receive(tmp_path)
    send(carry(), tmp_path / "c")
    (tmp_path / "c" / "memory.safetensors").unlink()
    with pytest.raises(CarryError, match=r"memory\.safetensors"):
        receive(tmp_path / "c")


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


def test_fitting_weights_are_taken() -> None:
    here, there = net(), net()
    load_solver(here, there.state_dict())
    assert all(torch.equal(a, b) for a, b in zip(here.state_dict().values(), there.state_dict().values(), strict=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda w: w.pop("0.bias"), r"0\.bias: missing"),
        (lambda w: w.update(extra=torch.zeros(1)), "extra: not in the net"),
        (lambda w: w.update({"0.bias": torch.zeros(5)}), r"\(5,\).*the net has \(4,\)"),
        (lambda w: w.update({"0.bias": torch.zeros(4, dtype=torch.float64)}), "float64"),
        (lambda w: w["0.bias"].fill_(float("nan")), "not finite"),
    ],
)
def test_other_weights_are_refused_and_the_net_is_left(change: object, message: str) -> None:
    here = net()
    before = {k: v.clone() for k, v in here.state_dict().items()}
    weights = {k: v.clone() for k, v in net().state_dict().items()}
    change(weights)  # type: ignore[operator]
    with pytest.raises(CarryError, match=message):
        load_solver(here, weights)
    assert all(torch.equal(before[k], v) for k, v in here.state_dict().items())
