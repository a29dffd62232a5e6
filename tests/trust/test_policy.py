"""What the coordinator allows is held on both sides: it does not leave, and it is not taken in."""

from __future__ import annotations

from typing import Any

import pytest

from relay.bundle import manifest
from relay.bundle.documents import disclosed
from relay.errors import UserError
from relay.exchange import drafting, receiving
from relay.exchange.expected_config import ExpectedConfig
from relay.trust.document import canonical, digest, stamp
from relay.trust.policy import Policy
from relay.trust.refusals import BadDocument, ConfigMismatch, PolicyBreach
from tests.relays import DATA, DAY, EXPECTED, NET, At, World, contents, packed, sealed

EVERYONE = ["north", "south", "east"]


def under(at: At, **changes: Any) -> World:
    world = at(0)
    world.with_policy(install=EVERYONE, **changes)
    return world


@pytest.mark.parametrize(
    ("policy", "leg", "says"),
    [
        ({"min_samples": 20}, {}, "the minimum is 20"),
        ({"min_samples": 17, "sample_counts": "exact"}, {"samples": 16}, "16 training samples"),
        ({"max_bundle_bytes": 3000}, {"memory": None}, "the limit is 3000"),
    ],
)
def test_it_does_not_leave(policy: dict[str, Any], leg: dict[str, Any], says: str, at: At) -> None:
    world = under(at, **policy)
    folder, before = world.train(1, **leg), contents(world.stick)
    with pytest.raises(PolicyBreach, match=says) as caught:
        drafting.draft(world.stores["north"], folder)
    assert "roster 2" in str(caught.value)
    assert not world.stores["north"].ledger.record().signed
    assert contents(world.stick) == before


@pytest.mark.parametrize(
    ("policy", "says"),
    [
        ({"min_samples": 24}, "trained on 16 samples"),
        ({"expires_days": 30}, "which is longer than 30 days"),
    ],
)
def test_it_is_not_taken_in(policy: dict[str, Any], says: str, at: At) -> None:
    """North's relay is a dishonest one: it does not look at the policy of roster 2, under which it signs."""
    world = at(1)
    data = world.with_policy(install=["south"], **policy)
    with world.forged(1, signer="north") as parts:
        parts.files["rosters/0002.dsse.json"] = data
        payload = world.stores["south"].trusted
        assert payload is not None
        parts.claim["roster"] = {"version": 2, "sha256": payload.digest}
    world.refuses(parts.bundle, "south", PolicyBreach, "leg 1 by north", "roster 2", says)


@pytest.mark.parametrize("sealed", [True, False])
def test_the_largest_bundle_is_the_file_on_the_stick(sealed: bool, at: At) -> None:
    """What is a byte too large is not put there; what is put there is not too large at the other end."""
    world = under(at, sealed=sealed)
    size = world.make(1).stat().st_size
    (world.bundle(1)).unlink()
    world.with_policy(install=["north"], max_bundle_bytes=size - 200)
    with pytest.raises(PolicyBreach, match=f"the limit is {size - 200}"):
        world.put(1, world.folder / "north" / "handover_1")
    assert not list(world.stick.iterdir())
    world.with_policy(install=["north"], max_bundle_bytes=size + 3000)
    world.deliver(world.put(1, world.folder / "north" / "handover_1"), "south")


def test_too_large_a_file_is_not_even_opened(at: At) -> None:
    world = at(1)
    world.with_policy(install=["south"], max_bundle_bytes=3000)
    error = world.refuses(world.bundle(1), "south", PolicyBreach, "vessels.leg-1.north.relay.age", "3000")
    assert "first install that roster" in error.advice()


def test_not_sealed_where_the_policy_says_so(at: At) -> None:
    world = under(at, sealed=False)
    bundle = world.make(1)
    assert bundle.suffix == ".relay"
    world.deliver(bundle, "south")


@pytest.mark.parametrize(("samples", "rounded"), [(8, 8), (11, 8), (12, 16), (22, 16), (23, 32), (1000, 1024)])
def test_counts_are_rounded(samples: int, rounded: int, at: At) -> None:
    world = at(0)
    found = world.deliver(world.make(1, samples=samples), "south")
    assert found.claim.samples == rounded
    assert disclosed(rounded, Policy()) == rounded


def test_counts_are_exact_where_the_policy_says_so(at: At) -> None:
    world = under(at, sample_counts="exact")
    world.make(1, samples=1001)
    with world.forged(1) as parts:
        assert parts.claim["samples"] == 1001
        assert parts.json("data-card.json")["images"]["train"] == 1001


@pytest.mark.parametrize(("samples", "fine"), [(9, False), (10, True), (11, True), (12, True)])
def test_enough_samples_are_enough_although_rounded(samples: int, fine: bool, at: At) -> None:
    """10 are needed; 10 and 11 are told as 8, and 9 is, too: the sender knows the truth, and says no."""
    world = under(at, min_samples=10)
    if fine:
        world.deliver(world.make(1, samples=samples), "south")
    else:
        with pytest.raises(PolicyBreach):
            world.make(1, samples=samples)


