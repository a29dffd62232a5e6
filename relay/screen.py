"""Tables that fit the screen: where it is narrow, what matters least is left out; no word is broken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Column(NamedTuple):
    """A column; the one of the highest ``rank`` is left out first, one of rank 0 never."""

    head: str
    rank: int = 0
    left: bool = False


def show_table(console: Console, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table with its title above it. Only what is left-justified, names, may go on in a next line."""
    ranks = sorted({column.rank for column in columns if column.rank}, reverse=True)
    shown = list(range(len(columns)))
    for rank in ranks:
        if _width(_table(columns, rows, shown)) <= console.width:
            break
        shown = [place for place in shown if columns[place].rank != rank]
    console.print(title, markup=False, highlight=False)
    console.print(_table(columns, rows, shown))


def fits(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> bool:
    """Whether all of a table can be shown."""
    return _width(_table(columns, rows, range(len(columns)))) <= console.width


def _table(columns: Sequence[Column], rows: Sequence[Sequence[str]], shown: Sequence[int]) -> Table:
    table = Table()
    for place in shown:
        column = columns[place]
        justify = "left" if column.left else "right"
        table.add_column(Text(column.head), justify=justify, overflow="fold", no_wrap=not column.left)  # type: ignore[arg-type]
    for row in rows:
        table.add_row(*(Text(row[place]) for place in shown))
    return table


def _width(table: Table) -> int:
    return Console(width=10_000).measure(table).maximum


def show_text(console: Console, text: str) -> None:
    """Sentences, broken between words."""
    console.print(text, markup=False, highlight=False)


def show_place(console: Console, what: str, place: Path | str) -> None:
    """A path or a command, in one piece however narrow the screen is, so that it can be copied."""
    console.print(f"{what}: {place}", markup=False, highlight=False, soft_wrap=True)
