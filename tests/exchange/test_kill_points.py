"""A command that is killed at any change of the disk can be run again, and ends as if nothing had happened."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from relay.exchange import drafting, receiving, sending
from relay.exchange.rebuilding import rebuild
from tests.relays import At, World, contents

CHANGES = ((Path, "replace"), (Path, "rename"), (shutil, "rmtree"))
SMALL = ((Path, "unlink"), (Path, "mkdir"))


class Killed(BaseException):
    """What no ``except Exception`` holds up."""


@contextmanager
def killed_at(number: int, changes: Sequence[tuple[object, str]]) -> Iterator[list[int]]:
    """Raise before the ``number``-th of these changes of the disk, and at all after it: a process that is gone cleans
    nothing up. 0 is never. Yields how many there were."""
    count = [0]

    def counted(change: Callable[..., object]) -> Callable[..., object]:
        def run(*args: object, **kwargs: object) -> object:
            count[0] += 1
            if 0 < number <= count[0]:
                raise Killed
            return change(*args, **kwargs)

        return run

    with pytest.MonkeyPatch.context() as patch:
        for owner, name in changes:
            patch.setattr(owner, name, counted(getattr(owner, name)))
        yield count


def send_again(world: World) -> None:
    """North signs leg 1 once more, under roster 2, and puts it on the stick."""
    store, own = world.stores["north"], world.keys["north"]
    drafted = drafting.draft(store, world.folder / "north" / "handover_1")
    sending.sign(store, own, drafted)
    sending.export(store, 1, world.stick)


def receive_first(world: World) -> None:
    world.deliver(world.bundle(1), "south")


def rebuild_south(world: World) -> None:
    (world.stores["south"].folder / "ledger.head").write_bytes(b"damaged")
    rebuild(world.stores["south"], world.keys["south"], [world.bundle(1)])


def prepared(at: At, what: Callable[[World], None]) -> World:
    world = at(1)
    if what is send_again:
        world.amend(1, readers=["east"])
        for name in ("north", "south"):
            world.stores[name].install(world.rosters[2])
    if what is rebuild_south:
        receive_first(world)
    return world


def check(world: World, what: Callable[[World], None]) -> None:
    if what is send_again:
        assert world.deliver(world.bundle(1), "south").claim.roster.version == 2
    receiving.reopen(world.stores["south"], 1)
    for name in ("north", "south"):
        assert world.stores[name].whole().newest == 1
        left = [path for path in contents(world.stores[name].folder) if ".old/" in path and "ledger" not in path]
        assert not left, "nothing is left beside"


@pytest.mark.parametrize("changes", [CHANGES, pytest.param((*CHANGES, *SMALL), marks=pytest.mark.slow)])
@pytest.mark.parametrize("what", [send_again, receive_first, rebuild_south])
def test_killed_anywhere_and_run_again(
    what: Callable[[World], None],
    changes: Sequence[tuple[object, str]],
    at: At,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    whole = prepared(at, what)
    world = whole.copy(tmp_path_factory.mktemp("whole"))
    with killed_at(0, changes) as count:
        what(world)
    assert count[0] >= 3
    for number in range(1, count[0] + 1):
        world = whole.copy(tmp_path_factory.mktemp("killed"))
        with killed_at(number, changes), pytest.raises(Killed):
            what(world)
        what(world)
        check(world, what)
