"""Errors, with messages for people.

Every error a user can cause or fix is a :class:`RelayError`: its message says *what* and *where*, its
:meth:`~RelayError.advice` says what to do, and its :attr:`~RelayError.exit_code` is that of the process.

There is one ``except RelayError`` at the top (:mod:`relay.cli.top`); nothing below it prints and exits.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

MAX_SHOWN = 6000
"""Maximum length of a message on the screen, in characters."""


class RelayError(Exception):
    """Base of all errors with advice. ``exit_code``: 1 the run failed, 2 the user must change something,
    3 verification refused."""

    exit_code = 1
    _advice = "Run again with -v to see where it happened."

    def __init__(self, message: str, advice: str | None = None) -> None:
        super().__init__(message)
        if advice is not None:
            self._advice = advice

    def advice(self) -> str:
        """What the reader can do about it, in one or two sentences."""
        return self._advice


class UserError(RelayError):
    """Something only the user can change: a config, a file, a flag."""

    exit_code = 2
    _advice = "Correct it and run the same command again."


KEY = re.compile(r"(common|all_tasks_datasets\[\d+\]|current_tasks|paths)(\.\w+|\[\d+\])+")
"""The path of a value in a config."""
LONG = "..."
"""Stands for a value that is too long to be shown before what is wrong with it."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a config: its path (empty for the whole), its value, what is allowed, the nearest known
    word, a cure of its own where correcting the value is not one, and the file it is in where that is not the config
    itself."""

    path: str
    value: object
    allowed: str
    nearest: str | None = None
    cure: str | None = None
    file: str | None = None

    def __str__(self) -> str:
        near = f"; did you mean '{self.nearest}'?" if self.nearest else ""
        near += f" (in {self.file})" if self.file else ""
        nothing = self.value is None and self.allowed.startswith(("must be given,", "must be valid", "line "))
        value = "" if nothing or self.value == LONG else f" = {self.value!r}"
        return f"{self.path}{value}: {self.allowed}{near}" if self.path else f"{self.allowed}{near}"


class ConfigError(UserError):
    """A config that can't be run, with every :class:`Problem` found in it."""

    def __init__(self, problems: Sequence[Problem], source: str = "the config") -> None:
        self.problems = tuple(problems)
        count = "1 problem" if len(self.problems) == 1 else f"{len(self.problems)} problems"
        super().__init__(f"{count} in {source}:\n" + "\n".join(f"  - {p}" for p in self.problems))

    def advice(self) -> str:
        """The problems' own advice; for the others, where to correct them."""
        others = [problem for problem in self.problems if not problem.cure]
        cures = dict.fromkeys(problem.cure for problem in self.problems if problem.cure)
        return " ".join([*cures, *([self._where(others)] if others else [])])

    def _where(self, problems: Sequence[Problem]) -> str:
        if all(problem.path.startswith("-") for problem in problems):
            return "Correct the options of the command."
        first = next((p for p in problems if KEY.fullmatch(p.path) and p.nearest is None), None)
        if first is None:
            return "Correct the values named above, and run the same command again."
        return f"Correct the file, or override the value after the flags: {typed(first.path)}=VALUE"


class DataError(UserError):
    """A data set that can't be read; the message names the files.

    Attributes:
        listed: All problems, one by one, where the message shows the first of several.
    """

    listed: Sequence[str] = ()
    _advice = "Fix or remove the files named above; nothing was written."

    @property
    def own_advice(self) -> str | None:
        """The advice for this particular error, if it has any."""
        return self.__dict__.get("_advice")


class HandoverError(UserError):
    """What was handed over does not match this site, or is incomplete."""

    _advice = "Ask the previous site for the hand-over again, and check that both sites use the same config."


class VerificationError(HandoverError):
    """What was received is not what was sent."""

    exit_code = 3
    _advice = "Copy the whole folder again; if that does not help, ask the previous site."


class ChangedConfigError(UserError):
    """A leg already exists that was made with another config."""


class TrainingError(RelayError):
    """Training failed; the last good state was kept."""

    CURE = (
        "Lower common.train.optimizer.kwargs.lr, set common.train.gradient_clip=1, or use precision 32. Run under a "
        "new note (-n), since the config changes."
    )
    _advice = CURE


class Interrupted(RelayError):
    """The user (or the system) stopped the run; it can be resumed."""

    exit_code = 130
    _advice = "Run the same command again: it resumes from the last saved state."


def plain(text: str, keep: str = "", most: int | None = None) -> str:
    """Untrusted text made safe for a terminal: no character moves the cursor or hides output.

    Args:
        keep: characters to leave as they are, such as a newline.
        most: maximum length, in characters; an ellipsis replaces the rest.
    """
    safe = "".join(c if c.isprintable() or c in keep else ascii(c)[1:-1] for c in text)
    return safe if most is None or len(safe) <= most else safe[:most] + "…"


def killed(what: str, cure: str) -> RelayError:
    """An error for one of several processes that ended without a word.

    Args:
        what: what it does: ``predicts``.
    """
    return RelayError(f"a process that {what} was killed; it may have run out of memory", cure)


def first_line(error: BaseException) -> str:
    """The first line that an error of another package says; the error's name if it says nothing."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__).rstrip()


def some(words: Sequence[str], most: int = 5, between: str = ", ") -> str:
    """A list as a message shows it: the first few words, and how many more there are."""
    more = len(words) - most
    comma = "" if between == ", " else between.rstrip()
    return between.join(words[:most]) + (f"{comma} and {more} more" if more > 0 else "")


def typed(*words: object) -> str:
    """A command as you would type it: words with spaces or other characters special to a shell are quoted."""
    return shlex.join(map(str, words))


def shown(text: str) -> str:
    """A message that may quote untrusted text, ready to print: only lines that this program indented stay separate, so
    that no file name can pass for a message. It is truncated to a readable length."""
    text = plain(re.sub(r"\n(?!  )", lambda _: "\\n", text), keep="\n")
    return text if len(text) <= MAX_SHOWN else f"{text[:MAX_SHOWN]}… ({len(text) - MAX_SHOWN} more characters)"


def nearest(word: str, known: Sequence[str]) -> str | None:
    """The known word most similar to ``word``, or None if nothing comes close."""
    found = get_close_matches(word, known, n=1, cutoff=0.5)
    return found[0] if found else None
