"""The container of a bundle: a ZIP of stored entries that can be written in only one way.

Every byte other than the data follows from the entries' names, sizes and CRC-32s: no compression, no comments, no
gaps, one fixed time, one version, ZIP64 fields exactly where a number needs them. The reader walks the local
headers from the first byte, works out what headers, central directory and end record must be, and compares.

So a file can be read in only one way, and any ZIP program reads it in that way.
"""

from __future__ import annotations

import io
import re
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from typing_extensions import Buffer

from relay.bundle.zipform import FULL, LOCAL, Entry, local, odd, tail
from relay.errors import UserError
from relay.files import open_file
from relay.trust import MAX_BYTES, BadContainer, DigestMismatch, Incomplete

__all__ = ["CHUNK", "MAGIC", "Entry", "Limits", "Measured", "Source", "data", "measure", "read", "scan", "write"]

CHUNK = 2**20
MAGIC = b"PK\3\4"
"""The first bytes of an unsealed bundle."""
"""How many bytes are read at a time."""

_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]*(/[A-Za-z0-9_][A-Za-z0-9_.-]*)*")


@dataclass(frozen=True)
class Limits:
    """Maximum number of entries, bytes of a name, and bytes of the whole container."""

    entries: int = 4096
    name: int = 100
    total: int = 8 * 2**30


@dataclass(frozen=True)
class Measured:
    """A file, or bytes, with its size and digests.

    Attributes:
        size: bytes.
        crc: CRC-32.
            sha256: in hex.
    """

    source: Path | bytes
    size: int
    crc: int
    sha256: str


def measure(source: Path | bytes) -> Measured:
    """Read a file once for its size and digests.

    Raises:
        UserError: it can't be read.
    """
    import hashlib

    size, crc, sha256 = 0, 0, hashlib.sha256()
    for chunk in _chunks(source):
        size, crc = size + len(chunk), zlib.crc32(chunk, crc)
        sha256.update(chunk)
    return Measured(source, size, crc, sha256.hexdigest())


class Source(io.RawIOBase):
    """A container as a readable stream, generated as it is read.

    Like any raw stream, ``read(n)`` may return fewer than n bytes before the end.

    Attributes:
        size: of the whole container, in bytes.
        entries: its entries, in order.
    """

    def __init__(self, parts: Sequence[tuple[str, Measured]]) -> None:
        self.entries: list[Entry] = []
        at = 0
        for name, part in parts:
            at += len(local(name, part.size, part.crc))
            self.entries.append(Entry(name, part.size, part.crc, at))
            at += part.size
        self.size = at + len(tail(self.entries))
        self._stream = self._bytes([part for _, part in parts])
        self._left = memoryview(b"")

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: Buffer, /) -> int:
        """Fill a buffer from the next piece; 0 at the end."""
        view = memoryview(buffer).cast("B")
        while not self._left:
            piece = next(self._stream, None)
            if piece is None:
                return 0
            self._left = memoryview(piece)
        count = min(len(view), len(self._left))
        view[:count] = self._left[:count]
        self._left = self._left[count:]
        return count

    def _bytes(self, parts: Sequence[Measured]) -> Iterator[bytes]:
        for entry, part in zip(self.entries, parts, strict=True):
            yield local(entry.name, entry.size, entry.crc)
            size, crc = 0, 0
            for chunk in _chunks(part.source):
                size, crc = size + len(chunk), zlib.crc32(chunk, crc)
                yield chunk
            if (size, crc) != (part.size, part.crc):
                raise UserError(f"{part.source!s:.200} changed while it was being packed as {entry.name}")
        yield tail(self.entries)


def write(sources: Sequence[tuple[str, Path | bytes | Measured]]) -> Source:
    """A container of these files under these names, in this order.

    A :class:`Measured` source is not measured again, so a large file is read only twice in total.

    Raises:
        BadContainer: a name that :func:`scan` would refuse, or too many entries.
        UserError: a file can't be read, or changes in the meantime (also raised while reading from the result).
    """
    _check_count(len(sources), Limits())
    seen: set[str] = set()
    for name, _ in sources:
        _check_name(name.encode(), seen, Limits())
    return Source([(n, s if isinstance(s, Measured) else measure(s)) for n, s in sources])


def scan(file: IO[bytes], size: int, limits: Limits = Limits()) -> list[Entry]:
    """The entries of a container, after checking that everything except the data is what it must be.

    Args:
        file: seekable.
        size: its size, in bytes.

    Raises:
        Incomplete: it ends early.
        BadContainer: it differs from what :func:`write` makes of its entries, or exceeds a limit.
    """
    if size > limits.total:
        raise BadContainer(f"the bundle has {size} bytes; the limit is {limits.total}")
    entries: list[Entry] = []
    seen: set[str] = set()
    at = 0
    while (mark := _read(file, at, 4, size)) == MAGIC:
        _check_count(len(entries) + 1, limits)
        entry = _entry(file, at, size, seen, limits)
        entries.append(entry)
        at = entry.offset + entry.size
    if mark != b"PK\1\2":
        if not entries:
            advice = (
                "Check that it is the right file: a bundle's name ends in .relay or .relay.age. If so, copy it again."
            )
            raise BadContainer("not a bundle: it is not a ZIP of files", advice)
        raise BadContainer(f"not a bundle: there is something else between the entries, at byte {at}")
    _check_tail(file, at, size, entries)
    return entries


