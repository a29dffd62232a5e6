"""The ledger notices what was done to it, survives power cuts, and catches replay, fork and double sending."""

from __future__ import annotations

import dataclasses
import fcntl
import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from hypothesis import given, strategies as st

from relay.bundle.manifest import MODEL
from relay.errors import UserError
from relay.exchange import drafting, sending
from relay.exchange.rebuilding import rebuild
from relay.trust.document import canonical, digest
from relay.trust.ledger import FIRST, Known, Ledger
from relay.trust.refusals import ClockSetBack, DamagedLedger, Fork, Replay, RosterPeriod, UnknownOwnLeg
from relay.trust.roster import sign_roster
from tests.relays import START, At, check_words, contents, weights

CHAIN = {"1": ["a" * 64, 1], "2": ["b" * 64, 1]}


def ledger(folder: Path, events: int = 3) -> Ledger:
    made = Ledger(folder)
    made.append("roster", START, version=1, sha256="0" * 64)
    made.append("received", START, leg=1, site="north", chain={"1": CHAIN["1"]})
    made.append("signed", START, leg=2, chain=CHAIN)
    for _ in range(events - 3):
        made.append("sent", START, leg=2, statement="b" * 64, files=["x.relay.age"])
    return made


def test_what_was_written_is_read(tmp_path: Path) -> None:
    lines = ledger(tmp_path, 5).lines()
    assert [line.n for line in lines] == [1, 2, 3, 4, 5]
    assert [line.event for line in lines] == ["roster", "received", "signed", "sent", "sent"]
    record = Ledger(tmp_path).record()
    assert record.legs == {1: Known("a" * 64, 1), 2: Known("b" * 64, 1)}
    assert (set(record.received), set(record.signed), record.newest) == ({1}, {2}, 2)


def test_an_empty_one(tmp_path: Path) -> None:
    assert Ledger(tmp_path).lines() == []
    assert Ledger(tmp_path).record().newest == 0
    assert list(tmp_path.iterdir()) == []


