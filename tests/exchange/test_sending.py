"""What leaves a site: a closed list, nothing that tells more than it must, and only what was signed."""

from __future__ import annotations

import getpass
import re
import socket
from pathlib import Path
from typing import Any

import pytest
import torch

from relay.bundle import manifest
from relay.bundle.handover_files import FACTS
from relay.bundle.manifest import DATA_CARD, MODEL, MODEL_CARD, RESULTS, STATEMENT
from relay.errors import RelayError, UserError
from relay.exchange import drafting, sending
from relay.trust.refusals import BadDocument, DigestMismatch
from tests.relays import SAMPLES, At, contents, unsealed, weights

CLOSED = [
    "statement.dsse.json",
    "manifest-sha256.txt",
    "rosters/0001.dsse.json",
    "chain/0001/statement.dsse.json",
    "chain/0001/manifest-sha256.txt",
    "chain/0001/results.json",
    "chain/0001/data-card.json",
    "chain/0001/memory.json",
    "chain/0001/memory.safetensors",
    "chain/0001/expert.safetensors",
    "MODEL_CARD.md",
    "handover.json",
    "config.json",
    "data-card.json",
    "results.json",
    "memory.json",
    "memory.safetensors",
    "expert.safetensors",
    "model.safetensors",
]


def test_the_list_is_closed(at: At) -> None:
    assert list(at(2).opened(2)) == CLOSED


def test_a_handover_without_a_memory(at: At) -> None:
    world = at(0)
    world.deliver(world.make(1, memory=None), "south")
    assert not [name for name in world.opened(1) if "memory" in name]
    world.deliver(world.make(2), "east")
    assert list(world.opened(2)) == [name for name in CLOSED if not name.startswith("chain/0001/memory")]


def test_other_files_in_the_handover_stay(at: At) -> None:
    """Whatever else lies beside it, the optimiser's state for one, does not leave."""
    world = at(0)
    folder = world.train(1)
    (folder / "last.ckpt").write_bytes(b"secret optimiser state")
    (folder / "patients.csv").write_bytes(b"secret patient")
    (folder / "rosters").mkdir()
    (folder / "rosters" / "0009.dsse.json").write_bytes(b"secret")
    world.put(1, folder)
    assert list(world.opened(1)) == [name for name in CLOSED if not name.startswith("chain/")]
    assert not any(b"secret" in data for data in world.opened(1).values())


def test_nothing_tells_where_it_was_made(at: At) -> None:
    """Over all bytes of every bundle: no host, no user, no path, no exact count, and nothing of facts.json."""
    world = at(3)
    user, host = getpass.getuser(), socket.gethostname()
    for leg in (1, 2, 3):
        files = {n: d for n, d in world.opened(leg).items() if not n.endswith(".safetensors")}
        text = b"\n".join([*map(str.encode, files), *files.values()]).decode()
        assert str(world.folder) not in text
        assert not re.search(r"(?<![a-z:])/(home|root|tmp|usr|mnt|media|work|Users)/|[A-Z]:\\\\", text)
        for word in {user, host} - {"root", "localhost", "north"}:
            assert not re.search(rf"\b{re.escape(word)}\b", text), word
        assert not re.search(rf"[:| ]{SAMPLES}[,}}| ]", text)
        assert FACTS not in text
        assert "start" not in re.findall(r'"(\w+)":', text)
    bare = unsealed(world.bundle(3).read_bytes(), *world.keys.values())
    assert str(world.folder).encode() not in bare


def test_the_time_of_writing_is_not_in_it(at: At) -> None:
    """The same leg again is the same bundle, byte by byte, below the seal."""
    world = at(1)
    first = unsealed(world.bundle(1).read_bytes(), world.keys["south"])
    world.put(1, world.folder / "north" / "handover_1")
    assert unsealed(world.bundle(1).read_bytes(), world.keys["south"]) == first


def test_what_will_leave_is_shown_first(at: At) -> None:
    """Every file and its size, for whom, and what is told; before anything is signed."""
    world = at(0)
    folder, before = world.train(1), contents(world.stick)
    drafted = drafting.draft(world.stores["north"], folder)
    text = "\n".join(drafted.lines(world.roster.policy))
    for told in ("as leg 1 of vessels", "sealed, for      south", "16 (rounded", "north 0.710, outside –"):
        assert told in text
    assert set(drafted.sizes) == {name for name in CLOSED if not name.startswith(("chain/", "statement", "manifest"))}
    assert "memory of leg 1, by north: style, 148 B in 2 tensors; aggregates; fewest patients 16; no formal" in text
    for name, size in drafted.sizes.items():
        assert re.search(rf"{size:,} B  {re.escape(name)}", text)
    assert not world.stores["north"].ledger.record().signed
    assert not (drafted.folder / STATEMENT).exists()
    assert contents(world.stick) == before


