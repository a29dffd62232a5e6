"""Questions, fingerprints, and text that is safe to print."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

import typer

from relay.errors import UserError, plain

if TYPE_CHECKING:
    from relay.trust import Identity


def say(*lines: str, err: bool = False) -> None:
    """Print lines. Any of them may quote untrusted text, such as a file on a stick: nothing in it can move the cursor,
    hide output or start a new line. Every command prints through this."""
    for line in lines:
        typer.echo(plain(line), err=err)


def terminal() -> bool:
    """Whether there is someone to ask."""
    return sys.stdin is not None and sys.stdin.isatty()


def agreed(question: str, yes: bool = False, instead: str = "--yes") -> bool:
    """The answer to a question; no by default.

    Args:
        yes: answer yes without asking.
        instead: the option that answers it without a terminal.

    Raises:
        UserError: there is no terminal to ask on.
    """
    if yes:
        return True
    if not terminal():
        raise UserError(
            f"there is no terminal to ask: {question}", f"Run the command in a terminal, or give {instead}."
        )
    try:
        return input(f"{question} [y/N] ").strip().lower() in ("y", "yes")
    except EOFError:
        return False


def answer(question: str, default: str) -> str:
    """What is typed at a terminal; the default if nothing is, or if there is no terminal."""
    if not terminal():
        return default
    try:
        return input(f"{question} [{default}] " if default else f"{question} ").strip() or default
    except EOFError:
        return default


def show_fingerprint(identity: Identity) -> None:
    """Print the twelve words in three lines, ready to be read out."""
    words = identity.fingerprint.split()
    for first in range(0, len(words), 4):
        say("    " + " ".join(words[first : first + 4]))


UNCOMPARED = "warning: because of --yes, no one was asked whether these fingerprints were compared by voice."


def has_read_out(identity: Identity, yes: bool) -> None:
    """Have the fingerprint of a site, or of a hospital, compared by voice.

    Raises:
        UserError: it was not.
    """
    show_fingerprint(identity)
    if not agreed(f"Did {identity.name} read out these words to you?", yes):
        raise UserError(
            f"the fingerprint of {identity.name} was not compared; nothing was signed",
            "Call the hospital on a number you know from another source. If its words (relay keys show) differ, "
            "someone else has made this file.",
        )


def compare_fingerprint(identity: Identity, given: str | None, role: str = "coordinator") -> None:
    """Have a fingerprint compared by voice; this can't be skipped.

    Args:
        role: whose it is.
        given: the words that were read out; None to compare them at a prompt.

    Raises:
        UserError: these are not 12 words, or there is no terminal to ask on.
        BadSignature: the fingerprint differs.
    """
    say(f"{role.capitalize()}: {identity.name}, with the fingerprint")
    show_fingerprint(identity)
    if given is not None:
        _check_words(identity, given, role)
        say("It matches the fingerprint you gave.")
        return
    say(f"Call the {role} on a number you know from another source, and ask them to read the words out to you.")
    if not agreed(f"Do they match what the {role} read out?", instead='--fingerprint "12 words"'):
        raise UserError(
            f"the fingerprint of {identity.name} was not confirmed; nothing was changed",
            f"If you heard different words, tell the {role}: someone else has made this file.",
        )


def _check_words(identity: Identity, given: str, role: str) -> None:
    from relay.trust import BadSignature, from_words

    said, true = given.replace(",", " ").lower().split(), identity.fingerprint.split()
    if len(said) != len(true):
        from_words(given)  # its error says what is wrong
    wrong = [f"word {n} is '{a}', not '{b}'" for n, (a, b) in enumerate(zip(true, said, strict=True), 1) if a != b]
    if wrong:
        why = "; ".join(wrong) if len(wrong) < 4 else "most of its words differ"
        raise BadSignature(
            f"the fingerprint in this file is not that of {identity.name}: {why}",
            "Nothing was changed here. Have the words read out again. If they still differ, don't use the file: "
            f"someone else may have made it. Ask the {role} for it again, in person.",
        )


def listed(text: str | None) -> list[str] | None:
    """A comma-separated list of names; None if none are given."""
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def in_words(digest: str) -> str:
    """A statement's digest, in hex, as words."""
    from relay.trust import words

    return words(bytes.fromhex(digest))


def printable(text: str) -> str:
    """Untrusted text with its line ends, but without anything else that moves the cursor or hides output."""
    return plain(text, keep="\n")
