"""What is received is kept whole; what is refused leaves nothing; and every refusal there is can be reached."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from relay.bundle import manifest
from relay.bundle.handover_files import digest_of, load
from relay.bundle.manifest import MEMORY, MODEL, RESULTS, STATEMENT
from relay.errors import RelayError, UserError
from relay.exchange import receiving
from relay.trust import keys, refusals, statement
from relay.trust.document import canonical, stamp
from relay.trust.refusals import (
    BadContainer,
    BadDocument,
    BadRoster,
    BadSignature,
    BrokenChain,
    CannotOpen,
    ClockSetBack,
    ConfigMismatch,
    DamagedLedger,
    DigestMismatch,
    Expired,
    ExpiredKey,
    Fork,
    GateFailed,
    Incomplete,
    NotApproved,
    NotAudited,
    OldRoster,
    PolicyBreach,
    PredecessorMismatch,
    Refused,
    Replay,
    RevokedKey,
    Rollback,
    RosterPeriod,
    UnknownFormat,
    UnknownKey,
    UnknownOwnLeg,
    WrongLeg,
    WrongOrder,
    WrongRecipient,
    WrongStudy,
)
from relay.trust.roster import sign_roster
from tests.relays import DAY, At, World, check_words, contents, unsealed, weights

Refusal = tuple[World, Path, str, tuple[str, ...]]  # the bundle is refused at this site, and these words are said
SCENARIOS: dict[type[Refused], Callable[[At], Refusal]] = {}


def reaches(why: type[Refused]) -> Callable[[Callable[[At], Refusal]], Callable[[At], Refusal]]:
    def note(scenario: Callable[[At], Refusal]) -> Callable[[At], Refusal]:
        SCENARIOS[why] = scenario
        return scenario

    return note


@reaches(Incomplete)
def cut_short(at: At) -> Refusal:
    world = at(1)
    path = world.bundle(1)
    path.write_bytes(path.read_bytes()[:3000])
    return world, path, "south", ("ends early",)


@reaches(BadContainer)
def something_more(at: At) -> Refusal:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.files["notes.txt"] = b"hello"
    return world, parts.bundle, "south", ("extra notes.txt",)


@reaches(UnknownFormat)
def of_the_next_version(at: At) -> Refusal:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.payload["predicateType"] = "urn:relay-learning:leg:v2"
    return world, parts.bundle, "south", ("the statement", "leg:v2", "leg:v1")


@reaches(BadDocument)
def says_too_little(at: At) -> Refusal:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        del parts.claim["samples"]
    return world, parts.bundle, "south", ("the statement", "samples")


@reaches(CannotOpen)
def sealed_to_another(at: At) -> Refusal:
    world = at(1)
    with world.forged(1, to=["east"]) as parts:
        pass
    return world, parts.bundle, "south", ("not to this site's key",)


@reaches(BadSignature)
def changed_afterwards(at: At) -> Refusal:
    world = at(1)
    with world.forged(1) as parts:
        parts.claim["samples"] = 1024
        another = json.loads(world.keys["north"].sign(canonical(parts.payload), statement.KIND))
        parts.put(STATEMENT, {**parts.json(STATEMENT), "payload": another["payload"]})
    return world, parts.bundle, "south", ("the signature of the statement",)


@reaches(UnknownKey)
def in_anothers_name(at: At) -> Refusal:
    world = at(1)
    with world.forged(1, signer="east") as parts:
        parts.claim["samples"] = 1024
    return world, parts.bundle, "south", ("not the key of north", "roster 1")


@reaches(RevokedKey)
def with_a_stolen_key(at: At) -> Refusal:
    world = at(0)
    stolen, world.keys["north"] = world.keys["north"], world.new_keys("north")
    envelope = world.amend(0, add=[world.keys["north"].identity], revoke={"north": "stolen"})
    world.open_store("north", envelope)
    world.make(1)
    with world.forged(1, signer=stolen) as parts:
        pass
    return world, parts.bundle, "south", ("by north", "is revoked (stolen)")


@reaches(ExpiredKey)
def with_a_key_past_its_last_day(at: At) -> Refusal:
    world = at(0)
    world.keys["north"] = world.new_keys("north", years=0.02)
    world.open_store("north", world.amend(0, add=[world.keys["north"].identity]))
    world.make(1)
    world.now += 10 * DAY
    with world.forged(1, signer="north") as parts:
        parts.claim["issued"] = stamp(world.now)
    return world, parts.bundle, "south", ("by north", "key expired at")


@reaches(BadRoster)
def under_a_roster_of_ones_own(at: At) -> Refusal:
    world = at(1)
    mallory = world.new_keys("centre")
    roster = sign_roster(dataclasses.replace(world.roster, coordinator=mallory.identity), mallory)
    with world.forged(1, signer="north") as parts:
        parts.files["rosters/0001.dsse.json"] = roster
    return world, parts.bundle, "south", ("centre",)


@reaches(OldRoster)
def under_an_older_roster(at: At) -> Refusal:
    world = at(1)
    world.with_policy(install=["south"], min_samples=9)
    return world, world.bundle(1), "south", ("leg 1 by north", "roster 1", "roster 2")


@reaches(RosterPeriod)
def after_the_study(at: At) -> Refusal:
    world = at(1)
    world.now += 500 * DAY
    return world, world.bundle(1), "south", ("roster 1", "2027-03-02")


@reaches(ClockSetBack)
def with_the_clock_set_back(at: At) -> Refusal:
    """South's ledger has an event from today; by its clock of last week an expired bundle would be good again."""
    world = at(1)
    world.now -= 7 * DAY
    return world, world.bundle(1), "south", ("shows 2026-02-23", "has an event from 2026-03-02")


