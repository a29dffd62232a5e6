"""Prepared images on disk: with a cache, the second run of a study decodes nothing.

It is off unless the environment variable ``RELAY_CACHE`` names a folder. Images are kept there in packs
(:mod:`relay.data.packs`); the least recently used packs are removed when all together exceed ``RELAY_CACHE_GB``. Packs
hold a site's images, so only their owner can read them.
"""

from __future__ import annotations

import logging
import os
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from relay.data.packs import ENDING, PART
from relay.errors import UserError
from relay.files import expanded
from relay.locks import locked

FOLDER, LIMIT = "RELAY_CACHE", "RELAY_CACHE_GB"
"""Environment variables: the folder, and the maximum size of all packs in gigabytes."""
USUAL_LIMIT = 50.0
STALE = 86400.0
"""Age in seconds after which an unfinished file was certainly left by a process that was killed."""
log = logging.getLogger(__name__)


class Cache:
    """The packs in a folder.

    Args:
        folder: Made if it does not exist.
        most: Maximum size of all packs, in bytes.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most

    @classmethod
    def of_environment(cls) -> Cache | None:
        """The cache that the environment asks for; None if it asks for none.

        Raises:
            UserError: its maximum size is not a number above 0.
        """
        folder, limit = os.environ.get(FOLDER, ""), os.environ.get(LIMIT, str(USUAL_LIMIT))
        if not folder:
            return None
        try:
            gigabytes = float(limit)
        except ValueError:
            gigabytes = 0.0
        if not 0 < gigabytes < float("inf"):
            raise UserError(
                f"{LIMIT} is {limit!r}, but must be a number of gigabytes above 0", f"Set it to {USUAL_LIMIT:g}."
            )
        return cls(expanded(folder), int(gigabytes * 1e9))

    def entries(self) -> list[Path]:
        """All packs, the least recently used first."""
        dated = [(when, path) for path in self._files(ENDING) if (when := _changed(path)) is not None]
        return [path for _, path in sorted(dated)]

    def size(self) -> int:
        """Size of all packs, in bytes."""
        return sum(_bytes(path) for path in self._files(ENDING))

    def clear(self) -> int:
        """Remove all packs; return how many there were."""
        found = list(self._files(ENDING, PART))
        for path in found:
            _remove(path)
        return len(found)

    def trim(self) -> None:
        """Remove the least recently used packs until the rest are small enough, and what killed processes left."""
        if not self.folder.is_dir():
            return
        for path in self._files(PART):
            if (_changed(path) or time.time()) < time.time() - STALE:
                _remove(path)
        if (size := self.size()) <= self.most:
            return
        with suppress(UserError), locked(self.folder / "lock", "the image cache"):  # another process is at it
            for path in self.entries():
                if size <= self.most:
                    break
                size -= _bytes(path)
                _remove(path)

    def _files(self, *endings: str) -> Iterator[Path]:
        if self.folder.is_dir():
            yield from (path for path in self.folder.iterdir() if path.suffix in endings)


def spoilt(path: Path, why: str) -> None:
    """Remove a damaged pack, and say so."""
    log.warning("%s: damaged, so its images are read again: %s", path, why)
    _remove(path)


def _changed(path: Path) -> float | None:
    with suppress(OSError):  # another process has removed it
        return path.stat().st_mtime
    return None


def _bytes(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _remove(path: Path) -> None:
    with suppress(OSError):  # another process has removed it, or on Windows, reads it
        path.unlink()
