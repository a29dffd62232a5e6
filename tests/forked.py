"""Commands in a process of their own that need not import torch again: it is a copy of this one, which has."""

from __future__ import annotations

import contextlib
import importlib
import logging
import os
import runpy
import shlex
import signal
import subprocess
import sys
import tempfile
import traceback
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import IO, Any, NoReturn, TypeAlias

from relay import rehearse
from relay.cli.app import app

Streams: TypeAlias = tuple[IO[bytes], IO[bytes]]
HEAVY = ("relay.simulate", "relay.rehearse", "relay.report.page", "torch.utils.tensorboard", "monai.networks.nets")
"""What most commands import, once in each worker."""


class Forked:
    """A running command, with the part of :class:`subprocess.Popen` that the tests need.

    Args:
        command: ``relay …`` or ``python FILE …``, as typed into a shell.
        env: the whole environment, as in :mod:`subprocess`.
        to: where what it says goes.
    """

    def __init__(
        self, command: str, cwd: Path, env: Mapping[str, str] | None = None, to: Streams | None = None
    ) -> None:
        self.returncode: int | None = None
        for name in HEAVY:
            importlib.import_module(name)
        sys.stdout.flush()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            _live(command, cwd, os.environ.copy() if env is None else dict(env), to)

    def poll(self) -> int | None:
        """Its exit code, or minus the signal that ended it; None while it runs."""
        return self.returncode if self.returncode is not None else self._ended(os.WNOHANG)

    def wait(self) -> int:
        """The same, once it has ended."""
        found = self.returncode if self.returncode is not None else self._ended(0)
        assert found is not None
        return found

    def _ended(self, how: int) -> int | None:
        pid, status = os.waitpid(self.pid, how)
        self.returncode = os.waitstatus_to_exitcode(status) if pid else None
        return self.returncode


def run(command: str, cwd: Path, env: Mapping[str, str] | None = None) -> subprocess.CompletedProcess[str]:
    """Run a command to its end."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        running = Forked(command, cwd, env, (out, err))
        try:
            code = running.wait()
        finally:
            if running.returncode is None:  # the test's time is over
                os.kill(running.pid, signal.SIGKILL)
                running.wait()
        said = [(stream.seek(0), stream.read().decode(errors="replace"))[1] for stream in (out, err)]
    return subprocess.CompletedProcess(command, code, *said)


def _live(command: str, cwd: Path, env: Mapping[str, str], to: Streams | None) -> NoReturn:
    """What a copy does instead of the tests: it becomes the command, and ends without their clean-up."""
    code = 70
    try:
        _as_new(cwd, env, to)
        code = _code(_work(shlex.split(command)))
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(Exception):
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(code)


def _as_new(cwd: Path, env: Mapping[str, str], to: Streams | None) -> None:
    for number, stream in enumerate(to or (), 1):
        os.dup2(stream.fileno(), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = open(0), open(1, "w", closefd=False), open(2, "w", closefd=False)  # noqa: SIM115
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    warnings.resetwarnings()
    os.environ.clear()
    os.environ.update(env)
    os.chdir(cwd)
    logging.getLogger("relay").handlers[:] = [logging.NullHandler()]
    rehearse.subprocess = SimpleNamespace(run=_for_rehearse, PIPE=subprocess.PIPE, DEVNULL=subprocess.DEVNULL)  # type: ignore[assignment]


def _work(words: list[str]) -> Callable[[], object]:
    program, *rest = words
    if program == "relay":
        sys.argv = words
        return app
    sys.argv = rest
    sys.path.insert(0, str(Path(rest[0]).resolve().parent))
    return lambda: runpy.run_path(rest[0], run_name="__main__")


def _code(work: Callable[[], object]) -> int:
    try:
        work()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


def _for_rehearse(command: list[str], *, cwd: Path, env: Mapping[str, str], stdout: Any, **_: Any) -> Any:
    """The steps of a rehearsal, in copies of their own, too."""
    words = shlex.join(["relay", *command[3:]])
    if stdout is None:
        return subprocess.CompletedProcess(command, Forked(words, cwd, env).wait(), None, None)
    return run(words, cwd, env)
