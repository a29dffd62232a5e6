"""Run a command of relay at a site, in its config's folder, as a person would type it there."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryFile

from relay.config import read
from relay.errors import Interrupted, RelayError, UserError
from relay.plan import Study, plan

Stopped = Callable[[], bool]
"""Whether whoever asked for the command has given up on it."""
POLL, LAST = 1.0, 4000
"""Seconds between two looks at the command, and how many bytes of its last words an error repeats."""


def never() -> bool:
    """Nobody gives up."""
    return False


def study_of(config: Path) -> Study:
    """The checked study of a site's config.

    Raises:
        UserError: there is no such file, or the config is wrong.
    """
    if not config.is_file():
        raise UserError(
            f"there is no config {config}", "Give the path of this site's config; {site} in it is the site's name."
        )
    return plan(read(config, []), config.stem)


def run(module: str, words: list[str], config: Path, stopped: Stopped = never) -> None:
    """Run ``python -m module words`` in the folder of a config. Data stay in that process.

    Raises:
        RelayError: it failed; with its exit code, and its own last words.
        Interrupted: it was stopped; what it has saved is kept.
    """
    with TemporaryFile() as said:
        process = subprocess.Popen(
            [sys.executable, "-m", module, *words],
            cwd=config.parent,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=said,
        )
        try:
            _wait(process, stopped)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if process.returncode:
            said.seek(max(0, said.tell() - LAST))
            words_of_it = said.read().decode(errors="replace").strip()
            error = RelayError(f"{config}: exit code {process.returncode}: {words_of_it}", "See its message above.")
            error.exit_code = process.returncode
            raise error


def _wait(process: subprocess.Popen[bytes], stopped: Stopped) -> None:
    while process.poll() is None:
        if stopped():
            raise Interrupted("the network's server stopped this leg; give the job again, and it resumes")
        try:
            process.wait(POLL)
        except subprocess.TimeoutExpired:
            continue
