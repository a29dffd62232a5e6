"""Files that are complete or absent, and messages for those that are not.

A file is written under a temporary name, flushed to the disk, then renamed into place. The folder is flushed, too, so
that after a power failure either the old or the new content is there. A disk may still lose data it promised to keep:
whatever reads our files says which one is damaged, and what is redone once you remove it.

Only its owner can read a new file or folder, however open the system's usual modes are: most of what we write shows
patients or can be traced to them. :func:`open_to_others` is for what is meant for others.
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
"""Error codes for a full disk or an exhausted quota."""
PRIVATE, PRIVATE_FOLDER = 0o600, 0o700
"""Modes of what only its owner can use. Windows, where access lists decide, ignores them."""


def make_folder(folder: Path) -> None:
    """Make a folder and those above it, which only their owner can open. Existing ones keep their modes.

    Raises:
        OSError: it can't be made, or is a file.
    """
    try:
        folder.mkdir(PRIVATE_FOLDER, exist_ok=True)
    except FileNotFoundError:
        if folder.parent == folder:
            raise
        make_folder(folder.parent)
        folder.mkdir(PRIVATE_FOLDER, exist_ok=True)


def write_bytes(path: Path, data: bytes | memoryview, before: Path | None = None) -> None:
    """Replace ``path`` with ``data`` in one step; parents are created.

    Args:
        before: where to keep the replaced file; None to delete it.
    """
    make_folder(path.parent)
    beside = path.with_name(f".{path.name}.part")
    try:
        _flushed(beside, data)
    except OSError:
        beside.unlink(missing_ok=True)  # on a full disk, a partial file would only take up space
        raise
    if before is not None and path.exists():
        path.replace(before)
    beside.replace(path)
    flush_folder(path.parent)


def open_file(path: Path) -> BinaryIO:
    """Open a file for reading. Don't wait for a pipe in its place: no one writes to it.

    Raises:
        OSError: it can't be read, or is not a file.
    """
    number = os.open(path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0))
    kind = os.fstat(number).st_mode
    if not (stat.S_ISREG(kind) or stat.S_ISDIR(kind)):  # for a folder, open() gives its own error
        os.close(number)
        raise OSError(errno.EINVAL, "it is a pipe or a device, not a file", str(path))
    return os.fdopen(number, "rb")


def read_bytes(path: Path) -> bytes:
    """The content of a file; raises as :func:`open_file`."""
    with open_file(path) as file:
        return file.read()


def write_text(path: Path, text: str) -> None:
    """:func:`write_bytes` for UTF-8 text."""
    write_bytes(path, text.encode())


@contextmanager
def atomic(path: Path) -> Iterator[Path]:
    """For a library that writes a file itself: yields the path to write to, with the same extension. Parents are
    created. The file written there replaces ``path`` in one step; after an error, ``path`` is unchanged.
    """
    make_folder(path.parent)
    beside = path.with_name(f".part.{path.name}")
    clear(beside)
    try:
        beside.touch(PRIVATE)  # the library writes into it
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
    make_folder(beside)
    for name, data in files.items():
        _flushed(beside / name, data)
    flush_folder(beside)
    replace_folder(beside, folder)


def add_files(folder: Path, files: Mapping[str, bytes]) -> None:
    """Write new files to a folder that may have others: all of them; after an error or a stop, none. They are written
    to a folder in it, and moved from there at the end.
    """
    inside = folder / ".new.part"
    shutil.rmtree(inside, ignore_errors=True)
    moved = []
    try:
        for name, data in files.items():
            write_bytes(inside / name, data)
        for name in files:
            moved.append(folder / name)
            (inside / name).replace(folder / name)
        flush_folder(folder)
    except BaseException:  # also if somebody ends it
        for path in moved:
            path.unlink(missing_ok=True)
        raise
    finally:
        shutil.rmtree(inside, ignore_errors=True)


def replace_folder(new: Path, folder: Path) -> None:
    """Replace ``folder``, which may not exist, with the folder ``new``. A process that is killed on the way leaves the
    old one or the new one; or neither, and then :func:`recover_folder` restores the old one.
    """
    recover_folder(folder)
    make_folder(folder.parent)
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
    """Finish an interrupted replacement of ``folder``: restore the old one if there is no new one."""
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
    """Flush a rename in a folder to the disk, if the system supports that."""
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
    """A path as given, with ``~`` expanded.

    Raises:
        UserError: ``~somebody`` does not exist here.
    """
    try:
        return Path(path).expanduser()
    except RuntimeError as error:  # raised by pathlib
        raise UserError(
            f"{path}: there is no user '{Path(path).parts[0][1:]}'",
            "Write the path in full; or ./~NAME, if the name really begins with ~.",
        ) from error


def read_json(path: Path, again: str) -> dict[str, Any]:
    """The JSON object in a file that we wrote.

    Args:
        again: what to do if it is damaged.

    Raises:
        FileNotFoundError: it does not exist.
        UserError: it is damaged.
    """
    try:
        content = json.loads(read_bytes(path))
    except (ValueError, RecursionError) as error:
        raise damaged(path, error, again) from error
    if not isinstance(content, dict):
        raise damaged(path, "it is not a JSON object", again)
    return content


def read_record(path: Path, needed: Mapping[str, type], again: str) -> dict[str, Any] | None:
    """A JSON object that we wrote, with the keys that are used and their types; None if there is no such file.

    Raises:
        UserError: it is damaged; ``again`` says what to do.
    """
    try:
        record = read_json(path, again)
    except FileNotFoundError:
        return None
    for key, kind in needed.items():
        if not isinstance(record.get(key), kind):
            raise damaged(path, f"'{key}' is missing or has the wrong type", again)
    return record


def damaged(path: Path, why: object, again: str) -> UserError:
    """An error for a file that we wrote and that is now damaged; ``again``: what to do."""
    return UserError(f"{path} is damaged: {why}", again)


def disk_full(error: OSError, folder: Path) -> str | None:
    """Which disk is full, and how much space is left; None if an error is about something else.

    Args:
        folder: the folder that was written to, in case the error names no file.
    """
    if error.errno not in FULL:
        return None
    place = Path(os.fsdecode(error.filename)) if error.filename else folder
    there = next(path for path in (place, *place.absolute().parents) if path.exists())
    return f"the disk is full: {place} can't be written; {shutil.disk_usage(there).free / 1e6:,.1f} MB are free there"


def exists(path: Path) -> bool:
    """Whether there is something at a path that someone wrote into a table; a text that can be no path is none."""
    try:
        return path.exists()
    except ValueError:  # a zero byte
        return False
    except OSError as error:
        if error.errno == errno.ENAMETOOLONG:
            return False
        raise


def unreadable(path: Path) -> str:
    """Why there is nothing to read at a path, in words; empty for a file, whatever its permissions, or a folder. A pipe
    may have no end."""
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return f"a link to a file that is not there: {path.readlink()}" if path.is_symlink() else "no such file"
    except OSError as error:
        return error.strerror or str(error)
    except ValueError as error:  # a zero byte
        return str(error)
    return "" if stat.S_ISREG(mode) or stat.S_ISDIR(mode) else "not a file, but a pipe or a device"


def inside(name: str) -> Path:
    """Turn a name, which may contain folders, into a path that never leads outside its parent. Different names stay
    different: a name that had to be changed gets eight hex digits of its digest."""
    path = Path(*(part for part in name.split("/") if part not in {"", ".", ".."}))
    if path.name and path.as_posix() == name:
        return path
    return path.parent / (f"{path.name or '_'}-{sha256(name.encode(errors='surrogateescape')).hexdigest()[:8]}")


def _flushed(path: Path, data: bytes | memoryview) -> None:
    clear(path)
    try:
        with open(path, "xb", opener=_private) as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        error.filename = error.filename or str(path)  # write errors don't name the file
        raise


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, PRIVATE)


def open_to_others(path: Path) -> None:
    """Make a file that will be carried away readable by anyone with the stick: its user has another id at another
    computer. Sticks without file modes (FAT) ignore this."""
    if os.name == "posix":
        path.chmod(0o644)


def clear(path: Path) -> None:
    """Remove whatever is at a path that will be written: a file, a link, or a folder with all its content."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
