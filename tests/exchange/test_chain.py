"""The record of the earlier legs comes whole, and as each site signed it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from relay.bundle import manifest
from relay.bundle.manifest import DATA_CARD, MANIFEST, RESULTS, STATEMENT
from relay.trust import statement
from relay.trust.document import canonical, digest
from relay.trust.refusals import (
    BadContainer,
    BadDocument,
    BadSignature,
    BrokenChain,
    Fork,
    PredecessorMismatch,
    Refused,
    UnknownKey,
    WrongOrder,
)
from tests.relays import At, Parts, World, payload_of

LINK = (*manifest.CHAIN, *manifest.KEPT, manifest.EXPERT)
Change = Callable[[World, Parts], None]


def link(leg: int, name: str) -> str:
    return manifest.earlier(leg, name)


def drop(parts: Parts, leg: int) -> None:
    for name in LINK:
        del parts.files[link(leg, name)]


def copy(parts: Parts, leg: int, to: int) -> None:
    for name in LINK:
        parts.files[link(to, name)] = parts.files[link(leg, name)]


def resigned(parts: Parts, leg: int, signer: Any, **changes: Any) -> None:
    """The statement of an earlier leg, changed and signed anew."""
    payload = json.loads(payload_of(parts.files[link(leg, STATEMENT)]))
    payload["predicate"].update(changes)
    parts.files[link(leg, STATEMENT)] = signer.sign(canonical(payload), statement.KIND)


def better_results(world: World, parts: Parts, leg: int = 1, listed: bool = False, signed: bool = False) -> None:
    """Of north, by east: in the file alone, in the manifest as well, and in the statement, too."""
    rows = parts.json(link(leg, RESULTS))
    rows["rows"][0]["mean"] = 0.99
    parts.put(link(leg, RESULTS), rows)
    if listed:
        digests = manifest.parse(parts.files[link(leg, MANIFEST)])
        digests[RESULTS] = digest(parts.files[link(leg, RESULTS)])
        parts.files[link(leg, MANIFEST)] = manifest.write(digests)
    if signed:
        payload = json.loads(payload_of(parts.files[link(leg, STATEMENT)]))
        payload["subject"][0]["digest"]["sha256"] = digest(parts.files[link(leg, MANIFEST)])
        parts.files[link(leg, STATEMENT)] = world.keys["east"].sign(canonical(payload), statement.KIND)


def swapped(world: World, parts: Parts) -> None:
    for name in LINK:
        one, two = link(1, name), link(2, name)
        parts.files[one], parts.files[two] = parts.files[two], parts.files[one]


def cut(world: World, parts: Parts) -> None:
    """Leg 1 is left out; south's takes its place, in the name of leg 1."""
    copy(parts, 2, 1)
    drop(parts, 2)


def longer(world: World, parts: Parts) -> None:
    copy(parts, 2, 3)


def too_long(world: World, parts: Parts) -> None:
    """East's own leg is in its own chain."""
    longer(world, parts)
    for name in LINK:
        parts.files[link(3, name)] = world.opened(3)[name]


def changed_payload(world: World, parts: Parts) -> None:
    envelope = parts.json(link(1, STATEMENT))
    payload = json.loads(payload_of(parts.files[link(1, STATEMENT)]))
    payload["predicate"]["result"]["north"] = 0.99
    forged = json.loads(world.keys["east"].sign(canonical(payload), statement.KIND))
    parts.put(link(1, STATEMENT), {**envelope, "payload": forged["payload"]})


