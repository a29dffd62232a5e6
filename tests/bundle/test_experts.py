"""Experts in the chain: each stays as its site signed it, travels only where a roster lets it, and is shown."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor

from relay.bundle import manifest
from relay.bundle.manifest import EXPERT, MODEL, MODEL_CARD
from relay.exchange import drafting, receiving
from relay.handover import Handover
from relay.trust.refusals import BrokenChain, GateFailed, PolicyBreach, Refused
from tests.relays import At, Parts, World, best, packed, weights

Change = Callable[[dict[str, Tensor]], dict[str, Tensor]]
EVERYONE = ["north", "south", "east"]
ONE, TWO = (manifest.earlier(leg, EXPERT) for leg in (1, 2))


def again(world: World, leg: int) -> None:
    """A leg that was signed under an older roster is signed under the newest."""
    site = world.roster.order[leg - 1]
    world.put(leg, world.folder / site / f"handover_{leg}")


def experts_in(world: World, leg: int) -> list[str]:
    return [name for name in world.opened(leg) if name.endswith(EXPERT)]


def same(mine: Any, theirs: Any) -> bool:
    return mine.keys() == theirs.keys() and all(torch.equal(mine[name], theirs[name]) for name in mine)


# -- the way ---------------------------------------------------------------------------------------------------------


def test_three_legs_bit_for_bit(at: At) -> None:
    """Each in half precision, as its site signed it; one that a leg has not, no later bundle has."""
    world = at(0)
    world.amend(0, EVERYONE, order=[*EVERYONE, "south"])
    models = {leg: weights(leg) for leg in (1, 2, 3)}
    for leg, model in models.items():
        expert = None if leg == 2 else best(leg, model)
        world.deliver(world.make(leg, model=model, expert=expert), world.roster.order[leg])
    told, _ = receiving.reopen(world.stores["south"], 3)
    assert [*told.experts] == [1, 3]
    assert all(same(told.experts[leg], best(leg, models[leg])) for leg in (1, 3))
    assert {tensor.dtype for tensor in told.experts[1].values()} == {torch.float16}
    assert told.by_site(told.experts)["east"] is told.experts[3]
    assert "south" not in told.by_site(told.experts)
    assert experts_in(world, 3) == [ONE, EXPERT]


def test_they_stay_when_the_weights_go(at: At) -> None:
    """Once leg 3 is signed, the model that was received is removed; its experts go on, whoever must sign again."""
    world = at(3)
    world.stores["east"].forget_weights(2)
    there = world.stores["east"].received(2)
    assert [(there / name).is_file() for name in (MODEL, EXPERT, ONE)] == [False, True, True]
    world.with_policy(3, EVERYONE, min_samples=9)
    again(world, 3)
    assert experts_in(world, 3) == [ONE, TWO, EXPERT]


# -- forged ----------------------------------------------------------------------------------------------------------


def swap(parts: Parts) -> None:
    parts.files[ONE], parts.files[EXPERT] = parts.files[EXPERT], parts.files[ONE]


@pytest.mark.parametrize(
    ("change", "why", "says"),
    [
        (lambda p: p.files.update({ONE: p.files[MODEL]}), BrokenChain, ONE),
        (lambda p: p.files.update({ONE: p.files[ONE] + b"\0"}), BrokenChain, ONE),
        (lambda p: p.files.pop(ONE), BrokenChain, ONE),
        (swap, BrokenChain, ONE),
        (lambda p: p.claim["handover"].update(expert=None), PolicyBreach, "its statement says none"),
        (lambda p: p.files.pop(EXPERT), PolicyBreach, f"{EXPERT} has no bytes"),
        (lambda p: p.claim["handover"].update(expert={"tensors": 2, "bytes": 1}), PolicyBreach, "its statement says 1"),
    ],
)
def test_south_changes_experts(change: Callable[[Parts], None], why: type[Refused], says: str, at: At) -> None:
    """North's in the chain, and what it says of its own."""
    world = at(2)
    with world.forged(2, signer="south") as parts:
        parts.lies = True
        change(parts)
        if change is swap:
            parts.claim["handover"]["expert"]["bytes"] = len(parts.files[EXPERT])
    world.refuses(parts.bundle, "east", why, says)


