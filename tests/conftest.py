"""Fixtures every theme shares."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import settings

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from tests.relays import At, World

settings.register_profile("relay", deadline=None)  # how long an example takes is the machine's business
settings.load_profile("relay")
os.environ.setdefault(
    "OMP_NUM_THREADS", "1"
)  # two busy threads on a shared machine wait for each other more than they work

MEMORY = Path("/dev/shm")
if (
    sys.platform == "linux"
    and MEMORY.is_dir()
    and shutil.disk_usage(MEMORY).free > 4 << 30
    and not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
):
    os.environ.setdefault("TMPDIR", str(MEMORY))  # relay flushes what it writes, and a disk takes its time for that
    tempfile.tempdir = None  # pytest has asked for it before

SHARED_DATA = Path(__file__).resolve().parents[2] / "shared" / "data"


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """The folder of real images beside the checkout; tests that need it skip where it is absent."""
    if not SHARED_DATA.is_dir():
        pytest.skip(f"the real images are not here: {SHARED_DATA}")
    return SHARED_DATA


@pytest.fixture(scope="session", autouse=True)
def age_itself() -> Iterator[Callable[[bytes, str], bytes]]:
    """Keys under a passphrase open at once (``tests/cheap_keys.py``); this is what makes them in earnest."""
    import pyrage

    from tests import cheap_keys

    real = pyrage.passphrase.encrypt
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pyrage.passphrase, "encrypt", cheap_keys.encrypt)
        yield real


@pytest.fixture(scope="session", autouse=True)
def _commands_are_built_once() -> Iterator[None]:
    """typer would build all of them for each that is typed, which takes longer than most of them."""
    from typer import testing

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(testing, "_get_command", cache(testing._get_command))
        yield


@pytest.fixture(autouse=True)
def _no_names_hidden(monkeypatch: pytest.MonkeyPatch) -> None:
    """What one test's data sets call their images is no name to the next test."""
    from relay import logs

    monkeypatch.setattr(logs, "_words", set())
    monkeypatch.setattr(logs, "_phrases", {})


@pytest.fixture(autouse=True)
def _no_log_left() -> Iterator[None]:
    """What one test's commands log to is closed before the next, and its folder may go."""
    from relay import logs

    before = {logger: [*logger.handlers] for logger in (logs.log, logs.WARNINGS)}
    yield
    for logger, handlers in before.items():
        for handler in [found for found in logger.handlers if found not in handlers]:
            logger.removeHandler(handler)
            handler.close()


@pytest.fixture(scope="session")
def _stages(tmp_path_factory: pytest.TempPathFactory) -> dict[int, World]:
    """The relay of north, south and east after so many legs: the last one lies on the stick, not received yet."""
    from tests.relays import World

    folder = tmp_path_factory.mktemp("relay")
    world = World(folder / "now")
    stages = {0: world.copy(folder / "0")}
    for leg in (1, 2, 3):
        if leg > 1:
            world.deliver(world.bundle(leg - 1), world.roster.order[leg - 1])
        world.make(leg)
        stages[leg] = world.copy(folder / str(leg))
    return stages


@pytest.fixture
def at(_stages: dict[int, World], tmp_path: Path) -> At:
    """``at(2)``: a world of one's own in which two legs were made; leg 1 was received, leg 2 lies on the stick."""
    return lambda leg: _stages[leg].copy(tmp_path / f"at_{leg}")
