"""Bundles of format 1, written once and kept: whoever changes the code, these are still believed."""

from __future__ import annotations

import json
import shutil
from datetime import datetime
from pathlib import Path

import pytest
import torch

from relay.exchange import gate, receiving
from relay.exchange.store import StudyStore
from relay.trust import keys
from relay.trust.keys import Keys
from relay.trust.refusals import Expired, PolicyBreach
from tests.relays import EXPECTED, taken_apart, unsealed

GOLDEN = Path(__file__).parent / "golden"
ABOUT = json.loads((GOLDEN / "about.json").read_text())
NOW = datetime.fromisoformat(ABOUT["now"])
FIRST, SECOND = (GOLDEN / f"{ABOUT['study']}.leg-{name}.relay.age" for name in ("1.north", "2.south"))


def store(site: str, folder: Path) -> tuple[StudyStore, Keys]:
    home = folder / site
    shutil.copytree(GOLDEN / "keys" / site, home)
    home.chmod(0o700)
    home.joinpath(keys.PLAIN).chmod(0o600)  # git does not keep that
    made = StudyStore(home, ABOUT["study"], lambda: NOW)
    made.pin(keys.identity(GOLDEN / "keys" / "centre"))
    return made, keys.load(home, None)


@pytest.mark.parametrize(("site", "leg", "path"), [("south", 1, FIRST), ("east", 2, SECOND)])
def test_they_are_received(site: str, leg: int, path: Path, tmp_path: Path) -> None:
    here, own = store(site, tmp_path)
    found = receiving.receive(here, own, path, gate.weigh, EXPECTED)
    assert {str(made.claim.leg): made.digest for made in found.statements} == {
        number: digest for number, digest in ABOUT["statements"].items() if int(number) <= leg
    }
    carried, _ = receiving.reopen(here, leg)
    assert {name: list(tensor.shape) for name, tensor in carried.model.items()} == {
        "conv.weight": [4, 3, 3, 3],
        "norm.bias": [4],
    }
    assert carried.samples_seen == 16 * leg
    assert [*carried.experts] == [*range(1, leg + 1)]
    assert {tensor.dtype for expert in carried.experts.values() for tensor in expert.values()} == {torch.float16}
    told = [*carried.memories.values(), *([carried.cumulative] if carried.cumulative else [])]
    assert [*carried.memories] == [*range(1, leg + 1)]
    assert [part.tensors["mean"].tolist() for part in told] == [[k, k + 1, k + 2] for k in (1, 2, 2)[: 2 * leg - 1]]
    assert {part.privacy.patients for part in told} == {16}


def test_the_bare_one_is_what_is_in_the_sealed_one(tmp_path: Path) -> None:
    here, own = store("east", tmp_path)
    bare = SECOND.with_suffix("")
    assert unsealed(SECOND.read_bytes(), own) == bare.read_bytes()
    assert list(taken_apart(bare.read_bytes()))[-1] == "model.safetensors"
    with pytest.raises(PolicyBreach, match="not sealed"):
        receiving.verify(here, None, bare)


def test_they_have_expired(tmp_path: Path) -> None:
    here, own = store("south", tmp_path)
    later = StudyStore(here.home, here.study, lambda: NOW.replace(month=NOW.month + 4))
    with pytest.raises(Expired):
        receiving.verify(later, own, FIRST)


def test_they_are_small() -> None:
    assert sum(path.stat().st_size for path in GOLDEN.rglob("*") if path.is_file()) < 50_000
