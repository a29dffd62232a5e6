"""Where a passphrase comes from, and secret files: a prompt, a file or the environment, never an argument."""

from __future__ import annotations

import os
import stat
import sys
from getpass import getpass
from pathlib import Path

from relay.errors import UserError, typed

PASSPHRASE, PASSPHRASE_FILE = "RELAY_PASSPHRASE", "RELAY_PASSPHRASE_FILE"
MIN_LENGTH = 8
"""Fewest characters of a new passphrase."""


def passphrase(file: Path | None = None, confirm: bool = False, again: bool = False) -> str:
    """The passphrase: from this file, else RELAY_PASSPHRASE, else the file RELAY_PASSPHRASE_FILE, else a prompt.

    Args:
        confirm: ask twice at the prompt, as for new keys.
        again: say at the prompt that the one before was wrong.

    Raises:
        UserError: there is no way to ask, the file can't be read or others can read it, or it is empty.
    """
    if file is None and (given := os.environ.get(PASSPHRASE)):
        return _readable(given, PASSPHRASE)
    if file is None and (named := os.environ.get(PASSPHRASE_FILE)):
        file = Path(named)
    if file is not None:
        try:
            return _readable(only_mine(file).decode().removesuffix("\n").removesuffix("\r"), str(file))
        except UnicodeDecodeError as error:
            raise UserError(f"the passphrase in {file} is not UTF-8 text") from error
    return _readable(_ask(confirm, again), "the prompt")


def source(file: Path | None = None) -> str | None:
    """Where :func:`passphrase` takes it from, in words; None: it is asked for."""
    if file is not None:
        return f"the file {file}"
    if os.environ.get(PASSPHRASE):
        return f"the environment variable {PASSPHRASE}"
    named = os.environ.get(PASSPHRASE_FILE)
    return f"the file {named}, which {PASSPHRASE_FILE} names" if named else None


def _readable(text: str, where: str) -> str:
    if not text or not text.isprintable():
        raise UserError(f"the passphrase from {where} is empty, or has characters that can't be typed: use one line")
    return text


def _ask(confirm: bool, again: bool) -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        raise UserError(
            "a passphrase is needed, and there is no terminal to ask for it",
            f"Run it in a terminal, or put the passphrase into a file that only you can read and name it with "
            f"--passphrase-file or {PASSPHRASE_FILE}, or set {PASSPHRASE}.",
        )
    try:
        given = getpass("That is not the passphrase of these keys. Passphrase: " if again else "Passphrase: ")
        if confirm and getpass("The same again: ") != given:
            raise UserError("the two passphrases are not the same", "Run the command again.")
    except EOFError as error:
        raise UserError("no passphrase was typed") from error
    return given


def long_enough(given: str) -> str:
    """A new passphrase, as given.

    Raises:
        UserError: it has fewer than 8 characters.
    """
    if len(given) < MIN_LENGTH:
        raise UserError(
            f"the passphrase has {len(given)} characters; it needs at least {MIN_LENGTH}",
            "Five or six words taken at random are easy to remember, and good.",
        )
    return given


def only_mine(path: Path, cure: str = "Put the passphrase into a file, in one line, and name that.") -> bytes:
    """What is in a secret file.

    Args:
        cure: what to do where it is something else than a file.

    Raises:
        UserError: it can't be read, or users other than its owner can read it.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait for somebody to write
            raise UserError(f"{path} is not a file", cure)
        with path.open("rb") as file:
            if os.name == "posix" and (mode := os.fstat(file.fileno()).st_mode & 0o777) & 0o077:
                raise UserError(f"others can read {path} (mode {mode:o})", f"Run: {typed('chmod', '600', path)}")
            return file.read()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}", "Check the path.") from error
