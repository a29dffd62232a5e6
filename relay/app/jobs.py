"""Jobs: commands that the page runs, one heavy one at a time, each in a process that outlives page and server.

::

    <home>/page/jobs/000001/job.json      what runs: the words after ``relay``, its title, where
    <home>/page/jobs/000001/state.json    how it stands, written by the job's own process
    <home>/page/jobs/000001/output.txt    what the command printed
    <home>/page/jobs/000001/stop          asks it to stop
    <home>/page/jobs/000001/kill          asks to end it at once
    <home>/page/start.lock                held while a job is started

The process of a job (:mod:`.runner`) holds a lock as long as it lives: after a power cut, a job that says it runs, and
whose lock is free, has stopped. A heavy job waits for all earlier heavy ones. Passphrases go to that process through a
pipe and are in no file.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timezone
from pathlib import Path
from typing import Any, Final

from relay.errors import UserError, typed
from relay.files import read_json, write_text

WAITING, RUNNING, STOPPED, FAILED, DONE = "waiting", "running", "stopped", "failed", "done"
OVER: Final = (STOPPED, FAILED, DONE)
LOCK, COMMAND = "lock", "command"
"""Held by a job's process, and by its command."""
KILL = getattr(signal, "SIGKILL", signal.SIGTERM)
INTERRUPTED = 130
"""The exit code of a command that was stopped, and resumes when it is run again."""
AGAIN = "Remove this job's folder: it is only a record of a command that the page has run."
MOST = 999_999
"""The last number that a job can have."""
TAIL = 200_000
"""How many characters of a job's output are shown, counted from the end."""
RESUMES = ("train", "compare", "rehearse", "adopt", "audit", "correct learn", "predict --images")
"""The commands that keep what is finished."""


@dataclass(frozen=True)
class Job:
    """A command of the page.

    Attributes:
        number: its place in the list, from 1.
        title: what it does, in a few words.
        words: the words after ``relay``.
        cwd: the folder it runs in.
        light: it need not wait for others.
        secret: whether it was given a passphrase; to run it again, it must be given again.
        created: when, in UTC.
    """

    folder: Path
    number: int
    title: str
    words: tuple[str, ...]
    cwd: str
    light: bool
    secret: bool
    created: str

    @property
    def command(self) -> str:
        """The command, to be typed in a terminal."""
        return typed("relay", *self.words)

    @property
    def resumes(self) -> bool:
        """Whether it keeps what is finished when it is stopped and run again."""
        return any(set(command.split()) <= {*self.words} and command.split()[0] == self.words[0] for command in RESUMES)

    @property
    def said(self) -> Mapping[str, Any]:
        """What its process has written about it: ``state``, ``code``, ``started``, ``ended``."""
        try:
            return read_json(self.folder / "state.json", AGAIN)
        except (FileNotFoundError, UserError):  # it has said nothing, or a power cut took it: its lock tells the rest
            return {"state": WAITING}

    @property
    def state(self) -> str:
        """``waiting``, ``running``, ``stopped``, ``failed`` or ``done``."""
        state = str(self.said.get("state"))
        if state in OVER or alive(self.folder):
            return state
        return str(self.said.get("state")) if self.over else STOPPED  # it may have ended just now

    @property
    def stopping(self) -> bool:
        """Whether it was asked to stop."""
        return (self.folder / "stop").exists()

    @property
    def over(self) -> bool:
        """Whether its process has said that it has ended."""
        return self.said.get("state") in OVER

    @property
    def code(self) -> int | None:
        """Its exit code, once it has ended by itself."""
        return self.said.get("code")

    @property
    def output(self) -> str:
        """What it printed, at most :data:`TAIL` characters from the end."""
        path = self.folder / "output.txt"
        if not path.is_file():
            return ""
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - TAIL))
            return file.read().decode(errors="replace")


def alive(folder: Path) -> bool:
    """Whether a job's process lives, or its command without it: each holds a lock."""
    return _held(folder / LOCK) or _held(folder / COMMAND)


