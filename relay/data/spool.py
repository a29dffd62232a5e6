"""Where the pixels of stores are kept: in RAM or, beyond a limit that all of them share, in one unnamed file.

The file is in a folder of the site's own and disappears with the process. Its pages are in RAM only while they are
used, as far as the system has room.
"""

from __future__ import annotations

from pathlib import Path
from tempfile import TemporaryFile
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from relay.data.record import Pixels
from relay.files import make_folder

MAX_RAM = 4 << 30
ALIGNED = 16
"""Each array begins at a multiple of this many bytes, as any type of number requires."""


class Spool:
    """What the stores of a site share.

    Args:
        folder: For the file.
        max_ram: Maximum size of the pixels of all stores in RAM, in bytes.
    """

    def __init__(self, folder: Path, max_ram: int = MAX_RAM) -> None:
        self._folder, self.free = folder, max_ram
        self._file: IO[bytes] | None = None

    def write(self, data: NDArray[Any] | bytearray) -> int:
        """Append to the file, at once: what waited in memory, a process that is forked later would write again, in the
        midst of what follows. Return the position, in bytes.

        Raises:
            OSError: the disk is full, or refuses; it names the folder.
        """
        try:
            if self._file is None:
                make_folder(self._folder)
                self._file = TemporaryFile(dir=self._folder)  # noqa: SIM115  lives as long as this does
            begin = self._file.seek(0, 2)
            begin += self._file.write(bytes(-begin % ALIGNED))
            self._file.write(data.data if isinstance(data, np.ndarray) else data)
            self._file.flush()
        except OSError as error:  # a file without a name has none to report
            raise OSError(error.errno, error.strerror, error.filename or str(self._folder)) from error
        return begin

    def mapped(self, begin: int, end: int) -> Pixels:
        """A part of the file, read-only; not in RAM until it is read."""
        assert self._file is not None
        return np.memmap(self._file, np.uint8, "r", begin, (end - begin,))


class Buffer:
    """Arrays one after another: in RAM as long as its spool has room there, without a spool always.

    Args:
        spool: Shared with other buffers.
    """

    def __init__(self, spool: Spool | None) -> None:
        self._spool, self._in_file = spool, False
        self._ram, self._begin, self._end = bytearray(), 0, 0
        self._pixels: Pixels | None = None
        self.nbytes = 0

    def append(self, values: NDArray[Any]) -> int:
        """Append an array; return its position in :meth:`pixels`."""
        self.nbytes += values.nbytes
        values = np.ascontiguousarray(values)
        if self._spool is not None and not self._in_file:
            self._spool.free -= values.nbytes
            if self._spool.free < 0:
                self._to_file(self._spool)
        if self._in_file:
            assert self._spool is not None
            begin = self._spool.write(values)
            self._end = begin + values.nbytes
            return begin - self._begin
        self._ram += bytes(-len(self._ram) % ALIGNED)
        begin = len(self._ram)
        self._ram += values.data.cast("B")
        return begin

    def pixels(self) -> Pixels:
        """All arrays, as read-only bytes. Append nothing afterwards."""
        if self._pixels is None:
            if self._in_file and self._spool is not None:
                self._pixels = self._spool.mapped(self._begin, self._end)
            else:
                self._pixels = np.frombuffer(self._ram, np.uint8)
                self._pixels.flags.writeable = False
        return self._pixels

    def rest(self) -> None:
        """Leave RAM until the pixels are used again, if they are in the file."""
        if self._in_file:
            self._pixels = None

    def _to_file(self, spool: Spool) -> None:
        """Move what is here to the file, and give its room back."""
        spool.free += self.nbytes
        self._begin = spool.write(self._ram)
        self._end = self._begin + len(self._ram)
        self._ram, self._in_file = bytearray(), True

    def __getstate__(self) -> dict[str, Any]:
        """For processes that are started anew: they can't share the file, and get the pixels."""
        return {"_spool": None, "_in_file": False, "_ram": bytearray(self.pixels()), "nbytes": self.nbytes}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__init__(None)  # type: ignore[misc]
        self.__dict__.update(state)
