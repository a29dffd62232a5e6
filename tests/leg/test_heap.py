"""Memory that a fit keeps from step to step, as the kernel counts it."""

from __future__ import annotations

import gc
import os
import platform
from pathlib import Path
from unittest.mock import Mock

import pytest
import torch

from relay.leg import heap
from tests.studies import simulate

needs_glibc = pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc returns memory so eagerly")
SIZE = 40 << 20
"""Above the largest threshold from which glibc gets memory from the system: 32 MiB."""


@pytest.fixture(autouse=True)
def _as_it_comes(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("MALLOC_ARENA_MAX", "MALLOC_TRIM_THRESHOLD_", "MALLOC_MMAP_THRESHOLD_", "GLIBC_TUNABLES"):
        monkeypatch.delenv(name, raising=False)


def faults() -> int:
    """Pages that the kernel had to find while an array was made and dropped, again and again."""
    import resource

    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(5):
        torch.ones(SIZE // 4)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before


def resident() -> int:
    """Bytes in RAM."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@needs_glibc
def test_memory_is_kept_and_then_returned() -> None:
    gc.collect()
    usual, before = faults(), resident()
    with heap.kept_memory():
        for _ in range(16):  # the first leave gaps too small for the next: what was cut off for alignment is kept apart
            torch.ones(SIZE // 4)
        assert faults() < usual / 2
        assert resident() > before + SIZE / 2
    assert resident() < before + SIZE / 2
    assert faults() > usual / 10, "it was returned, and has to be found again"


@needs_glibc
def test_what_the_user_has_set_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MALLOC_TRIM_THRESHOLD_", "1000000")
    usual = faults()
    with heap.kept_memory():
        assert faults() > usual / 2


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
