"""The file of a finished leg's model."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from relay.leg import checkpoint


def test_weights_are_left_in_the_file_until_they_are_used(tmp_path: Path) -> None:
    pytest.importorskip("resource")
    path, size = tmp_path / "last.ckpt", 100 << 20
    checkpoint.save(path, {"weight": torch.ones(size // 4)}, {})
    loading = f"""
import resource
from pathlib import Path
from relay.leg import checkpoint
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
weights, _ = checkpoint.load(Path({str(path)!r}))
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""
    said = subprocess.run([sys.executable, "-c", loading], check=True, capture_output=True, text=True).stdout
    unit = 1024 if sys.platform == "linux" else 1
    assert int(said) * unit < size / 4


def test_the_file_stays_as_it_is_when_weights_are_changed(tmp_path: Path) -> None:
    path = tmp_path / "last.ckpt"
    checkpoint.save(path, {"weight": torch.arange(4.0)}, {})
    checkpoint.load(path)[0]["weight"].add_(1)
    assert checkpoint.load(path)[0]["weight"].tolist() == [0, 1, 2, 3]
