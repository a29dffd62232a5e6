"""Which bundle on a stick is received: by names alone, and never another one than this site's next."""

from __future__ import annotations

from pathlib import Path

import pytest

from relay.errors import UserError
from relay.exchange.select_bundle import choose
from relay.exchange.store import StudyStore
from tests.relays import World


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def lay(world: World, *names: str) -> None:
    for name in names:
        (world.stick / name).write_bytes(b"not looked at")


def test_the_leg_before_the_next_turn_is_taken_not_the_newest(world: World) -> None:
    lay(world, "vessels.leg-1.north.relay.age", "vessels.leg-2.south.relay.age")
    assert choose(world.stores["south"], world.stick).name == "vessels.leg-1.north.relay.age"
    assert choose(world.stores["east"], world.stick).name == "vessels.leg-2.south.relay.age"


def test_once_its_turns_are_over_a_site_takes_the_last_leg(world: World) -> None:
    world.run(3)
    assert choose(world.stores["north"], world.stick) == world.bundle(3)


def test_volumes_are_one_bundle_and_names_may_be_in_capitals(world: World) -> None:
    lay(world, "VESSELS.LEG-1.NORTH.RELAY.AGE.001", "VESSELS.LEG-1.NORTH.RELAY.AGE.002")
    assert choose(world.stores["south"], world.stick).name.endswith(".001")


def test_the_site_whose_turn_it_was_comes_first_then_a_sealed_one(world: World) -> None:
    lay(world, "vessels.leg-1.east.relay.age", "vessels.leg-1.north.relay", "vessels.leg-1.north.relay.age")
    assert choose(world.stores["south"], world.stick).name == "vessels.leg-1.north.relay.age"


def test_other_studies_are_passed_over_and_named(world: World) -> None:
    lay(world, "hearts.leg-1.north.relay.age", "notes.txt")
    with pytest.raises(UserError, match=r"leg 1 \(by north\) of study vessels; there is: hearts.leg-1") as caught:
        choose(world.stores["south"], world.stick)
    assert "notes.txt" not in str(caught.value)
    assert "right stick" in caught.value.advice()


def test_a_long_list_is_cut_and_an_empty_stick_said(world: World) -> None:
    with pytest.raises(UserError, match="there is: no bundle"):
        choose(world.stores["south"], world.stick)
    lay(world, *(f"vessels.leg-{leg}.east.relay.age" for leg in range(2, 10)))
    with pytest.raises(UserError, match=r"vessels.leg-5.east.relay.age and 3 more"):
        choose(world.stores["south"], world.stick)


def test_nothing_is_received_before_the_first_leg(world: World) -> None:
    lay(world, "vessels.leg-1.north.relay.age")
    with pytest.raises(UserError, match="nothing to receive before it") as caught:
        choose(world.stores["north"], world.stick)
    assert "relay send" in caught.value.advice()


def test_a_leg_can_be_asked_for(world: World) -> None:
    world.run(3)
    assert choose(world.stores["south"], world.stick, leg=1) == world.bundle(1)


def test_without_a_roster_the_newest_is_taken(world: World) -> None:
    lay(world, "vessels.leg-1.north.relay.age", "vessels.leg-2.south.relay.age")
    store = StudyStore(world.folder / "new", world.study)
    store.pin(world.coordinator.identity)
    assert choose(store, world.stick).name == "vessels.leg-2.south.relay.age"


def test_a_stick_that_is_not_in_is_an_error(world: World) -> None:
    with pytest.raises(UserError, match="can't list"):
        choose(world.stores["south"], world.folder / "absent")
