"""Mutants of honest bundles: none is believed, and each ends in a refusal that people can read. With the slow ones,
there are ten thousand.

``judge`` is fed directly, at a standpoint made once, because a mutant must take milliseconds. The policy of this
relay does not ask for a seal, so that nothing is refused for the lack of one.
"""

from __future__ import annotations

import contextlib
import copy
import json
import random
import resource
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay.bundle import manifest
from relay.bundle.manifest import MANIFEST, STATEMENT
from relay.bundle.opening import opened
from relay.exchange.receiving import judge
from relay.exchange.rules import VerificationContext
from relay.trust import statement
from relay.trust.document import canonical, digest
from relay.trust.keys import Keys
from relay.trust.refusals import Refused
from tests.relays import (
    EXPECTED,
    World,
    check_words,
    packed,
    payload_of,
    remembered,
    sealed,
    taken_apart,
    unsealed,
    weights,
)

ROUND = 160
ROUNDS = {"bare": 21, "sealed": 18, "documents": 12, "not its own": 9, "two bundles": 3}
LIMIT = 2**20
INTERESTING: list[Any] = [
    None, True, False, 0, 1, -1, 2, 3, 9999, 10**15, 1.5, -0.0, 1e300, 2**53, 2**64, [], {}, [[]], {"a": 1},
    "", "north", "south", "east", "centre", "0" * 64, "2026-03-02T09:30:00Z", "9999-12-31T23:59:59Z",
    "2026-02-30T00:00:00Z", "../x", "$(reboot)", "\x1b[2J", "é", "\ud800", "x" * 3000, [None] * 50,
]  # fmt: skip


def seeds(kind: str) -> list[Any]:
    """One round for every day; the others are slow."""
    return [0, *(pytest.param(seed, marks=pytest.mark.slow) for seed in range(1, ROUNDS[kind]))]


class Range:
    """Two honest bundles of leg 2, by the same south, for east; and east, who has received nothing yet."""

    def __init__(self, folder: Path) -> None:
        world = World(folder)
        world.with_policy(install=["north", "south", "east"], sealed=False)
        world.run(1)
        self.world, self.keys, self.file = world, world.keys["east"], folder / "mutant"
        twin = world.copy(folder.with_name("twin"))
        twin.make(2, model=weights(9), memory=remembered(8), cumulative=remembered(7), strategy="sequential")
        self.bare = world.make(2, cumulative=remembered(6)).read_bytes()
        self.other = twin.bundle(2).read_bytes()
        self.sealed = sealed(self.bare, self.keys.identity.sealing)
        self.files, self.others = taken_apart(self.bare), taken_apart(self.other)
        self.at: VerificationContext = world.stores["east"].context()

    def payload(self) -> dict[str, Any]:
        """What south has signed, to be changed."""
        return json.loads(payload_of(self.files[STATEMENT]))  # type: ignore[no-any-return]

    def believes(self, data: bytes) -> bool:
        """Whether east would take it in. Whatever else is raised than a refusal is a fault."""
        self.file.write_bytes(data)
        try:
            with opened(self.file, self.keys, self.file.parent, LIMIT) as bundle:
                judge(bundle, self.at, EXPECTED)
        except Refused as error:
            check_words(error)
            return False
        return True


@pytest.fixture(scope="module")
def range_(tmp_path_factory: pytest.TempPathFactory) -> Range:
    return Range(tmp_path_factory.mktemp("fuzz") / "world")


# -- bytes -----------------------------------------------------------------------------------------------------------


def flip(r: random.Random, data: bytes, other: bytes) -> bytes:
    at = r.randrange(len(data))
    return data[:at] + bytes([data[at] ^ 1 << r.randrange(8)]) + data[at + 1 :]


def overwrite(r: random.Random, data: bytes, other: bytes) -> bytes:
    at, count = r.randrange(len(data)), r.choice([1, 2, 4, 8, 30, 300])
    new = r.choice([r.randbytes(count), b"\0" * count, b"\xff" * count, b"PK\1\2PK\3\4PK\5\6"])
    return data[:at] + new + data[at + len(new) :]


def insert(r: random.Random, data: bytes, other: bytes) -> bytes:
    at = r.choice([0, len(data), r.randrange(len(data))])
    return data[:at] + r.choice([r.randbytes(r.randint(1, 40)), data[: r.randint(1, 500)], b"\n"]) + data[at:]


