"""``relay data cache``."""

from __future__ import annotations

from pathlib import Path

import pytest
from typer.testing import CliRunner

from relay.cli.app import app


def told(*words: str, code: int = 0) -> str:
    done = CliRunner().invoke(app, ["data", "cache", *words])
    assert done.exit_code == code, done.output
    return done.output


def test_it_is_listed_and_cleared(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELAY_CACHE", str(tmp_path))
    for name in ("a.cases", "b.cases", "b.1.2.part", "notes.txt"):
        (tmp_path / name).write_bytes(b"x" * 1000)
    assert told("list").splitlines()[0] == f"{tmp_path}: 2 entries, 2e-06 of 50 GB"
    assert told("clear") == f"{tmp_path}: removed 3 entries\n"
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert told("list") == f"{tmp_path}: 0 entries, 0 of 50 GB\n"


def test_without_a_cache_it_says_how_to_have_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RELAY_CACHE", raising=False)
    assert "export RELAY_CACHE=" in told("list", code=2)
