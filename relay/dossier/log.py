"""The log of what happened at this site (AI Act, Article 12), from its ledger."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from relay.bundle import meanings
from relay.dossier.paper import Paper, ask, first
from relay.dossier.quoting import HERE, Quote, said
from relay.dossier.rows import identity
from relay.dossier.study import StudyRecord
from relay.files import read_bytes
from relay.papers import Fact, Source, shown
from relay.trust import digest

EVENTS = {
    "roster": "roster {version} was installed, SHA-256 {sha256}",
    "received": "leg {leg}, made by {site}, was received",
    "charged": "leg {leg} was charged to this site's patients: ε = {epsilon}, δ = {delta}, key {key}",
    "approved": "leg {leg} was approved by {name}: {reason}; SHA-256 of the list of what leaves: {list}",
    "signed": "leg {leg} was signed",
    "sent": "leg {leg} was put on a stick, as {files}; SHA-256 of its statement {statement}",
    "shared": "a copy of leg {leg} for {reader}, outside the study, was put on a stick, as {files}, sealed to "
    "{sealing}; left out: {left_out}; SHA-256 of the statement {statement}, of the share {share}",
    "withdrawn": "a patient of {site} withdrew, known by the keyed hash {patient}; legs that had learned: {legs}; "
    "files changed or removed: {removed}",
}
"""What each kind of event is told as."""
MORE = {
    "share": "as a copy for a hospital outside the study, SHA-256 of its share {share}",
    "left_out": "left out: {left_out}",
    "approval": "approved in line {approval}",
    "approved_by": "approved by {approved_by}",
    "reason": "because: {reason}",
}
"""What an event may also say."""
CHAIN = "chain"
"""The digests of a chain; that of the event's own leg is told."""


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
                "Each line of the ledger holds the SHA-256 of the line before. So relay finds a line that was changed, "
                "cut or moved. It can't find that somebody who may write to this folder has written the whole ledger "
                "anew: only a receipt that was printed before, or another site's record, shows that.",
                [first(_events, ask("Events", "the ledger is empty", by="the site"))],
            ),
            (
                "3. Receipts",
                "relay compared each with this ledger. One that another site printed names the statement that is known "
                "here; one that this site printed names a line that the ledger still has. Anybody can print one: who "
                "vouches for it is signed on the paper.",
                [
                    first(
                        lambda record: [_receipt(record, path) for path in receipts],
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
        told = _told(line["event"], line["facts"]).replace("{", "{{").replace("}", "}}")
        yield said(f"Line {n + 1}", ledger.quote(n) if ledger else None, form=f"{{time}}: {told}")


def _told(event: str, facts: Mapping[str, Any]) -> str:
    """An event in words; all that it says beside what it is told as follows by its key."""
    form = EVENTS.get(event, event)
    values = {key: shown(value, "none") for key, value in facts.items() if key != CHAIN}
    if "left_out" in facts:
        values["left_out"] = meanings.in_short(facts["left_out"]) or "nothing"
    words = [form.format_map(_Known(values))]
    for key in values:
        if f"{{{key}}}" not in form:
            words.append(MORE.get(key, f"{key} {{{key}}}").format_map(_Known(values)))
    if own := facts.get(CHAIN, {}).get(str(facts.get("leg"))):
        words.append(f"SHA-256 of its statement {own[0]}, made under roster {own[1]}")
    return "; ".join(words)


class _Known(dict[str, str]):
    """Values of an event; one that it does not have is told as such."""

    def __missing__(self, key: str) -> str:
        return "not recorded"


def _receipt(record: StudyRecord, path: Path) -> Fact:
    """What a receipt says, with the lines that say it."""
    data = read_bytes(path)
    source, quotes = Source(path.name, digest(data), root=HERE), {}
    for n, line in enumerate(data.decode(errors="replace").splitlines(), 1):
        key, _, value = line.partition(":")
        if value.strip():
            quotes[key] = Quote(value.strip(), replace(source, place=f"line {n}"))
    keys = ("leg", "statement", "what", "at", "time")
    own = "at" in quotes and quotes["at"].value == record.identity.content["name"]
    what = "Receipt that this site printed" if own else "Receipt that another site printed"
    return said(what, *map(quotes.get, keys), form="leg {}, statement {}: {} {} at {}")
