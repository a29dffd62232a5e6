"""One command at a time in a folder: a lock that says who holds it, and that is released when its process dies.

The system manages the lock (:mod:`filelock`: ``flock``, or its equivalent on Windows), so a killed process leaves none
behind. A file beside the lock records who holds it, for the message. On a network file system without locks, filelock
falls back to the existence of a file. This keeps a second process out only from version 4.1; versions before 3.24,
which Python 3.10 gets, refuse.
"""

from __future__ import annotations

import getpass
import json
import os
import platform
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

from relay.errors import UserError, plain
from relay.files import make_folder, read_bytes

LEFTOVERS = 20.0
"""How long the workers of a killed process may keep its lock, in seconds: they check for it every few seconds."""


@contextmanager
def locked(path: Path, what: str, instead: str = "", patience: float = 0.0) -> Iterator[None]:
    """Hold a lock.

    Args:
        path: the lock's file; its folder is created.
        what: what is in use, for the message.
        instead: an alternative to waiting, for the message.
        patience: seconds to wait for another process.

    Raises:
        UserError: another process holds it (the message says which, and since when), or the file system has no locks.
    """
    from filelock import FileLock, Timeout

    make_folder(path.parent)
    lock, note = FileLock(path, mode=0o600), path.with_name(f"{path.name}.by")
    try:
        try:
            lock.acquire(timeout=patience)
        except Timeout:
            if not _died(holder := _holder(note)):
                raise
            lock.acquire(timeout=LEFTOVERS)
    except Timeout as error:
        pid = holder.get("pid", "")
        stop = f", or stop it: kill {pid}" if _is_here(holder) else ""
        raise UserError(
            f"{what} is in use by another relay command{_told(holder)}",
            f"Wait for that command to finish{stop}. {instead}".strip(),
        ) from error
    except NotImplementedError as error:
        raise UserError(
            f"{what}: the file system of {path.parent} has no locks", "Use a folder on another disk, or Python 3.11."
        ) from error
    try:
        note.write_text(json.dumps(_me()))
        yield
    finally:
        note.unlink(missing_ok=True)
        lock.release()


def _me() -> dict[str, str]:
    try:
        user = getpass.getuser()
    except (OSError, KeyError, ImportError):  # a user without a name, for example in a container
        user = str(os.getuid()) if hasattr(os, "getuid") else ""
    return {
        "user": user,
        "host": platform.node(),
        "pid": str(os.getpid()),
        "command": " ".join(word for word in sys.argv[1:2] if word.isalpha()),
        "since": datetime.now().astimezone().strftime("%Y-%m-%d %H:%M:%S %z"),
    }


def _holder(note: Path) -> dict[str, str]:
    """Who wrote the note; empty if it does not exist yet or is not a valid note."""
    try:
        found = json.loads(read_bytes(note))
    except (OSError, ValueError, RecursionError):
        return {}
    return {key: plain(str(value)) for key, value in found.items()} if isinstance(found, dict) else {}


def _told(holder: dict[str, str]) -> str:
    if not {"user", "host", "pid", "since"} <= holder.keys():
        return ""
    command = f"relay {holder['command']}, " if holder.get("command") else ""
    return f": {command}process {holder['pid']} of {holder['user']} on {holder['host']}, since {holder['since']}"


def _is_here(holder: dict[str, str]) -> bool:
    return holder.get("host") == platform.node() and holder.get("pid", "").isdecimal()


def _died(holder: dict[str, str]) -> bool:
    """Whether it was a process on this machine that has ended. Its child processes end, too, but a little later."""
    if not _is_here(holder) or os.name != "posix":
        return False
    try:
        os.kill(int(holder["pid"]), 0)
    except ProcessLookupError:
        return True
    except (PermissionError, OverflowError):  # someone else's process, or not a valid process id
        return False
    return False
