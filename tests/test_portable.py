"""Nothing needs a POSIX system: what only such a one has is asked for, and done without where it is missing.

What types can tell is told by ``mypy --platform win32`` and ``mypy --platform darwin``.
"""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from relay import files, locks
from relay.bundle import handover_files, stick
from relay.trust import keys
from tests.rooms import MODULES

ROOT = Path(__file__).parents[1]
POSIX = {"fcntl", "grp", "posix", "pty", "pwd", "resource", "syslog", "termios", "tty"}
"""Modules that Windows has not."""
ATTRIBUTES = [
    "O_DIRECTORY",
    "O_NOFOLLOW",
    "O_NONBLOCK",
    "O_CLOEXEC",
    "fork",
    "getuid",
    "geteuid",
    "getpgid",
    "killpg",
    "setsid",
    "mkfifo",
    "posix_fadvise",
    "POSIX_FADV_DONTNEED",
    "sched_getaffinity",
    "statvfs",
    "uname",
    "fchmod",
]
"""Of ``os``, likewise."""


def of_this_system(node: ast.AST) -> bool:
    """Whether a branch is taken on some systems only."""
    return isinstance(node, ast.If) and any(word in ast.unparse(node.test) for word in ("sys.platform", "os.name"))


def imported(node: ast.AST) -> Iterator[str]:
    """The modules that are imported anywhere below a node, whatever the system."""
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            yield from (alias.name.split(".")[0] for alias in child.names)
        elif isinstance(child, ast.ImportFrom) and child.level == 0:
            yield (child.module or "").split(".")[0]
        elif not of_this_system(child):
            yield from imported(child)


def test_no_module_imports_what_windows_has_not() -> None:
    paths = [*MODULES.values(), *ROOT.glob("strategies/*.py"), *ROOT.glob("datasets/*.py"), ROOT / "train.py"]
    wrong = {str(path): found for path in paths if (found := POSIX & set(imported(ast.parse(path.read_text()))))}
    assert not wrong


@pytest.fixture
def elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder on a system without what only POSIX has."""
    for name in ATTRIBUTES:
        monkeypatch.delattr(os, name, raising=False)
    for name in POSIX:
        monkeypatch.setitem(sys.modules, name, None)  # type: ignore[arg-type]
    for name in ("LOGNAME", "USER", "LNAME", "USERNAME"):
        monkeypatch.delenv(name, raising=False)
    return tmp_path


def test_files_are_written_read_and_replaced(elsewhere: Path) -> None:
    path = elsewhere / "a" / "file"
    files.write_bytes(path, b"one\n")
    files.write_text(path, "two\n")
    assert files.read_bytes(path) == b"two\n"
    with files.atomic(path) as beside:
        beside.write_bytes(b"three")
    files.write_folder(elsewhere / "folder", {"name": b"content"})
    files.write_folder(elsewhere / "folder", {"other": b"content"})
    handover_files.link(path, elsewhere / "linked")
    files.open_to_others(path)
    assert path.read_bytes() == (elsewhere / "linked").read_bytes() == b"three"
    assert [p.name for p in (elsewhere / "folder").iterdir()] == ["other"]


def test_sticks_keys_and_locks_do_without(elsewhere: Path) -> None:
    assert not stick.fat32(elsewhere, elsewhere / "no" / "mounts")
    (elsewhere / "file").write_bytes(b"content")
    assert len(stick._reread(elsewhere / "file")) == 64
    keys._write_private(elsewhere / "keys", b"\n\r\n\x1a")
    assert (elsewhere / "keys").read_bytes() == b"\n\r\n\x1a"
    assert "pid" in locks._me()


def test_windows_is_told_that_keys_are_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """There a file is text unless it is opened with O_BINARY, and every newline in it becomes two bytes."""
    asked: list[int] = []
    opened = os.open
    monkeypatch.setattr(os, "O_BINARY", 1 << 29, raising=False)
    monkeypatch.setattr(
        os, "open", lambda path, flags, *mode: (asked.append(flags), opened(path, flags & ~(1 << 29), *mode))[1]
    )
    keys._write_private(tmp_path / "keys", b"content")
    assert files.read_bytes(tmp_path / "keys") == b"content"
    assert len(asked) == 2
    assert all(flags & 1 << 29 for flags in asked)


@pytest.mark.slow
def test_every_module_is_imported_without_them() -> None:
    """In a process of its own, in which only what is not ours may import them."""
    code = f"""
import builtins, importlib
real = builtins.__import__
def guarded(name, names=None, *rest):
    if name in {POSIX!r} and (names or {{}}).get("__name__", "").split(".")[0] == "relay":
        raise ModuleNotFoundError(name)
    return real(name, names, *rest)
builtins.__import__ = guarded
for name in {sorted(set(MODULES) - {"relay.__main__"})!r}:
    importlib.import_module(name)
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)
