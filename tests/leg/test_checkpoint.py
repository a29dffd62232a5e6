"""The file of a finished leg's model."""

from __future__ import annotations

import gc
import os
import sys
from pathlib import Path

import pytest
import torch

from relay.leg import checkpoint


@pytest.mark.skipif(sys.platform != "linux", reason="what is in RAM is read from /proc")
def test_weights_are_left_in_the_file_until_they_are_used(tmp_path: Path) -> None:
    path, size = tmp_path / "last.ckpt", 100 << 20
    checkpoint.save(path, {"weight": torch.ones(size // 4)}, {})
    before = resident()
    weights, _ = checkpoint.load(path)
    assert resident() - before < size / 4
    assert float(weights["weight"].sum()) == size / 4
    assert resident() - before > size / 2


def resident() -> int:
    """Bytes of this process in RAM."""
    gc.collect()
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def test_the_file_stays_as_it_is_when_weights_are_changed(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    checkpoint.save(path, {"weight": torch.arange(4.0)}, {})
    checkpoint.load(path)[0]["weight"].add_(1)
    assert checkpoint.load(path)[0]["weight"].tolist() == [0, 1, 2, 3]
