"""A statement, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from relay.bundle import measure

BLANK = "______"


@dataclass(frozen=True)
class Source:
    """Where a statement comes from.

    Attributes:
        file: its path, as the reader finds it.
        sha256: of the file; empty for what is none, such as a folder or a chapter of the documentation.
        place: where in it: a JSON Pointer (RFC 6901), or a line; empty for the whole.
        root: the folder that ``file`` is relative to, in words; empty if the path says it all.
    """

    file: str
    sha256: str = ""
    place: str = ""
    root: str = ""


@dataclass(frozen=True)
class Fact:
    """A statement, or a question that relay can't answer.

    Attributes:
        what: what it is about.
        said: what is so; None if a person must fill it in.
        sources: where that comes from.
        by: who must fill it in; ``hint``: what belongs there.
    """

    what: str
    said: str | None
    sources: Sequence[Source] = ()
    by: str = "the site"
    hint: str = BLANK

    @property
    def text(self) -> str:
        """What is said, or the gap."""
        return f"[to be filled in by {self.by}: {self.hint}]" if self.said is None else self.said


def asked(by: str, questions: Mapping[str, str]) -> list[Fact]:
    """Questions to somebody, each with what belongs there."""
    return [Fact(what, None, by=by, hint=hint) for what, hint in questions.items()]


def cited(path: Path, place: str = "") -> Source:
    """A file as a source.

    Raises:
        OSError: it can't be read.
    """
    return Source(str(path), measure(path).sha256, place)
