"""Prepared images on disk, many in one file.

A start opens few files and copies nothing: a pack is mapped into memory, which all processes that use it share. It has
the arrays, one after another, then an index in JSON, then :data:`END`. The index is checked when a pack is opened, the
arrays of an image when they are first used (:meth:`Packed.sound`): to check all would take longer than to read them.
"""

from __future__ import annotations

import dataclasses
import json
import mmap
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from hashlib import sha256
from math import prod
from pathlib import Path
from tempfile import NamedTemporaryFile
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data.record import Case
from relay.data.steps.grid import Grid
from relay.files import make_folder, open_file

ENDING, PART = ".cases", ".part"
MARK = b"relay 3\n"
END = struct.Struct("<QQI8s")
"""The end of a pack: bytes of its arrays, bytes of its index, the index's checksum, :data:`MARK`."""
ALIGNED = 16
"""Each array begins at a multiple of this many bytes, as any type of number requires."""


@dataclass(frozen=True, eq=False)
class Packed(Case):
    """A case whose arrays are in a pack.

    Attributes:
        pack: The file.
        check: The checksum of image and target.
    """

    pack: Path = Path()
    check: int = 0

    def sound(self) -> bool:
        """Whether the arrays are as they were written."""
        return _check(map(_bytes, (self.image, self.target))) == self.check


class PackWriter:
    """Writes a pack, readable only by its owner; under a temporary name until it is complete.

    Raises:
        OSError: the disk refuses it; so do all methods.
    """

    def __init__(self, folder: Path) -> None:
        make_folder(folder)
        self._file = NamedTemporaryFile(dir=folder, suffix=PART, delete=False)  # noqa: SIM115
        self._index: list[Any] = []
        self.size = 0

    def add(self, key: str, case: Case) -> None:
        """Append a case."""
        arrays = [_bytes(values) for values in (case.image, case.target)]
        places = [
            (self._append(data), values.shape, values.dtype.str)
            for data, values in zip(arrays, (case.image, case.target), strict=True)
        ]
        grid = case.grid and dataclasses.astuple(case.grid)
        self._index.append((key, places, _check(arrays), case.spacing, case.notes, grid))

    def close(self, family: str) -> None:
        """Give the pack its name: readers see all of it or nothing. Of two processes that write the same, one wins."""
        text = json.dumps(self._index).encode()
        self._file.write(text + END.pack(self.size, len(text), zlib.crc32(text), MARK))
        self._file.close()
        content = sha256("".join(row[0] for row in self._index).encode()).hexdigest()
        beside = Path(self._file.name)
        beside.replace(beside.with_name(f"{family}-{content[:16]}{ENDING}"))

    def drop(self) -> None:
        """Remove an unfinished pack."""
        self._file.close()
        Path(self._file.name).unlink(missing_ok=True)

    def _append(self, data: NDArray[np.uint8]) -> int:
        begin = self.size
        self._file.write(data.data)
        self.size += data.nbytes + self._file.write(bytes(-data.nbytes % ALIGNED))
        return begin


class Pack:
    """A pack, mapped into memory.

    Raises:
        OSError: it can't be opened.
        ValueError: it is damaged; also struct.error.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with open_file(path) as file:
            self._data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        begin, length, check, mark = END.unpack_from(self._data, len(self._data) - END.size)
        if mark != MARK or begin + length + END.size != len(self._data):
            raise ValueError("parts of it are missing")
        text = self._data[begin : begin + length]
        if zlib.crc32(text) != check:
            raise ValueError("its index has another checksum")
        self._rows = {row[0]: row[1:] for row in json.loads(text)}

    def __contains__(self, key: str) -> bool:
        return key in self._rows

    def case(self, key: str) -> Packed:
        """A case, its arrays read-only.

        Raises:
            KeyError: it is not in this pack.
        """
        places, check, spacing, notes, grid = self._rows[key]
        image, target = (
            np.frombuffer(self._data, np.dtype(kind), prod(shape), begin).reshape(shape)
            for begin, shape, kind in places
        )
        put = grid and Grid(*map(tuple, grid))
        return Packed(image, target, spacing and tuple(spacing), tuple(notes), put, self.path, check)


def _bytes(values: NDArray[Any]) -> NDArray[np.uint8]:
    return np.ascontiguousarray(values).reshape(-1).view(np.uint8)


def _check(arrays: Iterable[NDArray[np.uint8]]) -> int:
    check = 0
    for data in arrays:
        check = zlib.crc32(data.data, check)
    return check
