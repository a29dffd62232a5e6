"""Benchmarks that need something from outside say what, in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]


def test_without_the_published_code_its_benchmark_says_where_to_get_it(tmp_path: Path) -> None:
    command = [sys.executable, str(ROOT / "benchmarks/published.py"), str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert not done.stdout
    (line,) = done.stderr.splitlines()
    assert line.startswith(f"{tmp_path} has no configs/fundus/relay.yaml")
    assert "https://github.com/MeteorsHub/RelayLearning" in line
