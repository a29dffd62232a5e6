"""Commands as they are typed, in this process, with answers to their questions."""

from __future__ import annotations

import builtins
import os
import signal
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest
from typer.testing import CliRunner

from relay.cli import ask
from relay.cli.app import app


@dataclass(frozen=True)
class Done:
    """What a command said, and the questions it asked."""

    code: int
    out: str
    err: str
    asked: tuple[str, ...]

    def refused(self, code: int, *says: str, advice: str = "") -> None:
        """It ended in one message with advice."""
        assert self.code == code, self.out + self.err
        begin = "refused (" if code == 3 else "error: "
        assert begin in self.err
        assert "Traceback" not in self.err
        message, _, what_to_do = self.err.partition(begin)[2].partition("what to do:")
        for text in says:
            assert text in message
        assert what_to_do.strip()
        assert advice in what_to_do


def typed(
    *words: str | Path, answers: tuple[str, ...] | None = None, cwd: Path | None = None, **env: str | None
) -> Done:
    """Run ``relay WORDS``. ``answers``: typed at a terminal, one a question; None: there is no terminal."""
    asked: list[str] = []
    before, handler = Path.cwd(), signal.getsignal(signal.SIGTERM)
    environment: Mapping[str, str | None] = {"COLUMNS": "100", "NO_COLOR": "1", "RELAY_HOME": None} | env
    os.chdir(cwd or before)
    try:
        with _terminal(answers, asked):
            done = CliRunner().invoke(app, [str(word) for word in words], env=environment)
    finally:
        os.chdir(before)
        signal.signal(signal.SIGTERM, handler)
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return Done(done.exit_code, done.stdout, done.stderr, tuple(asked))


@contextmanager
def _terminal(answers: tuple[str, ...] | None, asked: list[str]) -> Iterator[None]:
    left = list(answers or ())

    def answer(question: str = "") -> str:
        asked.append(question)
        if not left:
            raise EOFError
        return left.pop(0)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ask, "terminal", lambda: answers is not None)
        patch.setattr(builtins, "input", answer)
        yield
