"""Who a site is: an Ed25519 key to sign with, an age (X25519) key to be sealed to, and where they are kept.

The public part is ``identity.json`` in the site's home. The private one is ``keys.age``, under a passphrase (plain
``age -d`` opens it), or ``keys.json``, without one, in the throw-away homes of a simulation.
"""

from __future__ import annotations

import ctypes
import hashlib
import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta, timezone
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from relay.config import Field, check, fault, options
from relay.errors import UserError
from relay.files import expanded, read_bytes, write_bytes
from relay.home import command
from relay.trust import envelope, key_checks
from relay.trust.document import Name, Sha256, Time, canonical, digest, parse, stamp
from relay.trust.fingerprints import words
from relay.trust.passphrases import long_enough, only_mine, passphrase, source
from relay.trust.refusals import BadDocument, ExpiredKey, Refused

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

__all__ = ["Identity", "Keys", "identity", "load", "new", "passphrase", "save"]

PUBLIC, SEALED, PLAIN = "identity.json", "keys.age", "keys.json"
MIN_YEARS, MAX_YEARS = 0.01, 20.0
"""Shortest and longest life of a key."""
RESTORE = "Restore it from a backup."


@options
class Identity:
    """A site's, or the coordinator's, public keys.

    Attributes:
        signing: raw Ed25519 public key, hex; also the key's id.
        sealing: age recipient, ``age1...``.
        created, expires: the keys' first and last moment.

    Raises:
        BadDocument: a key that nobody can hold or that anybody could use, or a life that ends before it begins.
    """

    format: Literal[1] = 1
    name: Name
    signing: Sha256
    sealing: Annotated[str, Field(pattern="^age1[a-z0-9]{58}$")]
    created: Time
    expires: Time

    def __post_init__(self) -> None:
        key_checks.check_signing(self.signing, f"the signing key of {self.name}")
        key_checks.check_sealing(self.sealing, f"the sealing key of {self.name}")
        if self.created >= self.expires:
            raise BadDocument(f"the keys of {self.name} were made at {self.created} and expire at {self.expires}")

    @property
    def fingerprint(self) -> str:
        """Twelve words over both keys, to be compared by voice."""
        both = bytes.fromhex(self.signing) + self.sealing.encode()
        return words(hashlib.sha256(b"relay identity v1\0" + both).digest())

    def check_alive(self, now: datetime) -> None:
        """Raise :class:`ExpiredKey` after the keys' last moment."""
        if stamp(now) > self.expires:
            raise ExpiredKey(f"the keys of {self.name} expired at {self.expires}")


class WrongPassphrase(UserError):
    """It does not open the keys, or they are damaged."""


@dataclass(frozen=True, eq=False)
class Keys:
    """An identity with its private keys; its repr shows only the public part.

    Attributes:
        sealing: the age secret key, ``AGE-SECRET-KEY-1...``.
    """

    identity: Identity
    signing: Ed25519PrivateKey = field(repr=False)
    sealing: str = field(repr=False)

    def sign(self, payload: bytes, kind: str) -> bytes:
        """The payload in a DSSE envelope; ``kind`` is its payload type."""
        return envelope.sign(payload, kind, self.signing)

    def agree(self, sealing: str) -> bytes:
        """The X25519 secret shared with the holder of another sealing key: 32 bytes."""
        return key_checks.agree(self.sealing, sealing)


def new(name: str, years: float = 2.0, now: datetime | None = None) -> Keys:
    """New keys, good from ``now`` for so many years of 365 days (0.01 to 20).

    Raises:
        UserError: the name or the years are not allowed.
    """
    import pyrage
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    if not MIN_YEARS <= years <= MAX_YEARS:
        raise UserError(f"keys can't be good for {years} years; allowed are {MIN_YEARS:g} to {MAX_YEARS:g}")
    now = now or datetime.now(timezone.utc)
    signing, sealing = Ed25519PrivateKey.generate(), pyrage.x25519.Identity.generate()
    content = {
        "name": name,
        "signing": signing.public_key().public_bytes_raw().hex(),
        "sealing": str(sealing.to_public()),
        "created": stamp(now),
        "expires": stamp(now + timedelta(days=365 * years)),
    }
    identity, problems = check(Identity, content)
    why = fault(name) or ("" if identity else problems[0].allowed)  # it is a task_name, too, which names folders
    if identity is None or why:
        raise UserError(
            f"'{name[:60]}{'…' * (len(name) > 60)}' can't be a site's name: {why}",
            "Use at most 40 of A-Z, a-z, 0-9, '_', '-' and '.'; begin without '-' and '.', and end without '.'. "
            "Con, nul and the like are devices on Windows.",
        )
    return Keys(identity, signing, str(sealing))