def test_a_draft_that_is_not_signed_leaves_nothing(at: At) -> None:
    world = at(0)
    folder = world.train(1)
    drafted = drafting.draft(world.stores["north"], folder)
    assert "few patients are tested on" in dict(drafted.disclosed(world.roster.policy))["result"]
    world.deliver(world.put(1, folder), "south")


def test_counts_in_the_cards_are_rounded(at: At) -> None:
    world = at(1)
    with world.forged(1) as parts:
        card = parts.json(DATA_CARD)
    assert card["images"] == {"train": 16, "val": 0, "test": 8}  # there are 5: a small group is only said to be small
    assert card["patients"] == {"train": 16, "val": 0, "test": 8}
    assert card["counts"] == "rounded"
    assert "rounded to powers of two" in parts.files[MODEL_CARD].decode()


def test_the_model_card_says_what_each_site_says(at: At) -> None:
    card = at(3).opened(3)[MODEL_CARD].decode()
    assert "| leg | site | strategy | samples | north | outside | south | east |" in card
    assert "| 1 | north | relay | 16 | 0.710 | – | – | – |" in card
    assert "| 3 | east | relay | 16 | – | – | – | 0.730 |" in card


@pytest.mark.parametrize(
    "strategy",
    [
        "relay |\n| 2 | south | relay | 64 | 0.99",
        "relay | 64",
        "`x`",
        "\x1b[2J",
        "<script>",
        "",
        "x" * 101,
        "caf\u00e9",
    ],
)
def test_a_site_cannot_write_into_the_table_of_another(strategy: str, at: At) -> None:
    """Strategies and versions are words of the sender that later sites put into their model cards."""
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.claim["strategy"] = strategy
    world.refuses(parts.bundle, "south", BadDocument, "strategy")
    with world.forged(1, signer="north") as parts:
        parts.claim["code"]["torch"] = strategy
    world.refuses(parts.bundle, "south", BadDocument, "torch")


@pytest.mark.parametrize("change", ["model", "statement", "gone"])
def test_what_was_signed_is_what_leaves(change: str, at: At) -> None:
    """Not what somebody made of it since: better noticed here than at the other end."""
    world = at(1)
    signed = world.stores["north"].signed(1)
    if change == "model":
        (signed / MODEL).unlink()
        (signed / MODEL).write_bytes(b"other")
    elif change == "statement":
        (signed / STATEMENT).write_bytes((signed / STATEMENT).read_bytes()[:-1])
    else:
        (signed / RESULTS).unlink()
    before = contents(world.stick)
    with pytest.raises(RelayError) as caught:
        sending.export(world.stores["north"], 1, world.stick)
    assert isinstance(caught.value, DigestMismatch) or change != "model"
    assert contents(world.stick) == before


def test_training_on_does_not_change_what_was_signed(at: At) -> None:
    """Files are shared by name, never written to: the next leg of the same run replaces its own."""
    world = at(1)
    signed = contents(world.stores["north"].signed(1))
    world.train(1, model=weights(9))
    assert contents(world.stores["north"].signed(1)) == signed


@pytest.mark.parametrize(
    "facts",
    [{"result": {"a test set": 0.5}}, {"result": {"north": 1.5}}, {"strategy": "x" * 200}, {"torch": "2.6 | x"}],
)
def test_facts_that_no_statement_can_hold(facts: dict[str, Any], at: At) -> None:
    world = at(0)
    with pytest.raises(RelayError):
        world.make(1, **facts)
    assert not list(world.stick.iterdir())
    world.make(1)


@pytest.mark.parametrize(
    ("leg", "name", "how"), [(1, manifest.MEMORY, "changed"), (1, "memory.json", "gone"), (2, manifest.MEMORY, "gone")]
)
def test_a_received_memory_that_was_damaged_is_not_passed_on(name: str, how: str, leg: int, at: At) -> None:
    """Noticed here, by whoever can receive it again; not by the next site."""
    world = at(2)
    world.deliver(world.bundle(2), "east")
    folder = world.train(3)
    path = world.stores["east"].received(2) / (name if leg == 2 else manifest.earlier(1, name))
    path.write_bytes(path.read_bytes()[:-1]) if how == "changed" else path.unlink()
    with pytest.raises(DigestMismatch, match=f"{name} is not what was received"):
        drafting.draft(world.stores["east"], folder)
    assert world.deliver(world.bundle(2), "east").again
    world.put(3, folder)


def test_no_handover(at: At, tmp_path: Path) -> None:
    world = at(0)
    with pytest.raises(RelayError, match=r"no handover in .*facts\.json"):
        drafting.draft(world.stores["north"], tmp_path)


def test_no_stick(at: At) -> None:
    world = at(0)
    folder = world.train(1)
    world.stick.rmdir()
    with pytest.raises(UserError, match="stick"):
        world.put(1, folder)
    world.stick.mkdir()
    world.deliver(world.put(1, folder), "south")


def test_weights_need_not_lie_in_one_piece(at: At) -> None:
    world = at(0)
    world.deliver(world.make(1, model={"w": torch.arange(12.0).reshape(3, 4).t()}), "south")
