"""The process of one job: wait for its turn, run the command, write down how it went.

It is started by :meth:`relay.app.jobs.Jobs.start` with the job's folder and the home; the passphrase, if any, comes
through its standard input.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from filelock import FileLock

from relay.app.jobs import COMMAND, DONE, FAILED, INTERRUPTED, LOCK, RUNNING, STOPPED, WAITING, Job, Jobs, alive
from relay.files import write_text
from relay.home import HOME

PAUSE = 0.2
"""Seconds between two looks at whose turn it is, and whether to stop."""


def main(folder: Path, home: Path) -> None:
    """Run the job in ``folder``."""
    os.umask(0o077)
    passphrase = sys.stdin.buffer.read().decode()
    with FileLock(folder / LOCK, mode=0o600):
        _say(folder, WAITING)
        jobs = Jobs(folder.parent, home)
        job = jobs.job(int(folder.name))
        while not job.light and _earlier(jobs, job):
            if job.stopping:
                return _say(folder, STOPPED)
            time.sleep(PAUSE)
        _run(job, home, passphrase)
    return None


def _earlier(jobs: Jobs, job: Job) -> bool:
    """Whether a heavy job that was queued before this one still waits or runs."""
    return any(
        other.number < job.number and not other.light and not other.over and alive(other.folder) for other in jobs.all()
    )


def _run(job: Job, home: Path, passphrase: str) -> None:
    started = _now()
    environment = {**os.environ, HOME: str(home), "COLUMNS": "100", "NO_COLOR": "1", "PYTHONUNBUFFERED": "1"}
    if passphrase:
        environment["RELAY_PASSPHRASE"] = passphrase
    with (job.folder / "output.txt").open("wb") as out, _inherited(job.folder / COMMAND) as numbers:
        process = subprocess.Popen(
            [sys.executable, "-m", "relay", *job.words],
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            cwd=job.cwd,
            env=environment,
            pass_fds=numbers,
        )
        _say(job.folder, RUNNING, started=started, pid=process.pid)
        asked = False
        while process.poll() is None:
            if not asked and job.stopping:
                process.terminate()
                asked = True
            if asked and (job.folder / "kill").exists():
                process.kill()
            time.sleep(PAUSE)
    code = process.returncode
    state = DONE if code == 0 else STOPPED if asked or code == INTERRUPTED else FAILED
    _say(job.folder, state, code=code, started=started, ended=_now())


@contextmanager
def _inherited(path: Path) -> Iterator[list[int]]:
    """A lock that the command holds while it lives, even if this process is killed; none on Windows."""
    if sys.platform != "win32":
        import fcntl

        number = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        try:
            fcntl.flock(number, fcntl.LOCK_EX)
            yield [number]
        finally:
            os.close(number)
    else:
        yield []


def _say(folder: Path, state: str, **facts: Any) -> None:
    write_text(folder / "state.json", json.dumps({"state": state, **facts}) + "\n")


def _now() -> str:
    return datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
