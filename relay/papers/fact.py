"""A statement, and where it comes from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

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
        by: who must fill it in; empty for whom the page is left to. ``hint``: what belongs there.
    """

    what: str
    said: str | None
    sources: Sequence[Source] = ()
    by: str = ""
    hint: str = BLANK


def cited(path: Path, place: str = "") -> Source:
    """A file as a source.

    Raises:
        OSError: it can't be read.
    """
    return Source(str(path), measure(path).sha256, place)


def shown(value: Any, none: str = "not measured") -> str:
    """A JSON value for people; of a number with a fraction, four digits."""
    if value is None:
        return none
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{key}: {shown(inner, none)}" for key, inner in value.items()) or "none"
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(shown(inner, none) for inner in value) or "none"
    return str(value)
