"""Only the site whose leg it is can have signed it, with the key that the roster gives to it."""

from __future__ import annotations

import base64
import dataclasses
import json
from collections.abc import Callable
from typing import Any

import pytest

from relay.bundle.manifest import STATEMENT
from relay.errors import UserError
from relay.exchange import drafting
from relay.trust import request, statement
from relay.trust.document import canonical, stamp
from relay.trust.refusals import (
    BadDocument,
    BadRoster,
    BadSignature,
    CannotOpen,
    ExpiredKey,
    Refused,
    UnknownFormat,
    UnknownKey,
)
from relay.trust.roster import KIND as ROSTER_KIND, sign_roster
from tests.relays import DAY, At, World

Envelope = dict[str, Any]


def signed_twice(world: World, envelope: Envelope) -> None:
    other = json.loads(world.keys["south"].sign(base64.b64decode(envelope["payload"]), statement.KIND))
    envelope["signatures"] += other["signatures"]


def by_another_with_norths_id(world: World, envelope: Envelope) -> None:
    other = json.loads(world.keys["east"].sign(base64.b64decode(envelope["payload"]), statement.KIND))
    envelope["signatures"][0]["sig"] = other["signatures"][0]["sig"]


def of_another_payload(world: World, envelope: Envelope) -> None:
    other = json.loads(world.keys["north"].sign(b"{}", statement.KIND))
    envelope["signatures"][0]["sig"] = other["signatures"][0]["sig"]


def as_another_kind(world: World, envelope: Envelope) -> None:
    envelope.update(json.loads(world.keys["north"].sign(base64.b64decode(envelope["payload"]), ROSTER_KIND)))


def relabelled(world: World, envelope: Envelope) -> None:
    """Signed as a request of the site, shown as a statement: the kind is part of what is signed."""
    payload = base64.b64decode(envelope["payload"])
    envelope.update(json.loads(world.keys["north"].sign(payload, request.REQUEST)), payloadType=statement.KIND)


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda w, e: e["signatures"].clear(), BadDocument),
        (signed_twice, BadDocument),
        (by_another_with_norths_id, BadSignature),
        (of_another_payload, BadSignature),
        (as_another_kind, UnknownFormat),
        (relabelled, BadSignature),
        (lambda w, e: e["signatures"][0].update(sig="AAAA"), BadSignature),
        (lambda w, e: e["signatures"][0].update(keyid="0" * 64), UnknownKey),
        (lambda w, e: e["signatures"][0].update(keyid="north"), BadDocument),
        (lambda w, e: e["signatures"][0].update(keyid=e["signatures"][0]["keyid"].upper()), BadDocument),
        (lambda w, e: e["signatures"][0].update(more="1"), BadDocument),
        (lambda w, e: e.update(payload=e["payload"] + "\n"), BadDocument),
        (lambda w, e: e.update(payload="!"), BadDocument),
        (lambda w, e: e.update(more=1), BadDocument),
        (lambda w, e: e.pop("payloadType"), BadDocument),
    ],
)
def test_envelopes(change: Callable[[World, Envelope], None], why: type[Refused], at: At) -> None:
    world = at(1)
    with world.forged(1) as parts:
        envelope = parts.json(STATEMENT)
        change(world, envelope)
        parts.put(STATEMENT, envelope)
    world.refuses(parts.bundle, "south", why, "statement")


@pytest.mark.parametrize("signer", ["south", "east", "centre", "mallory"])
def test_nobody_signs_for_north(signer: str, at: At) -> None:
    world = at(1)
    world.keys |= {"centre": world.coordinator, "mallory": world.new_keys("mallory")}
    with world.forged(1, signer=signer, to=["south"]) as parts:
        pass
    world.refuses(parts.bundle, "south", UnknownKey, "north", world.keys[signer].identity.signing[:16])