def data(file: IO[bytes], entry: Entry) -> Iterator[bytes]:
    """An entry's data, in chunks; don't use any before you have the last one.

    Raises:
        Incomplete: the file ends early.
        DigestMismatch: its CRC-32 differs (raised at the end).
    """
    crc, end = 0, entry.offset + entry.size
    for at in range(entry.offset, end, CHUNK):
        chunk = _read(file, at, min(CHUNK, end - at), end)
        crc = zlib.crc32(chunk, crc)
        yield chunk
    if crc != entry.crc:
        raise DigestMismatch(f"{entry.name} is damaged: its CRC-32 is {crc:08x}, not {entry.crc:08x}")


def read(file: IO[bytes], entry: Entry, limit: int = MAX_BYTES) -> bytes:
    """All the data of a small entry.

    Raises:
        BadContainer: it is larger than the limit.
        Incomplete, DigestMismatch: as :func:`data`.
    """
    if entry.size > limit:
        raise BadContainer(f"{entry.name} has {entry.size} bytes; the limit is {limit}")
    return b"".join(data(file, entry))


def _chunks(source: Path | bytes) -> Iterator[bytes]:
    if isinstance(source, bytes):
        yield source
        return
    try:
        with open_file(source) as file:
            while chunk := file.read(CHUNK):
                yield chunk
    except OSError as error:
        raise UserError(f"can't read {source}: {error.strerror}") from error


def _read(file: IO[bytes], at: int, count: int, size: int) -> bytes:
    """Exactly these bytes."""
    if at + count > size:
        raise Incomplete(f"the bundle ends early, after {size} bytes")
    found = bytearray()
    try:
        file.seek(at)
        while len(found) < count and (more := file.read(count - len(found))):
            found += more
    except OSError as error:
        raise Incomplete(f"the bundle can't be read at byte {at}: {error.strerror}") from error
    if len(found) < count:
        raise Incomplete(f"the bundle ends early, after {at + len(found)} bytes")
    return bytes(found)


def _entry(file: IO[bytes], at: int, size: int, seen: set[str], limits: Limits) -> Entry:
    fixed = _read(file, at, LOCAL.size, size)
    crc, _, short, name_length, extra_length = LOCAL.unpack(fixed)[6:]
    if name_length > limits.name:
        raise BadContainer(f"the name of the entry at byte {at} has {name_length} bytes; the limit is {limits.name}")
    if extra_length not in (0, 20):
        raise BadContainer(f"the entry at byte {at} has an extra field that is not ZIP64's")
    rest = _read(file, at + len(fixed), name_length + extra_length, size)
    name = _check_name(rest[:name_length], seen, limits)
    length = int.from_bytes(rest[-8:], "little") if short == FULL and extra_length else short
    if local(name, length, crc) != fixed + rest:
        raise BadContainer(f"{name} at byte {at} {odd(fixed)}")
    start = at + len(fixed) + len(rest)
    if start + length > size:
        raise Incomplete(f"{name} should have {length} bytes; the bundle ends after {max(size - start, 0)} of them")
    return Entry(name, length, crc, start)


def _check_count(count: int, limits: Limits) -> None:
    if count > limits.entries:
        raise BadContainer(f"more than {limits.entries} entries")


def _check_name(name: bytes, seen: set[str], limits: Limits) -> str:
    """Check that a name is a plain file below the folder it is unpacked to, on any system; add it to ``seen``."""
    text = name.decode("ascii", "replace")
    faults = [
        (not 0 < len(name) <= limits.name, f"it must have 1 to {limits.name} bytes"),
        (text.endswith("/"), "it is a folder; only files are allowed"),
        (text.startswith("/") or ":" in text, "it is absolute"),
        ("\\" in text, "it has a backslash"),
        (".." in text.split("/"), "it leads out of the folder"),
        (not _NAME.fullmatch(text), "only ASCII letters and digits are allowed, with _ . - / between them"),
        (text.lower() in seen, "it appears twice"),
    ]
    for wrong, why in faults:
        if wrong:
            raise BadContainer(f"an entry is named {text[:120]!a}: {why}")
    seen.add(text.lower())
    return text


def _check_tail(file: IO[bytes], at: int, size: int, entries: Sequence[Entry]) -> None:
    must = tail(entries)
    found = _read(file, at, min(len(must), size - at), size)
    if found != must[: len(found)]:
        raise BadContainer("the directory at its end does not match the entries")
    if size - at < len(must):
        raise Incomplete(f"the bundle ends early, after {size} bytes, in the directory at its end")
    if size - at > len(must):
        raise BadContainer(f"there are {size - at - len(must)} bytes after its end")
