"""The folders that the page may open, and what is in them."""

from __future__ import annotations

import getpass
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from relay.errors import UserError, shown
from relay.files import expanded

STICKS = ("/media/{user}", "/run/media/{user}", "/mnt", "/Volumes")
"""Where systems mount sticks."""
MOST = 2000
"""How many entries of a folder are listed."""


@dataclass(frozen=True)
class Entry:
    """A file or folder: its name, its whole path, whether it is a folder, and its size in bytes (None for a folder)."""

    name: str
    path: Path
    folder: bool
    size: int | None


@dataclass(frozen=True)
class Roots:
    """Folders that may be opened with all that is in them, but for those that are ``closed``: the one with the keys."""

    folders: tuple[Path, ...]
    closed: tuple[Path, ...] = ()

    @classmethod
    def of(cls, given: Iterable[Path], closed: Iterable[Path]) -> Roots:
        """The given folders, and where this system mounts sticks.

        Raises:
            UserError: a given folder does not exist.
        """
        chosen = []
        for path in map(expanded, given):
            if not path.is_dir():
                raise UserError(f"there is no folder {path}", "Give folders that exist: --root FOLDER.")
            chosen.append(path.resolve())
        sticks = [Path(place.format(user=getpass.getuser())) for place in STICKS] if os.name == "posix" else []
        chosen += [path.resolve() for path in sticks if path.is_dir()]
        return cls(tuple(dict.fromkeys(chosen)), tuple(path.resolve() for path in closed))

    def inside(self, text: str | Path, base: Path | None = None) -> Path:
        """A path, resolved: links are followed before it is judged.

        Args:
            base: where a relative path starts; by default, in the first folder.

        Raises:
            UserError: it is outside all folders, or in a closed one; or the system can't look at it.
        """
        said = str(text)
        if not said.strip() or "\0" in said:
            raise UserError("no path is given", "Choose a file or folder: Browse.")
        path = _resolved((base or self.folders[0]) / expanded(said))
        if any(path.is_relative_to(folder) for folder in self.closed):
            raise UserError(f"{shown(said)} is in the folder with this site's keys, which the page never opens")
        if not any(path.is_relative_to(folder) for folder in self.folders):
            allowed = ", ".join(map(str, self.folders))
            raise UserError(
                f"{shown(said)} is outside the folders that this page may open: {allowed}",
                "Choose a path inside them, or start the page with another folder: relay ui --root FOLDER.",
            )
        return path

    def listing(self, folder: Path) -> list[Entry]:
        """What is in a folder from :meth:`inside`, at most :data:`MOST` entries: folders first, then files, by name.
        Hidden entries and links that lead outside are left out.

        Raises:
            UserError: it can't be read.
        """
        try:
            found = sorted(self._entries(folder), key=lambda entry: (not entry.folder, entry.name.casefold()))
        except OSError as error:
            raise UserError(
                f"{folder} can't be read: {error.strerror}", "Check that the stick is plugged in, or choose another."
            ) from error
        return list(islice(found, MOST))

    def _entries(self, folder: Path) -> Iterator[Entry]:
        for item in os.scandir(folder):
            path = Path(item.path)
            if item.name.startswith(".") or not self._may(path):
                continue
            size = None if path.is_dir() else path.stat().st_size
            yield Entry(item.name, path, path.is_dir(), size)

    def _may(self, path: Path) -> bool:
        try:
            return self.inside(path).exists()
        except UserError:
            return False

    def above(self, path: Path) -> Path | None:
        """The folder that holds ``path``, if it may be opened."""
        return path.parent if path.parent != path and self._may(path.parent) else None


def _resolved(path: Path) -> Path:
    """A path with links followed.

    Raises:
        UserError: its links go round in a circle, its name is too long, or it is in a folder that may not be opened.
    """
    try:
        found = path.resolve()
        found.exists()
    except (OSError, RuntimeError) as error:  # pathlib raises RuntimeError for a circle of links
        why = error.strerror if isinstance(error, OSError) else "its links go round in a circle"
        raise UserError(f"{shown(str(path))} can't be opened: {why}", "Choose another file or folder.") from error
    return found
