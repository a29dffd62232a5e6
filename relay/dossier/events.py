"""The log of what happened at this site (AI Act, Article 12), from its ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from relay.dossier.common import gaps, identity
from relay.dossier.quoting import HERE, Document, Quote, said, shown
from relay.dossier.study import StudyRecord
from relay.files import read_bytes
from relay.papers import Fact, Page, Part, Source
from relay.trust import digest

DRAFT = (
    "Draft of a log, as Article 12 of Regulation (EU) 2024/1689 asks for one. It is this site's ledger, line by line; "
    "it may name people who approved a leg."
)
CHAIN = "chain"
"""The digests of a chain, which each statement has itself."""


def event_log(record: StudyRecord, receipts: Sequence[Path]) -> Page:
    """The log.

    Args:
        receipts: of this study, compared with the ledger.
    """
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
                "3. Receipts",
                "What other sites printed, after comparing it with this ledger. The signature is on paper.",
                [*map(_receipt, receipts)] or gaps("the site", Receipts="none was given to this dossier"),
            ),
            Part(
                "4. Not in the ledger",
                "relay records hand-overs, not the use of the model on patients.",
                gaps(
                    "the deployer",
                    Use_on_patients="events that show a risk, or let the operation be monitored: Article 12 (2)",
                    Retention="how long logs are kept: Articles 19 (1) and 26 (6)",
                ),
            ),
        ],
    )


def _events(ledger: Document) -> Iterator[Fact]:
    for n, line in enumerate(ledger.content):
        facts = "; ".join(f"{key} {shown(value, 'none')}" for key, value in line["facts"].items() if key != CHAIN)
        yield said(
            f"Line {n + 1}", ledger.quote(n), form=f"{{time}}: {{event}}; {facts.replace('{', '{{').replace('}', '}}')}"
        )


def _receipt(path: Path) -> Fact:
    """What a receipt says, with the lines that say it."""
    data = read_bytes(path)
    lines = {line.partition(":")[0]: n for n, line in enumerate(data.decode().splitlines(), 1)}
    texts = dict(line.partition(":")[::2] for line in data.decode().splitlines())
    source = Source(path.name, digest(data), root=HERE)
    keys = ("leg", "statement", "what", "at", "time")
    quotes = [Quote(texts[key].strip(), replace(source, place=f"line {lines[key]}")) for key in keys]
    return said("Receipt", *quotes, form="leg {}, statement {}: {} {} at {}")
