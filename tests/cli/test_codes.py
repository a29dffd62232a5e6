"""The same fault ends with the same exit code in every command; and what is printed to be typed can be typed."""

from __future__ import annotations

import os
import re
import shlex
from collections.abc import Iterator
from datetime import datetime, timezone
from pathlib import Path

import pytest

from tests import relays
from tests.cli.typed import Done, typed
from tests.relays import DAY, World

CONFIG = ["train", "adopt", "predict", "compare", "rehearse -o stick", "receive", "send"]
HOME = [
    "receipt",
    "ledger",
    "verify bundle",
    "receive bundle",
    "send -o stick",
    "roster show",
    "roster export -o stick",
]
HOME += ["roster show", "roster export -o stick", "roster amend --done 0 -o stick"]
HOME += ["roster make request --order south -o stick"]
BUNDLE = ["verify", "inspect", "receive"]
PAPER = ["roster install", "roster show", "request -o stick", "verify --receipt"]
LEDGER = ["receipt", "ledger", "receive bundle", "send -o stick --yes", "verify bundle"]
CODES = {
    "no such config": (2, [f"{command} -c absent" for command in CONFIG]),
    "a broken config": (2, [f"{command} -c broken.yaml" for command in CONFIG]),
    "an unknown option": (2, [f"{command} --absent" for command in [*CONFIG, *HOME, *BUNDLE, *PAPER]]),
    "no home": (2, [f"{command} --home absent" for command in HOME]),
    "no such file": (2, [f"{command} absent" for command in [*BUNDLE, *PAPER]]),
    "a folder": (2, [f"{command} folder" for command in [*BUNDLE, *PAPER]]),
    "a pipe": (2, [f"{command} pipe" for command in [*BUNDLE, *PAPER]]),
    "no folder to write to": (2, [f"{command} -o absent" for command in ("invite new", "roster export", "send")]),
    "an empty file": (3, [f"{command} empty" for command in [*BUNDLE, *PAPER]]),
    "another file": (3, [f"{command} other" for command in [*BUNDLE, *PAPER]]),
    "a damaged own file": (2, [f"{command} --home damaged" for command in ("keys show", "receipt", "receive bundle")]),
    "a changed ledger": (3, [f"{command} --home cut" for command in LEDGER]),
    "a roster that has ended": (3, ["verify late --home later", "receive late --home later"]),
    "a leg that is too old": (3, ["send -o stick --yes --home old"]),
}
"""What is wrong; the exit code; commands in which it can be."""


@pytest.fixture(scope="module")
def faults(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Homes, bundles and files with which something is wrong."""
    folder = tmp_path_factory.mktemp("faults")
    now = datetime.now(timezone.utc).replace(microsecond=0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(relays, "START", now - 400 * DAY)
        past = World(folder / "past")
        past.run(2, last=False)
        patch.setattr(relays, "START", now)
        world = World(folder)
        world.run(2, last=False)
    world.bundle(2).rename(folder / "bundle")
    past.bundle(2).rename(folder / "late")
    past.folder.joinpath("east").rename(folder / "later")
    past.folder.joinpath("south").rename(folder / "old")
    world.copy(folder / "twin").folder.joinpath("east").rename(folder / "damaged")
    (folder / "damaged/identity.json").write_bytes(b"")
    world.copy(folder / "twin2").folder.joinpath("south").rename(folder / "cut")
    (folder / "cut/studies/vessels/ledger.jsonl").write_bytes(b"")
    (folder / "broken.yaml").write_text("common: [")
    (folder / "other").write_bytes(bytes(range(256)))
    (folder / "empty").touch()
    (folder / "folder").mkdir()
    if hasattr(os, "mkfifo"):
        os.mkfifo(folder / "pipe")
    else:
        (folder / "pipe").mkdir()
    return folder


@pytest.mark.parametrize("fault", CODES)
def test_a_fault_has_one_exit_code(fault: str, faults: Path) -> None:
    code, commands = CODES[fault]
    ends = {command: typed(*command.split(), cwd=faults, RELAY_HOME=str(faults / "east")) for command in commands}
    assert {command: done.code for command, done in ends.items()} == dict.fromkeys(commands, code)
    for command, done in ends.items():
        assert ("what to do:" in done.err) != ("Usage:" in done.err), command


# -- what is printed to be typed -------------------------------------------------------------------------------------


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A study in a folder whose name a shell would take apart."""
    monkeypatch.setattr(relays, "START", datetime.now(timezone.utc).replace(microsecond=0))
    world = World(tmp_path / "it's a $HOME; of 'one'")
    world.run(2, last=False)
    return world


def told(done: Done) -> Iterator[list[str]]:
    """Each command that was printed with a path, as a shell takes it apart."""
    for line in (done.out + done.err).splitlines():
        for found in re.finditer(r"\brelay (?=[a-z])", line):
            rest = line[found.end() :].partition(" relay ")[0]
            if "$HOME; of" in rest:
                yield shlex.split(rest)


def test_printed_commands_can_be_pasted(odd: World) -> None:
    home, south = odd.folder / "east", odd.folder / "south"
    verified = typed("verify", odd.bundle(2), "--home", home)
    (receive,) = told(verified)
    assert receive == ["receive", str(odd.bundle(2)), "-s", "vessels", "--home", str(home)]
    received = typed(*receive)
    assert received.code == 0, received.err
    (receipt,) = told(received)
    assert receipt == ["receipt", "--leg", "2", "-s", "vessels", "--home", str(home)]
    assert "RELAY RECEIPT" in typed(*receipt).out
    sent = typed("send", "-o", odd.stick, "--yes", "--home", south)
    (receipt,) = told(sent)
    assert typed(*receipt).code == 0


def test_advice_can_be_pasted(odd: World) -> None:
    home = odd.folder / "east"
    folder = typed("receipt", "--leg", "2", "-o", odd.stick, "--home", odd.folder / "south")
    assert folder.err.partition("Name the file: ")[2].strip() == shlex.join(["-o", str(odd.stick / "receipt.txt")])
    there = typed("keys", "new", "--name", "east", "--home", home, RELAY_PASSPHRASE="not a short one")
    shown, again = shlex.split(there.err.partition("(relay ")[2].partition(" shows")[0]), list(told(there))[-1]
    assert shown == ["keys", "show", "--home", str(home)]
    assert again == ["keys", "new", "--replace", "--home", str(home), "--name", "NAME"]
    (home / "keys.json").unlink()
    lost = typed("receive", odd.bundle(2), "--home", home)
    (replace,) = told(lost)
    assert replace == ["keys", "new", "--replace", "--name", "east", "--home", str(home)]


def test_commands_for_the_usual_home_are_short(odd: World) -> None:
    done = typed("verify", odd.bundle(2), RELAY_HOME=str(odd.folder / "east"))
    assert "--home" not in done.out
