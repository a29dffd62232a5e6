"""A fit on a CPU keeps the memory of a step for the next one."""

from __future__ import annotations

import ctypes
import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager

TRIM_THRESHOLD, TOP_PAD, MMAP_THRESHOLD, MMAP_MAX = -1, -2, -3, -4
"""Parameters of ``mallopt(3)``."""
KEEP = ((MMAP_MAX, 0), (TRIM_THRESHOLD, 2**31 - 1), (TOP_PAD, 64 << 20))
USUAL = ((MMAP_MAX, 1 << 16), (MMAP_THRESHOLD, 32 << 20), (TRIM_THRESHOLD, 64 << 20), (TOP_PAD, 128 << 10))
"""What glibc's thresholds come to by themselves, once a process has freed large arrays."""


@contextmanager
def kept_memory() -> Iterator[None]:
    """Within it, memory that is freed stays with this process.

    By default, glibc gets each large array from the system, which clears its pages, and returns it at once: in a step
    on volumes, that is a quarter of the processor's time (``benchmarks/heap.py``). Afterwards, everything that is free
    is returned. Nothing happens without glibc, or where the user has set ``MALLOC_`` variables.
    """
    libc = _glibc()
    if libc is None:
        yield
        return
    try:
        for parameter, value in KEEP:
            libc.mallopt(parameter, value)
        yield
    finally:
        for parameter, value in USUAL:
            libc.mallopt(parameter, value)
        libc.malloc_trim(0)


def _glibc() -> ctypes.CDLL | None:
    """The C library, if it is glibc and the user has not configured it."""
    own = any(name.startswith("MALLOC_") or name == "GLIBC_TUNABLES" for name in os.environ)
    return None if own or platform.libc_ver()[0] != "glibc" else ctypes.CDLL(None)