def lines_of(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


@pytest.mark.parametrize(
    "change",
    [
        lambda lines: lines[:-1],
        lambda lines: lines[:-2],
        lambda lines: lines[1:],
        lambda lines: [lines[0], *lines[2:]],
        lambda lines: [lines[1], lines[0], *lines[2:]],
        lambda lines: [*lines[:-1], lines[-1], lines[-1]],
        lambda lines: [lines[0], lines[0], *lines[1:]],
        lambda lines: [*lines[:-1], lines[-1][:-1]],
        lambda lines: [*lines[:-1], lines[-1].replace(b'"leg":2', b'"leg":3')],
        lambda lines: [lines[0].replace(b'"version":1', b'"version":2'), *lines[1:]],
        lambda lines: [b"\n", *lines],
        lambda lines: [b"{}\n", *lines],
        lambda lines: [b"\xff\n", *lines],
        lambda lines: [line.replace(b",", b", ") for line in lines],
        lambda lines: [line.replace(b"\n", b"\r\n") for line in lines],
        lambda lines: [],
    ],
)
def test_changes_are_noticed(change: Callable[[list[bytes]], list[bytes]], tmp_path: Path) -> None:
    made = ledger(tmp_path)
    made.path.write_bytes(b"".join(change(lines_of(made.path))))
    before = contents(tmp_path)
    for use in (made.lines, made.record, lambda: made.append("sent", START, leg=2)):
        with pytest.raises(DamagedLedger) as caught:
            use()
        check_words(caught.value, "ledger.jsonl")
    assert contents(tmp_path) == before, "nothing is added to a damaged ledger"


@pytest.mark.parametrize("head", [b"", b"{}", b'{"n":3}', b"\xff", b'{"n":2,"sha256":"%s"}' % (b"0" * 64), None])
def test_a_damaged_head_is_noticed(head: bytes | None, tmp_path: Path) -> None:
    made = ledger(tmp_path)
    made.head.unlink() if head is None else made.head.write_bytes(head)
    with pytest.raises(DamagedLedger):
        made.lines()


@given(place=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_any_flipped_bit_is_noticed(place: float, bit: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    made = ledger(tmp_path_factory.mktemp("flip"))
    data = bytearray(made.path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    made.path.write_bytes(data)
    with pytest.raises(DamagedLedger):
        made.record()


@pytest.mark.parametrize(
    "facts", [{}, {"leg": 9, "chain": CHAIN}, {"leg": 1, "chain": 5}, {"leg": 1, "chain": {"x": [1]}}]
)
def test_a_line_that_fits_the_chain_and_says_nothing(facts: dict[str, object], tmp_path: Path) -> None:
    """Somebody rewrote both files: they fit, and are no ledger all the same."""
    made = ledger(tmp_path)
    made.append("received", START, **facts)
    with pytest.raises(DamagedLedger, match="line 4"):
        made.record()


def test_a_power_cut_at_every_byte(tmp_path: Path) -> None:
    """While a line is written, the head still counts those before: whatever there is of it, the ledger goes on."""
    made = ledger(tmp_path)
    old, head = made.path.read_bytes(), made.head.read_bytes()
    made.append("sent", START, leg=2, statement="b" * 64, files=[])
    whole = made.path.read_bytes()
    for cut in range(len(old), len(whole) + 1):
        made.path.write_bytes(whole[:cut])
        made.head.write_bytes(head)
        count = 4 if cut == len(whole) else 3
        assert len(made.lines()) == count
        if cut % 20 == 0 or cut >= len(whole) - 1:  # writing is slow: it is flushed to the disk
            made.append("sent", START, leg=2, statement="c" * 64, files=[])
            assert [line.n for line in made.lines()] == [*range(1, count + 2)]


def test_cut_below_what_the_head_counts(tmp_path: Path) -> None:
    """That is no power cut: the lines were on the disk before the head was."""
    made = ledger(tmp_path)
    data = made.path.read_bytes()
    for cut in range(len(data)):
        made.path.write_bytes(data[:cut])
        with pytest.raises(DamagedLedger):
            made.lines()


def test_one_at_a_time(tmp_path: Path) -> None:
    made = ledger(tmp_path)
    before = contents(tmp_path)
    with (tmp_path / "ledger.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(UserError, match="in use by another"):
            made.append("sent", START, leg=2)
    assert contents(tmp_path) == before
    made.append("sent", START, leg=2)


def test_put_aside(tmp_path: Path) -> None:
    made = ledger(tmp_path)
    data = made.path.read_bytes()
    aside = made.put_aside(START)
    assert aside is not None
    assert (aside / "ledger.jsonl").read_bytes() == data
    assert made.lines() == []
    assert made.put_aside(START) is None


def test_format(tmp_path: Path) -> None:
    """As it is documented: canonical JSON, each line naming the SHA-256 of the one before."""
    made = ledger(tmp_path)
    before = FIRST
    for n, data in enumerate(made.path.read_bytes().splitlines(), 1):
        line = json.loads(data)
        assert canonical(line) == data
        assert (line["n"], line["previous"]) == (n, before)
        before = digest(data)
    assert json.loads(made.head.read_bytes()) == {"n": 3, "sha256": before}


# -- what it is for --------------------------------------------------------------------------------------------------


def test_replay(at: At) -> None:
    world = at(1)
    world.deliver(world.bundle(1), "south")
    assert world.deliver(world.bundle(1), "south").again, "until south goes on, it may be received once more"
    world.make(2)
    world.refuses(world.bundle(1), "south", Replay, "leg 1 by north", "leg 2 is already built on it")


def test_fork_before_and_after_going_on(at: At) -> None:
    for stage in (1, 2):
        world = at(stage)
        if stage == 1:
            world.deliver(world.bundle(1), "south")
        with world.forged(1, signer="north") as parts:
            parts.claim["strategy"] = "sequential"
        world.refuses(parts.bundle, "south", Fork, "leg 1 by north")


def test_double_sending(at: At) -> None:
    """A site signs a leg once; the same again is the same, byte for byte inside."""
    world = at(1)
    first = world.opened(1)
    world.put(1, world.folder / "north" / "handover_1")
    assert world.opened(1) == first
    folder = world.train(1, model=weights(7))
    before = contents(world.stores["north"].folder)
    with pytest.raises(Fork, match="leg 1 was already signed here") as caught:
        drafting.draft(world.stores["north"], folder)
    check_words(caught.value, "leg 1")
    assert contents(world.stores["north"].folder) == before


def test_a_lost_ledger(at: At) -> None:
    world = at(0)
    world.amend(0, ["north", "south", "east"], order=["north", "south", "north", "east"])
    world.run(2, last=False)
    aside = world.stores["north"].ledger.put_aside(world.now)
    assert aside is not None
    world.refuses(world.bundle(2), "north", DamagedLedger, "roster 2 is beside the ledger")
    with pytest.raises(DamagedLedger):
        world.stores["north"].next_turn()  # nor is leg 1 made a second time
    aside.rename(aside.with_name("elsewhere"))
    world.forget("north")
    world.refuses(world.bundle(2), "north", UnknownOwnLeg, "leg 1")


@pytest.mark.parametrize("kind", ["received", "signed"])
def test_an_older_copy_of_the_ledger_is_noticed(kind: str, at: At) -> None:
    """Ledger and head of before leg 2, put back together: on their own they are whole."""
    world = at(1)
    store = world.stores["south"]
    if kind == "signed":
        world.deliver(world.bundle(1), "south")
    older = {path: path.read_bytes() for path in (store.ledger.path, store.ledger.head)}
    world.make(2) if kind == "signed" else world.deliver(world.bundle(1), "south")
    for path, data in older.items():
        path.write_bytes(data)
    assert store.ledger.lines()
    with pytest.raises(DamagedLedger, match=f"{kind}/leg_000. is beside the ledger") as caught:
        store.whole()
    assert "relay ledger --rebuild" in caught.value.advice()
    rebuild(store, None, [])
    assert store.whole().newest == (2 if kind == "signed" else 1)


def test_an_older_copy_is_noticed_after_a_leg_was_signed_again(at: At) -> None:
    """The copy knows the leg, but not the statement that lies there."""
    world = at(1)
    world.amend(1, readers=["east"])
    store, own = world.stores["north"], world.keys["north"]
    store.install(world.rosters[2])
    older = {path: path.read_bytes() for path in (store.ledger.path, store.ledger.head)}
    sending.sign(store, own, drafting.draft(store, world.folder / "north" / "handover_1"))
    store.whole()
    for path, data in older.items():
        path.write_bytes(data)
    with pytest.raises(DamagedLedger, match="signed/leg_0001 is beside the ledger"):
        store.whole()


@pytest.mark.parametrize("name", ["leg_0001 (copy)", "leg_abc", ".leg_x.old", "leg_00011"])
def test_other_folders_beside_are_nobodys_leg(name: str, at: At) -> None:
    world = at(1)
    store = world.stores["north"]
    (store.folder / "signed" / name).mkdir()
    assert store.whole().newest == 1
    assert [path.name for path in store.kept()] == ["leg_0001"]


def test_a_roster_from_the_future_is_not_taken_in(at: At) -> None:
    """Taken in, it would have every honest one after it look older."""
    world = at(0)
    later = dataclasses.replace(world.roster, version=2, done=(0, 0), issued="2027-01-01T00:00:00Z")
    before = contents(world.stores["south"].home)
    with pytest.raises(RosterPeriod, match="issued at 2027-01-01T00:00:00Z; here it is 2026-03-02"):
        world.stores["south"].install(sign_roster(later, world.coordinator))
    assert contents(world.stores["south"].home) == before
    world.amend(0, ["south"])
    assert world.stores["south"].roster.version == 2


def test_a_lost_roster(at: At) -> None:
    world = at(0)
    world.amend(0, ["south"])
    (world.stores["south"].folder / "rosters" / "0002.dsse.json").unlink()
    with pytest.raises(DamagedLedger, match="roster 2 is in the ledger") as caught:
        world.stores["south"].record()
    assert "relay roster install" in caught.value.advice()
    world.stores["south"].install(world.rosters[2])
    assert world.stores["south"].record().legs == {}


def test_sending_is_recorded(at: At) -> None:
    world = at(1)
    events = [(line.event, line.facts.get("leg")) for line in world.stores["north"].ledger.lines()]
    assert events == [("roster", None), ("signed", 1), ("sent", 1)]
    assert world.stores["north"].sent() == {1}
    assert (world.stores["north"].signed(1) / MODEL).is_file()


@pytest.mark.parametrize(("hours", "good"), [(0, True), (-23, True), (-25, False)])
def test_the_newest_event_bounds_the_clock(hours: int, good: bool, at: At) -> None:
    """Within a day it may be two clocks that differ; beyond it, every date in a roster would be worth nothing."""
    world = at(1)
    store = world.stores["north"]
    world.now += timedelta(hours=hours)
    if good:
        assert store.now() == world.now
        return
    for use in (store.now, store.context):
        with pytest.raises(ClockSetBack):
            use()
    with pytest.raises(ClockSetBack) as caught:
        sending.sign(
            store,
            world.keys["north"],
            drafting.draft(store, world.folder / "north" / "handover_1"),
        )
    check_words(caught.value, "ledger.jsonl", "2026-03-02")
    assert store.ledger.lines(), "what is on record can be read all the same"


@pytest.mark.parametrize("name", ["coordinator.json", "rosters/0001.dsse.json"])
@pytest.mark.parametrize("data", [b"", b"{}", bytes(64)])
def test_a_damaged_file_of_this_sites_own_is_not_called_anothers(name: str, data: bytes, at: At) -> None:
    """A power failure empties files; nobody is to be telephoned about that."""
    store = at(1).stores["south"]
    (store.folder / name).write_bytes(data)
    with pytest.raises(UserError, match=r"this site's own file .* is damaged") as caught:
        store.context()
    assert caught.value.exit_code == 2
    assert str(store.folder / name) in str(caught.value)
    assert "backup" in caught.value.advice()


def test_the_ledger_is_parsed_again_only_where_it_has_changed(at: At, monkeypatch: pytest.MonkeyPatch) -> None:
    store = replace(at(1).stores["north"])
    parsed: list[int] = []
    checked = Ledger._checked
    monkeypatch.setattr(Ledger, "_checked", lambda ledger: parsed.append(1) or checked(ledger))
    before = store.context().record
    store.next_turn()
    assert (store.record(), store.sent(), len(parsed)) == (before, {1}, 1)
    Ledger(store.folder).append("signed", store.now(), leg=1, chain={"1": ["0" * 64, 1]})  # by another command
    assert store.sent() == set()
    assert store.ledger.record().signed[1].statement == "0" * 64
    store.ledger.head.write_bytes(b"")
    with pytest.raises(DamagedLedger):
        store.ledger.lines()
