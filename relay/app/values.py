"""Every value in a config's text: where it is, what it may be, and what it means. The page edits the text itself, so
comments and layout stay as they are."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

import yaml

from relay.app import schemas
from relay.app.schemas import A_NAME, Block
from relay.config import Loader, Option, dotted

Path: TypeAlias = tuple[str | int, ...]
"""The keys of blocks as text, the places in lists as numbers."""


@dataclass(frozen=True)
class Value:
    """A value, or a list in one line.

    Attributes:
        path: its path, as problems name it.
        key: the last part of the path.
        start, end: where it is in the text, in characters; ``text[start:end]`` is ``raw``.
        line: the line of the text, from 1.
        option: what is known of the key; None for a key of no schema.
        inherits: whether the value of ``common`` is used where this one is left out.
        comment: what the text says about it.
    """

    path: str
    key: str
    start: int
    end: int
    line: int
    raw: str
    option: Option | None
    inherits: bool
    comment: str

    @property
    def choices(self) -> tuple[str, ...]:
        """What may be chosen; the value may be another if :attr:`closed` is false."""
        return self.option.choices if self.option else ()

    @property
    def closed(self) -> bool:
        """Whether the value is one of the choices, and has to be."""
        names = self.option is not None and self.option.kind.startswith(A_NAME)
        return self.raw in self.choices and not names


@dataclass(frozen=True)
class Part:
    """A block of the text with its values.

    Attributes:
        path: its path.
        about: what it is for.
        comment: what the text says about it.
        values: its own values; those of blocks in it are in parts of their own.
        missing: keys that it may have, too.
        at: where another key is put into the text, in characters.
        before: what is written before ``key: value`` there.
    """

    path: str
    about: str
    comment: str = ""
    values: list[Value] = field(default_factory=list)
    missing: list[Option] = field(default_factory=list)
    at: int = 0
    before: str = ""


def added(option: Option) -> str:
    """What is written for a key that is added: with its default, or without a value if it has none."""
    default = option.default or ""
    if option.kind.startswith("name and kwargs"):
        default = f"{{name: {default}}}"
    return f"{option.name}: {default.replace('(empty)', chr(39) * 2)}"


def parts_of(text: str, blocks: Any) -> list[Part]:
    """The parts of a config that :func:`relay.config.parse` has accepted, in the order of the text.

    Args:
        blocks: the config as plain values, over what it extends.
    """
    root = yaml.compose(text, Loader=Loader)
    if not isinstance(root, yaml.MappingNode):
        return []
    return [part for part in _Walk(text, blocks).part(root, ()) if part.values or part.missing]


class _Walk:
    """Goes through a document once; a block that an alias repeats is shown where it is written."""

    def __init__(self, text: str, blocks: Any) -> None:
        self.text, self.blocks = text, blocks
        self.lines = text.split("\n")
        self.seen: set[int] = set()

    def part(self, node: yaml.MappingNode, keys: Path, comment: str = "") -> Iterator[Part]:
        """A block, then the blocks in it."""
        block, inner = schemas.block_at(keys, self.blocks), []
        made = self.opened(node, keys, block, comment)
        for name, value in node.value:
            if id(value) in self.seen or name.value == "<<":
                continue
            self.seen.add(id(value))
            path = (*keys, str(name.value))
            if _plain(value):
                found = self.value(name, value, path, block.option(name.value))
                made.values.append(replace(found, comment="") if found.comment == comment else found)
            else:
                inner.append((value, path, self.comment(name.start_mark.line, value)))
        yield made
        for each in inner:
            yield from self.below(*each)

    def below(self, node: yaml.CollectionNode, keys: Path, comment: str = "") -> Iterator[Part]:
        """The parts of a block, or of a list."""
        if isinstance(node, yaml.MappingNode):
            yield from self.part(node, keys, comment)
            return
        made = Part(dotted(keys), "", comment)
        option = schemas.block_at(keys[:-1], self.blocks).option(keys[-1])
        inner = [(each, (*keys, place)) for place, each in enumerate(node.value)]
        made.values.extend(self.value(each, each, path, option) for each, path in inner if _plain(each))
        yield made
        for each, path in inner:
            if not _plain(each):
                yield from self.below(each, path)

    def value(self, name: yaml.Node, node: yaml.Node, keys: Path, option: Option | None) -> Value:
        """One value; one that is empty begins after the blank that follows its colon."""
        start, end = node.start_mark.index, node.end_mark.index
        if start == end and self.text[start : start + 1] == " ":
            start = end = start + 1
        raw = self.text[start:end].rstrip("\n")
        return Value(
            path=dotted(keys),
            key=f"[{keys[-1]}]" if isinstance(keys[-1], int) else keys[-1],
            start=start,
            end=start + len(raw),
            line=node.start_mark.line + 1,
            raw=raw,
            option=option,
            inherits=schemas.common_has(keys, self.blocks),
            comment=self.comment(name.start_mark.line, node),
        )

    def comment(self, line: int, node: yaml.Node) -> str:
        """The comment lines directly above a key, and for a value in one line what follows it there."""
        above: list[str] = []
        place = line
        while place and re.match(r"\s*#", self.lines[place - 1]):
            place -= 1
            above.insert(0, self.lines[place].strip(" #"))
        end = node.end_mark
        beside = re.match(r"[\s\]},]*#(.*)", self.lines[end.line][end.column :]) if end.line == line else None
        return " ".join([*above, *([beside[1].strip()] if beside else [])])

    def opened(self, node: yaml.MappingNode, keys: Path, block: Block, comment: str) -> Part:
        """The part of a block, without its values, with what may be added to it."""
        given = {str(name.value) for name, _ in node.value}
        missing = [option for option in block.options if option.name not in given]
        if node.flow_style:
            at, before = node.end_mark.index - 1, ", " if node.value else ""
        else:
            at, before = self._end(node), "\n" + " " * node.start_mark.column
        return Part(dotted(keys) or "the whole config", block.about, comment, [], missing, at, before)

    def _end(self, node: yaml.MappingNode) -> int:
        """The end of the last line of a block: behind its last value and that line's comment."""
        last: yaml.Node = node
        while isinstance(last, yaml.CollectionNode) and not last.flow_style and last.value:
            last = last.value[-1][1] if isinstance(last, yaml.MappingNode) else last.value[-1]
        end = int(last.end_mark.index)
        if self.text[end - 1 : end] == "\n":  # a text in several lines ends with its line
            return end - 1
        found = self.text.find("\n", end)
        return len(self.text) if found < 0 else found


def _plain(node: yaml.Node) -> bool:
    """Whether a value has one field: a word, or a list of words in brackets."""
    if isinstance(node, yaml.SequenceNode):
        return bool(node.flow_style) and all(isinstance(each, yaml.ScalarNode) for each in node.value)
    return isinstance(node, yaml.ScalarNode)
