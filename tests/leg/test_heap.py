"""Memory that a fit keeps from step to step, as the kernel counts it."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from pathlib import Path
from unittest.mock import Mock

import pytest

from relay.leg import heap
from tests.studies import simulate

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc returns memory so eagerly")
SIZE = 40 << 20
"""Above the largest threshold from which glibc gets memory from the system: 32 MiB."""


@pytest.fixture(autouse=True)
def _as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)


MEASURED = f"""
import os, resource
import numpy as np
from relay.leg.heap import kept_memory

def faults():
    "Pages that the kernel had to find while an array was made and dropped, again and again."
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        np.ones({SIZE}, np.uint8)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

def resident():
    return int(open("/proc/self/statm").read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

before, usual = resident(), faults()
with kept_memory():
    np.ones({SIZE}, np.uint8)
    within, kept = faults(), resident()
print(usual, within, faults(), kept - before, resident() - before)
"""


def measured(**environment: str) -> list[int]:
    """In a process of its own, since nobody knows what lies in the heap of this one: page faults before, within and
    after, and by how many bytes more are in RAM within and after."""
    done = subprocess.run(
        [sys.executable, "-c", MEASURED], env=os.environ | environment, check=True, capture_output=True, text=True
    )
    return [int(number) for number in done.stdout.split()]


@needs_glibc
def test_memory_is_kept_and_then_returned() -> None:
    usual, within, after, kept, left = measured()
    assert within < usual / 10
    assert kept > SIZE / 2
    assert left < SIZE / 2
    assert after > usual / 2, "it was returned, and has to be found again"


@needs_glibc
def test_what_the_user_has_set_stays() -> None:
    usual, within, *_ = measured(MALLOC_TRIM_THRESHOLD_="1000000")
    assert within > usual / 2


def test_elsewhere_nothing_happens(monkeypatch: pytest.MonkeyPatch) -> None:
    library = Mock()
    monkeypatch.setattr(heap.platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(heap.ctypes, "CDLL", library)
    with heap.kept_memory():
        pass
    assert library.mock_calls == []


def test_a_fit_on_a_cpu_does_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    called: list[tuple[int, int]] = []

    class Libc:
        def mallopt(self, parameter: int, value: int) -> int:
            called.append((parameter, value))
            return 1

        def malloc_trim(self, pad: int) -> int:
            return pad

    monkeypatch.setattr(heap, "_glibc", Libc)
    simulate(tmp_path, **{"common.train.num_epochs": 1, "current_tasks.task_ids": [1]})
    assert tuple(called) == (*heap.KEEP, *heap.USUAL)