@pytest.mark.parametrize(
    ("change", "why", "says"),
    [
        (lambda w, p: drop(p, 1), BadContainer, "missing chain/0001"),
        (lambda w, p: drop(p, 2), BrokenChain, "2 earlier legs, but there are 1"),
        (lambda w, p: (drop(p, 1), drop(p, 2)), BrokenChain, "2 earlier legs, but there are 0"),
        (longer, BrokenChain, "the statement of leg 3 is for leg 2"),
        (too_long, BrokenChain, "2 earlier legs, but there are more"),
        (lambda w, p: p.files.pop(link(1, RESULTS)), BadContainer, "missing chain/0001/results.json"),
        (cut, BrokenChain, "the statement of leg 1 is for leg 2"),
        (swapped, BrokenChain, "the statement of leg 1 is for leg 2"),
        (lambda w, p: copy(p, 1, 2), BrokenChain, "the statement of leg 2 is for leg 1"),
        (better_results, BrokenChain, "results.json of leg 1 is not the one that north signed"),
        (lambda w, p: better_results(w, p, 2), BrokenChain, "results.json of leg 2 is not the one that south signed"),
        (lambda w, p: better_results(w, p, listed=True), BrokenChain, "the manifest of leg 1"),
        (lambda w, p: better_results(w, p, listed=True, signed=True), UnknownKey, "not the key of north"),
        (changed_payload, BadSignature, "the statement of leg 1"),
        (lambda w, p: p.put(link(1, DATA_CARD), {}), BrokenChain, "data-card.json of leg 1"),
        (lambda w, p: p.files.update({link(1, MANIFEST): b""}), BrokenChain, "the manifest of leg 1"),
        (lambda w, p: p.files.update({link(1, STATEMENT): b"{}"}), BadDocument, "the statement of leg 1"),
        # a dishonest site with its own good key, and another site's help
        (lambda w, p: resigned(p, 2, w.keys["south"], samples=64), PredecessorMismatch, "leg 3 by east"),
        (lambda w, p: resigned(p, 1, w.keys["north"], samples=64), PredecessorMismatch, "leg 2 by south"),
        (lambda w, p: resigned(p, 1, w.keys["north"], previous="0" * 64), PredecessorMismatch, "leg 1 by north"),
        (lambda w, p: resigned(p, 1, w.keys["east"], site="east"), WrongOrder, "leg 1 was made by east"),
        (lambda w, p: p.claim.update(previous=None), PredecessorMismatch, "leg 3 by east"),
        (
            lambda w, p: p.claim.update(previous=digest(payload_of(p.files[link(1, STATEMENT)]))),
            PredecessorMismatch,
            "leg 3 by east",
        ),
    ],
)
def test_east_rewrites_history(change: Change, why: type[Refused], says: str, at: At) -> None:
    """East makes leg 3, with its own good key, of whatever it likes; north, who gets it, has no ledger of leg 2."""
    world = at(3)
    world.forget("north")  # so that only the chain itself can speak
    with world.forged(3, signer="east", to=["north"]) as parts:
        change(world, parts)
    world.refuses(parts.bundle, "north", why, says)


def test_a_forked_history_that_fits_together(at: At, tmp_path: Path) -> None:
    """North and south make their legs anew, together, for east: every link is right, and east has no way to know.
    But a site that knows the first history does."""
    world = at(2)
    other = world.copy(tmp_path / "other")
    world.deliver(world.bundle(2), "east")
    with world.forged(2, signer="south") as parts:
        resigned(parts, 1, world.keys["north"], samples=64)
        parts.claim["previous"] = digest(payload_of(parts.files[link(1, STATEMENT)]))
    world.refuses(parts.bundle, "east", Fork, "leg 1 by north")
    assert other.deliver(parts.bundle, "east").statements[0].claim.samples == 64


def test_a_site_finds_its_own_leg_rewritten(at: At) -> None:
    """Somebody has north's key, and rewrites leg 1 in the chain that comes back to north."""
    world = at(3)
    with world.forged(3, signer="east", to=["north"]) as parts:
        resigned(parts, 1, world.keys["north"], samples=64)
        resigned(parts, 2, world.keys["south"], previous=digest(payload_of(parts.files[link(1, STATEMENT)])))
        parts.claim["previous"] = digest(payload_of(parts.files[link(2, STATEMENT)]))
    world.refuses(parts.bundle, "north", Fork, "leg 1 by north")


def test_the_chain_is_what_each_site_sent(at: At) -> None:
    world = at(3)
    bundles = {leg: world.opened(leg) for leg in (1, 2, 3)}
    for later, earlier in ((2, 1), (3, 1), (3, 2)):
        for name in LINK:
            assert bundles[later][link(earlier, name)] == bundles[earlier][name]