def delete(r: random.Random, data: bytes, other: bytes) -> bytes:
    at = r.randrange(len(data))
    return data[:at] + data[at + r.choice([1, 2, 16, 500, 5000]) :]


def truncate(r: random.Random, data: bytes, other: bytes) -> bytes:
    return data[: r.randrange(len(data))]


def swap(r: random.Random, data: bytes, other: bytes) -> bytes:
    a, b, c, d = sorted(r.randrange(len(data)) for _ in range(4))
    return data[:a] + data[c:d] + data[b:c] + data[a:b] + data[d:]


def splice(r: random.Random, data: bytes, other: bytes) -> bytes:
    at = r.randrange(len(data))
    return data[:at] + other[at if r.random() < 0.5 else r.randrange(len(other)) :]


def blend(r: random.Random, data: bytes, other: bytes) -> bytes:
    a, b = sorted(r.randrange(len(data)) for _ in range(2))
    return data[:a] + other[a:b] + data[b:]


BYTES = [flip, flip, overwrite, insert, delete, truncate, swap, splice, blend]


@pytest.mark.parametrize("seed", seeds("bare"))
def test_bytes_of_a_bare_bundle(seed: int, range_: Range) -> None:
    r, honest = random.Random(seed), {range_.bare, range_.other}
    run(range_, r, lambda: r.choice(BYTES)(r, range_.bare, range_.other), honest)


@pytest.mark.parametrize("seed", seeds("sealed"))
def test_bytes_of_a_sealed_bundle(seed: int, range_: Range) -> None:
    r, other = random.Random(seed), sealed(range_.other, range_.keys.identity.sealing)
    run(range_, r, lambda: r.choice(BYTES)(r, range_.sealed, other), {range_.sealed, other})


def run(range_: Range, r: random.Random, mutant: Callable[[], bytes], honest: set[bytes]) -> None:
    """A round of mutants, none of which is believed."""
    done = 0
    while done < ROUND:
        data = mutant()
        if data in honest:
            continue
        assert not range_.believes(data), f"mutant {done} was believed; it lies in {range_.file}"
        done += 1


# -- documents -------------------------------------------------------------------------------------------------------


def places(tree: Any) -> list[tuple[Any, Any]]:
    """Every key of every object and array in JSON."""
    here = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    return [place for key, value in here for place in ((tree, key), *places(value))]


def mutated(r: random.Random, tree: Any) -> Any:
    """JSON with one to three places changed."""
    tree = json.loads(json.dumps(tree))
    for _ in range(r.choice([1, 1, 1, 2, 3])):
        there = places(tree)
        if not there:
            return copy.deepcopy(r.choice(INTERESTING))
        inside, key = r.choice(there)
        way = r.randrange(5)
        if way == 0:
            del inside[key]
        elif way == 1 and isinstance(inside, dict):
            inside[r.choice(["format", "x", "", "site", "\x1b[2J"])] = copy.deepcopy(r.choice(INTERESTING))
        elif way == 2:
            inside[key] = [inside[key]] * r.choice([1, 2])
        elif way == 3 and isinstance(inside[key], str) and inside[key]:
            inside[key] = flip(r, inside[key].encode(errors="replace"), b"").decode(errors="replace")
        else:
            inside[key] = copy.deepcopy(r.choice(INTERESTING))
    return tree


def written(r: random.Random, tree: Any) -> bytes:
    """JSON as bytes: mostly canonical, now and then in another spelling."""
    with contextlib.suppress(ValueError):
        if r.random() < 0.9:
            return canonical(tree)
    return json.dumps(tree, indent=r.choice([None, 1])).encode()


def mutate_entry(r: random.Random, files: dict[str, bytes], name: str, signer: Keys | None) -> None:
    """A document of a bundle changed. Of an envelope: itself, or its payload, signed anew or not."""
    data = files[name]
    if name.endswith("manifest-sha256.txt"):
        lines = data.decode().splitlines(keepends=True)
        r.shuffle(lines) if r.random() < 0.3 else lines.pop(r.randrange(len(lines)))
        files[name] = "".join(lines).encode()
    elif not name.endswith(".json"):
        files[name] = flip(r, data, b"")
    elif not name.endswith(".dsse.json") or (signer is None and r.random() < 0.5):
        files[name] = written(r, mutated(r, json.loads(data)))
    else:
        payload = written(r, mutated(r, json.loads(payload_of(data))))
        kind = json.loads(data)["payloadType"]
        if signer is not None:
            files[name] = signer.sign(payload, kind)
        else:
            forged = json.loads(next(iter(OTHERS.values())).sign(payload, kind))
            files[name] = canonical({**json.loads(data), "payload": forged["payload"]})


