"""Files that are whole or absent, and what is said where one is not.

Written beside, flushed to the disk, then renamed into place; the folder is flushed, too, so that after a power failure
the old content is there or the new one. A disk may still lose what it has promised to keep: whatever we have written is
read by something that says which file is damaged, and what is done again once it is removed.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from hashlib import sha256
from pathlib import Path
from typing import Any, BinaryIO

from relay.errors import UserError

FULL = (errno.ENOSPC, errno.EDQUOT)
"""What the system says of a disk, or a user's share of it, that is full."""


def write_bytes(path: Path, data: bytes | memoryview, before: Path | None = None) -> None:
    """Replace ``path`` with ``data`` in one step; parents are made.

    Args:
        before: where the file that is replaced is kept; None keeps none.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.part")
    try:
        _flushed(beside, data)
    except OSError:
        beside.unlink(missing_ok=True)  # on a full disk, half a file would only take more room
        raise
    if before is not None and path.exists():
        path.replace(before)
    beside.replace(path)
    flush_folder(path.parent)


def open_file(path: Path) -> BinaryIO:
    """Open a file to read it. A pipe that lies in its place is not waited for: nobody writes into it.

    Raises:
        OSError: it can't be read, or is no file.
    """
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    kind = os.fstat(number).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # what follows says what is wrong with a folder
        os.close(number)
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    return os.fdopen(number, "rb")


def read_bytes(path: Path) -> bytes:
    """What is in a file; raises as :func:`open_file`."""
    with open_file(path) as file:
        return file.read()


def write_text(path: Path, text: str) -> None:
    """:func:`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode())


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """For a library that writes a file itself: yields the place to write to, with the same ending; parents are made.

    What was written there replaces ``path`` in one step; after an error nothing does.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".part.{path.name}")
    clear(beside)
    try:
        yield beside
        with beside.open("r+b") as file:
            os.fsync(file.fileno())
        beside.replace(path)
        flush_folder(path.parent)
    finally:
        beside.unlink(missing_ok=True)


def write_folder(folder: Path, files: Mapping[str, bytes]) -> None:
    """Replace a whole folder with these files in one step."""
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    beside.mkdir(parents=True)
    for name, data in files.items():
        _flushed(beside / name, data)
    flush_folder(beside)
    replace_folder(beside, folder)


def replace_folder(new: Path, folder: Path) -> None:
    """Put the folder ``new`` in the place of ``folder``, which may not be there. A process that is killed on the way
    leaves the old one or the new one; or neither, and then :func:`recover_folder` brings the old one back.
    """
    recover_folder(folder)
    folder.parent.mkdir(parents=True, exist_ok=True)
    old = _aside(folder)
    if folder.exists():
        folder.replace(old)
    try:
        new.replace(folder)
    except OSError:
        recover_folder(folder)
        raise
    flush_folder(folder.parent)
    shutil.rmtree(old, ignore_errors=True)


def recover_folder(folder: Path) -> None:
    """Finish a replacement of ``folder`` that was cut short: the old one comes back where there is no new one."""
    old = _aside(folder)
    if not old.exists():
        return
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
    else:
        old.replace(folder)


def _aside(folder: Path) -> Path:
    return folder.with_name(f".{folder.name}.old")


def flush_folder(folder: Path) -> None:
    """Let a renaming in a folder reach the disk, where the system knows how."""
    if not hasattr(os, "O_DIRECTORY"):
        return
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # some file systems can't
            raise
    finally:
        os.close(handle)


def expanded(path: str | Path) -> Path:
    """A path as it was given, with ``~`` in its place.

    Raises:
        UserError: ``~somebody`` is nobody here.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # what pathlib says of it
        raise UserError(
            f"{path}: there is no user '{Path(path).parts[0][1:]}' whose folder this could be",
            "Write the folder out; or ./~NAME, if its name does begin with ~.",
        ) from error


def read_json(path: Path, again: str) -> dict[str, Any]:
    """The JSON object in a file that we wrote.

    Args:
        again: what to do where it is damaged.

    Raises:
        FileNotFoundError: it is not there.
        UserError: it is damaged.
    """
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise damaged(path, error, again) from error
    if not isinstance(content, dict):
        raise damaged(path, "it is not a JSON object", again)
    return content


def damaged(path: Path, why: object, again: str) -> UserError:
    """The error of a file that we wrote, and that is no longer what it was; ``again``: what to do."""
    return UserError(f"{path} is damaged: {why}", again)


def disk_full(error: OSError, folder: Path) -> str | None:
    """Where there is no room, and how much is left; None where an error is about something else.

    Args:
        folder: what was written to, where the error names no file.
    """
    if error.errno not in FULL:
        return None
    place = Path(os.fsdecode(error.filename)) if error.filename else folder
    there = next(path for path in (place, *place.absolute().parents) if path.exists())
    return f"the disk is full: {place} can't be written; {shutil.disk_usage(there).free / 1e6:,.1f} MB are free there"


def inside(name: str) -> Path:
    """A name that may name folders as a path that never leads out of where it is put. Different names stay different:
    one that had to be changed gets eight digits of its own."""
    path = Path(*(part for part in name.split("/") if part not in {"", ".", ".."}))
    if path.name and path.as_posix() == name:
        return path
    return path.parent / (f"{path.name or '_'}-{sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}")


def _flushed(path: Path, data: bytes | memoryview) -> None:
    clear(path)
    try:
        with path.open("xb") as file:  # never through a link that somebody has put there
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = error.filename or str(path)  # writing does not say where
        raise


def open_to_others(path: Path) -> None:
    """Let whoever gets the stick read a file that is meant to be carried: at another computer its user has another
    number. Sticks without file modes (FAT) take no notice."""
    if os.name == "posix":
        path.chmod(0o644)


def clear(path: Path) -> None:
    """Remove what lies where a file is to be written: a file, a link, or a folder with all that is in it."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