@reaches(WrongStudy)
def of_another_study(at: At) -> Refusal:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.claim["study"] = "lesions"
    return world, parts.bundle, "south", ("lesions", "vessels")


@reaches(WrongRecipient)
def handed_to_another(at: At) -> Refusal:
    world = at(2)
    with world.forged(2, to=["north"]) as parts:
        pass
    return world, parts.bundle, "north", ("leg 2 by south", "is for east", "this is north")


@reaches(WrongLeg)
def to_a_reader_whose_turn_it_is_not(at: At) -> Refusal:
    world = at(0)
    world.amend(0, ["north", "south", "east"], readers=["east"])
    return world, world.make(1), "east", ("leg 2", "south", "this is east")


@reaches(WrongOrder)
def out_of_turn(at: At) -> Refusal:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.claim["leg"] = 2
    return world, parts.bundle, "south", ("leg 2", "by north", "south")


@reaches(PredecessorMismatch)
def from_something_else(at: At) -> Refusal:
    world = at(2)
    with world.forged(2, signer="south") as parts:
        parts.claim["previous"] = "0" * 64
    return world, parts.bundle, "east", ("leg 2 by south",)


@reaches(BrokenChain)
def with_better_results_of_another(at: At) -> Refusal:
    world = at(2)
    with world.forged(2, signer="south") as parts:
        results = parts.json("chain/0001/results.json")
        results["rows"][0]["mean"] = 0.1
        parts.put("chain/0001/results.json", results)
    return world, parts.bundle, "east", ("results.json of leg 1", "north")


@reaches(Fork)
def twice_for_one_leg(at: At) -> Refusal:
    world = at(1)
    world.deliver(world.bundle(1), "south")
    with world.forged(1, signer="north") as parts:
        parts.claim["samples"] = 1024
    return world, parts.bundle, "south", ("leg 1 by north",)


@reaches(Replay)
def once_more(at: At) -> Refusal:
    world = at(2)
    return world, world.bundle(1), "south", ("leg 1 by north", "leg 2")


@reaches(UnknownOwnLeg)
def after_the_ledger_was_lost(at: At) -> Refusal:
    world = at(0)
    world.amend(0, ["north", "south", "east"], order=["north", "south", "north", "east"])
    world.run(2, last=False)
    world.forget("north")
    return world, world.bundle(2), "north", ("leg 1",)


@reaches(Expired)
def too_late(at: At) -> Refusal:
    world = at(1)
    world.now += 91 * DAY
    return world, world.bundle(1), "south", ("leg 1 by north", "2026-05-31")


@reaches(DigestMismatch)
def other_weights(at: At) -> Refusal:
    world = at(1)
    with world.forged(1) as parts:
        parts.files[MODEL] = parts.files[MODEL][:-1] + b"\0"
    return world, parts.bundle, "south", ("model.safetensors",)


