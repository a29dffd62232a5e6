"""Write to real-world sticks: 4 GiB per file, names in any case, full, read-only, pulled out.

This module writes; :mod:`relay.bundle.volumes` finds and reads what is on a stick.
"""

from __future__ import annotations

import errno
import hashlib
import io
import os
import re
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import NoReturn, Protocol

from relay.bundle import seal
from relay.bundle.container import CHUNK
from relay.bundle.volumes import Found, Volumes, bundle_name, find, listed, open_volumes, same
from relay.errors import UserError
from relay.files import clear, flush_folder, open_to_others

__all__ = [
    "Found",
    "Volumes",
    "bundle_name",
    "default_volume",
    "fat32",
    "file_system",
    "find",
    "open_volumes",
    "put",
    "same",
]

FAT32_VOLUME = 4 * 2**30 - 64 * 2**10
"""Size of a volume on FAT32, in bytes; its files have at most 4 GiB - 1."""
MOST_VOLUMES = 999
FAT = ("vfat", "msdos")
"""Linux's names for FAT file systems."""

_CAUSES = {
    errno.ENOSPC: (
        "it is full",
        "Delete what you don't need from it, or use a larger one. Then run the command again.",
    ),
    errno.EROFS: (
        "it is read-only",
        "Switch off its write protection, or use another one. Then run the command again.",
    ),
    errno.EFBIG: (
        "it can't store a file this large",
        "It is probably FAT32. Set a volume size below 4 GiB, and run the command again.",
    ),
    errno.EACCES: (
        "you don't have permission to write there",
        "Mount it so that you can write to it, or name another folder.",
    ),
}
_CAUSES |= {errno.EDQUOT: _CAUSES[errno.ENOSPC], errno.EPERM: _CAUSES[errno.EACCES]}
_GONE = ("it does not respond", "Plug it in again. If this happens twice, use another stick.")
_CAUSES |= dict.fromkeys((errno.EIO, errno.ENODEV, errno.ENXIO, errno.ENOENT, errno.ENOTDIR), _GONE)


class Sized(seal.Readable, Protocol):
    """A readable stream of known length."""

    size: int


def default_volume(folder: Path) -> int | None:
    """Size of a volume, in bytes, if the file system limits file sizes; else None."""
    return FAT32_VOLUME if fat32(folder) else None


