"""Tables that fit the screen: if it is narrow, the least important columns are left out. No word is broken."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from rich.console import Console
from rich.table import Table
from rich.text import Text


class Column(NamedTuple):
    """A column; the one with the highest ``rank`` is left out first, one with rank 0 never."""

    head: str
    rank: int = 0
    left: bool = False


def show_table(console: Console, title: str, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> None:
    """Print a table below its title. Only left-justified cells, such as names, may wrap."""
    ranks = sorted({column.rank for column in columns if column.rank}, reverse=True)
    shown = list(range(len(columns)))
    for rank in ranks:
        if _width(_table(columns, rows, shown)) <= console.width:
            break
        shown = [place for place in shown if columns[place].rank != rank]
    console.print(title, markup=False, emoji=False, highlight=False)
    console.print(_table(columns, rows, shown))


def fits(console: Console, columns: Sequence[Column], rows: Sequence[Sequence[str]]) -> bool:
    """Whether a whole table fits the screen."""
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
    """Print sentences, wrapped between words."""
    console.print(text, markup=False, emoji=False, highlight=False)


def show_place(console: Console, what: str, place: Path | str) -> None:
    """Print a path or a command in one piece, however narrow the screen is, so that people can copy it."""
    console.print(f"{what}: {place}", markup=False, emoji=False, highlight=False, soft_wrap=True)
