"""Two commands in one folder: the second is told who has it, and one that died has let it go."""

from __future__ import annotations

import errno
import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from relay.errors import UserError
from relay.leg.paths import RunPaths
from relay.locks import locked

HOLD = """
import os, sys, time
from pathlib import Path
from relay.locks import locked
with locked(Path(sys.argv[1]), "it"):
    child = os.fork() if sys.argv[2] == "fork" else 1
    if child:
        print("held", flush=True)
        time.sleep(60)
    else:
        time.sleep(0.5)  # a worker that has not noticed yet
        os._exit(0)
"""


def hold(path: Path, how: str = "") -> subprocess.Popen[str]:
    held = subprocess.Popen([sys.executable, "-c", HOLD, path, how], stdout=subprocess.PIPE, text=True)
    assert held.stdout is not None
    assert held.stdout.readline() == "held\n"
    return held


def test_the_second_is_told_who_and_since_when_and_what_to_do(tmp_path: Path) -> None:
    held = hold(tmp_path / "deep" / "lock")
    try:
        with (
            pytest.raises(UserError, match="this run is in use by another relay command") as caught,
            locked(tmp_path / "deep" / "lock", "this run", "Or take another."),
        ):
            raise AssertionError
    finally:
        held.kill()
        held.wait()
    said = str(caught.value)
    assert f"process {held.pid} of " in said
    assert re.search(r"since \d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}$", said)
    assert caught.value.advice() == f"Wait for that command to finish, or stop it: kill {held.pid}. Or take another."
    with locked(tmp_path / "deep" / "lock", "this run"):
        pass


@pytest.mark.skipif(os.name != "posix", reason="processes fork on POSIX alone")
def test_a_lock_of_a_killed_process_is_free_once_its_workers_are_gone(tmp_path: Path) -> None:
    held = hold(tmp_path / "lock", "fork")
    held.send_signal(signal.SIGKILL)
    held.wait()
    with locked(tmp_path / "lock", "this run"):
        pass


@pytest.mark.parametrize("note", [b"", b"\0\0", b"[]", b'{"pid": {}, "host": 7}', b'{"pid": "\\u001b[2J"}'])
def test_whatever_stands_in_the_note_it_is_a_message(note: bytes, tmp_path: Path) -> None:
    with locked(tmp_path / "lock", "this run"):
        (tmp_path / "lock.by").write_bytes(note)
        with pytest.raises(UserError, match="this run is in use") as caught, locked(tmp_path / "lock", "this run"):
            raise AssertionError
    assert "\x1b" not in str(caught.value) + caught.value.advice()


def test_one_waits_as_long_as_it_is_told_to(tmp_path: Path) -> None:
    held = hold(tmp_path / "lock")
    subprocess.Popen([sys.executable, "-c", f"import time, os; time.sleep(0.3); os.kill({held.pid}, 9)"])
    with locked(tmp_path / "lock", "this page", patience=30):
        pass
    held.wait()


def test_a_run_that_somebody_trains_in_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    from tests.cli.test_commands import relay, write

    write(tmp_path)
    run = tmp_path / "exps/study/run"
    with RunPaths(run).alone():
        before = sorted(run.rglob("*"))
        done = relay("train", "-c", "study", cwd=tmp_path)
        assert sorted(run.rglob("*")) == before
    assert done.returncode == 2
    assert "exps/study/run is in use by another relay command" in done.stderr
    assert "its own note (-n)" in done.stderr


@pytest.mark.skipif(sys.version_info < (3, 11), reason="needs filelock 4.1")
def test_a_file_system_without_locks_keeps_a_second_one_out_too(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def flock(*_: object) -> None:
        raise OSError(errno.ENOSYS, "Function not implemented")

    monkeypatch.setattr("fcntl.flock", flock)
    for _ in range(2):
        with (
            locked(tmp_path / "a.lock", "the folder"),
            pytest.raises(UserError, match="the folder is in use by another relay command"),
            locked(tmp_path / "a.lock", "the folder"),
        ):
            pass


def test_a_file_system_whose_lack_of_locks_can_not_be_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def acquire(*_: object, **__: object) -> None:
        raise NotImplementedError

    monkeypatch.setattr("filelock.FileLock.acquire", acquire)
    with (
        pytest.raises(UserError, match=r"the folder: the file system of .* has no locks"),
        locked(tmp_path / "a.lock", "the folder"),
    ):
        pass