def fat32(folder: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether a folder is on FAT; False if the system does not say."""
    return file_system(folder, mounts) in FAT


def file_system(folder: Path, mounts: Path = Path("/proc/mounts")) -> str | None:
    """The kind of file system that a folder is on, as Linux calls it (``vfat``, ``ext4``); None if the system does not
    say."""
    try:
        lines = mounts.read_text(errors="replace").splitlines()
        place = folder.resolve()
    except OSError:
        return None
    kinds: dict[Path, str] = {}  # a later mount hides an earlier one
    for line in lines:
        fields = line.split(" ")
        if len(fields) > 2:
            kinds[Path(_unescaped(fields[1]))] = fields[2]
    mount = next((p for p in (place, *place.parents) if p in kinds), None)
    return None if mount is None else kinds[mount]


def _unescaped(field: str) -> str:
    return re.sub(r"\\([0-7]{3})", lambda hit: chr(int(hit[1], 8)), field)


def put(
    source: Sized,
    folder: Path,
    name: str,
    volume: int | None = None,
    *,
    recipients: Sequence[str] = (),
    check: bool = False,
) -> list[Path]:
    """Put a bundle on a stick: complete under its final name, or not at all.

    Args:
        folder: must exist; it is not created, because the path of a missing stick looks like a folder.
        volume: maximum size of a file, in bytes; None for one file.
        recipients: age public keys to seal to while writing; none for an unchanged copy.
        check: read back what was written and compare.

    Returns:
        The files, in order. Any earlier files with the same name are replaced.

    Raises:
        UserError: there is not enough space, or writing failed. Earlier files are still there.
    """
    need = seal.sealed_size(source.size, len(recipients)) if recipients else source.size
    writer = _Writer(folder, name, volume, bool(recipients) or name.endswith(".age"))
    try:
        writer.make_room(need)
        if recipients:
            seal.seal(source, writer, recipients)
        else:
            while piece := source.read(CHUNK):
                writer.write(piece)
        return writer.finish(check)
    except BaseException:
        writer.abandon()
        raise


class _Writer:
    """Files that grow under temporary names, until :meth:`finish` gives them their final ones."""

    def __init__(self, folder: Path, name: str, volume: int | None, sealed: bool) -> None:
        self._folder, self.name, self._volume, self._sealed = folder, name, volume, sealed
        self._parts: list[Path] = []
        self._named: list[Path] = []
        self._sums: list[str] = []
        self._file: io.FileIO | None = None
        self._room = 0
        self._sha256 = hashlib.sha256()

    def make_room(self, need: int) -> None:
        """Remove what a failed attempt left, then check that ``need`` bytes are free."""
        if self._volume is not None and need > max(self._volume, 0) * MOST_VOLUMES:
            what = f"{self.name} ({need} bytes) does not fit into {MOST_VOLUMES} volumes of {self._volume} bytes"
            raise UserError(what, "Use larger volumes.")
        listed(self._folder)  # raises if the stick is missing
        with writing_to(self._folder):
            for path in list(self._folder.iterdir()):
                if path.name.lower().startswith(f".{self.name}.".lower()) and path.suffix == ".part":
                    clear(path)
        with writing_to(self._folder):
            free = shutil.disk_usage(self._folder).free
        if need > free:
            what = f"{self.name} needs {_size(need)}; {self._folder} has {_size(free)} free"
            raise UserError(what, _CAUSES[errno.ENOSPC][1])

    def write(self, data: bytes) -> None:
        left = memoryview(data)
        while left:
            file = self._current()
            with writing_to(self._folder):
                # the system may write less than it is given
                count = file.write(left[: self._room] if self._volume else left) or 0
            self._sha256.update(left[:count])
            self._room -= count
            left = left[count:]

    def _current(self) -> io.FileIO:
        """The file to write to: a new one if there is none yet, or if the volume is full."""
        if self._file and (self._room or not self._volume):
            return self._file
        self._close()
        part = self._folder / f".{self.name}.{len(self._parts) + 1:03d}.part"
        self._room = self._volume or 0
        with writing_to(self._folder):
            self._file = part.open("xb", buffering=0)  # never through an existing link
        self._parts.append(part)
        return self._file

    def _close(self) -> None:
        if self._file:
            with writing_to(self._folder), self._file:
                os.fsync(self._file.fileno())
            self._file = None
            self._sums.append(self._sha256.hexdigest())
            self._sha256 = hashlib.sha256()

    def finish(self, check: bool) -> list[Path]:
        if not self._parts:
            self._current()  # an empty file is a file, too
        self._close()
        for part, digest in zip(self._parts, self._sums, strict=True):
            if check and _reread(part) != digest:
                what = f"{self._folder} does not return what was written to it"
                raise UserError(what, "Don't trust this stick. Use another one, and send again.")
        return self._rename()

    def _rename(self) -> list[Path]:
        """Rename the first volume last: until then, there is no bundle. Then delete the files that are replaced."""
        count = len(self._parts)
        names = [f"{self.name}.{k:03d}" for k in range(1, count + 1)] if count > 1 else [self.name]
        paths = [self._folder / name for name in names]
        before = same(self._folder, self.name)
        with writing_to(self._folder):
            for old in before:
                if count > 1 and old.name.lower() == names[0].lower():
                    old.unlink()  # so that old and new volumes never look like one bundle
            for part, path in reversed(list(zip(self._parts, paths, strict=True))):
                if self._sealed:
                    open_to_others(part)
                part.replace(path)
                self._named.append(path)
            for old in before:
                # on some sticks, names that differ only in case are the same file
                if old.exists() and not any(old.samefile(path) for path in paths):
                    old.unlink()
            flush_folder(self._folder)
        return paths

    def abandon(self) -> None:
        """Remove what was written, as far as the stick still allows."""
        if self._file:
            with suppress(OSError):
                self._file.close()
        whole = len(self._named) == len(self._parts)
        for path in [*self._parts, *([] if whole else self._named)]:
            with suppress(OSError):
                path.unlink()


def _reread(path: Path) -> str:
    """SHA-256 of what is on the device, not of what the system has cached."""
    digest = hashlib.sha256()
    with writing_to(path.parent), path.open("rb") as file:
        forget = getattr(os, "POSIX_FADV_DONTNEED", None)
        if forget is not None and hasattr(os, "posix_fadvise"):
            os.posix_fadvise(file.fileno(), 0, 0, forget)
        while chunk := file.read(CHUNK):
            digest.update(chunk)
    return digest.hexdigest()


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turn system errors about a stick into clear messages.

    Raises:
        UserError: the stick is full, write-protected or gone.
    """
    try:
        yield
    except OSError as error:
        _tell(folder, error)


def _tell(folder: Path, error: OSError) -> NoReturn:
    cause, advice = _CAUSES.get(error.errno or 0, (error.strerror or "it failed", None))
    raise UserError(f"can't write to {folder}: {cause}", advice) from error


def _size(count: float) -> str:
    """A readable number of bytes."""
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} GB"
