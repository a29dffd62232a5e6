"""The log of what happened at this site (AI Act, Article 12), from its ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from relay.dossier.common import gaps, identity
from relay.dossier.quoting import Document, Quote, said
from relay.dossier.study import StudyRecord
from relay.papers import Fact, Page, Part

DRAFT = (
    "Draft of a log, as Article 12 of Regulation (EU) 2024/1689 asks for one. It is this site's ledger, line by line; "
    "it may name people who approved a leg."
)
CHAIN = "chain"


def event_log(record: StudyRecord) -> Page:
    """The log."""
    events = list(_events(record.ledger)) if record.ledger else []
    return Page(
        "log",
        f"Log: {record.study}",
        DRAFT,
        [
            Part("1. Whose log", "", identity(record)),
            Part(
                "2. Events",
                "Each line of the ledger holds the SHA-256 of the line before, so a changed line is found.",
                events or gaps("the site", Events="the ledger is empty"),
            ),
            Part(
                "3. Not in the ledger",
                "relay records hand-overs, not the use of the model on patients.",
                gaps(
                    "the deployer",
                    Use_on_patients="period of each use, input, persons who checked the result: Article 12 (3), 26 (6)",
                    Retention="how long logs are kept: Articles 19 and 26 (6)",
                ),
            ),
        ],
    )


def _events(ledger: Document) -> Iterator[Fact]:
    for n, line in enumerate(ledger.content):
        facts = [ledger.quote(n, "facts", key) for key in _told(line["facts"])]
        names = [key + " {}" for key in _told(line["facts"])]
        quotes: list[Quote | None] = [ledger.quote(n, "time"), ledger.quote(n, "event"), *facts]
        yield said(f"Line {n + 1}", *quotes, form=f"{{}}: {'; '.join(['{}', *names])}", none="none")


def _told(facts: Mapping[str, Any]) -> list[str]:
    """The facts of an event, without digests of the chain, which each statement has itself."""
    return [key for key in facts if key != CHAIN]
