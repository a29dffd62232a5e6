"""Rosters change while the relay runs: sites come late and leave, keys are replaced, legs are done again."""

from __future__ import annotations

import dataclasses

import pytest

from relay.bundle import manifest
from relay.errors import UserError
from relay.exchange import drafting, receipt, sending
from relay.trust.document import digest
from relay.trust.refusals import BadRoster, Fork, OldRoster, RevokedKey, RosterPeriod
from relay.trust.roster import sign_roster
from tests.relays import DAY, At, Parts, World, contents, payload_of, weights


def everyone(world: World) -> list[str]:
    return list(world.stores)


def join(world: World, name: str, done: int, install: list[str], **changes: object) -> bytes:
    """A site comes late: its request was approved, its home made, the new roster carried to some."""
    world.keys[name] = world.new_keys(name)
    envelope = world.amend(done, install, add=[world.keys[name].identity], **changes)
    world.open_store(name)
    return envelope


def test_newer_rosters_travel_in_the_bundle(at: At) -> None:
    """South alone was told of roster 2; east and north learn it from what they receive."""
    world = at(2)
    join(world, "west", 2, ["south"], order=["north", "south", "east", "north", "west"])
    world.put(2, world.folder / "south" / "handover_2")
    for leg, site in ((2, "east"), (3, "north"), (4, "west")):
        world.deliver(world.bundle(leg), site)
        assert world.stores[site].roster.version == 2
        assert [path.name[:4] for path in world.stores[site].roster_files()] == ["0001", "0002"]
        world.make(leg + 1)
    assert [n for n in world.opened(5) if n.startswith("rosters/")] == [manifest.roster(1), manifest.roster(2)]


def test_a_late_site_needs_only_the_coordinator(at: At) -> None:
    """West has no roster at all: its first bundle brings every version that a statement in it names."""
    world = at(3)
    join(world, "west", 3, ["east"])
    assert world.roster.order == ("north", "south", "east", "west")
    world.put(3, world.folder / "east" / "handover_3")
    found = world.deliver(world.bundle(3), "west")
    assert [made.claim.site for made in found.statements] == ["north", "south", "east"]
    world.make(4)


def test_a_site_drops_out_before_its_turn(at: At) -> None:
    """North sends the same weights again, sealed to east: nobody starts again."""
    world = at(1)
    world.amend(1, ["north", "east"], drop=["south"])
    assert world.roster.order == ("north", "east")
    first = world.opened(1)
    world.put(1, world.folder / "north" / "handover_1")
    assert world.opened(1)[manifest.MODEL] == first[manifest.MODEL]
    world.deliver(world.bundle(1), "east")
    world.make(2)


def test_a_site_drops_out_after_its_turn(at: At) -> None:
    """Its leg stands, and is verified with the key it had; it signs nothing more."""
    world = at(2)
    world.amend(2, ["east"], drop=["south"])
    assert [(r.site, r.last_leg) for r in world.roster.revoked] == [("south", 2)]
    world.refuses(world.bundle(2), "east", OldRoster, "leg 2 by south", "roster 2")
    world.stores["south"].install(world.rosters[2])
    world.put(2, world.folder / "south" / "handover_2")
    world.deliver(world.bundle(2), "east")
    world.make(3)


def test_replaced_keys(at: At) -> None:
    """South's laptop was stolen after leg 2. What it signed before stands, under the old key; nothing after does."""
    world = at(2)
    world.deliver(world.bundle(2), "east")
    thief, world.keys["south"] = world.keys["south"], world.new_keys("south")
    world.amend(2, ["north", "east"], add=[world.keys["south"].identity], revoke={"south": "laptop stolen"},
                order=["north", "south", "east", "south", "north"])  # fmt: skip
    world.open_store("south", world.rosters[2])
    world.make(3)
    world.deliver(world.bundle(3), "south")
    world.make(4)
    with world.forged(4, signer=thief) as parts:
        pass
    world.refuses(parts.bundle, "north", RevokedKey, "by south", "laptop stolen")
    assert len(world.deliver(world.bundle(4), "north").statements) == 4


def under(parts: Parts, world: World, version: int, *to: str) -> None:
    """A claim made under another roster, for these sites."""
    data = world.rosters[version]
    parts.files[manifest.roster(version)] = data
    parts.claim["roster"] = {"version": version, "sha256": digest(payload_of(data))}
    parts.claim["recipients"] = [{"name": name, "sealing": world.keys[name].identity.sealing} for name in to]


def test_an_earlier_leg_by_a_revoked_key(at: At) -> None:
    """In the chain, too: the thief's leg 2, under the old roster, does not stand where legs after 1 do not."""
    world = at(3)
    world.keys["south"] = world.new_keys("south")
    world.amend(1, add=[world.keys["south"].identity], revoke={"south": "stolen"})
    with world.forged(3, signer="east", to=["north"]) as parts:
        under(parts, world, 2, "north", "south")
    world.refuses(parts.bundle, "north", RevokedKey, "the statement of leg 2", "stolen")


