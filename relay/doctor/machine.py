"""Memory, and the disk that runs are written to."""

from __future__ import annotations

import ctypes
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from relay.doctor.finding import Finding, fault, ok, warning
from relay.files import FULL

LEAST_MEMORY, GOOD_MEMORY = 2.0, 8.0
"""GB of main memory: below the first a leg fails, below the second it is tight."""
LEAST_SPACE, GOOD_SPACE = 2.0, 20.0
"""GB of free disk space, likewise."""
SLOW = 20.0
"""MB/s below which checkpoints are felt."""
PIECE, PIECES, SECONDS = 4 * 2**20, 8, 0.5
"""What the speed is measured with: pieces of 4 MiB, at most 8 of them, and no new one after half a second."""
LESS = "Close other programs. Choose a smaller batch_size or patch_size, or use a computer with more memory."
ROOM = "Delete what you don't need there, or run relay in a folder on a larger disk."


def check_memory() -> Iterator[Finding]:
    """Main memory: all of it, as far as a container may use it, and what is available now."""
    total, free = memory()
    if total is None:
        yield ok("memory", "this system does not say how much there is")
        return
    now = "" if free is None else f", {free:.1f} GB of it available now"
    text = f"{total:.1f} GB{now}"
    if min(total, total if free is None else free) < LEAST_MEMORY:
        yield fault("memory", f"{text}; a leg needs at least {LEAST_MEMORY:g} GB", LESS)
    elif total < GOOD_MEMORY:
        yield warning("memory", f"{text}; nets for volumes need {GOOD_MEMORY:g} GB or more", LESS)
    else:
        yield ok("memory", text)


def memory(root: Path = Path("/")) -> tuple[float | None, float | None]:
    """Main memory of this machine or container, and what is available of it, in GB; None if the system doesn't say.

    Args:
        root: where ``proc`` and ``sys`` are; another folder in tests.
    """
    if sys.platform == "win32":
        return _windows_memory()
    pages = getattr(os, "sysconf", None)
    total = pages("SC_PAGE_SIZE") * pages("SC_PHYS_PAGES") / 1e9 if pages else None
    free = None
    for line in _lines(root / "proc/meminfo"):
        if line.startswith("MemAvailable:"):
            free = int(line.split()[1]) * 1024 / 1e9
    limit = next(iter(_lines(root / "sys/fs/cgroup/memory.max")), "max")
    if limit.isdecimal() and total is not None:
        total = min(total, int(limit) / 1e9)
    return total, free if free is None or total is None else min(free, total)


def _lines(path: Path) -> list[str]:
    try:
        return path.read_text().splitlines()
    except OSError:
        return []


def _windows_memory() -> tuple[float | None, float | None]:
    """From GlobalMemoryStatusEx, whose structure has two 32-bit and seven 64-bit numbers."""
    numbers = (ctypes.c_uint64 * 8)()
    ctypes.cast(numbers, ctypes.POINTER(ctypes.c_uint32))[0] = ctypes.sizeof(numbers)
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009  (other systems' types don't have it)
    if not kernel.GlobalMemoryStatusEx(ctypes.byref(numbers)):
        return None, None
    return numbers[1] / 1e9, numbers[2] / 1e9


def check_disk(folder: Path) -> Iterator[Finding]:
    """The disk of a folder: free space, and how fast 32 MiB are written and flushed there."""
    private = {"folder": folder}
    try:
        free = shutil.disk_usage(folder).free / 1e9
        speed = write_speed(folder)
    except OSError as error:
        yield _unwritable(error, folder)
        return
    text = f"{free:.1f} GB free in {{folder}}, written at {speed:.0f} MB/s"
    if free < LEAST_SPACE:
        yield fault("disk", f"{text}; a run needs at least {LEAST_SPACE:g} GB", ROOM, **private)
    elif free < GOOD_SPACE:
        yield warning("disk", f"{text}; a study of several legs may need more", ROOM, **private)
    elif speed < SLOW:
        yield warning(
            "disk",
            f"{text}; checkpoints will take long",
            "Run relay in a folder on a disk of this computer, not on a stick or on the network.",
            **private,
        )
    else:
        yield ok("disk", text, **private)


def _unwritable(error: OSError, folder: Path) -> Finding:
    if error.errno in FULL:
        return fault("disk", "the disk of {folder} is full", ROOM, folder=folder)
    return fault(
        "disk",
        f"{{folder}} can't be written to: {error.strerror or type(error).__name__}",
        "Run relay in a folder that you may write to.",
        folder=folder,
    )


def write_speed(folder: Path) -> float:
    """MB/s at which a new file in a folder is written and flushed to the disk.

    Raises:
        OSError: it can't be written.
    """
    piece, begin, count = os.urandom(PIECE), time.perf_counter(), 0
    with tempfile.TemporaryFile(dir=folder) as file:
        while count < PIECES and (not count or time.perf_counter() - begin < SECONDS):
            file.write(piece)
            file.flush()
            os.fsync(file.fileno())
            count += 1
    return count * PIECE / 1e6 / max(time.perf_counter() - begin, 1e-6)
