"""Memories in the chain: each stays as its site signed it, travels only where the policy says so, and is shown."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from typing import Any

import pytest

from relay.bundle import handover_files, manifest, memory_card
from relay.bundle.manifest import CUMULATIVE, KEPT, MANIFEST, MEMORY, MODEL, card_of
from relay.bundle.memory_card import MAX_CARD, MemoryCard
from relay.exchange import drafting, receiving
from relay.handover import MemoryState, Privacy
from relay.trust.policy import Policy
from relay.trust.refusals import BadContainer, BadDocument, BrokenChain, Fork, PolicyBreach, Refused
from tests.bundle.test_contents import resign
from tests.bundle.test_documents import changed, north_says
from tests.bundle.test_handover import same
from tests.relays import At, Parts, remembered

EVERYONE = ["north", "south", "east"]
CARD = card_of(MEMORY)
ONE, TWO = (manifest.earlier(leg, MEMORY) for leg in (1, 2))
FLOW = remembered(5, "flow", derived="generator")


# -- the way ---------------------------------------------------------------------------------------------------------


def test_three_legs_bit_for_bit(at: At) -> None:
    """What north, south and east each kept, and the cumulative memory of the last of them only."""
    world = at(0)
    kept = {1: remembered(1), 2: None, 3: remembered(3, "ewc", derived="weights", patients=0)}
    world.amend(0, EVERYONE, order=[*EVERYONE, "south"])
    for leg, memory in kept.items():
        found = world.deliver(world.make(leg, memory=memory, cumulative=remembered(10 * leg)), world.roster.order[leg])
    told, _ = receiving.reopen(world.stores["south"], 3)
    assert [*told.memories] == [1, 3]
    assert same(told.memories[1], remembered(1, patients=16))
    assert same(told.memories[3], kept[3])
    assert same(told.cumulative, remembered(30, patients=16))
    assert told.others("south") == {"north": told.memories[1], "east": told.memories[3]}
    assert told.others("east").keys() == {"north"}
    assert {name: card.kind for name, card in found.memories.items()} == {
        ONE: "style",
        MEMORY: "ewc",
        CUMULATIVE: "style",
    }


def test_a_sites_newer_memory_stands_for_it(at: At) -> None:
    world = at(0)
    world.amend(0, EVERYONE, order=["north", "south", "north", "east"])
    world.run(3)
    told, _ = receiving.reopen(world.stores["east"], 3)
    assert [*told.memories] == [1, 2, 3]
    assert list(told.others("east").items()) == [("north", told.memories[3]), ("south", told.memories[2])]


def test_forgotten_weights_are_not_the_memories(at: At) -> None:
    """Once leg 2 is signed, south needs the model of leg 1 no more; its memory goes into every later bundle."""
    world = at(0)
    world.deliver(world.make(1, cumulative=remembered(9)), "south")
    folder = world.train(2)
    world.put(2, folder)
    world.stores["south"].forget_weights(1)
    there = world.stores["south"].received(1)
    assert [(there / name).is_file() for name in (MODEL, CUMULATIVE, MEMORY)] == [False, False, True]
    world.with_policy(done=2, install=["south"], min_samples=9)
    world.deliver(world.put(2, folder), "east")
    assert same(receiving.reopen(world.stores["east"], 2)[0].memories[1], remembered(1, patients=16))


def test_a_leg_whose_memorys_card_was_changed_is_another_leg(at: At) -> None:
    world = at(0)
    folder = world.train(1, cumulative=remembered(9))
    world.put(1, folder)
    world.put(1, folder)
    path = folder / card_of(CUMULATIVE)
    card = memory_card.MemoryCard(format=1, kind="style", privacy=remembered(9).privacy, about={"quantiles": [0.5]})
    path.write_bytes(handover_files.canonical(card))
    with pytest.raises(Fork, match="already signed here"):
        world.put(1, folder)


# -- a dishonest site ------------------------------------------------------------------------------------------------


def move(parts: Parts, source: str, target: str, names: tuple[str, ...] = KEPT) -> None:
    for name in names:
        parts.files[target + name] = parts.files[source + name]


def swap(parts: Parts, names: tuple[str, ...]) -> None:
    for name in names:
        one, two = (manifest.earlier(leg, name) for leg in (1, 2))
        parts.files[one], parts.files[two] = parts.files[two], parts.files[one]


def drop(parts: Parts, leg: int, names: tuple[str, ...] = KEPT) -> None:
    for name in names:
        del parts.files[manifest.earlier(leg, name)]


def better(parts: Parts) -> None:
    name = manifest.earlier(1, CARD)
    parts.put(name, changed(changed(parts.json(name), "privacy/epsilon", 0.1), "privacy/delta", 0.1))


@pytest.mark.parametrize(
    ("change", "why", "says"),
    [
        (lambda p: swap(p, KEPT), BrokenChain, "memory.safetensors"),
        (lambda p: swap(p, (MEMORY,)), BrokenChain, f"{ONE}, {TWO}"),
        (lambda p: move(p, "", "chain/0001/"), BrokenChain, ONE),
        (lambda p: move(p, "", "chain/0002/", (MEMORY,)), BrokenChain, TWO),
        (lambda p: drop(p, 1), BrokenChain, "memory.json of leg 1 is not the one that north signed"),
        (lambda p: drop(p, 2), BrokenChain, "memory.json of leg 2 is not the one that south signed"),
        (lambda p: drop(p, 1, (MEMORY,)), BadContainer, f"missing {ONE}"),
        (lambda p: drop(p, 1, (CARD,)), BadContainer, "missing chain/0001/memory.json"),
        (better, BrokenChain, "memory.json of leg 1 is not the one that north signed"),
        (lambda p: p.files.update({ONE: p.files[ONE][:-1] + b"\1"}), BrokenChain, ONE),
        (lambda p: move(p, "", "chain/0003/"), BadContainer, "missing chain/0003/statement"),
    ],
)
def test_east_changes_what_others_remember(
    change: Callable[[Parts], None], why: type[Refused], says: str, at: At
) -> None:
    """It passes on north's and south's memories, and signs what it has made of them."""
    world = at(3)
    with world.forged(3, signer="east", to=["north"]) as parts:
        change(parts)
    world.refuses(parts.bundle, "north", why, says)


def test_south_adds_a_memory_to_a_leg_that_had_none(at: At) -> None:
    world = at(0)
    world.deliver(world.make(1, memory=None), "south")
    world.make(2)
    with world.forged(2, signer="south") as parts:
        move(parts, "", "chain/0001/")
    world.refuses(parts.bundle, "east", BrokenChain, "memory.json of leg 1 is not the one that north signed")


@pytest.mark.parametrize(
    ("listed", "there", "says"),
    [
        ([], KEPT, "memory.json of leg 1"),
        ([CARD], KEPT, ONE),
        ([MEMORY], (), ONE),
        ([MEMORY], KEPT, "memory.json of leg 1"),
        ([CARD], (), "memory.json of leg 1"),
    ],
)
def test_a_manifest_with_half_a_memory(listed: list[str], there: tuple[str, ...], says: str, at: At) -> None:
    """North and south have agreed on it."""
    world = at(2)
    with world.forged(2, signer="south") as parts:
        north_says(world, parts, lambda link: None, listed)
        drop(parts, 1, tuple(name for name in KEPT if name not in there))
    world.refuses(parts.bundle, "east", BrokenChain, says)


@pytest.mark.parametrize("said", [None, {"tensors": 2, "bytes": 149}])
def test_a_statement_that_lies_about_its_memorys_size(said: Any, at: At) -> None:
    """South did not look, or looked away; east looks."""
    world = at(2)
    with world.forged(2, signer="south") as parts:
        north_says(world, parts, lambda link: link.claim["handover"].update(memory=said))
    world.refuses(parts.bundle, "east", PolicyBreach, f"{ONE} has 148 bytes, but its statement says")


@pytest.mark.parametrize("name", [MEMORY, CUMULATIVE])
def test_a_statement_that_lies_about_its_own(name: str, at: At) -> None:
    world = at(0)
    world.make(1, cumulative=remembered(2))
    with world.forged(1, signer="north") as parts:
        parts.lies = True
        parts.claim["handover"][name.partition(".")[0]]["bytes"] -= 1
    world.refuses(parts.bundle, "south", PolicyBreach, f"{name} has 148 bytes, but its statement says 147")


def test_a_memory_that_is_listed_twice(at: At) -> None:
    world = at(1)
    with world.forged(1) as parts:
        lines = parts.files[MANIFEST].decode().splitlines(keepends=True)
        again = next(line for line in lines if line.endswith(f"  {MEMORY}\n"))
        parts.files[MANIFEST] = "".join([*lines, again]).encode()
        resign(parts, world.keys["north"])
    world.refuses(parts.bundle, "south", BadDocument, f"{MEMORY} appears twice")


NO_CARDS = [b"", b"{}", b"[]", b"\x80\x04N.", b'{"format":1,"kind":"style"}']


@pytest.mark.parametrize("name", [CARD, card_of(CUMULATIVE)])
@pytest.mark.parametrize("data", NO_CARDS)
def test_cards_that_are_none(name: str, data: bytes, at: At) -> None:
    world = at(0)
    world.make(1, cumulative=remembered(2))
    with world.forged(1, signer="north") as parts:
        parts.files[name] = data
    world.refuses(parts.bundle, "south", BadDocument, f"{name} of leg 1")


@pytest.mark.parametrize("data", NO_CARDS)
def test_cards_in_the_chain_that_are_none(data: bytes, at: At) -> None:
    world = at(2)
    with world.forged(2, signer="south") as parts:
        north_says(world, parts, lambda link: link.files.update({CARD: data}))
    world.refuses(parts.bundle, "east", BadDocument, f"{CARD} of leg 1")


def test_cards_are_small(at: At) -> None:
    """There may be hundreds of them."""
    world, text = at(0), ["x" * 199] * 1000
    large = dataclasses.replace(remembered(1), about={"a": text, "b": text})
    with pytest.raises(Exception, match=rf"memory\.json of leg 1 is larger than {MAX_CARD} bytes"):
        world.make(1, memory=large)
    world.make(1)
    with world.forged(1, signer="north") as parts:
        parts.put(CARD, changed(parts.json(CARD), "about", large.about))
    world.refuses(parts.bundle, "south", BadContainer, CARD, str(MAX_CARD))


# -- the policy ------------------------------------------------------------------------------------------------------

FORBIDDEN: list[tuple[dict[str, Any], dict[str, MemoryState], str]] = [
    ({"memory": []}, {}, "memory.safetensors is a style memory; allowed: none"),
    ({"memory": ["flow"]}, {"cumulative": FLOW}, "memory.safetensors is a style memory; allowed: flow"),
    ({}, {"memory": FLOW}, "memory.safetensors is a flow memory; allowed: style, ewc, si, owm, fedavg"),
    ({}, {"cumulative": FLOW}, "cumulative.safetensors is a flow memory"),
    ({}, {"memory": remembered(1, derived="generator")}, "memory.safetensors claims to be style, but also a generator"),
    ({"max_epsilon": 4}, {}, "memory.safetensors has no formal guarantee; it needs an epsilon of at most 4"),
    (
        {"max_epsilon": 4},
        {"memory": remembered(1, epsilon=4.5, delta=1e-5)},
        "memory.safetensors has an epsilon of 4.5; the limit is 4",
    ),
    (
        {"max_epsilon": 4, "memory": "any"},
        {"memory": remembered(1, epsilon=1, delta=1e-5), "cumulative": FLOW},
        "cumulative.safetensors has no formal guarantee",
    ),
]


@pytest.mark.parametrize(("policy", "leg", "says"), FORBIDDEN)
def test_what_is_forbidden_neither_leaves_nor_comes_in(
    policy: dict[str, Any], leg: dict[str, MemoryState], says: str, at: At, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = at(0)
    world.with_policy(install=EVERYONE, **policy)
    folder = world.train(1, **leg)  # type: ignore[arg-type]
    with pytest.raises(PolicyBreach) as caught:
        world.put(1, folder)
    assert "roster 2" in str(caught.value)
    assert says in str(caught.value)
    assert not list(world.stick.iterdir())
    monkeypatch.setattr(drafting, "check_policy", lambda *args: None)  # north's program does not look
    world.refuses(world.put(1, folder), "south", PolicyBreach, "roster 2", says)


@pytest.mark.parametrize(
    ("policy", "leg"),
    [
        ({"memory": ["flow", "style"]}, {"memory": FLOW}),
        ({"memory": "any"}, {"memory": FLOW, "cumulative": remembered(2, "theirs")}),
        ({"memory": []}, {"memory": None}),
        ({"max_epsilon": 4}, {"memory": remembered(1, epsilon=4, delta=1e-5)}),
        ({"max_epsilon": 4}, {"memory": remembered(1, "ewc", derived="weights")}),
    ],
)
def test_what_is_allowed_travels(policy: dict[str, Any], leg: dict[str, Any], at: At) -> None:
    world = at(0)
    world.with_policy(install=EVERYONE, **policy)
    world.deliver(world.make(1, **leg), "south")


def test_memories_of_earlier_legs_are_held_against_the_newest_policy(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    """Leg 1 was made when its kind was still allowed; that it travels on is no longer."""
    world = at(1)
    world.deliver(world.bundle(1), "south")
    world.with_policy(done=1, install=["south"], memory=[])
    folder = world.train(2, memory=None)
    with pytest.raises(PolicyBreach, match=f"{ONE} is a style memory; allowed: none"):
        world.put(2, folder)
    monkeypatch.setattr(drafting, "check_policy", lambda *args: None)
    world.refuses(world.put(2, folder), "east", PolicyBreach, f"{ONE} is a style memory; allowed: none")


# -- what people see -------------------------------------------------------------------------------------------------


def test_every_memory_is_shown(at: At) -> None:
    world = at(0)
    world.with_policy(install=EVERYONE, memory="any")
    audited = dataclasses.replace(FLOW, audit={"attack": "membership", "auc": 0.52})
    world.deliver(world.make(1, memory=remembered(1, epsilon=4, delta=1e-5)), "south")
    folder = world.train(2, cumulative=audited)
    drafted = drafting.draft(world.stores["south"], folder)
    lines = [
        "memory of leg 1, by north: style, 148 B in 2 tensors; aggregates; fewest patients 16; "
        "ε = 4, δ = 1e-05 for replacing a patient",
        "memory of leg 2, by south: style, 148 B in 2 tensors; aggregates; fewest patients 16; no formal guarantee",
        "cumulative memory of all legs: flow, 148 B in 2 tensors; generator; fewest patients 16; no formal guarantee; "
        'audit {"attack": "membership", "auc": 0.52}',
    ]
    assert drafted.lines(world.roster.policy)[-5:-2] == lines  # then the experts
    found = world.deliver(world.put(2, folder), "east")
    claims = [made.claim for made in found.statements]
    assert [f"{label}: {text}" for label, text in memory_card.lines(found.memories, claims)] == lines
    assert drafting.signed_before(world.stores["south"], 2).memories == found.memories
    card = world.opened(2)["MODEL_CARD.md"].decode()
    assert (
        "- Memories in the bundle of this leg: from north (leg 1), from south (leg 2), a cumulative one from all legs. "
        in card
    )


def test_what_is_not_in_a_statement_is_shown_as_such(at: At) -> None:
    claims = [made.claim for made in at(3).deliver(at(3).bundle(3), "north").statements]
    cards = {CUMULATIVE: MemoryCard(format=1, kind="flow", privacy=Privacy(derived="weights"), about={})}
    (line,) = memory_card.lines(cards, claims)
    assert line[1] == "flow, not in its statement; weights; patients not counted; no formal guarantee"


def test_a_long_audit_is_cut() -> None:
    card = MemoryCard(format=1, kind="a", privacy=Privacy(derived="weights"), about={}, audit={"found": "x" * 200})
    assert memory_card._audit(card).endswith("x…")
    assert len(memory_card._audit(card)) < 210


def test_a_guarantee_is_whole() -> None:
    with pytest.raises(ValueError, match="give both"):
        Privacy(derived="aggregates", epsilon=4)
    with pytest.raises(ValueError, match="give both"):
        Privacy(derived="aggregates", delta=1e-5)


@pytest.mark.parametrize(
    ("memory", "kinds"), [("any", "any"), ([], "none"), (["a", "b"], "a, b"), ({}, "style, ewc, si, owm, fedavg")]
)
def test_kinds_in_words(memory: Any, kinds: str) -> None:
    policy = Policy() if memory == {} else Policy(memory=memory)
    assert policy.kinds == kinds
    assert policy.allows("b") == (kinds in ("any", "a, b"))


@pytest.mark.parametrize("memory", [True, "style", ["a b"], [1], None, ["x" * 41]])
def test_kinds_that_are_none(memory: Any) -> None:
    with pytest.raises(ValueError, match="memory"):
        Policy(memory=memory)
