"""Receipts: both sites name the same hand-over, or find out that they don't."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.errors import UserError
from relay.exchange import receipt, sharing
from relay.trust.fingerprints import words
from relay.trust.refusals import BadDocument, DamagedLedger, Fork
from tests.relays import DAY, At, World, weights


@pytest.fixture
def world(at: At) -> World:
    world = at(2)
    world.deliver(world.bundle(2), "east")
    return world


def test_both_ways(world: World) -> None:
    sent = receipt.write(world.stores["south"], 2)
    received = receipt.write(world.stores["east"])
    assert (sent.kind, received.kind) == ("signed", "received")
    assert sent.made.digest == received.made.digest
    assert "the hand-over known here" in receipt.check(world.stores["south"], received.text())
    assert "taken in by east" in receipt.check(world.stores["south"], received.text())
    assert "signed and sent by south" in receipt.check(world.stores["east"], sent.text())


def test_text(world: World) -> None:
    text = receipt.write(world.stores["east"], 2).text()
    assert max(map(len, text.splitlines())) < 120  # twelve words of up to eight letters, and what they are
    digest = world.stores["east"].ledger.record().received[2].statement
    for line in ("study:     vessels", "leg:       2", "made by:   south", "handed to: east", f"statement: {digest}"):
        assert line in text.splitlines()
    assert words(bytes.fromhex(digest)) in text
    assert "2026-03-02T09:30:00Z" in text
    assert "signature: ____" in text


def test_of_an_earlier_leg_in_the_chain(world: World) -> None:
    """East has never had leg 1 in its hands; its chain knows it all the same."""
    receipt.check(world.stores["east"], receipt.write(world.stores["north"], 1).text())


def test_another_hand_over(world: World, at: At) -> None:
    other = at(1)
    other.amend(0, ["north"])
    other.put(1, other.train(1, model=weights(5)))
    with pytest.raises(Fork, match="leg 1"):
        receipt.check(world.stores["south"], receipt.write(other.stores["north"], 1).text())


@pytest.mark.parametrize(
    ("old", "new", "why", "says"),
    [
        ("study:     vessels", "study:     lesions", UserError, "from study lesions"),
        ("leg:       2", "leg:       1", Fork, "leg 1"),
        ("leg:       2", "leg:       7", UserError, "leg 7 is not in the ledger of south"),
        ("leg:       2", "leg:       02", BadDocument, "not a receipt"),
        ("leg:       2", "leg:       two", BadDocument, "not a receipt"),
        ("leg:       2", "leg:       " + "9" * 5000, BadDocument, "not a receipt"),
        ("statement: ", "statement: 0", BadDocument, "not a receipt"),
        ("made by:", "made of:", BadDocument, "made by is missing"),
    ],
)
def test_changed(world: World, old: str, new: str, why: type[Exception], says: str) -> None:
    text = receipt.write(world.stores["east"], 2).text()
    assert old in text
    with pytest.raises(why, match=says):
        receipt.check(world.stores["south"], text.replace(old, new))


def test_words_and_digest_are_of_one_statement(world: World) -> None:
    own = receipt.write(world.stores["east"], 2)
    text = own.text()
    said = words(bytes.fromhex(own.made.digest))
    with pytest.raises(BadDocument, match="don't match its statement"):
        receipt.check(world.stores["south"], text.replace(said, words(bytes(32))))
    with pytest.raises(UserError, match=r"word \d+"):
        receipt.check(world.stores["south"], text.replace(said, said.replace(said.split()[3], "xylophon")))
    with pytest.raises(UserError, match="you gave 11 words"):
        receipt.check(world.stores["south"], text.replace(said, said.rpartition(" ")[0]))


@pytest.mark.parametrize(
    "text",
    [
        *("", "\0" * 99, "RELAY RECEIPT", "study: vessels\n" * 1000, "a:" * 2**15),
        *("a" * 2**16, "study: " + " " * 60_000 + "x", "study:" + "\t \t" * 20_000),
    ],
)
def test_no_receipt(world: World, text: str) -> None:
    with pytest.raises(BadDocument, match="this receipt is incomplete"):
        receipt.check(world.stores["south"], text)


def test_a_receipt_is_short(world: World) -> None:
    text = receipt.write(world.stores["east"], 2).text()
    receipt.check(world.stores["south"], text + "\n" * (receipt.MAX_TEXT - len(text)))
    with pytest.raises(BadDocument, match="65537 characters; the limit is 65536"):
        receipt.check(world.stores["south"], text + "\n" * (receipt.MAX_TEXT - len(text) + 1))


@pytest.mark.parametrize(
    ("line", "why"),
    [
        ("study:     vessels", UserError),
        ("in words:", UserError),
        ("what:", BadDocument),
        ("time:", None),
        ("leg:", BadDocument),
    ],
)
def test_what_a_receipt_says_is_shown_plainly(world: World, line: str, why: type[Exception] | None) -> None:
    """Somebody else wrote it: nothing of it paints the screen."""
    text = receipt.write(world.stores["east"], 2).text()
    evil = text.replace(line, f"{line} \x1b[2J\x9b8m\u202e")
    if why is None:
        shown = receipt.check(world.stores["south"], evil)
    else:
        with pytest.raises(why) as caught:
            receipt.check(world.stores["south"], evil)
        shown = str(caught.value)
    assert shown.isprintable()
    assert r"\x1b[2j" in shown.lower() or line in ("leg:", "what:")


@pytest.mark.parametrize(
    ("line", "instead"),
    [
        ("made by:   south", "made by:   north"),
        ("handed to: east", "handed to: mallory"),
        ("roster:    1", "roster:    7"),
        ("taken in by", "eaten by"),
        ("at:        east", "at:        north"),
    ],
)
def test_a_receipt_that_repeats_the_statement_wrongly(world: World, line: str, instead: str) -> None:
    text = receipt.write(world.stores["east"], 2).text()
    assert line in text
    with pytest.raises(BadDocument, match="receipt"):
        receipt.check(world.stores["south"], text.replace(line, instead))


def test_as_people_type_it(world: World) -> None:
    """Spaces at the ends, and lines of mail around it."""
    text = receipt.write(world.stores["east"], 2).text()
    mangled = "> hello\r\n" + "".join(f"{line}  \r\n" for line in text.splitlines())
    receipt.check(world.stores["south"], mangled)


@pytest.mark.parametrize(("site", "leg"), [("north", 2), ("east", 1), ("south", 3)])
def test_legs_that_did_not_pass_here(site: str, leg: int, world: World) -> None:
    with pytest.raises(UserError, match=f"no leg {leg}"):
        receipt.write(world.stores[site], leg)


def test_the_folder_is_gone(world: World) -> None:
    (world.stores["east"].received(2) / "statement.dsse.json").unlink()
    with pytest.raises(UserError, match="its files are not in"):
        receipt.write(world.stores["east"])


def test_an_own_receipt_witnesses_the_ledger(world: World) -> None:
    """The ledger goes on; the line that was there when the receipt was printed stays."""
    store = world.stores["south"]
    text = receipt.write(store, 2).text()
    assert f"ledger:    {len(store.ledger.lines())} {store.ledger.digests()[-1]}" in text.splitlines()
    store.ledger.append("sent", world.now, leg=2, statement="0" * 64, files=[])
    assert "the hand-over known here" in receipt.check(store, text)


def test_a_ledger_that_was_put_back_with_its_head_contradicts_the_witness(world: World) -> None:
    store = world.stores["south"]
    older = {path: path.read_bytes() for path in (store.ledger.path, store.ledger.head)}
    store.ledger.append("sent", world.now, leg=2, statement="0" * 64, files=["a"])
    text = receipt.write(store, 2).text()
    for path, data in older.items():
        path.write_bytes(data)
    assert store.ledger.lines(), "on its own the older ledger is whole"
    with pytest.raises(DamagedLedger, match="rolled back or rewritten"):
        receipt.check(store, text)
    store.ledger.append("sent", world.now, leg=2, statement="0" * 64, files=["b"])
    with pytest.raises(DamagedLedger, match="rolled back or rewritten"):
        receipt.check(store, text)


@pytest.mark.parametrize("said", ["", "0 " + "a" * 64, "3", "x " + "a" * 64, "3 " + "a" * 63, "9999999 " + "a" * 64])
def test_a_ledger_line_that_is_none(world: World, said: str) -> None:
    own = receipt.write(world.stores["east"], 2)
    with pytest.raises(BadDocument, match="receipt"):
        receipt.check(world.stores["south"], own.text().replace(f"{own.lines} {own.head}", said))


# -- of a share ------------------------------------------------------------------------------------------------------


@pytest.fixture
def shared(tmp_path: Path) -> World:
    """A study that has ended; north has shared the model of east with a hospital outside it."""
    world = World.with_reader(tmp_path / "world")
    _give(world, "north")
    return world


def _give(world: World, site: str) -> None:
    reader, store = world.keys["outside"].identity, world.stores[site]
    found = sharing.shareable(store, reader)
    world.deliver(sharing.share(store, world.keys[site], reader, found, world.stick)[0], "outside")


def test_of_a_share_at_every_site_that_knows_the_leg(shared: World) -> None:
    """It says who shared it, with whom, which leg and which copy; the ledger of whoever shared it confirms that."""
    text = receipt.write(shared.stores["outside"]).text()
    assert "shared by: north" in text.splitlines()
    said = receipt.check(shared.stores["north"], text)
    assert "the ledger of north knows the copy that north shared with outside" in said
    assert "taken in by outside" in said
    assert "the ledger of outside knows the copy" in receipt.check(shared.stores["outside"], text)
    assert "which the ledger of north must show" in receipt.check(shared.stores["east"], text)
    assert "shared by" not in receipt.write(shared.stores["north"]).text()


def test_of_a_second_share(shared: World) -> None:
    first = receipt.write(shared.stores["outside"]).text()
    shared.now += DAY
    _give(shared, "east")
    second = receipt.write(shared.stores["outside"]).text()
    assert "shared by: east" in second.splitlines()
    for name, text in (("north", first), ("east", second)):
        assert f"the ledger of {name} knows" in receipt.check(shared.stores[name], text)


def test_of_a_share_before_the_ledger_kept_its_digest(shared: World) -> None:
    store = shared.stores["north"]
    text = receipt.write(shared.stores["outside"]).text()
    lines = [line for line in store.ledger.lines() if line.event != "shared"]
    (old,) = (line for line in store.ledger.lines() if line.event == "shared")
    store.ledger.put_aside(shared.now)
    for line in (*lines, old):
        store.ledger.append(line.event, shared.now, **{k: v for k, v in line.facts.items() if k != "share"})
    assert "says the ledger of north, but not which one" in receipt.check(store, text)


@pytest.mark.parametrize(
    ("line", "instead", "says"),
    [
        ("shared by: north", "shared by: mallory", "only a site of the study can share"),
        ("shared by: north", "", "incomplete"),
        ("\nshare:", "\nshape:", "incomplete"),
        ("\nshare:     ", "\nshare:     0", "incomplete"),
        ("at:        outside", "at:        mallory", "not in north's ledger"),
        ("at:        outside", "at:        south", "not in north's ledger"),
        ("what:      taken in by", "what:      signed and sent by", "only a hospital outside it"),
        ("handed to: ", "handed to: mallory ", "its statement says"),
    ],
)
def test_of_a_share_that_was_not_made(shared: World, line: str, instead: str, says: str) -> None:
    text = receipt.write(shared.stores["outside"]).text()
    assert line in text
    with pytest.raises(BadDocument, match=says):
        receipt.check(shared.stores["north"], text.replace(line, instead))


def test_another_copy_than_the_one_that_was_shared(shared: World) -> None:
    text = receipt.write(shared.stores["outside"]).text()
    share = next(line for line in text.splitlines() if line.startswith("share:"))
    with pytest.raises(BadDocument, match="not in north's ledger"):
        receipt.check(shared.stores["north"], text.replace(share, f"share:     {'a' * 64}"))


def test_of_a_share_without_what_was_shared(shared: World) -> None:
    (shared.stores["outside"].received(3) / "share.dsse.json").write_bytes(b"{}")
    with pytest.raises(UserError, match=r"share\.dsse\.json can't be read"):
        receipt.write(shared.stores["outside"])


@pytest.mark.parametrize(
    ("line", "instead", "site", "says"),
    [
        ("at:        outside", "at:        south", "east", "only a hospital outside it"),
        ("shared by: north", "shared by: mallory", "outside", "only a site of the study can share"),
    ],
)
def test_of_a_share_that_is_none_elsewhere(shared: World, line: str, instead: str, site: str, says: str) -> None:
    text = receipt.write(shared.stores["outside"]).text()
    assert line in text
    with pytest.raises(BadDocument, match=says):
        receipt.check(shared.stores[site], text.replace(line, instead))


def test_of_a_share_with_a_hospital_that_has_joined_since(shared: World) -> None:
    text = receipt.write(shared.stores["outside"]).text()
    shared.amend(3, ["north", "south", "east", "outside"], add=[shared.keys["outside"].identity])
    assert shared.roster.order[-1] == "outside"
    for site, says in (("north", "of north knows"), ("outside", "of outside knows"), ("east", "which the ledger of")):
        assert says in receipt.check(shared.stores[site], text)


def test_of_a_share_by_a_site_that_has_left_since(tmp_path: Path) -> None:
    world = World(tmp_path / "world", ("north", "south", "east", "west"), order=("north", "south", "east"))
    world.with_policy(install=["north", "south", "east", "west"], share="sites")
    world.run(2)
    last = world.make(3)
    for site in ("north", "west"):
        world.deliver(last, site)
    world.keys["outside"] = world.new_keys("outside")
    world.open_store("outside", world.rosters[2])
    _give(world, "west")
    text = receipt.write(world.stores["outside"]).text()
    world.amend(3, ["north", "west", "outside"], drop=["west"])
    assert "west" not in [site.name for site in world.roster.sites]
    for site, says in (("west", "of west knows"), ("outside", "of outside knows"), ("north", "which the ledger of")):
        assert says in receipt.check(world.stores[site], text)