def refit(files: dict[str, bytes], own: Keys, payload: dict[str, Any]) -> None:
    """A manifest of what is there, and a statement about it."""
    listing = manifest.write({n: digest(d) for n, d in files.items() if n not in (STATEMENT, MANIFEST)})
    payload["subject"] = [{"name": MANIFEST, "digest": {"sha256": digest(listing)}}]
    files[MANIFEST] = listing
    files[STATEMENT] = own.sign(canonical(payload), statement.KIND)


OTHERS: dict[str, Keys] = {}


@pytest.fixture(autouse=True, scope="module")
def _others(range_: Range) -> None:
    OTHERS.update(mallory=range_.world.new_keys("mallory"), **range_.world.keys)


@pytest.mark.parametrize("seed", seeds("documents"))
def test_documents_changed(seed: int, range_: Range) -> None:
    """By somebody without any key of weight: nothing fits what south and the coordinator have signed."""
    r = random.Random(seed)

    def mutant() -> bytes:
        files = dict(range_.files)
        for name in r.sample(list(files), r.choice([1, 1, 2])):
            mutate_entry(r, files, name, r.choice([None, OTHERS["mallory"]]))
        if r.random() < 0.5:
            refit(files, OTHERS[r.choice(["mallory", "north", "east"])], range_.payload())
        return packed(files)

    run(range_, r, mutant, {range_.bare})


@pytest.mark.parametrize("seed", seeds("not its own"))
def test_south_changes_what_is_not_its_own(seed: int, range_: Range) -> None:
    """With its own good key: the rosters, and what north signed."""
    r = random.Random(seed)
    others = [name for name in range_.files if name.startswith(("chain/", "rosters/"))]

    def mutant() -> bytes:
        files = dict(range_.files)
        mutate_entry(r, files, r.choice(others), r.choice([None, *OTHERS.values()]))
        if r.random() < 0.9 and files != range_.files:
            refit(files, OTHERS["south"], range_.payload())
        return packed(files)

    run(range_, r, mutant, {range_.bare})


@pytest.mark.parametrize("seed", seeds("two bundles"))
def test_entries_of_two_bundles(seed: int, range_: Range) -> None:
    """Both are honest, and by the same site."""
    r = random.Random(seed)

    def mutant() -> bytes:
        return packed({name: r.choice([range_.files, range_.others])[name] for name in range_.files})

    run(range_, r, mutant, {range_.bare, range_.other})


def test_south_says_what_it_likes(range_: Range) -> None:
    """Of its own leg, with its own good key. Some of it may be believed; nothing of it is more than refused."""
    r, believed = random.Random(0), 0
    own = [name for name in range_.files if not name.startswith(("chain/", "rosters/"))]
    for _ in range(ROUND):
        files = dict(range_.files)
        payload = range_.payload()
        if (name := r.choice(own)) in (STATEMENT, MANIFEST):
            payload["predicate"] = mutated(r, payload["predicate"])
        else:
            mutate_entry(r, files, name, None)
        with contextlib.suppress(ValueError):  # such numbers can't be signed
            refit(files, OTHERS["south"], payload)
        believed += range_.believes(packed(files))
    assert 0 < believed < ROUND


def test_the_honest_ones_are_believed(range_: Range) -> None:
    """Or else the rest would prove nothing; and with the slow ones, there are ten thousand of them."""
    bare = unsealed(range_.sealed, range_.keys)
    assert all(map(range_.believes, (range_.bare, range_.other, range_.sealed, bare)))
    assert sum(ROUNDS.values()) * ROUND >= 10_000


def test_memory_is_bounded(range_: Range) -> None:
    """After all of that, and with mutants that promise gigabytes."""
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    r = random.Random(1)
    for _ in range(300):
        at = range_.bare.index(b"PK\3\4") + r.choice([14, 18, 22, 26, 28])
        assert not range_.believes(range_.bare[:at] + r.randbytes(4) + range_.bare[at + 4 :])
        data = b"age-encryption.org/v1\n" + b"-> X25519 " + r.randbytes(20).hex().encode() * 2000
        assert not range_.believes(data)
        assert not range_.believes(
            b"age-encryption.org/v1\n-> scrypt AAAAAAAAAAAAAAAAAAAAAA 60\n" + b"A" * 43 + b"\n--- A\n"
        )
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 50 * 1024  # KiB