def test_an_expert_that_north_never_signed(at: At) -> None:
    world = at(0)
    world.deliver(world.make(1, expert=None), "south")
    world.make(2)
    with world.forged(2, signer="south") as parts:
        parts.files[ONE] = parts.files[EXPERT]
    world.refuses(parts.bundle, "east", BrokenChain, ONE)


# -- what the rosters say --------------------------------------------------------------------------------------------


def test_a_withdrawn_expert_is_dropped_by_the_next_sender_and_everything_still_verifies(at: At) -> None:
    world = at(2)
    world.amend(2, EVERYONE, withdraw=["north"])
    assert world.roster.withdrawn_experts == (1,)
    kept, _ = receiving.reopen(world.stores["south"], 1)
    assert not kept.experts, "no longer used where it was received"
    (world.stores["south"].received(1) / EXPERT).unlink()
    assert same(receiving.reopen(world.stores["south"], 1)[0].model, kept.model), "and may be deleted there"
    again(world, 2)
    assert experts_in(world, 2) == [EXPERT]
    assert "leg 1, by north" not in world.opened(2)[MODEL_CARD].decode()
    world.deliver(world.bundle(2), "east")
    world.make(3)
    world.deliver(world.bundle(3), "north")
    assert [*receiving.reopen(world.stores["north"], 3)[0].experts] == [2, 3]


def test_a_withdrawn_expert_is_refused(at: At) -> None:
    world = at(2)
    before = world.opened(2)
    world.amend(2, EVERYONE, withdraw=["north"])
    again(world, 2)
    with world.forged(2, signer="south") as parts:
        parts.files[ONE] = before[ONE]
    world.refuses(parts.bundle, "east", PolicyBreach, "no longer let these experts travel", ONE)
    world.deliver(world.bundle(2), "east")


def test_a_site_withdraws_its_own(at: At) -> None:
    """It signs the leg again without the expert, and that again is the same bundle."""
    world = at(2)
    world.amend(2, EVERYONE, withdraw=["south"])
    folder = world.folder / "south" / "handover_2"
    drafted = drafting.draft(world.stores["south"], folder)
    assert "expert of leg 2: stays here: roster 2 does not let it travel" in drafted.lines(world.roster.policy)
    again(world, 2)
    first = packed(world.opened(2))
    again(world, 2)
    assert packed(world.opened(2)) == first
    assert experts_in(world, 2) == [ONE]
    with world.forged(2, signer="south") as parts:
        parts.files[EXPERT] = (folder / EXPERT).read_bytes()
        parts.claim["handover"]["expert"] = {"tensors": 2, "bytes": len(parts.files[EXPERT])}
    world.refuses(parts.bundle, "east", PolicyBreach, "the expert of leg 2 may not travel")
    world.deliver(world.bundle(2), "east")


def test_an_expert_that_was_left_out_does_not_come_back(at: At) -> None:
    """Leg 2 was sent while the policy let none travel. Under the next roster, east's travels; the others are gone."""
    world = at(2)
    kept = world.opened(2)[ONE]
    world.with_policy(2, EVERYONE, experts="none")
    again(world, 2)
    assert experts_in(world, 2) == []
    world.deliver(world.bundle(2), "east")
    world.with_policy(2, EVERYONE, experts="full")
    world.make(3)
    assert experts_in(world, 3) == [EXPERT]
    with world.forged(3, signer="east", to=["north"]) as parts:
        parts.files[ONE] = kept
    world.refuses(parts.bundle, "north", PolicyBreach, "no longer let these experts travel")
    world.deliver(world.bundle(3), "north")
    again(world, 2)
    assert experts_in(world, 2) == [ONE, EXPERT], "signed again, under a roster that lets them travel"


