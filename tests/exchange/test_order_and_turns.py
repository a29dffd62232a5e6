"""A leg is made by the site whose turn it is, for the site whose turn is next, and in its time."""

from __future__ import annotations

import dataclasses
from datetime import timedelta
from typing import Any

import pytest

from relay.errors import UserError
from relay.exchange import drafting, receiving
from relay.trust.document import digest, stamp
from relay.trust.refusals import (
    BadDocument,
    BrokenChain,
    ClockSetBack,
    Expired,
    Refused,
    RosterPeriod,
    WrongLeg,
    WrongOrder,
    WrongRecipient,
    WrongStudy,
)
from relay.trust.roster import sign_roster
from tests.relays import DAY, START, At, payload_of


def test_laps(at: At) -> None:
    """A site may come again, even right after itself; its own earlier legs are in the chain it gets back."""
    world = at(0)
    world.amend(0, ["north", "south", "east"], order=["north", "south", "south", "north", "east", "north"])
    world.run(6)
    assert sorted(world.stores["north"].ledger.record().signed) == [1, 4, 6]
    assert sorted(world.stores["north"].ledger.record().legs) == [1, 2, 3, 4, 5, 6]
    assert world.stores["north"].next_turn() is None


def test_after_the_last_leg_every_site_gets_it(at: At) -> None:
    world = at(3)
    for site in ("north", "south"):
        assert world.deliver(world.bundle(3), site).claim.leg == 3


def test_readers_look_on(at: At) -> None:
    """A reader can open every bundle, and verify it; it is not for the reader to take in."""
    world = at(0)
    world.amend(0, ["north", "south", "east"], readers=["east"])
    bundle = world.make(1)
    assert receiving.verify(world.stores["east"], world.keys["east"], bundle, look_on=True).claim.leg == 1
    world.refuses(bundle, "east", WrongLeg, "leg 2 is the turn of south")
    world.deliver(bundle, "south")


@pytest.mark.parametrize(
    ("change", "why", "says"),
    [
        ({"leg": 2}, WrongOrder, "south"),
        ({"leg": 4}, WrongOrder, "no site"),
        ({"leg": 0}, BadDocument, "does not name a leg"),
        ({"leg": -1}, BadDocument, "does not name a leg"),
        ({"leg": True}, BadDocument, "does not name a leg"),
        ({"leg": "1"}, BadDocument, "does not name a leg"),
        ({"leg": None}, BadDocument, "does not name a leg"),
        ({"leg": 1.5}, BadDocument, "does not name a leg"),
        ({"study": "lesions"}, WrongStudy, "lesions"),
        ({"study": None}, WrongStudy, "None"),
        ({"study": "x" * 10**5}, WrongStudy, "xxx"),
        ({"recipients": []}, WrongRecipient, "south"),
        ({"roster": None}, BadDocument, "roster"),
        ({"roster": {"version": 2, "sha256": "0" * 64}}, BadDocument, "roster"),
        ({"roster": {"version": True, "sha256": "0" * 64}}, Refused, "roster"),
        ({"issued": stamp(START + timedelta(hours=25))}, Expired, "future"),
        ({"expires": stamp(START - DAY)}, Expired, "leg 1"),
        ({"issued": stamp(START - 2 * DAY)}, RosterPeriod, "roster 1"),
        ({"issued": "2026-02-30T00:00:00Z"}, BadDocument, "issued"),
        ({"issued": "yesterday"}, BadDocument, "issued"),
        ({"expires": None}, BadDocument, "expires"),
    ],
)
def test_claims(change: dict[str, Any], why: type[Refused], says: str, at: At) -> None:
    """North, with its own good key, says something else than what is so."""
    world = at(1)
    with world.forged(1, signer="north", to=["south"]) as parts:
        parts.claim.update(change)
    if why is Refused:
        with pytest.raises(Refused, match=says):
            world.deliver(parts.bundle, "south")
    else:
        world.refuses(parts.bundle, "south", why, says)


@pytest.mark.parametrize("who", [["east"], ["south", "east"], ["south", "north"], ["mallory"]])
def test_recipients_are_those_of_the_roster(who: list[str], at: At) -> None:
    """A dishonest sender can hand a bundle to anybody, but can't make it look as if the study had wanted that."""
    world = at(1)
    world.keys["mallory"] = world.new_keys("mallory")
    with world.forged(1, signer="north", to=["south"]) as parts:
        parts.claim["recipients"] = [{"name": n, "sealing": world.keys[n].identity.sealing} for n in who]
    world.refuses(parts.bundle, "south", WrongRecipient, "leg 1")


def test_recipients_have_the_keys_of_the_roster(at: At) -> None:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.claim["recipients"][0]["sealing"] = world.keys["east"].identity.sealing
    world.refuses(parts.bundle, "south", WrongRecipient, "leg 1", "south")


def test_passed_on_by_the_receiver(at: At) -> None:
    """South opens what it got, and seals it to east: the names inside the signature say whom it was for."""
    world = at(1)
    with world.forged(1, to=["east"]) as parts:
        pass
    world.refuses(parts.bundle, "east", WrongRecipient, "is for south", "this is east")


def test_a_leg_left_out(at: At) -> None:
    """East can't go on from leg 1 as if south had been there: the chain is one short."""
    world = at(1)
    with world.forged(1, signer="east", to=["north"]) as parts:
        parts.claim.update(
            leg=3,
            site="east",
            recipients=[{"name": n, "sealing": world.keys[n].identity.sealing} for n in ("north", "south")],
        )
    world.refuses(parts.bundle, "north", BrokenChain, "leg 3", "2 earlier legs")


@pytest.mark.parametrize(("hours", "fine"), [(-23, True), (-25, False), (89 * 24, True), (91 * 24, False)])
def test_clocks_may_differ_by_a_day(hours: int, fine: bool, at: At) -> None:
    world = at(1)
    world.now = START + timedelta(hours=hours)
    if fine:
        world.deliver(world.bundle(1), "south")
    else:
        world.refuses(world.bundle(1), "south", ClockSetBack if hours < 0 else Expired)


def test_from_the_future_of_this_computer(at: At) -> None:
    world = at(0)
    world.now += 10 * DAY
    bundle = world.make(1)
    world.now -= 2 * DAY
    world.refuses(bundle, "south", Expired, "leg 1", "future")


def test_sites_do_not_sign_out_of_turn(at: At) -> None:
    world = at(1)
    folder = world.train(1, site="south", start=None)
    with pytest.raises(WrongLeg, match="leg 1 is the turn of north; this is south"):
        drafting.draft(world.stores["south"], folder)


def test_nor_from_what_they_did_not_receive(at: At) -> None:
    world = at(1)
    world.deliver(world.bundle(1), "south")
    folder = world.train(2, start="0" * 64)
    with pytest.raises(UserError, match="leg 2 was not trained from the weights received for leg 1"):
        drafting.draft(world.stores["south"], folder)
    empty = at(0)
    world.stores["south"] = empty.stores["south"]
    with pytest.raises(UserError, match="leg 1 was not received"):
        drafting.draft(world.stores["south"], folder)


def test_another_study_of_the_same_sites(at: At) -> None:
    """Two studies, one coordinator, one stick, the same keys: the bundles do not mix."""
    world = at(1)
    with world.forged(1, signer="north") as parts:
        roster = sign_roster(dataclasses.replace(world.roster, study="lesions"), world.coordinator)
        parts.files["rosters/0001.dsse.json"] = roster
        parts.claim.update(study="lesions", roster={"version": 1, "sha256": digest(payload_of(roster))})
    world.refuses(parts.bundle, "south", WrongStudy, "lesions", "vessels")
