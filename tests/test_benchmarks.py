"""Benchmarks that lack something, or get a wrong argument, say so in one line."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]


def refused(name: str, *words: str) -> str:
    """The only line that a benchmark prints when it refuses its arguments."""
    command = [sys.executable, str(ROOT / "benchmarks" / name), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert not done.stdout
    (line,) = done.stderr.splitlines()
    return line


def test_without_the_published_code_its_benchmark_says_where_to_get_it(tmp_path: Path) -> None:
    line = refused("published.py", str(tmp_path))
    assert line.startswith(f"{tmp_path} has no configs/fundus/relay.yaml")
    assert "https://github.com/MeteorsHub/RelayLearning" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("handoff.py abc", "'abc' is no whole number"),
        ("handoff.py 0", "'0' is no whole number"),
        ("handoff.py -5", "'-5' is no whole number"),
        ("handoff.py 2 3", "unrecognized arguments: 3"),
        ("scale.py", "required: quantity"),
        ("scale.py nothing 1 2", "invalid choice: 'nothing'"),
        ("scale.py bundle 1 1.5", "'1.5' is no whole number"),
        ("scale.py bundle relay 1 2", "'relay' is no whole number"),
        ("scale.py images 0 10", "'0' is no whole number"),
        ("scale.py bundle 1", "at least two different sizes"),
        ("scale.py sites relay 5 5", "at least two different sizes"),
        ("scale.py sites replay 5 15", "no such strategy: replay; there are "),
        ("published.py . --batch 0", "'0' is no whole number"),
        ("published.py . --side theirs", "invalid choice: 'theirs'"),
    ],
)
def test_a_wrong_argument_is_refused_before_anything_is_measured(words: str, said: str) -> None:
    name, *rest = words.split()
    line = refused(name, *rest)
    assert line.startswith(f"{name}: ")
    assert said in line


def test_scale_explains_itself() -> None:
    command = [sys.executable, str(ROOT / "benchmarks/scale.py"), "-h"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0
    assert "python benchmarks/scale.py sites [STRATEGY] [NUMBER…]" in done.stdout