def save(keys: Keys, home: Path, passphrase: str | None, replace: bool = False) -> None:
    """Write keys into a home: the folder gets mode 0700, the private file 0600.

    Args:
        passphrase: at least 8 characters; None for a throw-away home, whose private file is plain.
        replace: where keys lie there, keep them beside the new ones, named after the old key's first 8 digits.

    Raises:
        UserError: there are keys already, the passphrase is too short, or the folder can't be written.
    """
    import pyrage

    secret = canonical({"signing": keys.signing.private_bytes_raw().hex(), "sealing": keys.sealing})
    if passphrase is not None:
        secret = pyrage.passphrase.encrypt(secret, long_enough(passphrase))
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        home.chmod(0o700)
        _make_room(home, replace)
        _write_private(home / (PLAIN if passphrase is None else SEALED), secret)
        write_bytes(home / PUBLIC, canonical(keys.identity))
    except OSError as error:
        raise UserError(
            f"keys can't be written to {home}: {error.strerror}", "Check the folder, and try again."
        ) from error


def _make_room(home: Path, replace: bool) -> None:
    """Put old keys aside, or refuse to."""
    old = [home / name for name in (SEALED, PLAIN, PUBLIC) if (home / name).exists()]
    if not old:
        return
    if not replace:
        raise UserError(
            f"{home} holds keys already ({', '.join(path.name for path in old)})",
            f"Use them ({command(home, 'keys', 'show')} shows them). Or put them aside and make new ones: "
            f"{command(home, 'keys', 'new', '--replace')} --name NAME",
        )
    try:
        tag = identity(home).signing[:8]
    except UserError:  # the public part is lost or damaged
        tag = digest(read_bytes(old[0]) if old[0].is_file() else b"")[:8]
    for path in old:
        path.replace(home / f"{path.stem}.{tag}{path.suffix}")


def _write_private(path: Path, data: bytes) -> None:
    """As :func:`relay.files.write_bytes`, never readable by others, not even for a moment."""
    beside = path.with_name(f".{path.name}.part")
    beside.unlink(missing_ok=True)
    plain = getattr(os, "O_BINARY", 0)  # else Windows would write two bytes for each that looks like the end of a line
    with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_EXCL | plain, 0o600), "wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    beside.replace(path)


def identity(home: Path) -> Identity:
    """The public part of the keys in a home.

    Raises:
        UserError: there is none, or it is damaged.
    """
    path = home / PUBLIC
    try:
        return parse(Identity, read_bytes(path), str(path))
    except FileNotFoundError as error:
        raise UserError(
            f"there are no keys in {home}" if not _secret(home) else f"{path} is gone",
            _lost(home)
            if _secret(home)
            else f"Give the right folder (--home); or make keys there: {command(home, 'keys', 'new')} --name NAME",
        ) from error
    except OSError as error:
        raise UserError(f"{path} can't be read: {error.strerror}", _lost(home)) from error
    except Refused as error:
        raise UserError(str(error), _lost(home)) from error


def _lost(home: Path) -> str:
    """What to do where the public part of keys is lost or damaged."""
    return (
        f"Restore {PUBLIC} from a backup, or make new keys, which the coordinator must put into a new roster: "
        f"{command(home, 'keys', 'new', '--replace')} --name NAME. The old ones are kept beside."
    )


