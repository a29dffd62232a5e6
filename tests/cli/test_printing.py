"""What other people have named is printed so that it can't pass for what this program says."""

from __future__ import annotations

from pathlib import Path

import pytest
from rich.console import Console

from relay.cli import ask
from relay.cli.top import warn
from relay.errors import MAX_SHOWN, shown
from relay.screen import Column, show_place, show_table, show_text
from tests.cli.test_exchange import Typed, start  # noqa: F401  (a fixture)

NAMES = [
    "z\nVerified: leg 9 of vessels",
    "z\x1b[31m red",
    "z\x1b]0;title\x07",
    "z\u202egpj",
    "z\r\nReceived: leg 9",
    "z\udcff",
    "z\x9b2J",
]


@pytest.mark.parametrize("name", NAMES)
def test_a_line_that_quotes_a_name_stays_one_line_of_plain_characters(
    name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    ask.say(f"Opening {name}")
    out = capsys.readouterr().out
    assert out.count("\n") == 1
    assert out.startswith("Opening z")
    assert out[:-1].isprintable()


@pytest.mark.parametrize("name", NAMES)
def test_an_error_that_quotes_a_name_has_only_its_own_lines(name: str) -> None:
    text = shown(f"2 problems in {name}:\n  - one\n  - two")
    assert text.count("\n") == 2
    assert text.replace("\n", "").isprintable()


def test_colons_in_names_are_no_emoji(capsys: pytest.CaptureFixture[str]) -> None:
    warn("a:b:c")
    show_text(Console(), "a:b:c")
    show_place(Console(), "Written", "a:b:c")
    show_table(Console(), "a:b:c", [Column("a:b:c")], [["a:b:c"]])
    printed = capsys.readouterr()
    assert (printed.out + printed.err).count("a:b:c") == 6


def test_an_error_is_no_longer_than_can_be_read() -> None:
    text = shown("x" * 3_200_000)
    assert len(text) < MAX_SHOWN + 100
    assert text.endswith(f"({3_200_000 - MAX_SHOWN} more characters)")


@pytest.mark.parametrize("name", ["z\nVerified: leg 9.relay.age", "z\x1b]0;x\x07.relay"])
@pytest.mark.parametrize("command", [["inspect"], ["verify"], ["receive"]])
def test_commands_about_a_bundle_of_such_a_name(
    start: None,  # noqa: F811
    command: list[str],
    name: str,
    tmp_path: Path,
) -> None:
    world = Typed(tmp_path)
    bundle = world.make(1)
    copy = bundle.with_name(name)
    copy.write_bytes(bundle.read_bytes())
    done = world.at("south", *command, copy)
    said = done.out + done.err
    assert "z\\n" in said or "z\\x1b" in said or done.code == 0
    assert not [line for line in said.splitlines() if line.startswith("Verified: leg 9") or not line.isprintable()]
