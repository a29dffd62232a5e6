"""A ledger made again from bundles and folders: what it knows then, and what it refuses to believe."""

from __future__ import annotations

import base64
import shutil
from pathlib import Path

import pytest

from relay.bundle import manifest
from relay.errors import UserError
from relay.exchange.rebuilding import Rebuilt, rebuild
from relay.exchange.receiving import reopen
from relay.exchange.store import StudyStore
from relay.trust.document import canonical
from relay.trust.refusals import (
    BadRoster,
    BadSignature,
    BrokenChain,
    CannotOpen,
    ClockSetBack,
    DamagedLedger,
    DigestMismatch,
    Fork,
    Refused,
    Replay,
    RevokedKey,
    UnknownKey,
    UnknownOwnLeg,
)
from tests.relays import DAY, World, contents, weights


@pytest.fixture(scope="module")
def honest(tmp_path_factory: pytest.TempPathFactory) -> World:
    """Three legs; the last one was received by all."""
    world = World(tmp_path_factory.mktemp("honest"), readers=("south",))
    world.run(3)
    for site in ("north", "south"):
        world.deliver(world.bundle(3), site)
    return world


@pytest.fixture
def world(honest: World, tmp_path: Path) -> World:
    return honest.copy(tmp_path)


def again(world: World, site: str, *bundles: Path) -> Rebuilt:
    return rebuild(world.stores[site], world.keys[site], bundles)


def damage(store: StudyStore) -> None:
    store.ledger.path.write_bytes(store.ledger.path.read_bytes().replace(b'"n":2', b'"n":7'))
    with pytest.raises(DamagedLedger):
        store.ledger.lines()


def lose(world: World, site: str) -> StudyStore:
    """All that the site had but its keys and the pinned coordinator."""
    store = world.stores[site]
    for name in ("rosters", "received", "signed"):
        shutil.rmtree(store.folder / name, ignore_errors=True)
    for path in (store.ledger.path, store.ledger.head):
        path.unlink()
    return store


def refuses(world: World, site: str, why: type[Refused], *bundles: Path) -> Refused:
    before = contents(world.folder / site)
    with pytest.raises(why) as caught:
        again(world, site, *bundles)
    assert type(caught.value) is why
    assert contents(world.folder / site) == before
    return caught.value


@pytest.mark.parametrize("site", ["north", "south", "east"])
def test_a_damaged_ledger_comes_back_from_the_home_alone(world: World, site: str) -> None:
    store = world.stores[site]
    before = store.ledger.record()
    damage(store)
    done = again(world, site)
    assert store.ledger.record() == before
    assert done.aside is not None
    assert (done.aside / "ledger.jsonl").is_file()
    assert all(line.facts["rebuilt"] for line in done.added)
    assert done.added[0].event == "roster"
    assert not list(store.folder.glob(".rebuild"))


def test_a_lost_home_comes_back_from_bundles(world: World) -> None:
    before = world.stores["south"].ledger.record()
    store = lose(world, "south")
    done = again(world, "south", world.bundle(3), world.bundle(1))
    assert (store.ledger.record().signed, done.aside) == (before.signed, None)
    assert set(done.restored) == {1}
    assert [line.event for line in done.added] == ["roster", "received", "signed"]
    world.deliver(world.bundle(3), "south")  # what it has not gone on from is received by all the rules
    assert store.ledger.record() == before
    handover, _ = reopen(store, 3)
    assert len(handover.legs) == 3
    assert not (store.received(1) / manifest.MODEL).exists()  # leg 2 was made from it
    assert store.roster.version == 1


def test_the_newest_bundle_alone_tells_of_the_own_legs_before_it(world: World) -> None:
    store = lose(world, "south")
    again(world, "south", world.bundle(3))
    record = store.ledger.record()
    assert (set(record.signed), set(record.received), record.newest) == ({2}, {1}, 2)
    world.refuses(world.bundle(1), "south", Replay)


def test_an_own_leg_unknown_after_a_loss_is_known_after_the_rebuild(world: World) -> None:
    lose(world, "south")
    world.stores["south"].install(world.rosters[1])
    world.refuses(world.bundle(3), "south", UnknownOwnLeg)
    done = again(world, "south", world.bundle(3))
    assert done.added[0].event == "received"  # the roster was known
    world.deliver(world.bundle(3), "south")


def test_what_was_not_gone_on_from_is_received_again_and_by_all_the_rules(tmp_path: Path) -> None:
    """Rebuilding is no way around them: not for a bundle that has expired, nor for weights that the gate refuses."""
    world = World(tmp_path)
    world.deliver(world.make(1), "south")
    store = lose(world, "south")
    done = again(world, "south", world.bundle(1))
    assert (done.restored, store.record().received, store.next_turn()) == ((), {}, 2)
    with pytest.raises(UserError, match="was not received"):
        world.make(2)
    world.deliver(world.bundle(1), "south")
    world.deliver(world.make(2), "east")