def _held(path: Path) -> bool:
    from filelock import FileLock, Timeout

    lock = FileLock(path, mode=0o600)
    try:
        lock.acquire(timeout=0)
    except Timeout:
        return True
    lock.release()
    return False


@dataclass(frozen=True)
class Jobs:
    """All jobs of a home; ``root`` holds a folder for each."""

    root: Path
    home: Path

    def all(self) -> list[Job]:
        """Every job, newest first; one whose record is damaged is left out."""
        found = []
        for record in sorted(self.root.glob(f"{'[0-9]' * 6}/job.json"), reverse=True):
            try:
                found.append(_read(record.parent))
            except UserError:
                continue
        return found

    def job(self, number: int) -> Job:
        """One job.

        Raises:
            UserError: there is none with this number, or its record is damaged.
        """
        folder = self.root / f"{number:06d}"
        if number > MOST or not (folder / "job.json").is_file():
            raise UserError(f"there is no job {number}", "Choose one from the list of jobs.")
        return _read(folder)

    def start(
        self, words: Sequence[str], title: str, cwd: Path, passphrase: str | None = None, light: bool = False
    ) -> Job:
        """Start a job's process; it waits for its turn by itself.

        One is started at a time: a later job looks whether the processes of earlier ones live.
        """
        from filelock import FileLock

        private(self.root.parent)
        with FileLock(self.root.parent / "start.lock", mode=0o600):
            return self._start(words, title, cwd, passphrase, light)

    def _start(self, words: Sequence[str], title: str, cwd: Path, passphrase: str | None, light: bool) -> Job:
        folder = self._new()
        stamp = datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
        job = Job(folder, int(folder.name), title, tuple(words), str(cwd), light, passphrase is not None, stamp)
        record = {key: value for key, value in asdict(job).items() if key != "folder"}
        write_text(folder / "job.json", json.dumps(record, indent=1) + "\n")
        with (folder / "runner.log").open("wb") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "relay.app.runner", str(folder), str(self.home)],
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=cwd,
                **_apart(),
            )
        assert process.stdin is not None
        process.stdin.write((passphrase or "").encode())
        process.stdin.close()
        while process.poll() is None and not (folder / "state.json").is_file():  # it holds its lock from then on
            _nap(process)
        return job

    def stop(self, job: Job, kill: bool = False) -> None:
        """Ask a job to stop; its command keeps what it has done, and resumes when it is run again.

        Args:
            kill: don't wait for it to end by itself; what it did since it last saved its state is lost.
        """
        write_text(job.folder / "stop", "")
        if kill:
            write_text(job.folder / "kill", "")
        if not _held(job.folder / LOCK) and _held(job.folder / COMMAND) and (pid := job.said.get("pid")):
            os.kill(pid, KILL if kill else signal.SIGTERM)  # its own process was killed, and can't pass this on

    def _new(self) -> Path:
        self.root.mkdir(exist_ok=True, mode=0o700)
        number = 1 + max((int(path.name) for path in self.root.glob("[0-9]" * 6)), default=0)
        (folder := self.root / f"{number:06d}").mkdir(mode=0o700)
        return folder


def private(folder: Path) -> None:
    """Make a folder that only its owner can open, whatever is made in it."""
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    folder.chmod(0o700)


def _nap(process: subprocess.Popen[bytes]) -> None:
    try:
        process.wait(0.02)
    except subprocess.TimeoutExpired:
        return


def _apart() -> dict[str, Any]:
    """What keeps a job's process alive when the server ends, and Ctrl-C in the server's terminal away from it."""
    if os.name == "posix":
        return {"start_new_session": True}
    return {"creationflags": getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0)}


def _read(folder: Path) -> Job:
    found = read_json(folder / "job.json", AGAIN)
    try:
        return Job(folder, **{**found, "words": tuple(found["words"])})
    except (KeyError, TypeError) as error:
        raise UserError(f"{folder / 'job.json'} is damaged: {error}", AGAIN) from error
