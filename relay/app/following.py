"""Where a finished job leads: the page that shows what its command has made."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import PurePath
from urllib.parse import urlencode

from relay.app.jobs import Job
from relay.app.overview import Step
from relay.app.progress import run_of


def _config(file: str) -> str:
    """A config's name from its file under ``configs/``."""
    return PurePath(file).relative_to("configs").with_suffix("").as_posix()


def _to(path: str, **values: str) -> str:
    return f"{path}?{urlencode(values)}"


def _run(words: Sequence[str]) -> str:
    """The run of a command with ``-c``."""
    run = run_of(tuple(words))
    if run is None:
        raise ValueError("it names no config that is here")
    return run.as_posix()


def _out(words: Sequence[str]) -> str:
    return words[words.index("-o") + 1]


FOLLOWING: Mapping[tuple[str, ...], Callable[[Sequence[str]], Step]] = {
    ("init",): lambda words: Step("", "See the config", _to("/data/config", name=_config(_out(words)))),
    ("data", "check"): lambda words: Step("", "Back to the config", _to("/data/config", name=_config(words[2]))),
    ("data", "report"): lambda words: Step("", "See the report", _to("/data/report", name=_config(words[2]))),
    ("data", "table"): lambda words: Step("", "See the table", _to("/data/new", source=_out(words))),
    ("data", "split"): lambda words: Step("", "See the table", _to("/data/new", source=_out(words))),
    ("report",): lambda words: Step("", "See the results", _to("/results/run", run=words[1])),
    ("train",): lambda words: Step("", "See the results", _to("/results/run", run=_run(words))),
    ("predict",): lambda words: Step("", "See the results", _to("/results/run", run=_run(words))),
}
"""Commands by their first words."""


def following(job: Job) -> Step | None:
    """The button under a job that is done; None for a command that leads nowhere in particular."""
    if job.words[:1] == ("predict",) and "--image" in job.words:
        return Step("", "See the images", f"/results/predicted/{job.number}")
    for words, step in FOLLOWING.items():
        if job.words[: len(words)] == words:
            try:
                return step(job.words)
            except (ValueError, IndexError):  # the command was not made by the page of data
                return None
    return None
