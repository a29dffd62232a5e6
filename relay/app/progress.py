"""How far a command has come: what a run writes beside its log every second, whoever started it."""

from __future__ import annotations

import time
from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from relay.app.jobs import Job
from relay.errors import UserError
from relay.files import read_json
from relay.leg import progress_of as progress_file

STALE = 15.0
"""Seconds after which a file that is not written any more says nothing."""


def progress_in(run: Path) -> Mapping[str, Any] | None:
    """What a run's folder says: ``doing``, ``share`` (0 to 1) and ``left``; None if no command works in it."""
    path = progress_file(run)
    try:
        if time.time() - path.stat().st_mtime > STALE:
            return None
        return read_json(path, "")
    except (OSError, UserError):
        return None


def progress_of(job: Job) -> Mapping[str, Any] | None:
    """What the run of a job says; None if its command names no config, or nothing is written yet."""
    run = run_of(job.words)
    return progress_in(Path(job.cwd) / run) if run else None


def run_of(words: tuple[str, ...]) -> Path | None:
    """The run's folder of ``train``, ``adopt`` and the like: ``exps/<config>/<note>``; None without ``-c``."""
    given = dict(pairwise(words))
    config = given.get("-c")
    if config is None:
        return None
    from relay.config import locate

    try:
        _, name = locate(config)
    except UserError:
        return None
    return Path("exps") / name / given.get("-n", "run")
