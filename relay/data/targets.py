"""Targets that are written as text: in a table's cell, in a text file, or as the name of a folder."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Any

from relay.data.patients import alike, clean, is_missing
from relay.errors import nearest, some

INDEX = re.compile(r"\d+(\.0*)?", re.ASCII)
"""A class's index; spreadsheets write 1 as 1.0, too."""
COMMA = re.compile(r"[-+]?\d+,\d+", re.ASCII)
LONGEST = 60
"""How many characters of a target that can't be read a message quotes."""
BETWEEN = "|"
"""Between the labels of one image, if it has several."""


class Labels:
    """Reads targets that are not files.

    Args:
        options: A data set's options: ``task``, ``num_classes`` and ``names`` say what is allowed.
        values: How each class is written; None: as its name.
        indices: Whether a class may also be written as its index, unless a class is named by a number; None: unless
            there are ``values``.
    """

    def __init__(self, options: Any, values: Sequence[str] | None = None, indices: bool | None = None) -> None:
        self.task = options.task
        self.names: list[str] = list(options.names)
        self.values = [clean(name) for name in values or self.names]
        self.by_index = values is None if indices is None else indices

    def __call__(self, text: str) -> int | float | tuple[int, ...]:
        """The target: a class's index, a number, or for several labels a 0 or 1 for each.

        Raises:
            ValueError: it is none; the message names what is allowed.
        """
        text = clean(text)
        if self.task == "multilabel":
            return self._several(text)
        if is_missing(text) and (self.task == "regression" or not self._same(text)):
            what = "number" if self.task == "regression" else "class"
            raise ValueError(f"{shortened(text)!r} is no {what}" if text else f"no {what} is given")
        return number(text) if self.task == "regression" else self.index(text)

    def index(self, text: str) -> int:
        """The index of a class, from its name or its index.

        Raises:
            ValueError: it is no class.
        """
        if text in self.values:
            return self.values.index(text)
        same = self._same(text)
        if INDEX.fullmatch(text):
            if len(same) == 1:  # a class called 1, which spreadsheets write as 1.0
                return self.values.index(same[0])
            named = any(map(INDEX.fullmatch, self.values))  # a number is then a name, and no index
            if self.by_index and not named and int(float(text)) < len(self.names):
                return int(float(text))
        near = same[0] if same else nearest(text, self.values)
        raise ValueError(
            f"{shortened(text)!r} is no class; the classes are {some(self.values, 8)}; if it is one, add it to "
            "class_names" + (f"; did you mean '{near}'?" if near else "")
        )

    def _same(self, text: str) -> list[str]:
        """The classes whose names are :func:`alike` a text."""
        return [value for value in self.values if alike(value) == alike(text)]

    def flag(self, text: str) -> int:
        """Whether an image has a label, from the cell of its column.

        Raises:
            ValueError: it is neither 0 nor 1.
        """
        found = {"0": 0, "1": 1, "false": 0, "true": 1}.get(INDEX.sub(_whole, clean(text)).casefold())
        if found is None:
            raise ValueError(f"{shortened(text)!r} is neither 0 nor 1")
        return found

    def _several(self, text: str) -> tuple[int, ...]:
        """The labels of ``A|B``; an empty text or ``none`` has no label."""
        words = [] if is_missing(text) and not self._same(text) else [clean(word) for word in text.split(BETWEEN)]
        there = {self.index(word) for word in words}
        return tuple(int(k in there) for k in range(len(self.names)))


def shortened(text: str) -> str:
    """The beginning of a text, for a message: a whole report belongs in none."""
    return text if len(text) <= LONGEST else text[:LONGEST] + "…"


def number(text: str) -> float:
    """A finite number.

    Raises:
        ValueError: it is none.
    """
    try:
        value = float(text)
    except ValueError:
        cure = "; write it with a point" if COMMA.fullmatch(text) else ""
        raise ValueError(f"{shortened(text)!r} is no number{cure}") from None
    if not math.isfinite(value):
        raise ValueError(f"{shortened(text)!r} is not a finite number")
    return value


def _whole(match: re.Match[str]) -> str:
    return match[0].partition(".")[0]
