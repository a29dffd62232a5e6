"""YAML as this toolkit reads it: plain values, each with only one meaning.

In YAML 1.1, which most Python programs read, ``yes`` is a boolean, ``010`` the number 8 and ``1:30`` the number
90; in YAML 1.2, they are not. Anything the two read differently (:data:`OLD`) is refused, with its line and a fix. Two
things are read as in YAML 1.2, because no one means anything else by them: ``1e-3`` is a number, and ``2026-03-02`` is
text. Tags, duplicate keys, exploding aliases and excessive nesting are refused, too.
"""

from __future__ import annotations

import math
import re
import stat
from pathlib import Path
from typing import Any

import yaml

from relay.errors import ConfigError, Problem, plain
from relay.files import damaged

MAX_BYTES, MAX_DEPTH, MAX_NODES, MAX_DIGITS = 2**20, 50, 100_000, 300
"""Far above any legitimate config: its size in bytes, the depth of its blocks, its values, the digits of a number."""
WORDS = {"": None, "~": None, "null": None, "true": True, "false": False}
INT = re.compile(r"[-+]?(0|[1-9][0-9]*)")
FLOAT = re.compile(r"[-+]?((0|[1-9][0-9]*)(\.[0-9]*)?|\.[0-9]+)([eE][-+]?[0-9]+)?")
INFINITE = re.compile(r"([-+]?\.inf|\.nan)", re.IGNORECASE)
OLD = {
    re.compile(r"(yes|no|on|off)", re.IGNORECASE): "true or false to some programs and text to others; "
    "write true or false",
    re.compile(r"[-+]?0[0-9][0-9_]*(\.[0-9_]*)?([eE][-+]?[0-9]+)?"): "an octal number to some programs; "
    "write a number without leading zeros",
    re.compile(r"[-+]?0[xXoObB][0-9a-fA-F_]+"): "not a decimal number; write it as one",
    re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?"): "a base-60 number to some programs; "
    "write a number in seconds or degrees",
    re.compile(r"[-+]?[0-9.]+_[0-9_.]*([eE][-+]?[0-9]+)?"): "a number to some programs and text to others; "
    "write a number without underscores",
}
"""What YAML 1.1 and 1.2 read differently, so it is refused, and the reason."""
Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def meaning(text: str) -> Any:
    """The value of an unquoted word.

    Raises:
        ValueError: it is ambiguous, or not a finite number; the message says what to write.
    """
    if text.lower() in WORDS and text in (text.lower(), text.upper(), text.capitalize()):
        return WORDS[text.lower()]
    for pattern, why in OLD.items():
        if pattern.fullmatch(text):
            raise ValueError(f"is {why}, or quote it if text is meant: '{text}'")
    whole, number = INT.fullmatch(text), FLOAT.fullmatch(text)
    if number and len(text) > MAX_DIGITS:
        raise ValueError("has too many digits for a number; quote it if text is meant")
    if whole:
        return int(text)
    if INFINITE.fullmatch(text) or (number and not math.isfinite(float(text))):
        raise ValueError("must be a finite number; quote it if text is meant")
    return float(text) if number else text


def as_key(word: str) -> str | int:
    """A word as a key or a list index: an integer if it is written as one, without leading zeros."""
    return int(word) if word.isascii() and word.isdecimal() and INT.fullmatch(word) and len(word) < 10 else word


def parse(text: str, source: str, prefix: str = "") -> Any:
    """A YAML document as plain dicts, lists and scalars.

    Args:
        source: what to call it in errors.
        prefix: put before the paths in errors.

    Raises:
        ConfigError: it is not YAML, or not plain; the error lists all ambiguous values.
    """
    try:
        text.encode()
        builder = _Builder(text)
        value = builder.document()
    except UnicodeEncodeError as error:
        raise ConfigError([Problem(source, ascii(text)[:80], "must be UTF-8 text")], source) from error
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError([Problem(source, None, _said(error))], source) from error
    if builder.problems:
        found = [Problem(prefix + p.path, p.value, p.allowed) for p in builder.problems]
        raise ConfigError(found, source)
    return value


def parse_file(path: Path) -> Any:
    """A YAML file as plain values; None if it is empty.

    Raises:
        ConfigError: as :func:`parse`; or it is not a regular file, too large, not UTF-8, or can't be read.
    """
    try:
        kind, size = path.stat().st_mode, path.stat().st_size
        if not stat.S_ISREG(kind):
            what = "a folder" if stat.S_ISDIR(kind) else "a pipe or a device"
            raise ConfigError([Problem(str(path), what, "must be a YAML file: name a file")], str(path))
        if size > MAX_BYTES:
            raise ConfigError([Problem(str(path), f"{size} bytes", f"must have at most {MAX_BYTES}")], str(path))
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        where = f"must be UTF-8 text; byte {error.start} is not: save it as UTF-8"
        raise ConfigError([Problem(str(path), None, where)], str(path)) from error
    except (OSError, ValueError) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise ConfigError([Problem(str(path), said, "must be a YAML file that you can read")], str(path)) from error
    return parse(text, str(path))


def read_own(path: Path, again: str) -> dict[str, Any]:
    """A block that :func:`dump` wrote; empty if there is no such file.

    Args:
        again: what to do if it is damaged.

    Raises:
        UserError: it is damaged.
    """
    if not path.exists():
        return {}
    try:
        content = parse_file(path)
    except ConfigError as error:
        raise damaged(path, plain(error.problems[0].allowed)[:200], again) from error
    if not isinstance(content, dict):
        raise damaged(path, "it is not a mapping of blocks", again)
    return content