def test_a_clock_that_was_ahead_is_put_right_as_the_refusal_says(tmp_path: Path) -> None:
    """Roster, leg and bundle were all dated in the future: nothing known is lost, and the site goes on."""
    world = World(tmp_path)
    world.now += 40 * DAY
    world.deliver(world.make(1), "south")
    world.now -= 40 * DAY
    for site in ("north", "south"):
        store, known = world.stores[site], world.stores[site].ledger.record()
        count = len(store.ledger.lines())
        with pytest.raises(ClockSetBack, match=r"ledger\.jsonl") as caught:
            store.now()
        assert "relay ledger --rebuild corrects them" in caught.value.advice()
        done = again(world, site)
        assert (done.added, done.corrected, store.ledger.record()) == ((), count - 1, known)
        assert done.aside is not None
        assert len((done.aside / "ledger.jsonl").read_bytes().splitlines()) == count
        assert store.ledger.lines()[0].event == "roster"
        assert store.now() == world.now
    with pytest.raises(UserError, match="is intact"):
        again(world, "south")


def test_a_whole_ledger_keeps_its_lines_and_gets_those_it_lacks(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.deliver(world.make(1), "south")
    store = world.stores["south"]
    lines, data = store.ledger.lines(), store.ledger.path.read_bytes()
    assert again(world, "south", world.bundle(1)).added == ()
    assert store.ledger.path.read_bytes() == data
    world.deliver(world.make(2), "east")
    twin = world.copy(tmp_path / "twin")
    done = again(twin, "east", twin.bundle(2))
    assert (done.added, done.aside) == ((), None)
    assert store.ledger.lines()[: len(lines)] == lines


def test_a_whole_ledger_without_bundles_is_left_alone(world: World) -> None:
    with pytest.raises(UserError, match="nothing to rebuild"):
        again(world, "south")


def test_a_bundle_past_its_last_day_is_remembered(world: World) -> None:
    store = lose(world, "south")
    world.now += 200 * DAY
    again(world, "south", world.bundle(3))
    assert set(store.ledger.record().signed) == {2}


def test_bundles_that_contradict_each_other_are_refused(world: World) -> None:
    lose(world, "south")
    with world.forged(1, signer="north") as parts:
        parts.files["MODEL_CARD.md"] += b"and better"
    error = refuses(world, "south", Fork, world.bundle(1), parts.bundle)
    assert str(world.bundle(1)) in str(error)
    assert str(parts.bundle) in str(error)


def test_a_bundle_that_contradicts_the_home_or_a_whole_ledger_is_refused(world: World) -> None:
    with world.forged(3, signer="east") as parts:
        parts.files["MODEL_CARD.md"] += b"and better"
    refuses(world, "south", Fork, parts.bundle)
    damage(world.stores["south"])
    refuses(world, "south", Fork, parts.bundle)


def test_a_leg_done_again_under_a_new_roster_takes_the_place_of_the_old_one(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.run(2)
    world.amend(done=1, install=("north", "south", "east"))
    world.put(2, world.train(2, model=weights(8)))
    world.deliver(world.bundle(2), "east")
    for site in ("south", "east"):
        before = world.stores[site].ledger.record()
        damage(world.stores[site])
        again(world, site)
        after = world.stores[site].record()
        assert (after.legs, after.received, after.signed) == (before.legs, before.received, before.signed)


@pytest.mark.parametrize("name", ["statement.dsse.json", "manifest-sha256.txt", "chain/0001/results.json"])
def test_a_changed_folder_of_its_own_is_named(world: World, name: str) -> None:
    store = world.stores["south"]
    damage(store)
    path = store.received(3) / name
    path.write_bytes(path.read_bytes()[:-3])
    if name == "manifest-sha256.txt":
        again(world, "south")  # the statement, not the folder, is what the ledger relies on
        return
    error = refuses(world, "south", BrokenChain)
    assert str(store.received(3)) in str(error)
    assert "move it away" in error.advice()


def test_hostile_bundles_are_refused(world: World) -> None:
    lose(world, "south")
    with world.forged(3, signer="north", name="by-north") as parts:
        pass
    refuses(world, "south", UnknownKey, world.bundle(1), parts.bundle)
    with world.forged(3, name="changed") as parts:
        parts.files["model.safetensors"] += b"x"
    refuses(world, "south", DigestMismatch, parts.bundle)
    with world.forged(3, name="unsigned") as parts:
        parts.claim["strategy"] = "another"
        envelope = parts.json("statement.dsse.json")
        envelope["payload"] = base64.b64encode(canonical(parts.payload)).decode()
        parts.put("statement.dsse.json", envelope)
    refuses(world, "south", BadSignature, parts.bundle)
    refuses(world, "south", CannotOpen, world.reseal(b"x", "north"))


def test_a_key_revoked_since_then_is_not_believed(world: World) -> None:
    world.amend(done=1, install=("south",), drop=("east",), revoke={"east": "stolen"})
    damage(world.stores["south"])
    error = refuses(world, "south", RevokedKey, world.bundle(3))
    assert "leg 3 by east" in str(error)


def test_a_bundle_of_another_study_is_refused(world: World, tmp_path: Path) -> None:
    other = World(tmp_path / "other", study="hearts")
    other.make(1)
    lose(world, "south")
    bare = world.stick / "hearts.relay.age"
    with other.forged(1, to=()) as parts:
        pass
    world.reseal(parts.bundle.read_bytes(), "south", name=bare.name)
    refuses(world, "south", BadRoster, bare)
