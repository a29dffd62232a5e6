"""One finding: what was looked at, whether it is all right, and what to do if it is not."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

Level = Literal["ok", "warning", "fault"]


@dataclass(frozen=True)
class Finding:
    """What one check found.

    Texts name what is private (a path, a name, an error that may quote one) only in braces, ``{path}``: the screen
    shows its value, a report that leaves the site shows the bare word; of an error, also its kind.

    Attributes:
        subject: what was checked: ``clock``, ``disk``, …
        text: the result, in one sentence.
        cure: what to do; empty if all is well.
        private: the values of the words in braces.
    """

    subject: str
    level: Level
    text: str
    cure: str = ""
    private: Mapping[str, object] = field(default_factory=dict)

    def shown(self, text: str) -> str:
        """A text of this finding with its private values, for the screen."""
        return text.format(**self.private)

    def redacted(self, text: str) -> str:
        """A text of this finding without its private values: ``{path}`` is left as ``[path]``."""
        return text.format(**{word: f"[{word}{_kind(value)}]" for word, value in self.private.items()})


def _kind(value: object) -> str:
    """What kind of error a value is, without its message, which may quote a path; empty if it is none."""
    if not isinstance(value, BaseException):
        return ""
    system = next((each for each in (value, value.__cause__) if isinstance(each, OSError) and each.strerror), None)
    return f": {system.strerror if system else type(value).__name__}"


def ok(subject: str, text: str, **private: object) -> Finding:
    """A finding that needs nothing to be done."""
    return Finding(subject, "ok", text, private=private)


def warning(subject: str, text: str, cure: str, **private: object) -> Finding:
    """A finding that you should know about before you train."""
    return Finding(subject, "warning", text, cure, private)


def fault(subject: str, text: str, cure: str, **private: object) -> Finding:
    """A finding that makes a leg fail or untrustworthy."""
    return Finding(subject, "fault", text, cure, private)
