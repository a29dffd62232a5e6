"""The page says enough: a reader written from it alone believes the golden bundles, and refuses what relay refuses."""

from __future__ import annotations

import ast
import json
import struct
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyrage
import pytest
from hypothesis import given, strategies as st

from relay.trust.document import canonical
from tests.exchange import second_reader
from tests.exchange.second_reader import Bad, read
from tests.relays import At, World

GOLDEN = Path(__file__).parent / "golden"
ABOUT = json.loads((GOLDEN / "about.json").read_text())
NOW = datetime.fromisoformat(ABOUT["now"])
FIRST, SECOND = (GOLDEN / f"{ABOUT['study']}.leg-{name}.relay.age" for name in ("1.north", "2.south"))
PINNED = json.loads((GOLDEN / "keys/centre/identity.json").read_text())


def secret(site: str) -> str:
    return str(json.loads((GOLDEN / f"keys/{site}/keys.json").read_text())["sealing"])


def test_it_knows_nothing_of_relay() -> None:
    tree = ast.parse(Path(second_reader.__file__).read_text())
    modules = {node.module or "" for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    assert not [module for module in modules if module.split(".")[0] in ("relay", "tests", "rfc8785", "safetensors")]


@pytest.mark.parametrize(("path", "site", "legs"), [(FIRST, "south", 1), (SECOND, "east", 2)])
def test_it_believes_the_golden_bundles(path: Path, site: str, legs: int) -> None:
    claims, digests, tensors = read(path.read_bytes(), ABOUT["study"], PINNED, NOW, secret(site))
    assert digests == [ABOUT["statements"][str(leg)] for leg in range(1, legs + 1)]
    assert [claim["site"] for claim in claims] == ["north", "south"][:legs]
    kind, shape, data = tensors["memory.safetensors"]["mean"]
    assert (kind, shape, list(struct.unpack("<3f", data))) == ("F32", [3], [legs, legs + 1, legs + 2])
    assert tensors["model.safetensors"]["conv.weight"][1] == [4, 3, 3, 3]
    assert len(tensors) == (3 if legs == 1 else 6)
    types = {name: dtype for name, (dtype, _, _) in tensors["expert.safetensors"].items()}
    assert types == dict.fromkeys(tensors["model.safetensors"], "F16")


BARE = pyrage.decrypt(SECOND.read_bytes(), [pyrage.x25519.Identity.from_str(secret("east"))])


def resealed(bare: bytes, *more: pyrage.x25519.Identity) -> bytes:
    east = pyrage.x25519.Identity.from_str(secret("east"))
    return bytes(pyrage.encrypt(bare, [one.to_public() for one in (east, *more)]))


def mutant(old: bytes, new: bytes) -> bytes:
    assert BARE.count(old)
    assert len(old) == len(new)
    return resealed(BARE.replace(old, new))


MUTANTS: dict[str, tuple[Any, str]] = {
    "not sealed": (lambda: BARE, "not sealed"),
    "sealed to one more": (lambda: resealed(BARE, pyrage.x25519.Identity.generate()), "not sealed, or to others"),
    "a byte at the end": (lambda: resealed(BARE + b"x"), "the directory"),
    "cut": (lambda: resealed(BARE[:-1]), "the directory"),
    "another date": (lambda: mutant(b"PK\3\4\x2d\0\0\0\0\0\0\0\x21", b"PK\3\4\x2d\0\0\0\0\0\0\0\x22"), "local header"),
    "a damaged entry": (lambda: mutant(b"U-Net", b"V-Net"), "damaged"),
    "weights": (lambda: mutant(b"conv.weight", b"conv.weighs"), "damaged"),
}


@pytest.mark.parametrize("kind", MUTANTS)
def test_it_refuses_mutants(kind: str) -> None:
    make, says = MUTANTS[kind]
    with pytest.raises(Bad, match=says):
        read(make(), ABOUT["study"], PINNED, NOW, secret("east"))


def test_it_refuses_another_time_study_and_coordinator() -> None:
    data, key = SECOND.read_bytes(), secret("east")
    with pytest.raises(Bad, match=r"too early, or too late|the roster's days"):
        read(data, ABOUT["study"], PINNED, NOW + timedelta(days=200), key)
    with pytest.raises(Bad, match="a roster's form, or study"):
        read(data, "other", PINNED, NOW, key)
    with pytest.raises(Bad, match="a roster by another key"):
        read(data, ABOUT["study"], json.loads((GOLDEN / "keys/east/identity.json").read_text()), NOW, key)


def scores(parts: Any, **changes: Any) -> None:
    """The zero-shot score of the generalist, changed."""
    results = parts.json("results.json")
    results["zero_shot"][0].update(changes)
    parts.put("results.json", results)


FORGED: dict[str, tuple[Any, str]] = {
    "leg": (lambda parts: parts.claim.update(leg=3), "not this site's turn"),
    "a key more": (lambda parts: parts.claim.update(note="x"), "a claim's form"),
    "previous": (lambda parts: parts.claim.update(previous="0" * 64), "does not continue"),
    "samples": (lambda parts: parts.claim.update(samples=19), "not rounded"),
    "recipients": (lambda parts: parts.claim.update(recipients=[]), "its recipients"),
    "results": (lambda parts: parts.put("results.json", {"format": 1}), "the form of results.json"),
    "test sets": (lambda parts: parts.claim["result"].update({f"s{n}": 0.5 for n in range(17)}), "test sets of nobody"),
    "a tensor less": (lambda parts: parts.claim["handover"]["model"].update(tensors=1), "their number"),
    "memory": (lambda parts: parts.files.update({"chain/0001/memory.safetensors": b"x"}), "an earlier leg's file"),
    "expert": (lambda parts: parts.files.update({"chain/0001/expert.safetensors": b"x"}), "an earlier leg's expert"),
    "no expert": (lambda parts: parts.files.pop("chain/0001/expert.safetensors"), "an earlier leg's expert"),
    "own expert": (lambda parts: parts.claim["handover"].update(expert=None), "a file that its statement does not"),
    "scored twice": (lambda parts: scores(parts, model="vote"), "scored twice"),
    "exact images": (lambda parts: scores(parts, images=19), "not rounded"),
}


@pytest.mark.parametrize("kind", FORGED)
def test_it_refuses_what_south_may_not_sign(kind: str, at: At) -> None:
    world: World = at(2)
    change, says = FORGED[kind]
    with world.forged(2, signer="south") as parts:
        change(parts)
    pinned = json.loads(canonical(world.coordinator.identity))
    keys = world.keys["east"].sealing
    good = read(world.bundle(2).read_bytes(), world.study, pinned, world.now, keys)
    assert len(good[0]) == 2
    with pytest.raises(Bad, match=says):
        read(parts.bundle.read_bytes(), world.study, pinned, world.now, keys)


@given(
    st.recursive(
        st.none()
        | st.booleans()
        | st.floats(allow_nan=False, allow_infinity=False)
        | st.integers(-(2**53) + 1, 2**53 - 1)
        | st.text(st.characters(exclude_categories=["Cs"])),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("aé\U0001f600", max_size=2), inner),
    )
)
def test_both_write_the_same_canonical_json(value: Any) -> None:
    try:
        theirs = canonical(value)
    except ValueError:
        return
    assert second_reader.canonical(value).encode() == theirs
