"""The final model for a hospital outside the study: what it gets, and who can't be made to believe what."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from relay.bundle import manifest
from relay.bundle.manifest import MANIFEST, SHARE, STATEMENT
from relay.errors import UserError
from relay.exchange import check_record, rebuild, receiving, sharing
from relay.exchange.approving import approver
from relay.exchange.select_bundle import choose
from relay.trust import statement
from relay.trust.document import canonical, digest
from relay.trust.refusals import (
    BadContainer,
    BadSignature,
    BrokenChain,
    CannotOpen,
    DigestMismatch,
    Expired,
    ExpiredKey,
    NotApproved,
    OldRoster,
    PolicyBreach,
    Refused,
    RevokedKey,
    UnknownKey,
    WrongLeg,
    WrongRecipient,
    WrongStudy,
)
from tests.relays import DAY, World, check_words, packed, payload_of, sealed, taken_apart, unsealed

OUT = "outside"


@pytest.fixture(scope="module")
def over(tmp_path_factory: pytest.TempPathFactory) -> World:
    """A study that has ended, whose policy lets sites share; east has trained last, all have received; and a stranger,
    who has the roster."""
    world = World(tmp_path_factory.mktemp("share") / "world")
    world.with_policy(install=["north", "south", "east"], share="sites")
    world.run(2)
    world.make(3)
    world.deliver(world.bundle(3), "north")
    world.keys[OUT] = world.new_keys(OUT)
    world.open_store(OUT, world.rosters[2])
    return world


@pytest.fixture
def world(over: World, tmp_path: Path) -> World:
    return over.copy(tmp_path / "world")


def given(world: World, site: str = "north", experts: bool = False, to: str = OUT, **how: Any) -> Path:
    """The copy, on the stick."""
    reader = world.keys[to].identity
    found = sharing.shareable(world.stores[site], reader, experts)
    return sharing.share(world.stores[site], world.keys[site], reader, found, world.stick, **how)[0]


@pytest.mark.parametrize("site", ["east", "north"])
def test_the_one_model_arrives_with_its_proof_and_without_memories(world: World, site: str) -> None:
    """From the site that made it, or from another one that received it."""
    bundle, last = given(world, site), world.stick / "vessels.leg-3.east.relay.age"
    assert bundle.name == f"vessels.leg-3.share-{OUT}.relay.age"
    there = taken_apart(unsealed(bundle.read_bytes(), world.keys[OUT]))
    assert not [name for name in there if name.rpartition("/")[2] in manifest.OPTIONAL]
    done = world.deliver(bundle, OUT)
    assert [made.claim.site for made in done.statements] == ["north", "south", "east"]
    found, weights_of = receiving.reopen(world.stores[OUT], 3)
    mine, same = receiving.reopen(world.stores["north"], 3)
    assert weights_of == same
    assert all(torch.equal(found.model[name], mine.model[name]) for name in mine.model)
    assert (found.memories, found.cumulative, found.experts) == ({}, None, {})
    world.now += 900 * DAY  # a record is checked by the rules of its day
    assert check_record(world.stores[OUT]) == world.stores[OUT].received(3)
    world.now -= 900 * DAY
    (path := world.stores[OUT].received(3) / manifest.SHARE).write_bytes(path.read_bytes().replace(b"sig", b"gis", 1))
    with pytest.raises(Refused):
        check_record(world.stores[OUT])
    assert world.deliver(bundle, OUT).again
    assert choose(world.stores[OUT], world.stick) == bundle, "not the bundle that is for the sites"
    assert choose(world.stores["south"], world.stick, 3) == last
    line = world.stores[site].ledger.lines()[-1]
    assert (line.event, line.facts["reader"], line.facts["leg"]) == ("shared", OUT, 3)
    assert "expert.safetensors" in line.facts["left_out"]


def test_with_experts_it_is_all_that_a_site_has(world: World) -> None:
    world.deliver(given(world, experts=True), OUT)
    mine, found = (receiving.reopen(world.stores[name], 3)[0] for name in ("north", OUT))
    assert found.experts.keys() == mine.experts.keys() == {1, 2, 3}
    assert found.memories.keys() == mine.memories.keys() == {1, 2, 3}


def test_a_newer_roster_travels_and_withdraws_an_expert(world: World) -> None:
    world.amend(3, install=["north"], withdraw=["south"])
    world.deliver(given(world, experts=True), OUT)
    assert receiving.reopen(world.stores[OUT], 3)[0].experts.keys() == {1, 3}
    trusted = world.stores[OUT].trusted
    assert trusted is not None
    assert trusted.roster.version == 3


def test_it_can_be_shared_long_after_the_leg_has_expired(world: World) -> None:
    world.now += 100 * DAY
    world.refuses(world.bundle(3), "south", Expired)
    world.deliver(given(world, "north"), OUT)


def test_its_ledger_can_be_rebuilt(world: World) -> None:
    world.deliver(given(world), OUT)
    store = world.stores[OUT]
    store.ledger.put_aside(world.now)
    rebuild(store, None, [])
    assert list(store.record().received) == [3]


def test_a_file_that_calls_a_leg_a_share_lets_nothing_be_missing(world: World) -> None:
    folder = world.stores["north"].received(3)
    (folder / SHARE).write_bytes(b"{}")
    (folder / "expert.safetensors").unlink()
    with pytest.raises(DigestMismatch):
        receiving.reopen(world.stores["north"], 3)


def test_only_what_was_left_out_may_be_missing_later(world: World) -> None:
    world.deliver(given(world), OUT)
    (world.stores[OUT].received(3) / "results.json").unlink()
    with pytest.raises(DigestMismatch):
        receiving.reopen(world.stores[OUT], 3)


# -- what can't be shared --------------------------------------------------------------------------------------------


def test_the_coordinator_must_allow_it(world: World) -> None:
    world.with_policy(3, install=["north"], share="none")
    with pytest.raises(PolicyBreach, match="does not let sites share"):
        given(world)


@pytest.mark.parametrize("name", ["south", "Centre"])
def test_a_site_or_the_coordinator_needs_no_share(world: World, name: str) -> None:
    world.keys["double"] = world.new_keys(name)
    with pytest.raises(UserError, match="of the study"):
        given(world, to="double")


def test_the_last_leg_must_be_here(world: World) -> None:
    with pytest.raises(UserError, match="leg 3, the last one of study vessels, was not signed or received here"):
        given(world, "south")


def test_the_readers_keys_must_be_alive(world: World) -> None:
    world.keys[OUT] = world.new_keys(OUT, years=0.01)
    world.now += 10 * DAY
    with pytest.raises(ExpiredKey):
        given(world)


def test_a_stranger_can_not_pass_it_on(world: World) -> None:
    world.deliver(given(world), OUT)
    world.keys["other"] = world.new_keys("other")
    with pytest.raises(UserError, match="outside is not a site"):
        given(world, OUT, to="other")


def test_files_that_have_changed_are_not_shared(world: World) -> None:
    (world.stores["north"].received(3) / "model.safetensors").write_bytes(b"other")
    with pytest.raises(DigestMismatch):
        given(world)


def test_where_approval_is_required_somebody_gives_it(world: World) -> None:
    world.with_policy(3, install=["north"], approval="required")
    with pytest.raises(NotApproved):
        given(world)
    given(world, approver=approver("Dr. Weber", "use in research"))
    assert world.stores["north"].ledger.lines()[-1].facts["approved_by"] == "Dr. Weber"


# -- what the reader does not believe --------------------------------------------------------------------------------


def forged(
    world: World,
    change: Callable[[dict[str, Any]], object],
    signer: str = "north",
    files: dict[str, bytes] | None = None,
) -> Path:
    """A copy whose share says something else, signed by whomever."""
    there = taken_apart(unsealed(given(world).read_bytes(), world.keys[OUT]))
    payload = json.loads(payload_of(there[SHARE]))
    change(payload)
    there |= {SHARE: world.keys[signer].sign(canonical(payload), statement.KIND), **(files or {})}
    path = world.stick / "forged.relay"
    path.write_bytes(sealed(packed(there), world.keys[OUT].identity.sealing))
    return path


def says(**changes: Any) -> Callable[[dict[str, Any]], object]:
    return lambda payload: payload["predicate"].update(changes)


@pytest.mark.parametrize(
    ("changes", "signer", "why"),
    [
        ({}, OUT, UnknownKey),
        ({"site": OUT}, OUT, UnknownKey),
        ({"site": "south"}, "north", UnknownKey),
        ({"study": "other"}, "north", WrongStudy),
        ({"statement": "0" * 64}, "north", DigestMismatch),
        ({"leg": 2}, "north", DigestMismatch),
        ({"expires": "2027-03-02T09:30:00Z"}, "north", Expired),
        ({"issued": "2026-03-09T09:30:00Z"}, "north", Expired),
        ({"reader": {"name": OUT, "sealing": "age1" + "q" * 58}}, "north", WrongRecipient),
    ],
)
def test_a_share_that_says_something_else(
    changes: dict[str, Any], signer: str, why: type[Refused], world: World
) -> None:
    world.refuses(forged(world, says(**changes), signer), OUT, why)


def test_a_share_signed_by_nobody(world: World) -> None:
    there = taken_apart(unsealed(given(world).read_bytes(), world.keys[OUT]))
    envelope = json.loads(there[SHARE])
    payload = json.loads(payload_of(there[SHARE]))
    payload["predicate"]["reader"]["name"] = "mallory"
    signed = json.loads(world.keys["south"].sign(canonical(payload), statement.KIND))
    there[SHARE] = canonical({**envelope, "payload": signed["payload"]})
    path = world.reseal(packed(there), OUT)
    world.refuses(path, OUT, BadSignature)


def test_after_its_days_it_is_refused(world: World) -> None:
    bundle = given(world)
    world.now += 91 * DAY
    world.refuses(bundle, OUT, Expired)


def test_a_copy_for_another(world: World) -> None:
    """It does not open; and resealed by whoever could open it, it is believed no more."""
    world.keys["other"] = world.new_keys("other")
    bundle = given(world, to="other")
    world.refuses(bundle, OUT, CannotOpen)
    world.refuses(world.reseal(unsealed(bundle.read_bytes(), world.keys["other"]), OUT), OUT, WrongRecipient)


def test_sealed_to_one_more(world: World) -> None:
    bundle = world.reseal(unsealed(given(world).read_bytes(), world.keys[OUT]), OUT, "south")
    world.refuses(bundle, OUT, PolicyBreach, "sealed to")


def test_the_model_of_another_leg_in_it(world: World) -> None:
    other = world.opened(2)["model.safetensors"]
    world.refuses(forged(world, says(), files={"model.safetensors": other}), OUT, DigestMismatch)


def test_more_may_not_be_left_out_nor_put_in(world: World) -> None:
    there = taken_apart(unsealed(given(world).read_bytes(), world.keys[OUT]))
    for name in ("chain/0001/results.json", "results.json"):
        less = {key: data for key, data in there.items() if key != name}
        world.refuses(world.reseal(packed(less), OUT), OUT, BadContainer)
    extra = {**there, "expert.safetensors": b"not the one", "model.safetensors": there["model.safetensors"]}
    order = [*(name for name in there if name != "model.safetensors"), "expert.safetensors", "model.safetensors"]
    world.refuses(world.reseal(packed({name: extra[name] for name in order}), OUT), OUT, DigestMismatch)


def test_a_withdrawn_expert_in_it(world: World) -> None:
    """A site that ignores the roster that it gives along."""
    honest = taken_apart(unsealed(given(world, experts=True).read_bytes(), world.keys[OUT]))
    world.amend(3, install=["north", OUT], withdraw=["south"])
    later = taken_apart(unsealed(given(world, experts=True).read_bytes(), world.keys[OUT]))
    name = manifest.earlier(2, manifest.EXPERT)
    assert name not in later
    rosters = {key: data for key, data in later.items() if key.startswith("rosters/")}
    files = {SHARE: later[SHARE], STATEMENT: honest[STATEMENT], MANIFEST: honest[MANIFEST], **rosters}
    files |= {key: data for key, data in honest.items() if key not in files}
    world.refuses(world.reseal(packed(files), OUT), OUT, PolicyBreach)


def test_only_of_a_study_that_has_ended(world: World) -> None:
    """And under the newest roster that is known here, which must allow it; by a site whose key still stands."""
    bundle = given(world)
    longer = world.copy(world.folder.with_name("longer"))
    longer.amend(3, install=[OUT], order=["north", "south", "east", "north"])
    longer.refuses(bundle, OUT, OldRoster)
    longer.stores["north"].install(longer.rosters[3])
    with pytest.raises(UserError, match="leg 4"):
        given(longer)
    stricter = world.copy(world.folder.with_name("stricter"))
    stricter.with_policy(3, install=[OUT, "north"], share="none")
    there = taken_apart(unsealed(bundle.read_bytes(), world.keys[OUT]))
    payload = json.loads(payload_of(there[SHARE]))
    trusted = stricter.stores[OUT].trusted
    assert trusted is not None
    payload["predicate"]["roster"] = {"version": 3, "sha256": trusted.digest}
    there[SHARE] = world.keys["north"].sign(canonical(payload), statement.KIND)
    stricter.refuses(stricter.reseal(packed(there), OUT), OUT, PolicyBreach, "share")
    revoked = world.copy(world.folder.with_name("revoked"))
    revoked.amend(3, install=[OUT], revoke={"north": "stolen"})
    trusted = revoked.stores[OUT].trusted
    assert trusted is not None
    payload["predicate"]["roster"] = {"version": 3, "sha256": trusted.digest}
    there[SHARE] = world.keys["north"].sign(canonical(payload), statement.KIND)
    revoked.refuses(revoked.reseal(packed(there), OUT), OUT, RevokedKey)


def test_an_earlier_leg_is_not_shared_as_the_last(world: World) -> None:
    def change(payload: dict[str, Any]) -> None:
        payload["predicate"] |= {"leg": 2, "statement": digest(payload_of(second[STATEMENT]))}
        payload["subject"][0]["digest"]["sha256"] = digest(second[MANIFEST])

    second = world.opened(2)
    there = taken_apart(unsealed(given(world).read_bytes(), world.keys[OUT]))
    payload = json.loads(payload_of(there[SHARE]))
    change(payload)
    files = {SHARE: world.keys["north"].sign(canonical(payload), statement.KIND), **second}
    world.refuses(world.reseal(packed(files), OUT), OUT, WrongLeg)


def test_a_bundle_without_a_share_is_still_for_sites(world: World) -> None:
    with pytest.raises((UserError, Refused)) as caught:
        world.deliver(world.reseal(unsealed(world.bundle(3).read_bytes(), world.keys["north"]), OUT), OUT)
    assert "not a site of study" in str(caught.value)


def test_a_leg_may_not_leave_out_what_a_share_may(world: World) -> None:
    there = taken_apart(unsealed(given(world).read_bytes(), world.keys[OUT]))
    there.pop(SHARE)
    path = world.reseal(packed(there), *(name for name in ("north", "south")))
    error = world.refuses(path, "south", BrokenChain)
    check_words(error)


def test_a_share_does_not_change_what_a_site_accepts(world: World) -> None:
    """A site that gets one by mistake is told so."""
    world.refuses(world.reseal(unsealed(given(world).read_bytes(), world.keys[OUT]), "south"), "south", WrongRecipient)
    own = {"name": "south", "sealing": world.keys["south"].identity.sealing}
    path = forged(world, says(reader=own))
    path = world.reseal(unsealed(path.read_bytes(), world.keys[OUT]), "south")
    world.refuses(path, "south", WrongRecipient, "belongs to the study")


def test_policies_from_before_keep_their_bytes() -> None:
    from relay.trust import Policy, written

    assert "share" not in written(Policy())
    assert written(dataclasses.replace(Policy(), share="sites"))["share"] == "sites"


# -- another copy of the same leg ------------------------------------------------------------------------------------


def kept(world: World) -> set[str]:
    """The optional files at the reader, after checking all of its record."""
    receiving.reopen(world.stores[OUT], 3)
    folder = check_record(world.stores[OUT])
    assert folder is not None
    there = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in there if name.rpartition("/")[2] in manifest.OPTIONAL}


def test_another_copy_by_the_same_or_another_site_is_the_same_model(world: World) -> None:
    world.deliver(given(world, "north"), OUT)
    for site in ("north", "east"):
        world.now += DAY
        done = world.deliver(given(world, site), OUT)
        assert done.again
        assert (done.added, kept(world)) == ((), set())
        assert done.without
    lines = [line for line in world.stores[OUT].ledger.lines() if line.event == "received"]
    assert len({line.facts["share"] for line in lines}) == len(lines) == 3
    assert world.deliver(given(world, "east"), OUT).again


def test_a_copy_with_experts_adds_them_and_a_later_one_without_keeps_them(world: World) -> None:
    world.deliver(given(world), OUT)
    done = world.deliver(given(world, "east", experts=True), OUT)
    assert done.without == ()
    assert set(done.added) == kept(world) > {"expert.safetensors", "chain/0001/memory.safetensors"}
    done = world.deliver(given(world), OUT)
    assert (done.without, done.added) == ((), ())
    assert receiving.reopen(world.stores[OUT], 3)[0].experts.keys() == {1, 2, 3}
    (world.stores[OUT].received(3) / "expert.safetensors").unlink()
    with pytest.raises(DigestMismatch):
        receiving.reopen(world.stores[OUT], 3)  # the ledger says that it was not left out


def test_of_an_earlier_copy_only_what_is_intact_and_may_travel_is_kept(world: World) -> None:
    world.deliver(given(world, experts=True), OUT)
    folder = world.stores[OUT].received(3)
    (folder / "memory.safetensors").write_bytes(b"damaged")
    world.amend(3, install=["north", OUT], withdraw=["south"])
    done = world.deliver(given(world), OUT)
    assert set(done.without) == {"memory.json", "memory.safetensors", manifest.earlier(2, manifest.EXPERT)}
    assert "memory.json" not in kept(world)
    assert receiving.reopen(world.stores[OUT], 3)[0].experts.keys() == {1, 3}


def test_a_ledger_from_before_copies_were_told_apart_is_put_right(world: World) -> None:
    """An older version replaced the folder and left the digest of the first copy in the ledger."""
    world.deliver(given(world), OUT)
    store, second = world.stores[OUT], given(world, "east")
    there = taken_apart(unsealed(second.read_bytes(), world.keys[OUT]))
    (store.received(3) / SHARE).write_bytes(there[SHARE])
    with pytest.raises(DigestMismatch) as caught:
        receiving.reopen(store, 3)
    assert "relay receive" in caught.value.advice()
    world.deliver(second, OUT)
    assert kept(world) == set()


def test_after_a_rebuild_the_model_can_be_used(world: World) -> None:
    world.deliver(given(world, experts=True), OUT)
    store = world.stores[OUT]
    store.ledger.put_aside(world.now)
    rebuild(store, None, [])
    experts = kept(world)
    assert "expert.safetensors" in experts
    second = given(world, "east")
    (store.received(3) / "model.safetensors").write_bytes(b"damaged")
    assert rebuild(store, world.keys[OUT], [second]).restored == (3,)
    assert kept(world) == experts


def test_the_same_copy_under_a_newer_roster_or_after_its_days_was_received_before(world: World) -> None:
    """The words say so, and the cure puts damaged files back: at a reader, and at a site."""
    copies = {"north": world.bundle(3), OUT: given(world)}
    world.deliver(copies[OUT], OUT)
    world.amend(3, install=["north", OUT])
    for name, copy in copies.items():
        error = world.refuses(copy, name, OldRoster, "leg 3 was received here before")
        assert "relay ledger --rebuild" in error.advice()
        world.now += 91 * DAY
        world.refuses(copy, name, OldRoster, "leg 3 was received here before")
        store = world.stores[name]
        (store.received(3) / "model.safetensors").unlink()
        with pytest.raises(DigestMismatch):
            check_record(store)
        rebuild(store, world.keys[name], [copy])
        check_record(store)


def test_the_weights_of_the_last_leg_must_be_here(world: World) -> None:
    """Those received for a leg may be missing only once the next one is signed."""
    store = world.stores["south"]
    store.forget_weights(1)
    assert check_record(store)
    store = world.stores["north"]
    store.forget_weights(3)
    with pytest.raises(DigestMismatch, match="leg_0003"):
        check_record(store)


def test_whoever_shares_it_can_share_it_again(world: World) -> None:
    bundle = given(world)
    world.now += 91 * DAY
    assert "share the model again" in world.refuses(bundle, OUT, Expired, "the share of leg 3 by north").advice()
    world.amend(3, install=[OUT])
    assert "share the model again" in world.refuses(bundle, OUT, OldRoster).advice()


def test_what_leaves_is_listed_and_what_is_replaced_is_said(world: World) -> None:
    reader = world.keys[OUT].identity

    def shown() -> str:
        found = sharing.shareable(world.stores["north"], reader)
        said = "\n".join(sharing.lines(world.stores["north"], reader, found, world.stick))
        assert all(f"{part.size:,} B  {name}\n" in said for name, part in found.parts.items())
        return said

    assert "replaces" not in shown()
    bundle = given(world, "east")
    assert f"replaces     {bundle.name}, an earlier copy for {OUT}" in shown()
