"""What people are told that a bundle can hold is what bundles and copies really hold, whatever their leg."""

from __future__ import annotations

import re
from pathlib import Path

from relay.bundle import manifest, meanings
from relay.exchange import sharing
from tests.relays import World, remembered, taken_apart, unsealed

LISTED = dict(meanings.listed())


def general(name: str) -> str:
    """An entry without its number."""
    return re.sub(r"/[0-9]{4}", "/NNNN", name)


def test_the_list_is_what_bundles_and_copies_hold(tmp_path: Path) -> None:
    world = World(tmp_path)
    world.with_policy(install=["north", "south", "east"], share="sites")
    bundles = []
    for leg, following in enumerate(("south", "east", "north"), 1):
        world.deliver(world.make(leg, cumulative=remembered(leg, "ewc", derived="weights", patients=0)), following)
        bundles.append(set(world.opened(leg)))
    world.with_policy(3, install=["north"], max_bundle_bytes=2**30)  # a copy has the newest roster, too
    outside = world.new_keys("clinic")
    copies = []
    for experts in (False, True):
        found = sharing.shareable(world.stores["north"], outside.identity, experts)
        path = sharing.share(world.stores["north"], world.keys["north"], outside.identity, found, world.stick)[0]
        copies.append(set(taken_apart(unsealed(path.read_bytes(), outside))))
    first, _, last = bundles
    bare, whole = copies
    assert not [name for name in first if name.startswith("chain/")]
    assert {manifest.earlier(2, manifest.EXPERT), manifest.earlier(1, manifest.MEMORY)} <= last
    assert bare < whole == last | {manifest.SHARE, manifest.roster(3)}
    there = {general(name) for names in (*bundles, *copies) for name in names}
    assert there == {*LISTED}
    for names in (*bundles, *copies):
        for name in names:
            assert meanings.meaning(name)
            assert meanings.in_short([name]) != name


def test_a_list_in_short_says_whose_each_file_is() -> None:
    names = ["manifest-sha256.txt", "rosters/0012.dsse.json", "chain/0003/expert.safetensors", "model.safetensors"]
    assert meanings.in_short(names) == "manifest, roster 12, model; of leg 3: expert"
    assert meanings.in_short([]) == ""
