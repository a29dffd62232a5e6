"""A handover is written whole or not at all, and read as it was written."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest
import torch

from relay.bundle import handover_files
from relay.bundle.handover_files import Facts
from relay.bundle.manifest import CONFIG, CUMULATIVE, DATA_CARD, HANDOVER, MEMORY, MODEL, RESULTS, card_of
from relay.errors import HandoverError
from relay.handover import Handover, MemoryState, load_model
from relay.trust.refusals import BadDocument
from tests.relays import contents, remembered

FACTS = Facts(
    leg=2, site="south", strategy="relay", start=None, samples=20, result={"south": None}, tensors={}, torch="2.6"
)
DOCUMENTS: dict[str, Any] = {CONFIG: {"a": 1}, DATA_CARD: {"format": 1}, RESULTS: {"rows": []}}
ABOUT: dict[str, Any] = {"model": {"name": "U-Net"}, "data": {"channels": 3}}


def some(**changes: Any) -> Handover:
    model = {"w": torch.randn(3, 4), "norm.count": torch.tensor(5), "t": torch.randn(4, 3).t()}
    return dataclasses.replace(Handover(model, {2: remembered(2)}, None, ABOUT), **changes)


def same(mine: MemoryState | None, theirs: MemoryState | None) -> bool:
    """Bit for bit, tensors and card."""
    if mine is None or theirs is None:
        return mine is theirs
    tensors = mine.tensors.keys() == theirs.tensors.keys() and all(
        torch.equal(mine.tensors[k], theirs.tensors[k]) and mine.tensors[k].dtype == theirs.tensors[k].dtype
        for k in mine.tensors
    )
    return tensors and handover_files.card(mine) == handover_files.card(theirs)


def test_round_trip(tmp_path: Path) -> None:
    audit = {"attack": "membership", "auc": 0.51}
    sent = some(
        cumulative=dataclasses.replace(remembered(3, "flow", derived="generator", epsilon=4, delta=1e-5), audit=audit)
    )
    handover_files.write(sent, tmp_path / "c", DOCUMENTS, FACTS)
    legs = [{"leg": k, "site": "ab"[k - 1], "strategy": "relay", "train_samples": n} for k, n in ((1, 7), (2, 5))]
    got = handover_files.load(tmp_path / "c", legs)
    told = [{**leg, "zero_shot": []} for leg in legs]
    assert got.facts == {**ABOUT, "legs": told, "config": {"a": 1}}
    assert got.samples_seen == 12
    assert [got.samples_elsewhere(site) for site in "abc"] == [5, 7, 12]
    assert sent.model.keys() == got.model.keys()
    assert all(torch.equal(sent.model[k], got.model[k]) for k in sent.model)
    assert got.memories.keys() == {2}
    assert same(got.memories[2], sent.memories[2])
    assert same(got.cumulative, sent.cumulative)
    assert got.cumulative is not None
    assert got.cumulative.audit == audit
    assert handover_files.read_facts(tmp_path / "c") == FACTS


def test_only_the_legs_own_memory_is_written(tmp_path: Path) -> None:
    """Those of earlier legs come from where they were received."""
    handover_files.write(some(memories={1: remembered(1)}), tmp_path / "c", DOCUMENTS, FACTS)
    assert not (tmp_path / "c" / MEMORY).exists()


def test_the_newest_memory_of_every_other_site() -> None:
    legs = [{"leg": k, "site": site} for k, site in enumerate(["north", "south", "east", "south", "north"], 1)]
    found = Handover({}, {k: remembered(k) for k in (1, 2, 3, 4)}, None, {"legs": legs})
    assert found.others("north") == {"south": found.memories[4], "east": found.memories[3]}
    assert list(found.others("east")) == ["north", "south"]
    assert found.others("east")["north"] is found.memories[1], "its second turn left none"
    assert Handover({}).others("north") == {}


def test_the_size_of_a_memory_is_that_of_its_tensors() -> None:
    assert remembered(1).size == 4 * 5


def test_writing_again_replaces_the_whole_folder(tmp_path: Path) -> None:
    handover_files.write(some(), tmp_path / "c", DOCUMENTS, FACTS)
    handover_files.write(some(memories={}), tmp_path / "c", DOCUMENTS, FACTS)
    names = {HANDOVER, CONFIG, DATA_CARD, RESULTS, MODEL, handover_files.FACTS, handover_files.DIGESTS}
    assert {path.name for path in (tmp_path / "c").iterdir()} == names
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


def test_what_failed_leaves_the_old_one(tmp_path: Path) -> None:
    handover_files.write(some(), tmp_path / "c", DOCUMENTS, FACTS)
    before = contents(tmp_path)
    with pytest.raises(ValueError, match="nan"):
        handover_files.write(some(), tmp_path / "c", {**DOCUMENTS, RESULTS: {"rows": [float("nan")]}}, FACTS)
    assert contents(tmp_path) == before


def test_the_digest_names_the_weights_alone(tmp_path: Path) -> None:
    one = some()
    handover_files.write(one, tmp_path / "a", DOCUMENTS, FACTS)
    handover_files.write(one, tmp_path / "b", {**DOCUMENTS, CONFIG: {"a": 2}}, FACTS)
    own = one.memories[2]
    others = {
        "c": {"memories": {}},
        "d": {"model": own.tensors, "memories": {2: dataclasses.replace(own, tensors=one.model)}},
        "e": {"memories": {}, "cumulative": own},
        "f": {"cumulative": own},
    }
    for name, changes in others.items():
        handover_files.write(dataclasses.replace(one, **changes), tmp_path / name, DOCUMENTS, FACTS)  # type: ignore[arg-type]
    found = [handover_files.digest_of(tmp_path / name) for name in "abcdef"]
    assert found[0] == found[1]
    assert len(set(found)) == 5


@pytest.mark.parametrize("use", [handover_files.read_facts, handover_files.digest_of])
def test_no_handover(use: Any, tmp_path: Path) -> None:
    with pytest.raises(HandoverError, match="no handover in"):
        use(tmp_path)


def test_facts_that_were_lost_are_no_leg_that_was_not_run(tmp_path: Path) -> None:
    folder = tmp_path / "task_1" / "handover"
    with pytest.raises(HandoverError, match="no handover in"):
        handover_files.check_whole(folder)
    folder.parent.mkdir()
    with pytest.raises(HandoverError, match=r"facts\.json is damaged: it is missing") as caught:
        handover_files.check_whole(folder)
    assert caught.value.advice() == f"Remove {folder.parent} to train this leg again."


@pytest.mark.parametrize("data", [b"", b"{}", b"[]", b"\xff", b'{"leg":0}'])
def test_odd_facts(data: bytes, tmp_path: Path) -> None:
    (tmp_path / handover_files.FACTS).write_bytes(data)
    with pytest.raises(HandoverError, match=r"facts\.json"):
        handover_files.read_facts(tmp_path)


LEGS = [{"leg": leg, "site": "ab"[leg - 1], "strategy": "relay", "train_samples": 8} for leg in (1, 2)]


@pytest.mark.parametrize("name", [MODEL, MEMORY, CUMULATIVE])
def test_weights_that_can_not_be_parsed(name: str, tmp_path: Path) -> None:
    handover_files.write(some(cumulative=remembered(3)), tmp_path / "c", DOCUMENTS, FACTS)
    (tmp_path / "c" / name).write_bytes(b"\x80\x04N.")
    with pytest.raises(BadDocument, match="weights can't be parsed"):
        handover_files.load(tmp_path / "c", LEGS)


@pytest.mark.parametrize("name", [MEMORY, CUMULATIVE])
def test_a_card_that_can_not_be_read(name: str, tmp_path: Path) -> None:
    handover_files.write(some(cumulative=remembered(3)), tmp_path / "c", DOCUMENTS, FACTS)
    (tmp_path / "c" / card_of(name)).write_bytes(b'{"format":1}')
    with pytest.raises(BadDocument, match=card_of(name)):
        handover_files.load(tmp_path / "c", LEGS)


def test_links(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_bytes(b"x")
    handover_files.link(tmp_path / "a", tmp_path / "b")
    assert (tmp_path / "a").samefile(tmp_path / "b")

    def fails(*args: object) -> None:
        raise OSError

    monkeypatch.setattr("os.link", fails)
    handover_files.link(tmp_path / "a", tmp_path / "c")
    assert (tmp_path / "c").read_bytes() == b"x"
    assert not (tmp_path / "a").samefile(tmp_path / "c")


def net() -> torch.nn.Module:
    return torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.BatchNorm2d(4))


def test_fitting_weights_are_taken() -> None:
    here, there = net(), net()
    load_model(here, there.state_dict())
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
    with pytest.raises(HandoverError, match=message):
        load_model(here, weights)
    assert all(torch.equal(before[k], v) for k, v in here.state_dict().items())
