"""Statements that quote a file: the value, the place in the file, the file's digest."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from relay.bundle import manifest
from relay.errors import UserError
from relay.files import read_bytes
from relay.papers import Fact, Source, shown
from relay.trust import BadDocument, digest

HOME = "home"
"""The root of files in a site's home."""
HERE = "this folder"
"""The root of files that are copied beside the papers."""


@dataclass(frozen=True)
class Quote:
    """A value in a file, and where it is."""

    value: Any
    source: Source


@dataclass(frozen=True)
class Document:
    """A file of the record.

    Attributes:
        file: its path, relative to ``root``.
        content: its values. Of a signed envelope, those of its payload; of lines of JSON, a list.
    """

    file: str
    root: str
    sha256: str
    content: Any

    def quote(self, *keys: str | int) -> Quote | None:
        """The value at the end of these keys; None if there is none."""
        value = self.content
        for key in keys:
            try:
                value = value[key]
            except (KeyError, IndexError, TypeError):
                return None
        return Quote(value, self._source(*keys))

    def without(self, *keys: str | int) -> Source:
        """As the source of a statement that there is nothing at the end of these keys."""
        source = self._source(*keys)
        return replace(source, place=f"{source.place} (absent)")

    def _source(self, *keys: str | int) -> Source:
        place = ""
        if self.file.endswith(".jsonl") and keys:
            place, keys = f"line {int(keys[0]) + 1} ", keys[1:]
        pointer = "".join("/" + str(key).replace("~", "~0").replace("/", "~1") for key in keys)
        return Source(self.file, self.sha256, (place + pointer).strip(), self.root)


def document(path: Path, home: Path) -> Document | None:
    """A file of the record in a home; None if it is not there.

    Raises:
        UserError: it is damaged.
    """
    if not path.is_file():
        return None
    data = read_bytes(path)
    try:
        return Document(path.relative_to(home).as_posix(), HOME, digest(data), _content(path, data))
    except (ValueError, KeyError, TypeError, BadDocument) as error:
        raise UserError(f"{path} is damaged: {error}", "Restore it from a backup.") from error


def _content(path: Path, data: bytes) -> Any:
    if path.suffix == ".jsonl":
        *whole, _ = data.split(b"\n")  # what a power cut left unfinished does not count
        return [json.loads(line) for line in whole]
    if path.name == manifest.MANIFEST:
        return manifest.parse(data)
    content = json.loads(data)
    return json.loads(base64.b64decode(content["payload"])) if path.name.endswith(".dsse.json") else content


def said(what: str, *quotes: Quote | None, form: str = "", by: str = "", none: str = "not measured") -> Fact:
    """A statement made of quoted values, or a gap if one of them is not in the record.

    Args:
        form: a format for the values, in their order; if the first is an object, also for its keys. By default they are
            put in a row.
        none: what a value of null says.
    """
    there = [quote for quote in quotes if quote is not None]
    if len(there) < len(quotes) or not quotes:
        return Fact(what, None, by=by, hint="not in the record")
    values = [shown(quote.value, none) for quote in there]
    first = there[0].value
    keys = {key: shown(value, none) for key, value in first.items()} if isinstance(first, Mapping) else {}
    text = form.format(*values, **keys) if form else ", ".join(values)
    return Fact(what, text, [quote.source for quote in there], by=by)
