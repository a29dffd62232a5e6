"""The log of what happened at this site (AI Act, Article 12), from its ledger."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from relay.dossier.paper import Paper, ask, first
from relay.dossier.quoting import HERE, Quote, said
from relay.dossier.rows import identity
from relay.dossier.study import StudyRecord
from relay.files import read_bytes
from relay.papers import Fact, Source, shown
from relay.trust import digest

CHAIN = "chain"
"""The digests of a chain, which each statement has itself."""


def event_log(receipts: Sequence[Path]) -> Paper:
    """The log.

    Args:
        receipts: of this study, compared with the ledger.
    """
    return Paper(
        "log",
        "Log",
        "Draft of a log, as Article 12 of Regulation (EU) 2024/1689 requires for a high-risk system. It is this site's "
        "ledger, line by line, and may name people who approved a leg.",
        "the deployer",
        [
            ("1. Whose log", "", [identity]),
            (
                "2. Events",
                "Each line of the ledger holds the SHA-256 of the line before, so a changed line is found.",
                [first(_events, ask("Events", "the ledger is empty", by="the site"))],
            ),
            (
                "3. Receipts",
                "What other sites printed; relay compared it with this ledger. The signature is on paper.",
                [
                    first(
                        lambda _: map(_receipt, receipts),
                        ask("Receipts", "none was given to this dossier", by="the site"),
                    )
                ],
            ),
            (
                "4. Not in the ledger",
                "relay records hand-overs, not the use of the model on patients.",
                [
                    ask(
                        "Use on patients",
                        "events that show a risk, or that let people monitor the system: Article 12 (2)",
                    ),
                    ask("Retention", "how long logs are kept: Articles 19 (1) and 26 (6)"),
                ],
            ),
        ],
    )


def _events(record: StudyRecord) -> Iterator[Fact]:
    ledger = record.ledger
    for n, line in enumerate(ledger.content if ledger else ()):
        facts = "; ".join(f"{key} {shown(value, 'none')}" for key, value in line["facts"].items() if key != CHAIN)
        form = f"{{time}}: {{event}}; {facts.replace('{', '{{').replace('}', '}}')}"
        yield said(f"Line {n + 1}", ledger.quote(n) if ledger else None, form=form)


def _receipt(path: Path) -> Fact:
    """What a receipt says, with the lines that say it."""
    data = read_bytes(path)
    source, quotes = Source(path.name, digest(data), root=HERE), {}
    for n, line in enumerate(data.decode(errors="replace").splitlines(), 1):
        key, _, value = line.partition(":")
        if value.strip():
            quotes[key] = Quote(value.strip(), replace(source, place=f"line {n}"))
    keys = ("leg", "statement", "what", "at", "time")
    return said("Receipt", *map(quotes.get, keys), form="leg {}, statement {}: {} {} at {}")
