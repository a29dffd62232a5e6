"""Pseudonyms of patients whose numbers must not be written anywhere.

A hospital's patient numbers are few enough to try them all, so a plain digest hides none. The digest has a key: a file
in the site's own folder that is made on first use and never leaves it.
"""

from __future__ import annotations

import hmac
import os
import secrets
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from relay.data.patients import alike, is_missing
from relay.errors import UserError
from relay.files import make_folder
from relay.home import HOME, home_of

NAME = "pseudonyms.key"
BYTES, DIGITS = 32, 16


@dataclass(frozen=True)
class Pseudonyms:
    """Gives each patient number its pseudonym."""

    key: bytes

    def __repr__(self) -> str:
        return "Pseudonyms(…)"  # the key is secret

    def of(self, number: str) -> str:
        """16 hexadecimal digits; equal for spellings of one number that are :func:`~relay.data.alike`. Empty for a
        number that means that it is not known."""
        return "" if is_missing(number) else self.digest(alike(number))

    def digest(self, text: str) -> str:
        """16 hexadecimal digits that stand for a text (HMAC-SHA-256, the first 64 bits)."""
        return hmac.new(self.key, text.encode(errors="surrogateescape"), sha256).hexdigest()[:DIGITS]


def site_pseudonyms(home: str | Path | None = None) -> Pseudonyms:
    """This site's, with the key in its own folder (:func:`relay.home.home_of`).

    Raises:
        UserError: the key can't be read, made, or is damaged.
    """
    path = home_of(home) / NAME
    advice = f"Set {HOME} to a folder that you may write to; this site's key for patients' pseudonyms is kept in it."
    try:
        make_folder(path.parent)
        if not path.exists():
            _make(path)
        key = path.read_bytes()
    except OSError as error:
        raise UserError(f"{path}: can't be read or made: {error.strerror}", advice) from error
    if len(key) != BYTES:
        again = "Restore it from a backup. If you remove it, a new one is made, and the splits change."
        raise UserError(f"{path}: damaged: {len(key)} bytes instead of {BYTES}", again)
    return Pseudonyms(key)


def _make(path: Path) -> None:
    """Write a new key, unless another process was faster."""
    beside = path.with_name(f".{NAME}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(secrets.token_bytes(BYTES))
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(beside, path)
        except FileExistsError:
            return
    finally:
        beside.unlink(missing_ok=True)
