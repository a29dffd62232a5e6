"""The record of a study at a site, after it has been verified."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from relay.bundle import layout_of, manifest
from relay.dossier.quoting import Document, Quote, document, said
from relay.exchange import StudyStore, check_record
from relay.papers import NO_LIMIT, RULES, Fact, in_words, of_policy
from relay.trust import Policy

MEMORIES = {"memory that travels": manifest.MEMORY, "memory of all legs so far": manifest.CUMULATIVE}


@dataclass(frozen=True)
class LegRecord:
    """What its site signed about a leg.

    Attributes:
        memories: the cards of the memories that the record has of it, by what they are called in a row.
        manifest: the digests of its bundle's files, by their names.
    """

    number: int
    statement: Document
    card: Document
    results: Document
    memories: Mapping[str, Document]
    manifest: Document

    @property
    def entries(self) -> list[str]:
        """What its bundle held."""
        return [manifest.STATEMENT, manifest.MANIFEST, *self.manifest.content]

    @property
    def site(self) -> str:
        """Who made it."""
        return str(self.statement.content["predicate"]["site"])

    @property
    def name(self) -> str:
        """What the leg is called in a row."""
        return f"Leg {self.number}, {self.site}"

    def claim(self, *keys: str | int) -> Quote | None:
        """A value of the signed claim."""
        return self.statement.quote("predicate", *keys)


@dataclass(frozen=True)
class StudyRecord:
    """The verified record.

    Attributes:
        identity: who this site is.
        rosters: every version that is known here, oldest first.
        ledger: None if nothing has happened yet.
        legs: that stand, oldest first.
        handover, config: of the newest leg; None if no leg is known here.
    """

    study: str
    home: Path
    identity: Document
    coordinator: Document
    rosters: tuple[Document, ...]
    ledger: Document | None
    legs: tuple[LegRecord, ...]
    handover: Document | None
    config: Document | None

    @property
    def roster(self) -> Document | None:
        """The newest roster; None before there is one."""
        return self.rosters[-1] if self.rosters else None

    def plan(self, *keys: str | int) -> Quote | None:
        """A value of the roster."""
        return self.roster.quote(*keys) if self.roster else None

    def under(self, leg: LegRecord) -> Document | None:
        """The roster that a leg was made under, if it is known here."""
        version = leg.statement.content["predicate"]["roster"]["version"]
        return next((roster for roster in self.rosters if roster.content["version"] == version), None)

    def rule(self, name: str) -> Fact:
        """What the policy says of a rule. One that it leaves out has its default."""
        keys = ("policy", *name.split("."))
        quote = self.plan(*keys)
        if self.roster and quote is None:
            default = f"{of_policy(Policy(), name)}, which is the default"
            return Fact(RULES[name], default, [self.roster.without(*keys)])
        form = in_words(name, quote.value) if quote else ""
        return said(RULES[name], quote, form=form, none=NO_LIMIT, by="the coordinator")

    def model(self, *keys: str | int) -> Quote | None:
        """A value of the newest leg's ``handover.json``."""
        return self.handover.quote(*keys) if self.handover else None

    def settings(self, *starts: str) -> Iterator[Fact]:
        """The newest leg's settings whose names begin like this."""
        content: Mapping[str, object] = self.config.content if self.config else {}
        for key in content:
            if self.config and key.startswith(starts):
                yield said(key, self.config.quote(key), none="not set")


def read_record(store: StudyStore) -> StudyRecord:
    """Verify the record, and read it.

    Raises:
        Refused: it does not verify.
        UserError: the study is not known here; a file is missing or damaged.
    """
    _ = store.identity  # its error says what to do without one
    newest = check_record(store)

    def read(path: Path) -> Document | None:
        return document(path, store.home)

    who, pinned = store.home / "identity.json", store.folder / "coordinator.json"
    return StudyRecord(
        store.study,
        store.home,
        _needed(who, store),
        _needed(pinned, store),
        tuple(_needed(path, store) for path in store.roster_files()),
        read(store.ledger.path),
        tuple(_legs(newest, store)) if newest else (),
        read(newest / manifest.HANDOVER) if newest else None,
        read(newest / manifest.CONFIG) if newest else None,
    )


def _legs(newest: Path, store: StudyStore) -> Iterator[LegRecord]:
    earlier = layout_of(newest).legs
    for number in range(1, earlier + 2):
        folder = newest if number > earlier else (newest / manifest.earlier(number, "x")).parent
        statement, card, results, listing = (
            _needed(folder / name, store)
            for name in (manifest.STATEMENT, manifest.DATA_CARD, manifest.RESULTS, manifest.MANIFEST)
        )
        cards = {name: document(folder / manifest.card_of(file), store.home) for name, file in MEMORIES.items()}
        yield LegRecord(
            number, statement, card, results, {name: found for name, found in cards.items() if found}, listing
        )


def _needed(path: Path, store: StudyStore) -> Document:
    """A file that a verified record has."""
    found = document(path, store.home)
    if found is None:
        raise FileNotFoundError(2, "No such file", str(path))
    return found