def test_too_large_for_the_policy(at: At) -> None:
    """South, who would send it, is told; east refuses what south sends all the same."""
    world = at(2)
    with world.forged(2) as parts:
        size = len(parts.files[ONE])
    world.with_policy(2, EVERYONE, max_expert_bytes=size - 1)
    with pytest.raises(PolicyBreach, match=rf"{ONE} has {size} bytes; the limit for an expert is {size - 1}") as caught:
        again(world, 2)
    assert "--withdraw-expert" in caught.value.advice()
    with world.forged(2, signer="south") as parts:
        parts.files[manifest.roster(2)] = world.rosters[2]
        under(parts, world)
    world.refuses(parts.bundle, "east", PolicyBreach, f"{ONE} has {size} bytes", f"{EXPERT} has {size} bytes")
    world.amend(2, EVERYONE, withdraw=["north", "south"])
    again(world, 2)
    world.deliver(world.bundle(2), "east")


def under(parts: Parts, world: World) -> None:
    """The claim is made under the newest roster."""
    trusted = world.stores["east"].trusted
    assert trusted is not None
    parts.claim["roster"] = {"version": trusted.roster.version, "sha256": trusted.digest}


# -- weighed ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda w: {**w, "norm.bias": torch.full((4,), torch.nan)}, "norm.bias in the expert of leg 1 is not finite"),
        (lambda w: {**w, "more": torch.ones(1)}, "the expert of leg 1: more: not in the model"),
        (lambda w: {"norm.bias": w["norm.bias"]}, "the expert of leg 1: conv.weight: missing, but in the model"),
        (lambda w: {**w, "norm.bias": torch.ones(5)}, "(5,) torch.float32, but (4,) torch.float32 in the model"),
        (lambda w: {**w, "norm.bias": torch.ones(4).bfloat16()}, "torch.bfloat16, but (4,) torch.float32"),
        (lambda w: {**w, "norm.bias": torch.full((4,), 6e4).half()}, "the expert of leg 1: norm.bias: its RMS is"),
        (lambda w: {**w, "conv.weight": w["conv.weight"].float() * 1e9}, "the expert of leg 1: conv.weight: its"),
    ],
)
@pytest.mark.parametrize("leg", [1, 2])
def test_experts_are_weighed(leg: int, change: Change, says: str, at: At) -> None:
    """That of the sender, and one in the chain that the sender has agreed to pass on."""
    world = at(0)
    model = weights(1)
    bundle = world.make(1, model=model, expert=change(best(1, model)))
    if leg == 2:
        receiving.receive(world.stores["south"], world.keys["south"], bundle)
        bundle = world.make(2, model=model)
    world.refuses(bundle, world.roster.order[leg], GateFailed, says)


# -- shown -----------------------------------------------------------------------------------------------------------


def test_they_are_shown_with_what_they_are(at: At) -> None:
    """Before sending, and in the card."""
    world = at(2)
    lines = drafting.signed_before(world.stores["south"], 2).lines(world.roster.policy)
    card = world.opened(2)[MODEL_CARD].decode()
    for leg, site, name in ((1, "north", ONE), (2, "south", EXPERT)):
        size = len(world.opened(2)[name])
        what = f"{size:,} B; a model fitted to that hospital alone"
        assert f"expert of leg {leg}, by {site}: {what}" in lines
        assert f"- In the same bundle: expert of leg {leg}, by {site}, {what}." in card


def test_a_handover_knows_experts_by_site() -> None:
    legs = [{"leg": leg, "site": site} for leg, site in enumerate(["north", "south", "north"], 1)]
    found = Handover({}, {}, None, {"legs": legs}, {leg: best(leg, weights(leg)) for leg in (1, 2, 3)})
    assert found.by_site(found.experts)["north"] is found.experts[3]
