"""A person approves exactly what leaves: the ledger says who and why, the bundle no more than that it was approved."""

from __future__ import annotations

import json
from typing import Any

import pytest

from relay.bundle import manifest, meaning
from relay.errors import UserError
from relay.exchange import approving, drafting, sending
from relay.trust.document import canonical, parse
from relay.trust.policy import Policy
from relay.trust.refusals import BadDocument, NotApproved, PolicyBreach
from tests.exchange.second_reader import Bad, read
from tests.relays import At, World

WHO = approving.Approver(name="Dr. Ada Müller", reason="scores reviewed")


def under(at: At, approval: str) -> World:
    world = at(0)
    world.with_policy(install=["north", "south", "east"], approval=approval)
    return world


def approve(world: World, leg: int, folder: Any) -> str:
    store = world.stores[world.roster.order[leg - 1]]
    listed = drafting.draft(store, folder).digest()
    approving.approve(store, leg, listed, WHO)
    return listed


def test_a_policy_and_a_claim_from_before_keep_their_bytes(at: At) -> None:
    assert b"approval" not in canonical(Policy())
    assert b'"approval":"required"' in canonical(Policy(approval="required"))
    assert parse(Policy, canonical(Policy()), "it") == Policy()
    assert parse(Policy, canonical(Policy(approval="required")), "it").approval == "required"
    spelled = canonical({**json.loads(canonical(Policy())), "approval": "optional"})
    with pytest.raises(BadDocument, match=r"at their defaults approval, approved, .*, which must not"):
        parse(Policy, spelled, "it")
    world = at(1)
    with world.forged(1) as parts:
        assert "approved" not in parts.claim


def test_what_must_be_approved_is_neither_signed_nor_sent_without(at: At) -> None:
    world = under(at, "required")
    folder = world.train(1)
    with pytest.raises(NotApproved, match="no one has approved leg 1; roster 2 requires it") as caught:
        world.put(1, folder)
    assert "--approved-by" in caught.value.advice()
    assert not world.stores["north"].record().signed
    approve(world, 1, folder)
    bundle = world.put(1, folder)
    lines = world.stores["north"].ledger.lines()
    assert [line.event for line in lines[-3:]] == ["approved", "signed", "sent"]
    approved, sent = lines[-3], lines[-1]
    assert (approved.facts["name"], approved.facts["reason"]) == (WHO.name, WHO.reason)
    assert sent.facts["approval"] == approved.n
    opened = world.opened(1)
    assert not any(b"Ada" in data for data in opened.values())
    with world.forged(1) as parts:
        assert parts.claim["approved"] is True
    world.deliver(bundle, "south")


def test_what_was_signed_is_sent_again_under_its_approval(at: At) -> None:
    world = under(at, "required")
    folder = world.train(1)
    listed = approve(world, 1, folder)
    world.put(1, folder)
    store = world.stores["north"]
    again = drafting.signed_before(store, 1)
    assert again.digest() == listed
    world.bundle(1).unlink()
    sending.export(store, 1, world.stick)
    assert store.ledger.lines()[-1].facts["approval"] == store.ledger.lines()[-2].facts["approval"]


@pytest.mark.parametrize("approval", ["optional", "required"])
def test_what_was_approved_is_all_that_leaves(approval: str, at: At) -> None:
    world = under(at, approval)
    approve(world, 1, world.train(1))
    other = world.train(1, samples=40)
    with pytest.raises(NotApproved, match="not the list that was approved by Dr"):
        world.put(1, other)
    assert not world.stores["north"].record().signed
    approve(world, 1, other)
    world.put(1, other)


def test_the_next_site_refuses_what_no_one_approved(at: At) -> None:
    """North's relay is a dishonest one: it says nothing of an approval under a roster that requires one."""
    world = under(at, "required")
    folder = world.train(1)
    approve(world, 1, folder)
    world.put(1, folder)
    with world.forged(1, signer="north") as parts:
        del parts.claim["approved"]
    pinned, key = json.loads(canonical(world.coordinator.identity)), world.keys["south"].sealing
    claims, *_ = read(world.bundle(1).read_bytes(), world.study, pinned, world.now, key)
    assert claims[0]["approved"] is True
    with pytest.raises(Bad, match="not approved"):
        read(parts.bundle.read_bytes(), world.study, pinned, world.now, key)
    world.refuses(parts.bundle, "south", PolicyBreach, "north does not say that a person approved it")


def test_a_name_and_a_reason_are_one_line_each() -> None:
    assert approving.approver(" Ada ", " fine ") == approving.Approver(name="Ada", reason="fine")
    for name, reason, says in (
        ("", "fine", "who approves what leaves"),
        ("Ada", " ", "why this may leave"),
        ("Ada\x1b[2J", "fine", "--approved-by can't be kept"),
        ("Ada", "two\nlines", "--reason can't be kept"),
        ("A" * 101, "fine", "--approved-by can't be kept"),
    ):
        with pytest.raises(UserError, match=says):
            approving.approver(name, reason)


def test_every_entry_has_plain_words(at: At) -> None:
    world = at(2)
    store = world.stores["south"]
    said = approving.preview(store, drafting.signed_before(store, 2))
    assert [file["name"] for file in said["files"]] == list(world.opened(2))
    assert meaning("chain/0001/expert.safetensors") == (
        "of leg 1, as received: the weights of the model that is best at its site"
    )
    assert "roster 1 of the study" in meaning("rosters/0001.dsse.json")
    assert {meaning(name) for name in manifest.Layout([1], 0, True, True, (), True).names()} >= {
        "the weights of the model"
    }
    assert said["approved"] is None