def dump(content: Any) -> str:
    """Plain values as YAML that :func:`parse` reads back unchanged."""
    return str(yaml.dump(content, Dumper=_Dumper, sort_keys=False))


class _Dumper(yaml.SafeDumper):
    """Quotes every text that would not be read back as the same text."""

    def represent_text(self, text: str) -> yaml.ScalarNode:
        """Quote it if :func:`meaning` would give something else."""
        try:
            same = meaning(text) == text
        except ValueError:
            same = False
        return self.represent_scalar("tag:yaml.org,2002:str", text, None if same else "'")

    def ignore_aliases(self, data: Any) -> bool:
        """Write no aliases: people read these files."""
        return True


_Dumper.add_representer(str, _Dumper.represent_text)


def _said(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    what = " ".join(str(getattr(error, "problem", None) or getattr(error, "reason", None) or error).split())
    return (f"line {mark.line + 1}, column {mark.column + 1}: " if mark else "") + f"must be valid YAML: {what[:200]}"


class _Builder:
    """Builds plain values from the parser's events, to limit nesting and aliases before they use up memory."""

    def __init__(self, text: str) -> None:
        self.loader = Loader(text)
        self.problems: list[Problem] = []
        self.anchors: dict[str, tuple[Any, int]] = {}
        self.nodes = 0

    def document(self) -> Any:
        """The only document; None for none."""
        value, seen = None, False
        while not isinstance(event := self.loader.get_event(), yaml.StreamEndEvent):
            if isinstance(event, yaml.DocumentStartEvent):
                if seen:
                    self.stop(event, "the file has several documents (---): keep one")
                value, seen = self.value(self.loader.get_event(), "", 0), True
        return value

    def stop(self, event: Any, why: str) -> None:
        """Stop parsing.

        Raises:
            yaml.MarkedYAMLError: always.
        """
        raise yaml.MarkedYAMLError(None, None, why, event.start_mark)

    def value(self, event: Any, path: str, depth: int) -> Any:
        """The value that starts with an event."""
        if depth > MAX_DEPTH:
            self.stop(event, f"blocks nest more than {MAX_DEPTH} deep: close some of the brackets")
        if isinstance(event, yaml.AliasEvent):
            return self.alias(event)
        if event.tag not in (None, "!"):
            self.stop(event, f"the tag {event.tag} is not allowed: remove it")
        before = self.nodes
        self.count(event, 1)
        if isinstance(event, yaml.ScalarEvent):
            made = self.scalar(event, path)
        elif isinstance(event, yaml.SequenceStartEvent):
            made = self.sequence(path, depth)
        else:
            made = self.mapping(path, depth)
        if event.anchor:
            self.anchors[event.anchor] = made, self.nodes - before
        return made

    def alias(self, event: Any) -> Any:
        """The value of an anchor; inside its own definition, it is not yet known."""
        if event.anchor not in self.anchors:
            self.stop(event, f"*{event.anchor} has no value, or contains itself")
        value, nodes = self.anchors[event.anchor]
        self.count(event, nodes)
        return value

    def count(self, event: Any, nodes: int) -> None:
        """Stop if aliases expand to far too many values."""
        self.nodes += nodes
        if self.nodes > MAX_NODES:
            self.stop(event, f"there are more than {MAX_NODES} values, aliases (*name) included")

    def scalar(self, event: Any, path: str) -> Any:
        """An unquoted word or a quoted text."""
        text = event.value
        try:
            text.encode()
            return meaning(text) if not event.style and event.tag is None else text
        except UnicodeEncodeError:
            self.problem(event, path, ascii(text), "must be UTF-8 text")
        except ValueError as error:
            self.problem(event, path, text, str(error))
        return text

    def problem(self, event: Any, path: str, value: object, why: str) -> None:
        """Record a problem and continue, so that all of them are found."""
        self.problems.append(Problem(path or "the value", value, f"line {event.start_mark.line + 1}: {why}"))

    def sequence(self, path: str, depth: int) -> list[Any]:
        """A list."""
        made: list[Any] = []
        while not isinstance(event := self.loader.get_event(), yaml.SequenceEndEvent):
            made.append(self.value(event, f"{path}[{len(made)}]", depth + 1))
        return made

    def mapping(self, path: str, depth: int) -> dict[str | int, Any]:
        """A block; ``<<`` merges others into it."""
        made: dict[str | int, Any] = {}
        below: list[Any] = []
        while not isinstance(event := self.loader.get_event(), yaml.MappingEndEvent):
            merges = isinstance(event, yaml.ScalarEvent) and event.value == "<<" and not event.style
            key = "<<" if merges else self.key(event, path, depth)
            value = self.value(self.loader.get_event(), f"{path}.{key}".lstrip("."), depth + 1)
            if merges:
                below += value if isinstance(value, list) else [value]
                if not all(isinstance(block, dict) for block in below):
                    self.stop(event, "<< takes a block, or a list of blocks")
            elif key in made:
                self.problem(event, f"{path}.{key}".lstrip("."), value, "appears twice in this block: remove one")
            else:
                made[key] = value
        for block in below:
            made = {**block, **made}
        return made

    def key(self, event: Any, path: str, depth: int) -> str | int:
        """A key: text or an integer (a ``task_id``), with or without quotes."""
        if not isinstance(event, yaml.ScalarEvent):
            self.stop(event, "a key must be a word")
        key = self.value(event, f"{path}.{event.value}".lstrip("."), depth + 1)
        if isinstance(key, str):
            return as_key(key)
        if isinstance(key, int) and not isinstance(key, bool):
            return key
        self.problem(event, path, event.value, "a key must be text: quote it")
        return str(event.value)