def named(home: Path) -> str | None:
    """Whose keys are in a home; None where their public part is lost or damaged.

    Raises:
        UserError: there are none.
    """
    try:
        return identity(home).name
    except UserError:
        if _secret(home) is None and not (home / PUBLIC).exists():
            raise
        return None


def _secret(home: Path) -> Path | None:
    """The file of the private keys in a home; None where there is none."""
    return next((home / name for name in (SEALED, PLAIN) if (home / name).exists()), None)


def load(home: Path, passphrase: Callable[[], str] | str | None) -> Keys:
    """The keys in a home.

    Args:
        passphrase: the passphrase, or what asks for it; asked only where there is one. None: there is none.

    Raises:
        UserError: there are no keys, others can read them, the passphrase is wrong, they are damaged, or the
            private part is not that of ``identity.json``.
    """
    public = identity(home)
    path = _secret(home)
    if path is None:
        raise UserError(
            f"{home} holds {PUBLIC}, but no private keys ({SEALED})",
            f"Restore {SEALED} from a backup, or make new keys: "
            f"{command(home, 'keys', 'new', '--replace', '--name', public.name)}",
        )
    secret = only_mine(path, RESTORE)
    if path.name == SEALED:
        _close_memory()
        secret = _opened(secret, passphrase, path)
    keys = _private(public, secret, path)
    found = (keys.signing.public_key().public_bytes_raw().hex(), key_checks.recipient(keys.sealing))
    if found != (public.signing, public.sealing):
        raise UserError(
            f"the private keys in {path} are not those of {home / PUBLIC}",
            "One of the two files was changed: restore both from one backup.",
        )
    return keys


PR_SET_DUMPABLE = 4
"""Of Linux's prctl.h."""


def _close_memory() -> None:
    """Keep this process's memory from crash handlers, which do not all heed the limit that commands set on core files,
    and from other programs of the same user (Linux; elsewhere nothing is done). It holds to the end of the process."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_DUMPABLE, *[ctypes.c_ulong(0)] * 4)


TRIES = 3
"""How often a passphrase is asked for on a terminal."""


def unlock(home: Path, passphrase_file: Path | None = None) -> Keys:
    """The keys in a home. The passphrase is asked for where no file or environment gives it, up to three times.

    Raises:
        UserError: as :func:`load`; for a wrong passphrase it says where it came from.
    """
    file = expanded(passphrase_file) if passphrase_file else None
    came_from = source(file)
    for tried in range(TRIES if came_from is None else 1):
        try:
            return load(home, partial(passphrase, file, again=tried > 0))
        except WrongPassphrase as error:
            wrong = error
    told = f" It came from {came_from}." if came_from else f" It was wrong {TRIES} times."
    raise UserError(f"{wrong}", wrong.advice() + told) from wrong


def _opened(data: bytes, passphrase: Callable[[], str] | str | None, path: Path) -> bytes:
    import pyrage

    if not data.startswith(b"age-encryption.org/v1\n-> scrypt "):
        raise UserError(f"{path} is damaged: it is not an age file with a passphrase", RESTORE)
    if passphrase is None:
        raise UserError(f"{path} is under a passphrase, and none was given", "Give it by prompt, file or environment.")
    try:
        opened = pyrage.passphrase.decrypt(data, passphrase if isinstance(passphrase, str) else passphrase())
    except pyrage.DecryptError as error:  # age can't tell the two apart, and need not
        raise WrongPassphrase(
            f"wrong passphrase for {path}, or the file is damaged",
            "Type it again. If you are sure of it, restore the file from a backup.",
        ) from error
    return bytes(opened)


def _private(public: Identity, secret: bytes, path: Path) -> Keys:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    try:
        content = json.loads(secret)
        signing = Ed25519PrivateKey.from_private_bytes(bytes.fromhex(content["signing"]))
        key_checks.recipient(content["sealing"])
        return Keys(public, signing, content["sealing"])
    except (ValueError, KeyError, TypeError, RecursionError):
        # no cause is shown: it would show the secret
        raise UserError(f"{path} is damaged: it does not hold two private keys", RESTORE) from None
