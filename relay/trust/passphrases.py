"""Secret files, and where a passphrase comes from: a prompt, a file or the environment, never an argument."""

from __future__ import annotations

import os
import stat
import sys
from getpass import getpass
from pathlib import Path

from relay.errors import UserError, typed

PASSPHRASE, PASSPHRASE_FILE = "RELAY_PASSPHRASE", "RELAY_PASSPHRASE_FILE"
MIN_LENGTH = 8
"""Minimum length of a new passphrase, in characters."""


def passphrase(file: Path | None = None, confirm: bool = False, again: bool = False) -> str:
    """The passphrase: from this file, else RELAY_PASSPHRASE, else the file RELAY_PASSPHRASE_FILE, else a prompt.

    Args:
        confirm: ask twice at the prompt, as for new keys.
        again: say at the prompt that the last one was wrong.

    Raises:
        UserError: there is no terminal, the file can't be read, others can read it, or it is empty.
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
    """Where :func:`passphrase` takes it from, in words; None if it asks at the prompt."""
    if file is not None:
        return f"the file {file}"
    if os.environ.get(PASSPHRASE):
        return f"the environment variable {PASSPHRASE}"
    named = os.environ.get(PASSPHRASE_FILE)
    return f"the file {named}, set in {PASSPHRASE_FILE}" if named else None


def _readable(text: str, where: str) -> str:
    if not text or not text.isprintable():
        raise UserError(
            f"the passphrase from {where} is empty or has characters that can't be typed; use one line of text"
        )
    return text


def _ask(confirm: bool, again: bool) -> str:
    if sys.stdin is None or not sys.stdin.isatty():
        raise UserError(
            "a passphrase is needed, but there is no terminal to ask for it",
            f"Run the command in a terminal. Or put the passphrase in a file that only you can read, and name it "
            f"with --passphrase-file or {PASSPHRASE_FILE}. Or set {PASSPHRASE}.",
        )
    try:
        given = getpass("That is not the passphrase of these keys. Passphrase: " if again else "Passphrase: ")
        if confirm and getpass("Type it again: ") != given:
            raise UserError("the two passphrases don't match", "Run the command again.")
    except EOFError as error:
        raise UserError("no passphrase was typed") from error
    return given


def long_enough(given: str) -> str:
    """A new passphrase, unchanged, if it is long enough.

    Raises:
        UserError: it has fewer than 8 characters.
    """
    if len(given) < MIN_LENGTH:
        raise UserError(
            f"the passphrase has {len(given)} characters; it needs at least {MIN_LENGTH}",
            "Five or six random words are strong and easy to remember.",
        )
    return given


def only_mine(path: Path, cure: str = "Put the passphrase in a file, on one line, and name that file.") -> bytes:
    """The content of a secret file.

    Args:
        cure: what to do if it is not a file.

    Raises:
        UserError: it can't be read, or other users can read it.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # reading a pipe would wait for someone to write to it
            raise UserError(f"{path} is not a file", cure)
        with path.open("rb") as file:
            if os.name == "posix" and (mode := os.fstat(file.fileno()).st_mode & 0o777) & 0o077:
                raise UserError(f"others can read {path} (mode {mode:o})", f"Run: {typed('chmod', '600', path)}")
            return file.read()
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}", "Check the path.") from error