def test_a_key_that_was_replaced_signs_nothing_under_the_roster_that_replaces_it(at: At) -> None:
    """Whoever signs under the newest roster signs with the key it names, also a leg that stands."""
    world = at(1)
    old, world.keys["north"] = world.keys["north"], world.new_keys("north")
    world.amend(1, ["south"], add=[world.keys["north"].identity])
    world.open_store("north", world.rosters[2])
    world.put(1, world.folder / "north" / "handover_1")
    with world.forged(1, signer=old) as parts:
        pass
    world.refuses(parts.bundle, "south", RevokedKey, "is revoked (new keys)")
    world.deliver(world.bundle(1), "south")


def test_a_stolen_key_of_a_site_that_was_dropped_makes_no_leg_again(at: At) -> None:
    """The leg stands as it was, but nobody can make it once more, though the next site has not gone on from it."""
    world = at(1)
    world.deliver(world.bundle(1), "south")
    world.amend(1, ["south"], drop=["north"], revoke={"north": "stolen"})
    world.stores["north"].install(world.rosters[2])
    world.put(1, world.folder / "north" / "handover_1")
    world.refuses(world.bundle(1), "south", RevokedKey, "is revoked (stolen)")


def test_a_leg_is_done_again(at: At) -> None:
    """South has received leg 1, but not gone on. The coordinator has north do it again."""
    world = at(1)
    world.deliver(world.bundle(1), "south")
    again = world.train(1, model=weights(7))
    with pytest.raises(Fork, match="already signed here"):
        drafting.draft(world.stores["north"], again)
    world.amend(0, ["north"])
    world.put(1, again)
    assert not world.deliver(world.bundle(1), "south").again
    world.deliver(world.make(2), "east")


def test_not_once_somebody_went_on_if_it_stands(at: At) -> None:
    """South has made leg 2 from leg 1, and both stand by roster 2: north can't make another one."""
    world = at(2)
    world.amend(2, ["north"])
    with pytest.raises(Fork, match="already signed here"):
        world.put(1, world.train(1, model=weights(7)))
    with world.forged(1, signer="north") as parts:
        under(parts, world, 2, "south")
    world.refuses(parts.bundle, "south", Fork, "leg 1 by north")


def test_signed_once_more_the_earlier_statement_still_counts_as_its_own(at: At) -> None:
    """North signs leg 1 again under roster 2, for a key that is new. South had gone on from the first one."""
    world = at(2)
    world.amend(2, ["north", "south", "east"])
    world.put(1, world.folder / "north" / "handover_1")
    world.put(2, world.folder / "south" / "handover_2")
    world.deliver(world.bundle(2), "east")
    world.make(3)
    world.deliver(world.bundle(3), "north")
    text = receipt.write(world.stores["south"], 1).text()
    assert "leg 1" in receipt.check(world.stores["north"], text)


def test_a_site_that_missed_a_roster_takes_no_withdrawn_leg(at: At) -> None:
    """Roster 2 withdrew leg 1, roster 3 says that the new leg 1 stands. South has never seen roster 2."""
    world = at(1)
    world.deliver(world.bundle(1), "south")
    world.amend(0, ["north"])
    world.put(1, world.train(1, model=weights(7)))
    world.amend(1, ["north", "south"])
    assert world.stores["south"].record().received == {}
    assert world.stores["south"].next_turn() == 2
    with pytest.raises(UserError, match="was not received"):
        world.make(2)
    world.put(1, world.folder / "north" / "handover_1")
    world.deliver(world.bundle(1), "south")
    world.make(2)


def test_once_somebody_went_on_if_all_is_to_be_done_again(at: At) -> None:
    """Roster 2 says that no leg stands: north makes leg 1 again, and south leg 2, though it had made one."""
    world = at(3)
    world.amend(0, ["north"])
    world.put(1, world.train(1, model=weights(7)))
    world.deliver(world.bundle(1), "south")
    assert world.stores["south"].next_turn() == 2
    assert world.stores["south"].record().signed == {}
    world.make(2)
    world.deliver(world.bundle(2), "east")
    assert world.stores["east"].next_turn() == 3


def test_a_shorter_way_under_a_new_roster(at: At) -> None:
    """East knows legs 1 and 2, and has made none. South's leg is struck: east gets leg 1 again, and makes leg 2."""
    world = at(2)
    world.deliver(world.bundle(2), "east")
    world.amend(1, ["north", "east"], order=["north", "east", "south"])
    world.put(1, world.folder / "north" / "handover_1")
    world.deliver(world.bundle(1), "east")
    world.make(2)
    assert world.stores["east"].ledger.record().legs[2] == world.stores["east"].ledger.record().signed[2]


