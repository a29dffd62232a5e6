"""A paper as a table: sections, and rows that say what a statement is called and where it comes from."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from relay.dossier.quoting import said
from relay.dossier.study import StudyRecord
from relay.papers import Fact, Page, Section

COORDINATOR = "the coordinator"
Row: TypeAlias = Callable[[StudyRecord], Iterable[Fact]]
"""What a record says about one thing, in none, one or several facts."""


@dataclass(frozen=True)
class Paper:
    """A paper.

    Attributes:
        name: of its files.
        by: who must fill in the gaps that name nobody.
        sections: of each its title, a few words, and its rows.
    """

    name: str
    title: str
    draft: str
    by: str
    sections: Sequence[tuple[str, str, Sequence[Row]]]

    def page(self, record: StudyRecord) -> Page:
        """The paper about a study."""
        sections = [
            Section(title, words, [fact for row in rows for fact in row(record)])
            for title, words, rows in self.sections
        ]
        return Page(self.name, f"{self.title}: {record.study}", self.draft, self.by, sections)


def ask(what: str, hint: str, by: str = "") -> Row:
    """A question to people; ``hint``: what belongs there."""
    return lambda record: [Fact(what, None, by=by, hint=hint)]


def rule(key: str) -> Row:
    """What the policy says of a rule."""
    return lambda record: [record.rule(key)]


def plan(what: str, *keys: str) -> Row:
    """A value of the roster."""
    return lambda record: [said(what, record.plan(*keys), by=COORDINATOR)]


def claim(what: str, *keys: str, form: str = "", none: str = "none") -> Row:
    """A value that the newest leg's site signed."""
    return lambda record: [said(what, leg.claim(*keys), form=form, none=none) for leg in record.legs[-1:]]


def model(what: str, *keys: str, none: str = "none") -> Row:
    """A value of the newest leg's ``handover.json``."""
    return lambda record: [said(what, record.model(*keys), none=none)]


def settings(*starts: str) -> Row:
    """The newest leg's settings whose names begin like this."""
    return lambda record: record.settings(*starts)


def first(row: Row, otherwise: Row) -> Row:
    """A row, or another one if it has no fact."""
    return lambda record: list(row(record)) or otherwise(record)
