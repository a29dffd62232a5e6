"""Bundles as files: their names, and volumes read as one.

A bundle larger than a volume is split into ``name.001``, ``name.002``, and so on; all but the last have the same size.
Names are compared ignoring case, because sticks may return them in capitals.
"""

from __future__ import annotations

import io
import os
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from typing_extensions import Buffer

from relay.errors import UserError, some
from relay.trust import Incomplete

_BUNDLE = re.compile(
    r"(?P<study>[a-z0-9][a-z0-9-]{0,39})\.leg-(?P<leg>[1-9][0-9]{0,3})\.(?P<site>[a-z0-9_][a-z0-9_.-]{0,39})"
    r"\.relay(?P<sealed>\.age)?",
    re.IGNORECASE | re.ASCII,
)
_VOLUME = re.compile(r"(?P<name>.+)\.(?P<number>[0-9]{3})", re.ASCII)


@dataclass(frozen=True)
class Found:
    """What a file's name says it is: a hint, not to be trusted.

    Attributes:
        path: the file, or its first volume.
    """

    path: Path
    study: str
    leg: int
    site: str
    sealed: bool


def bundle_name(study: str, leg: int, site: str, sealed: bool) -> str:
    """The file name of a bundle."""
    return f"{study}.leg-{leg}.{site}.relay{'.age' if sealed else ''}".lower()


def find(folder: Path) -> list[Found]:
    """The bundles in a folder, judging by their names, newest leg first.

    Raises:
        UserError: the folder can't be listed.
    """
    found: dict[str, Found] = {}
    for path in listed(folder):
        name, _ = _split(path.name)
        hit = _BUNDLE.fullmatch(name)
        if hit and name.lower() not in found:
            study, site = hit["study"].lower(), hit["site"].lower()
            found[name.lower()] = Found(path, study, int(hit["leg"]), site, hit["sealed"] is not None)
    return sorted(found.values(), key=lambda f: (-f.leg, f.path.name.lower()))


class Volumes(io.BufferedReader):
    """The volumes of a bundle as one seekable stream; reading raises :class:`Incomplete` if the stick is pulled out.

    Attributes:
        size: of all volumes together, in bytes.
        paths: the files, in order.
    """

    def __init__(self, paths: Sequence[Path]) -> None:
        joined = _Joined(paths)
        super().__init__(joined, 2**17)
        self.size, self.paths = joined.size, list(paths)


class _Joined(io.RawIOBase):
    def __init__(self, paths: Sequence[Path]) -> None:
        self._files: list[tuple[int, int, Path]] = []  # start, end, path
        self.size = 0
        for path in paths:
            start, self.size = self.size, self.size + path.stat().st_size
            self._files.append((start, self.size, path))
        self._at = 0
        self._open: tuple[Path, io.FileIO] | None = None

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = os.SEEK_SET, /) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self.size}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: Buffer, /) -> int:
        for start, end, path in self._files:
            if start <= self._at < end:
                view = memoryview(buffer).cast("B")[: end - self._at]
                count = self._from(path, self._at - start, view)
                self._at += count
                return count
        return 0

    def _from(self, path: Path, at: int, view: memoryview) -> int:
        try:
            file = self._opened(path)
            file.seek(at)
            count = file.readinto(view)
        except OSError as error:
            raise Incomplete(f"{path} can't be read at byte {at}: {error.strerror}") from error
        if not count:
            raise Incomplete(f"{path} ends early, after {at} bytes")
        return count

    def _opened(self, path: Path) -> io.FileIO:
        if not self._open or self._open[0] != path:
            self._shut()
            self._open = path, path.open("rb", buffering=0)
        return self._open[1]

    def _shut(self) -> None:
        if self._open:
            self._open[1].close()
        self._open = None

    def close(self) -> None:
        self._shut()
        super().close()


def open_volumes(path: Path) -> Volumes:
    """Open a bundle, whether it is one file or several volumes.

    Args:
        path: the file, any of its volumes, or its name without a volume's number; case is ignored.

    Raises:
        UserError: there is no such file.
        Incomplete: a volume is missing, or shorter than it must be.
    """
    name, _ = _split(path.name)
    files = same(path.parent, name)
    whole = [p for p in files if p.name.lower() == name.lower()]
    if whole and path.name.lower() == name.lower():
        chosen = [path if path in whole else whole[0]]
    else:
        chosen = _complete(name, [p for p in files if p not in whole])
    if not chosen:
        raise UserError(f"there is no bundle {path}", "Check the name, and that the stick is plugged in.")
    try:
        return Volumes(chosen)
    except OSError as error:
        raise Incomplete(f"{path} can't be read: {error.strerror}") from error


def _complete(name: str, files: Sequence[Path]) -> list[Path]:
    """Volumes in order, after checking from outside that none is missing or truncated."""
    volumes = {int(_split(p.name)[1] or 0): p for p in sorted(files)}
    if not volumes:
        return []
    last = max(max(volumes), 2)  # a bundle that is split has at least two
    if missing := [f"{name}.{k:03d}" for k in range(1, last + 1) if k not in volumes]:
        raise Incomplete(f"missing: {some(missing)}")
    paths = [volumes[k] for k in range(1, last + 1)]
    try:
        sizes = [p.stat().st_size for p in paths]
    except OSError as error:
        raise Incomplete(f"{name} can't be read: {error.strerror}") from error
    for path, size in zip(paths, sizes, strict=True):
        if not size or (path != paths[-1] and size < max(sizes)):
            raise Incomplete(f"{path.name} has {size} bytes; it was truncated")
    return paths


def same(folder: Path, name: str) -> list[Path]:
    """Files with this name, whole or as volumes, ignoring case; lowest number first."""
    return [p for p in listed(folder) if name.lower() in (p.name.lower(), _split(p.name)[0].lower())]


def _split(name: str) -> tuple[str, str | None]:
    """A file's name without its volume number, and that number."""
    hit = _VOLUME.fullmatch(name)
    return (hit["name"], hit["number"]) if hit else (name, None)


def listed(folder: Path) -> list[Path]:
    """The files in a folder, sorted by name."""
    try:
        return sorted(path for path in folder.iterdir() if path.is_file())
    except OSError as error:
        why = f"can't list {folder}: {error.strerror}"
        raise UserError(why, "Check the path, and that the stick is plugged in.") from error
