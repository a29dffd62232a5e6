"""The seal around a bundle: age, so that only its recipients can open it (https://age-encryption.org/v1).

Streams are processed in pieces, so memory use does not depend on their size.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NoReturn, Protocol

from typing_extensions import Buffer

from relay.bundle.container import CHUNK
from relay.errors import RelayError, UserError, plain
from relay.trust import BadContainer, CannotOpen, DigestMismatch, Incomplete

MAGIC = b"age-encryption.org/v1\n"
"""The first bytes of a sealed file."""
HEADER = 2**16
"""How much of a header is read, in bytes: enough for 600 recipients."""


@dataclass(frozen=True)
class Seal:
    """Who can open a sealed file, according to its header.

    Attributes:
        recipients: how many X25519 keys it is sealed to; only their holders can tell which.
        others: kinds of other keys that open it: a passphrase (``scrypt``), an SSH key, a plug-in's key.
    """

    recipients: int
    others: tuple[str, ...] = ()

    def __str__(self) -> str:
        more = f" and {len(self.others)} other key(s) ({', '.join(sorted(set(self.others)))})" if self.others else ""
        return f"{self.recipients} recipient(s){more}"


def seal_of(head: bytes) -> Seal:
    """The seal described in the header of a file; ``head``: its first :data:`HEADER` bytes, or all there are.

    A stanza whose kind ends in ``-grease`` opens nothing: age adds one of random bytes so that readers must tolerate
    unknown stanzas. Bytes that are not part of a header are skipped, too: pyrage refuses them later.
    """
    lines = head.partition(b"\n--- ")[0].split(b"\n")[1:]
    kinds = [line.split(b" ")[1].decode("ascii", "replace") for line in lines if line.startswith(b"-> ")]
    others = tuple(plain(kind[:40]) for kind in kinds if kind != "X25519" and not kind.endswith("-grease"))
    return Seal(kinds.count("X25519"), others)


class Readable(Protocol):
    """A readable stream."""

    def read(self, size: int, /) -> bytes | None:
        """At most ``size`` bytes; none at the end."""


class Writable(Protocol):
    """A writable stream that takes everything it is given."""

    def write(self, data: bytes, /) -> object:
        """Take ``data``."""


def is_sealed(head: bytes) -> bool:
    """Whether a file that starts with these bytes (22 or more) is sealed."""
    return head.startswith(MAGIC)


def sealed_size(size: int, recipients: int) -> int:
    """An upper bound on the sealed size of ``size`` bytes, in bytes.

    It is too large by at most a kilobyte plus a dozen bytes for each recipient.
    """
    return size + 16 * (size // 2**16 + 1) + 110 * recipients + 1024


def seal(source: Readable, target: Writable, recipients: Sequence[str]) -> None:
    """Encrypt a stream to age public keys (``age1...``).

    Raises:
        UserError: there are no recipients, a key is invalid, or a stream can't be read or written.
        Exception: any other error from reading or writing, unchanged.
    """
    import pyrage

    if not recipients:
        raise UserError(
            "there are no recipients to seal the bundle to", "Check the order and the readers of the roster."
        )
    try:
        keys = [pyrage.x25519.Recipient.from_str(recipient) for recipient in recipients]
    except pyrage.RecipientError as error:
        raise UserError(f"{', '.join(recipients)}: not all of these are age public keys ({error})") from error
    taps = _Reading(source), _Writing(target)
    try:
        _pump(pyrage.encrypt_io, taps, keys)
    except (pyrage.EncryptError, OSError) as error:
        _reraise(taps, error)
        raise RelayError(f"the bundle can't be sealed: {error}") from error


def unseal(source: Readable, target: Writable, identity: str, limit: int | None = None) -> int:
    """Decrypt a stream with an age private key (``AGE-SECRET-KEY-1...``); don't use the output before this returns.

    Args:
        source: a file, or another stream whose ``read`` returns the full amount until the end.
        limit: maximum size of the output, in bytes.

    Returns:
        The number of bytes written.

    Raises:
        CannotOpen: it is not for this key.
        Incomplete: it ends early, or was changed in its last 64 KiB, which looks the same.
        DigestMismatch: it was changed.
        BadContainer: it is not an age file, or larger than the limit.
        UserError: the key is invalid, or the target can't be written.
    """
    import pyrage

    try:
        key = pyrage.x25519.Identity.from_str(identity)
    except pyrage.IdentityError:
        raise UserError("the sealing key of this site is not an age key", "Restore keys.age from a backup.") from None
    taps = _Reading(source), _Writing(target, limit)
    try:
        _pump(pyrage.decrypt_io, taps, [key], check=_check_header)
    except (pyrage.DecryptError, OSError) as error:
        _reraise(taps, error)
        _refuse(str(error), taps[0].ended)
    return taps[1].count


class _Tap(io.RawIOBase):
    """One end of the pipe. pyrage turns stream errors into text, so they are stored here to be raised again."""

    error: BaseException | None = None


class _Reading(_Tap):
    def __init__(self, source: Readable) -> None:
        self._source = source
        self.ended = False

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        view = memoryview(buffer).cast("B")
        try:
            piece = self._source.read(len(view)) or b""
        except OSError as error:
            self.error = Incomplete(f"the bundle can't be read to its end: {error.strerror}")
            raise self.error from error
        except BaseException as error:
            self.error = error
            raise
        view[: len(piece)] = piece
        self.ended = not piece
        return len(piece)


class _Writing(_Tap):
    def __init__(self, target: Writable, limit: int | None = None) -> None:
        self._target = target
        self._limit = limit
        self.count = 0
        self.stopped = False

    def writable(self) -> bool:
        return True

    def write(self, data: Buffer, /) -> int:
        view = memoryview(data)
        if self.stopped:  # a discarded buffer tries once more
            return len(view)
        try:
            self._take(bytes(view))
        except OSError as error:
            self.error = UserError(f"can't write {getattr(self._target, 'name', 'the bundle')}: {error.strerror}")
            raise self.error from error
        except BaseException as error:
            self.error = error
            raise
        return len(view)

    def _take(self, data: bytes) -> None:
        self.count += len(data)
        if self._limit is not None and self.count > self._limit:
            raise BadContainer(f"the bundle exceeds the limit of {self._limit} bytes")
        self._target.write(data)


def _pump(work: Any, taps: tuple[_Reading, _Writing], keys: Sequence[Any], check: Any = None) -> None:
    """Run pyrage between two buffers: it reads and writes in small pieces."""
    reader, writer = io.BufferedReader(taps[0], CHUNK), io.BufferedWriter(taps[1], CHUNK)
    try:
        if check:
            check(reader)
        work(reader, writer, keys)
        writer.flush()
    finally:
        taps[1].stopped = True


def _check_header(reader: io.BufferedReader) -> None:
    """Check the header before pyrage does: pyrage would read one of any length into memory, and other age formats."""
    head = reader.peek(HEADER)[:HEADER]
    if not head.startswith(MAGIC[: len(head)]):
        raise BadContainer("the bundle is not sealed in age format (version 1, binary)")
    if b"\n--- " not in head:
        if len(head) < HEADER:
            raise Incomplete(f"the sealed bundle ends early, after {len(head)} bytes, in its header")
        raise BadContainer(f"the seal's header exceeds the limit of {HEADER} bytes")


def _reraise(taps: Sequence[_Tap], error: Exception) -> None:
    for tap in taps:
        if tap.error:
            raise tap.error from None
    if "KeyboardInterrupt" in str(error):  # it came while a tap was running
        raise KeyboardInterrupt from None


def _refuse(text: str, ended: bool) -> NoReturn:
    """Raise the refusal that corresponds to pyrage's message."""
    if "No matching keys" in text:
        raise CannotOpen("the bundle is sealed, but not to this site's key") from None
    if "Incomplete" in text or "fill whole buffer" in text:
        raise Incomplete("the sealed bundle ends early, in its header") from None
    if ended:
        raise Incomplete("the sealed bundle ends early or is damaged near its end") from None
    if "decryption error" in text:
        raise DigestMismatch("the sealed bundle was changed or damaged") from None
    raise BadContainer(f"the seal's header is not valid: {text.splitlines()[0]}") from None
