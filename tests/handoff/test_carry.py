"""A carry is written whole or not at all, and read as it was written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from relay.errors import CarryError
from relay.handoff import carry
from relay.handoff.carry import Carry, Facts, load_solver
from relay.handoff.manifest import CARRY, CONFIG, DATA_CARD, MEMORY, RESULTS, SOLVER
from relay.handoff.refusals import BadDocument
from tests.handoff.relays import contents

FACTS = Facts(
    leg=2, site="south", strategy="relay", start=None, samples=20, result={"south": None}, tensors={}, torch="2.6"
)
DOCUMENTS: dict[str, Any] = {CONFIG: {"a": 1}, DATA_CARD: {"format": 1}, RESULTS: {"rows": []}}
ABOUT: dict[str, Any] = {"model": {"name": "U-Net"}, "data": {"channels": 3}}


def some(**changes: Any) -> Carry:
    solver = {"w": torch.randn(3, 4), "norm.count": torch.tensor(5), "t": torch.randn(4, 3).t()}
    return dataclasses.replace(Carry(solver, {"leg1.mean": torch.arange(3.0)}, ABOUT), **changes)


def test_round_trip(tmp_path: Path) -> None:
    sent = some()
    carry.write(sent, tmp_path / "c", DOCUMENTS, FACTS)
    legs = [{"leg": 1, "site": "a", "strategy": "relay", "train_samples": n} for n in (7, 5)]
    got = carry.load(tmp_path / "c", legs)
    assert got.facts == {**ABOUT, "legs": legs}
    assert got.legs == legs
    assert got.samples_seen == 12
    for mine, theirs in ((sent.solver, got.solver), (sent.memory, got.memory)):
        assert mine.keys() == theirs.keys()
        assert all(torch.equal(mine[k], theirs[k]) and mine[k].dtype == theirs[k].dtype for k in mine)
    assert carry.read_facts(tmp_path / "c") == FACTS


def test_writing_again_replaces_the_whole_folder(tmp_path: Path) -> None:
    carry.write(some(), tmp_path / "c", DOCUMENTS, FACTS)
    carry.write(some(memory={}), tmp_path / "c", DOCUMENTS, FACTS)
    names = {CARRY, CONFIG, DATA_CARD, RESULTS, SOLVER, carry.FACTS}
    assert {path.name for path in (tmp_path / "c").iterdir()} == names
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_what_failed_leaves_the_old_one(tmp_path: Path) -> None:
    carry.write(some(), tmp_path / "c", DOCUMENTS, FACTS)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="nan"):
        carry.write(some(), tmp_path / "c", {**DOCUMENTS, RESULTS: {"rows": [float("nan")]}}, FACTS)
    assert contents(tmp_path) == before


def test_the_digest_names_the_weights_alone(tmp_path: Path) -> None:
    one = some()
    carry.write(one, tmp_path / "a", DOCUMENTS, FACTS)
    carry.write(one, tmp_path / "b", {**DOCUMENTS, CONFIG: {"a": 2}}, FACTS)
    carry.write(dataclasses.replace(one, memory={}), tmp_path / "c", DOCUMENTS, FACTS)
    carry.write(dataclasses.replace(one, solver=one.memory, memory=one.solver), tmp_path / "d", DOCUMENTS, FACTS)
    found = [carry.digest_of(tmp_path / name) for name in "abcd"]
    assert found[0] == found[1]
    assert len(set(found)) == 3


@pytest.mark.parametrize("use", [carry.read_facts, carry.digest_of])
def test_no_carry(use: Any, tmp_path: Path) -> None:
    with pytest.raises(CarryError, match="no carry in"):
        use(tmp_path)


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"leg":0}'])
def test_odd_facts(data: bytes, tmp_path: Path) -> None:
    (tmp_path / carry.FACTS).write_bytes(data)
    with pytest.raises(CarryError, match=r"facts\.json"):
        carry.read_facts(tmp_path)


@pytest.mark.parametrize("name", [SOLVER, MEMORY])
def test_weights_that_can_not_be_parsed(name: str, tmp_path: Path) -> None:
    carry.write(some(), tmp_path, DOCUMENTS, FACTS)
    (tmp_path / name).write_bytes(b"\x80\x04N.")
    with pytest.raises(BadDocument, match="weights can't be parsed"):
        carry.load(tmp_path)


def test_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"x")
    carry.link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").samefile(tmp_path / "b")

    def fails(*args: object) -> None:
        raise OSError

    monkeypatch.setattr("os.link", fails)
    carry.link(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"x"
    assert not (tmp_path / "a").samefile(tmp_path / "c")


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
def test_other_weights_are_refused_and_the_net_is_left(change: Any, message: str) -> None:
    here = net()
    before = {k: v.clone() for k, v in here.state_dict().items()}
    weights = {k: v.clone() for k, v in net().state_dict().items()}
    change(weights)
    with pytest.raises(CarryError, match=message):
        load_solver(here, weights)
    assert all(torch.equal(before[k], v) for k, v in here.state_dict().items())