@pytest.mark.parametrize("way", ["hidden", "claimed"])
def test_what_is_said_of_the_memory_is_so(way: str, at: At) -> None:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        if way == "hidden":
            parts.claim["handover"]["memory"] = None
        else:
            for name in manifest.KEPT:
                del parts.files[name]
    world.refuses(parts.bundle, "south", PolicyBreach, "memory")


def test_what_is_said_of_the_weights_is_so(at: At) -> None:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.lies = True
        parts.claim["handover"]["model"]["bytes"] += 1
    world.refuses(parts.bundle, "south", PolicyBreach, "model.safetensors has", "its statement says")


def test_same_config(at: At) -> None:
    world = under(at, same_config=True)
    world.deliver(world.make(1), "south")
    world.make(2, config={"train.lr": 0.2})
    other = ExpectedConfig(NET, DATA, digest(canonical({"train.lr": 0.2})))
    world.refuses(world.bundle(2), "east", PolicyBreach, "leg 2 by south", "different configs", fit=other)


def test_same_config_as_here(at: At) -> None:
    world = under(at, same_config=True)
    bundle = world.make(1)
    world.refuses(bundle, "south", ConfigMismatch, "scientific config", fit=ExpectedConfig(NET, DATA, "0" * 64))
    world.deliver(bundle, "south")


@pytest.mark.parametrize(
    ("fit", "says"),
    [
        (ExpectedConfig({**NET, "name": "V-Net"}, DATA, EXPECTED.config), "model.name is 'U-Net' there, 'V-Net' here"),
        (ExpectedConfig({"name": "U-Net", "kwargs": {"depth": 5}}, DATA, EXPECTED.config), "model.kwargs"),
        (ExpectedConfig(NET, {**DATA, "channels": 1}, EXPECTED.config), "data.channels is 3 there, 1 here"),
        (ExpectedConfig(NET, {**DATA, "intensity_range": [0.0, 1.0]}, EXPECTED.config), "data.intensity_range"),
        (ExpectedConfig(NET, {**DATA, "steps": [], "slices": None}, EXPECTED.config), "data.steps"),
        (ExpectedConfig(NET, {**DATA, "more": 1}, EXPECTED.config), "data.more is None there, 1 here"),
    ],
)
def test_configs_that_do_not_fit(fit: ExpectedConfig, says: str, at: At) -> None:
    world = at(1)
    world.refuses(world.bundle(1), "south", ConfigMismatch, says, fit=fit)
    world.deliver(world.bundle(1), "south", fit=None)


@pytest.mark.parametrize("part", [[], "x" * 10**4, None, {"name": {"deep": 1}}, {"\x1b[2J": 1}])
def test_facts_of_odd_kinds(part: object, at: At) -> None:
    world = at(1)
    with world.forged(1, signer="north") as parts:
        parts.put("handover.json", {"format": 1, "model": part, "data": part})
    world.refuses(parts.bundle, "south", BadDocument, "handover.json of leg 1 does not match its schema")


def test_verifying_holds_the_policy_too(at: At) -> None:
    world = at(1)
    with world.forged(1, to=[]) as parts:
        pass
    with pytest.raises(PolicyBreach, match="not sealed"):
        receiving.verify(world.stores["south"], None, parts.bundle)
    with pytest.raises(UserError, match="is sealed; opening it needs a site's keys"):
        receiving.verify(world.stores["south"], None, world.bundle(1))


def test_good_for_so_long(at: At) -> None:
    world = under(at, expires_days=7)
    world.make(1)
    with world.forged(1, signer="north") as parts:
        assert parts.claim["expires"] == stamp(world.now + 7 * DAY)
        parts.claim["expires"] = stamp(world.now + 8 * DAY)
    world.refuses(parts.bundle, "south", PolicyBreach, "which is longer than 7 days")


@pytest.mark.parametrize("extra", [["other"], ["other", "other"], []])
def test_sealed_to_others_than_were_signed_for(extra: list[str], at: At) -> None:
    """To one key more, or twice to one in the place of a reader, which is one less."""
    world = at(0)
    other = world.new_keys("other")
    world.make(1)
    bare = packed(world.opened(1))
    south = world.keys["south"].identity.sealing
    path = world.stick / "resealed.relay"
    path.write_bytes(sealed(bare, south, *[other.identity.sealing for _ in extra]))
    if not extra:
        world.deliver(path, "south")
        return
    world.refuses(path, "south", PolicyBreach, f"it is sealed to {1 + len(extra)} recipient(s), but was signed for 1")


def test_where_nothing_need_be_sealed_more_may_open_it(at: At) -> None:
    world = at(0)
    world.with_policy(install=["north", "south", "east"], sealed=False)
    world.make(1)
    path = world.stick / "resealed.relay"
    keys = [world.keys[name].identity.sealing for name in ("south", "north")]
    path.write_bytes(sealed(packed(world.opened(1)), *keys))
    world.deliver(path, "south")