@reaches(PolicyBreach)
def bare(at: At) -> Refusal:
    world = at(1)
    with world.forged(1, to=[]) as parts:
        pass
    return world, parts.bundle, "south", ("leg 1 by north", "not sealed", "roster 1")


@reaches(ConfigMismatch)
def of_another_net(at: At) -> Refusal:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        facts = parts.json("handover.json")
        facts["data"]["classes"] = ["background", "artery", "vein"]
        parts.put("handover.json", facts)
    return world, parts.bundle, "south", ("data.classes", "'artery'", "'vessel'")


@reaches(GateFailed)
def not_finite(at: At) -> Refusal:
    world = at(0)
    model = weights(1)
    model["norm.bias"][2] = torch.nan
    return world, world.make(1, model=model), "south", ("norm.bias is not finite",)


@reaches(DamagedLedger)
def with_a_changed_ledger(at: At) -> Refusal:
    world = at(1)
    ledger = world.stores["south"].ledger.path
    ledger.write_bytes(ledger.read_bytes().replace(b"2026-03-02", b"2026-03-01"))
    return world, world.bundle(1), "south", ("ledger.jsonl",)


@pytest.mark.parametrize("why", SCENARIOS, ids=lambda why: why.__name__)
def test_every_refusal_keeps_nothing_and_says_what_to_do(why: type[Refused], at: At) -> None:
    world, bundle, site, says = SCENARIOS[why](at)
    world.refuses(bundle, site, why, *says)
    world.refuses(bundle, site, why, *says)  # and once more, from the same state


def test_rollback(at: At) -> None:
    """Those whose turn it is meet Replay or Fork first; the rule is for those who look on."""
    world = at(3)
    store = world.stores["north"]
    world.deliver(world.bundle(3), "north")
    before = contents(store.home)
    with world.forged(2, to=["north"]) as parts:
        pass
    with pytest.raises(Rollback) as caught:
        receiving.verify(store, world.keys["north"], parts.bundle, look_on=True)
    check_words(caught.value, "leg 2 by south", "leg 3")
    assert contents(store.home) == before


def test_the_table_is_whole() -> None:
    """Whoever adds a refusal adds a scenario; two are of what is sent, not of what arrives."""
    all_of_them = {c for c in vars(refusals).values() if isinstance(c, type) and issubclass(c, Refused)}
    assert all_of_them - {Refused} == {*SCENARIOS, Rollback, NotApproved, NotAudited}


@pytest.mark.parametrize("leg", [1, 2, 3])
def test_what_is_received_is_the_bundle(leg: int, at: At) -> None:
    world = at(leg)
    site = {1: "south", 2: "east", 3: "north"}[leg]
    found = world.deliver(world.bundle(leg), site)
    store = world.stores[site]
    assert contents(store.received(leg)) == world.opened(leg)
    assert [made.claim.leg for made in found.statements] == [*range(1, leg + 1)]
    assert not found.again
    assert not [path for path in store.folder.rglob("*") if path.name.startswith(".") and path.is_dir()]
    carried, start = receiving.reopen(store, leg)
    sender = world.folder / world.roster.order[leg - 1] / f"handover_{leg}"
    assert start == digest_of(sender)
    assert carried.samples_seen == 16 * leg
    assert [one["site"] for one in carried.legs] == ["north", "south", "east"][:leg]
    assert all(torch.equal(carried.model[name], tensor) for name, tensor in load(sender).model.items())


@pytest.mark.parametrize(
    "name",
    [MODEL, MEMORY, RESULTS, STATEMENT, manifest.MANIFEST, "chain/0001/results.json", "chain/0001/memory.safetensors"],
)
@pytest.mark.parametrize("how", ["changed", "gone"])
def test_what_was_changed_since_is_not_reopened(name: str, how: str, at: At) -> None:
    world = at(2)
    world.deliver(world.bundle(2), "east")
    path = world.stores["east"].received(2) / name
    path.write_bytes(path.read_bytes()[:-2]) if how == "changed" else path.unlink()
    with pytest.raises(RelayError):
        receiving.reopen(world.stores["east"], 2)
    assert world.deliver(world.bundle(2), "east").again, "received again, it is as good as new"
    receiving.reopen(world.stores["east"], 2)