def test_a_leg_that_was_struck_is_not_laundered_in_a_chain(at: At) -> None:
    """Leg 2 under roster 1 was south's. Roster 2 struck it, and east, who knows, goes on from it all the same."""
    world = at(3)
    world.amend(1, order=["north", "east", "east"])
    with world.forged(3, signer="east", to=["north"]) as parts:
        under(parts, world, 2, "north", "south")
    world.refuses(parts.bundle, "north", OldRoster, "leg 2 by south", "must since be done again")


def test_re_sent_under_a_newer_roster_to_one_who_has_it(at: At) -> None:
    world = at(1)
    world.with_policy(install=["south"], min_samples=9)
    world.refuses(world.bundle(1), "south", OldRoster, "roster 1", "roster 2")
    world.stores["north"].install(world.rosters[2])
    world.put(1, world.folder / "north" / "handover_1")
    world.deliver(world.bundle(1), "south")


def test_a_signed_leg_does_not_leave_under_an_older_roster(at: At) -> None:
    world = at(1)
    world.with_policy(install=["north"], min_samples=9)
    before = contents(world.stick)
    with pytest.raises(UserError, match="signed under roster 1; roster 2 is installed here"):
        sending.export(world.stores["north"], 1, world.stick)
    assert contents(world.stick) == before


def test_an_expired_leg_is_signed_anew_under_a_new_roster(at: At) -> None:
    """The advice of Expired must lead somewhere."""
    world = at(1)
    folder = world.folder / "north" / "handover_1"
    world.now += 91 * DAY
    with pytest.raises(UserError, match="valid until 2026-05-31") as caught:
        world.put(1, folder)
    assert "new version of the roster" in caught.value.advice()
    world.amend(0, ["north"])
    world.deliver(world.put(1, folder), "south")


def test_two_rosters_of_one_version(at: At) -> None:
    """The coordinator signed two; north has one, south the other: neither takes the other's."""
    world = at(0)
    other = dataclasses.replace(world.roster, version=2, done=(0, 0), order=("north", "east", "south"))
    world.stores["south"].install(sign_roster(other, world.coordinator))
    world.with_policy(install=["north"], min_samples=9)
    world.refuses(world.make(1), "south", Fork, "version 2")
    with pytest.raises(Fork, match="two different rosters 2"):
        world.stores["south"].install(world.rosters[2])


def test_two_rosters_of_one_old_version(at: At) -> None:
    """Also where both have a newer one since: an old roster is not exchanged behind a site's back."""
    world = at(0)
    other = dataclasses.replace(world.roster, version=2, done=(0, 0), order=("north", "east", "south"))
    world.stores["south"].install(sign_roster(other, world.coordinator))
    world.with_policy(install=["north"], min_samples=9)
    world.put(1, world.train(1))
    world.amend(0, ["north", "south"])
    world.put(1, world.folder / "north" / "handover_1")
    with world.forged(1, signer="north") as parts:
        parts.files[manifest.roster(2)] = world.rosters[2]
    world.refuses(parts.bundle, "south", Fork, "version 2")


@pytest.mark.parametrize("version", [1, 2])
def test_never_back_to_an_older_roster(version: int, at: At) -> None:
    world = at(0)
    world.with_policy(install=["south"], min_samples=9)
    world.with_policy(install=["south"], min_samples=10)
    before = contents(world.folder / "south")
    with pytest.raises(OldRoster, match=f"this is roster {version}.*roster 3 is already known"):
        world.stores["south"].install(world.rosters[version])
    assert contents(world.folder / "south") == before


def test_installing_the_same_again_is_nothing(at: At) -> None:
    world = at(0)
    before = contents(world.folder / "south")
    world.stores["south"].install(world.rosters[1])
    assert contents(world.folder / "south") == before


def test_a_roster_issued_before_the_one_before_it(at: At) -> None:
    world = at(1)
    data = sign_roster(
        dataclasses.replace(world.roster, version=2, done=(0, 0), issued="2026-03-01T00:00:00Z"), world.coordinator
    )
    with pytest.raises(BadRoster, match="before roster 1"):
        world.stores["south"].install(data)


def test_rosters_have_their_days(at: At) -> None:
    world = at(1)
    world.now += 367 * DAY
    world.refuses(world.bundle(1), "south", RosterPeriod, "2027-03-02")
    with pytest.raises(UserError, match="is valid from 2026-03-02"):
        drafting.draft(world.stores["north"], world.folder / "north" / "handover_1")
    world.amend(0, ["north", "south"], days=30)
    world.deliver(world.put(1, world.folder / "north" / "handover_1"), "south")


def test_a_newer_roster_in_the_bundle_than_it_was_made_under(at: At) -> None:
    """A dishonest sender keeps to the old rules, and passes the new ones on: it knew better."""
    world = at(1)
    world.with_policy(min_samples=100)
    with world.forged(1, signer="north") as parts:
        parts.files[manifest.roster(2)] = world.rosters[2]
    world.refuses(parts.bundle, "south", OldRoster, "roster 1", "roster 2")
