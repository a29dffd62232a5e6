"""The bytes of a ZIP around its data, as in the container of a bundle (APPNOTE.TXT 6.3, sections 4.3 to 4.5).

They depend only on names, sizes and CRC-32s. ZIP64 fields are present exactly where a number needs them.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

LOCAL = struct.Struct("<4s5H3I2H")
_CENTRAL = struct.Struct("<4s6H3I5H2I")
_END = struct.Struct("<4s4H2IH")
_END64 = struct.Struct("<4sQ2H2I4Q")
_LOCATOR64 = struct.Struct("<4sIQI")
_VERSION = 45  # of the ZIP format: the first with ZIP64
_DATE = 0x21  # 1980-01-01
FULL = 0xFFFFFFFF  # means: see the ZIP64 field


@dataclass(frozen=True)
class Entry:
    """A file in a container.

    Attributes:
        size: of the data, in bytes.
        crc: CRC-32 of the data.
        offset: where the data starts, in bytes from the container's start.
    """

    name: str
    size: int
    crc: int
    offset: int


def local(name: str, size: int, crc: int) -> bytes:
    """The header in front of an entry's data."""
    extra = struct.pack("<2H2Q", 1, 16, size, size) if size >= FULL else b""
    short = min(size, FULL)
    fixed = LOCAL.pack(b"PK\3\4", _VERSION, 0, 0, 0, _DATE, crc, short, short, len(name), len(extra))
    return fixed + name.encode() + extra


def _central(entry: Entry) -> bytes:
    at = entry.offset - len(local(entry.name, entry.size, entry.crc))
    wide = [number for number in (entry.size, entry.size, at) if number >= FULL]
    extra = struct.pack(f"<2H{len(wide)}Q", 1, 8 * len(wide), *wide) if wide else b""
    size, lengths = min(entry.size, FULL), (len(entry.name), len(extra), 0)
    marks = (b"PK\1\2", _VERSION, _VERSION, 0, 0, 0, _DATE)
    return _CENTRAL.pack(*marks, entry.crc, size, size, *lengths, 0, 0, 0, min(at, FULL)) + entry.name.encode() + extra


def tail(entries: Sequence[Entry]) -> bytes:
    """Central directory and end records."""
    directory = b"".join(map(_central, entries))
    start = entries[-1].offset + entries[-1].size if entries else 0
    count, length = len(entries), len(directory)
    end64 = b""
    if start >= FULL:
        end64 = _END64.pack(b"PK\6\6", 44, _VERSION, _VERSION, 0, 0, count, count, length, start)
        end64 += _LOCATOR64.pack(b"PK\6\7", 0, start + length, 1)
    return directory + end64 + _END.pack(b"PK\5\6", 0, 0, count, count, length, min(start, FULL), 0)


def odd(fixed: bytes) -> str:
    """What is wrong with an invalid local header."""
    _, version, flags, method, time, date, _, packed, length, _, _ = LOCAL.unpack(fixed)
    faults = [
        (flags & 1, "is encrypted"),
        (flags & 8, "does not give its size in advance"),
        (flags, f"has flags {flags:#x}; none are allowed"),
        (method, f"is compressed (method {method}); it must be stored"),
        (packed != length, f"has {packed} bytes packed and {length} unpacked"),
        ((time, date) != (0, _DATE), "has a time other than 1980-01-01 00:00"),
        (version != _VERSION, f"has ZIP version {version}; it must be {_VERSION}"),
    ]
    return next((text for wrong, text in faults if wrong), "has a ZIP64 field where none is needed, or a wrong one")
