"""relay share, and what the hospital that gets the model does with it, as typed."""

from __future__ import annotations

from datetime import datetime, timezone
from pathlib import Path

import pytest

from tests import relays
from tests.cli.typed import typed
from tests.relays import World

EXTRA = "card of the memory, memory, expert; " + "; ".join(
    f"of leg {leg}: card of the memory, memory, expert" for leg in (1, 2)
)
"""What only a copy with experts has."""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A study that has ended, today; and a hospital outside it, which has the roster."""
    monkeypatch.setattr(relays, "START", datetime.now(timezone.utc).replace(microsecond=0))
    monkeypatch.chdir(tmp_path)
    return World.with_reader(tmp_path / "world")


def home(world: World, name: str) -> tuple[str, ...]:
    return ("--home", str(world.folder / name), "-s", "vessels")


def test_share_receive_again_and_confirm(world: World) -> None:
    identity, stick = world.folder / "outside" / "identity.json", world.folder / "copies"
    stick.mkdir()
    share = ("share", "--to", identity, "-o", stick, "--yes")
    done = typed(*share, *home(world, "north"))
    assert done.code == 0, done.err
    assert "B  model.safetensors" in done.out
    assert f"stays here   {EXTRA}" in done.out
    done = typed("receive", stick, *home(world, "outside"))
    assert f"Not here: {EXTRA}." in done.out
    done = typed(*share, "--experts", *home(world, "east"))
    assert "replaces     vessels.leg-3.share-outside.relay.age, an earlier copy for outside" in done.out
    done = typed("receive", stick, *home(world, "outside"))
    assert "verified. It was received before." in done.out
    assert f"New with this copy: {EXTRA}." in done.out
    assert "Not here" not in done.out
    assert typed("receipt", "-o", "slip.txt", *home(world, "outside")).code == 0
    done = typed("verify", "--receipt", "slip.txt", *home(world, "east"))
    assert "The receipt is right: leg 3 of vessels, made by east, is the hand-over known here" in done.out
    assert "the ledger of east knows the copy that east shared with outside" in done.out
    papers = Path("papers")
    papers.mkdir()
    assert typed("dossier", "-o", papers, "--receipt", "slip.txt", *home(world, "east")).code == 0


def test_what_is_here_of_a_copy_is_told_as_it_is(world: World) -> None:
    """From an earlier copy, or nowhere because it was withdrawn."""
    identity, stick = world.folder / "outside" / "identity.json", world.folder / "copies"
    stick.mkdir()
    share = ("share", "--to", identity, "-o", stick, "--yes")
    for more in ((), ("--experts",), ()):
        assert typed(*share, *more, *home(world, "north")).code == 0
        done = typed("receive", stick, *home(world, "outside"))
    assert "It was received before." in done.out
    assert "New with this copy" not in done.out
    assert "Experts" not in done.out
    assert "Not here" not in done.out
    world.amend(3, install=["north", "outside"], withdraw=["south"])
    assert typed(*share, "--experts", *home(world, "north")).code == 0
    assert "Not here: of leg 2: expert." in typed("receive", stick, *home(world, "outside")).out