def test_what_was_never_received_is_not_reopened(at: At) -> None:
    with pytest.raises(UserError, match="leg 1 of study vessels was not received"):
        receiving.reopen(at(1).stores["south"], 1)


@pytest.mark.parametrize("step", ["roster", "files", "ledger"])
def test_a_power_cut_while_taking_in(step: str, at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    """Wherever it comes, the same bundle is received the next time."""
    world = at(0)
    world.with_policy(install=["north"], min_samples=9)
    bundle = world.make(1)

    def cut(*args: object, **kwargs: object) -> None:
        raise KeyboardInterrupt

    target = {
        "roster": "relay.exchange.store.StudyStore.install",
        "files": "relay.exchange.receiving.replace_folder",
        "ledger": "relay.trust.ledger.Ledger.append",
    }[step]
    with monkeypatch.context() as patch:
        patch.setattr(target, cut)
        with pytest.raises(KeyboardInterrupt):
            world.deliver(bundle, "south")
    with pytest.raises(UserError):
        receiving.reopen(world.stores["south"], 1)
    world.deliver(bundle, "south")
    receiving.reopen(world.stores["south"], 1)
    assert world.stores["south"].roster.version == 2


def test_a_stranger_does_not_receive(at: At) -> None:
    world = at(1)
    world.keys["west"] = world.new_keys("west")
    world.open_store("west", world.rosters[1])
    with pytest.raises(UserError, match="west is not a site"):
        world.deliver(world.reseal(unsealed(world.bundle(1).read_bytes(), world.keys["south"]), "west"), "west")


def test_without_a_roster_the_rules_are_the_same(at: At) -> None:
    """The bundle brings the roster; whose turn it is, and whom it is for, is asked all the same."""
    world = at(2)
    for site in ("south", "east"):
        (fresh := world.folder / f"new_{site}").mkdir()
        world.keys[site] = world.keys[site]
        world.stores[site] = dataclasses.replace(world.stores[site], home=fresh)
        keys.save(world.keys[site], fresh, None)
        world.stores[site].pin(world.coordinator.identity)
    with world.forged(1, to=["east"]) as parts:
        pass
    with pytest.raises(WrongRecipient, match="leg 1 by north is for south; this is east"):
        world.deliver(parts.bundle, "east")
    world.deliver(world.bundle(1), "south")
    assert world.stores["south"].roster.version == 1


def test_volumes_are_received_as_one(at: At) -> None:
    world = at(0)
    first = world.make(1, volume=2500)
    assert first.name.endswith(".001")
    world.deliver(first, "south")
    receiving.reopen(world.stores["south"], 1)


def test_receiving_the_same_again_changes_nothing(at: At) -> None:
    world = at(1)
    world.deliver(world.bundle(1), "south")
    before = contents(world.folder / "south")
    assert world.deliver(world.bundle(1), "south").again
    assert contents(world.folder / "south") == before


def test_verifying_keeps_nothing(at: At) -> None:
    world = at(1)
    before = contents(world.folder)
    found = receiving.verify(world.stores["south"], world.keys["south"], world.bundle(1))
    assert found.claim.site == "north"
    assert set(found.entries) == set(world.opened(1))
    assert contents(world.folder) == before


def test_the_newest_is_what_was_received_or_signed_last(at: At) -> None:
    """North signs leg 1 and later receives leg 3; south receives leg 1 and signs leg 2."""
    world = at(3)
    store = world.stores["south"]
    handover, digest = receiving.newest(store)
    assert [leg["leg"] for leg in handover.legs] == [1, 2]
    assert digest == digest_of(store.signed(2))
    assert len(receiving.newest(world.stores["north"])[0].legs) == 1
    world.deliver(world.bundle(3), "north")
    assert receiving.newest(world.stores["north"])[1] == receiving.reopen(world.stores["north"], 3)[1]
    weights = store.signed(2) / MODEL
    weights.write_bytes(weights.read_bytes()[:-1] + b"x")
    with pytest.raises(DigestMismatch, match="is not what was signed") as caught:
        receiving.newest(store)
    assert caught.value.advice().startswith("Restore the folder from a backup.")


def test_before_the_first_leg_there_is_no_newest(at: At) -> None:
    store = at(0).stores["south"]
    with pytest.raises(UserError, match="no leg of study vessels was received or signed") as caught:
        receiving.newest(store)
    assert "relay receive" in caught.value.advice()