@pytest.mark.parametrize(
    "site", ["mallory", "centre", "North", "", 7, None, ["north"], "north\x1b[2Jsigned", "n" * 10**5]
)
def test_a_site_that_there_is_not(site: object, at: At) -> None:
    """Whatever stands there, it can't do anything to the terminal that shows it."""
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.claim["site"] = site
    world.refuses(parts.bundle, "south", UnknownKey if isinstance(site, str) else BadDocument, "statement")


def test_the_coordinator_is_pinned(at: At) -> None:
    """A whole relay of somebody else, with the same names: south believes none of it."""
    world, other = at(1), World(at(0).folder / "other")
    path = world.reseal(b"", "south")
    other.keys["south"] = world.keys["south"]
    other.open_store("south", other.amend(0, ["north"], add=[world.keys["south"].identity]))
    path.write_bytes(other.make(1).read_bytes())
    world.refuses(path, "south", BadRoster, "centre")
    with pytest.raises(BadRoster, match="is pinned with the fingerprint"):
        world.stores["south"].pin(other.coordinator.identity)


def test_a_roster_that_only_looks_like_the_coordinators(at: At) -> None:
    world = at(1)
    envelope = json.loads(world.rosters[1])
    payload = json.loads(base64.b64decode(envelope["payload"]))
    payload["policy"]["sealed"] = False
    envelope["payload"] = base64.b64encode(canonical(payload)).decode()
    with world.forged(1, signer="north", to=[]) as parts:
        parts.put("rosters/0001.dsse.json", envelope)
    world.refuses(parts.bundle, "south", BadSignature, "roster")


def test_the_coordinator_keeps_name_and_sealing_key(at: At) -> None:
    world = at(1)
    twin = dataclasses.replace(world.new_keys("hub"), signing=world.coordinator.signing)
    identity = dataclasses.replace(twin.identity, signing=world.coordinator.identity.signing)
    twin = dataclasses.replace(twin, identity=identity)
    data = sign_roster(dataclasses.replace(world.roster, version=2, done=(0, 0), coordinator=identity), twin)
    with pytest.raises(BadRoster, match="whose name or sealing key differs"):
        world.stores["south"].install(data)


def test_keys_live_so_long(at: At) -> None:
    """What was signed in time stands for ever; nothing is signed after."""
    world = at(0)
    world.keys["north"] = world.new_keys("north", years=0.02)  # 7.3 days
    world.open_store("north", world.amend(0, add=[world.keys["north"].identity]))
    late = world.copy(world.folder.with_name("late"))
    folder = late.train(1)
    late.now += 8 * DAY
    with pytest.raises(ExpiredKey, match="the keys of north expired"):
        late.put(1, folder)
    bundle = world.make(1)
    world.now += 8 * DAY
    world.deliver(bundle, "south")
    world.deliver(world.make(2), "east")


def test_a_link_signed_after_its_keys_last_day(at: At) -> None:
    world = at(0)
    world.keys["north"] = world.new_keys("north", years=0.02)
    world.open_store("north", world.amend(0, add=[world.keys["north"].identity]))
    world.make(1)
    world.now += 10 * DAY
    with world.forged(1, signer="north") as parts:
        parts.claim["issued"] = stamp(world.now)
    first = parts
    world.deliver(world.bundle(1), "south")
    world.make(2)
    with world.forged(2, signer="south", name="second") as parts:
        for name in ("statement.dsse.json", "manifest-sha256.txt"):
            parts.files[f"chain/0001/{name}"] = first.files[name]
    world.refuses(parts.bundle, "east", ExpiredKey, "the statement of leg 1", "north")


def test_only_its_recipients_can_open_it(at: At) -> None:
    world = at(1)
    for name in ("north", "east"):
        world.refuses(world.bundle(1), name, CannotOpen)


def test_a_site_with_other_keys_than_the_rosters_does_not_sign(at: At) -> None:
    world = at(0)
    folder = world.train(1)
    world.keys["north"] = world.new_keys("north")
    world.open_store("north")
    with pytest.raises(UserError, match="are not those of north in roster 1"):
        drafting.draft(world.stores["north"], folder)
