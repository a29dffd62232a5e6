"""Facts about what came in and what left, from a site's ledger and what it has signed."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from relay.bundle import documents, manifest, meanings
from relay.exchange import StudyStore, chain_in
from relay.files import damaged, read_bytes
from relay.papers import Fact, Source, cited, shown
from relay.trust import BadDocument, Line, Statement

AGAIN = "Restore the folder from a backup. If the leg was received here, you can receive its bundle again instead."


@dataclass(frozen=True)
class Leaving:
    """A bundle, or a copy for a hospital outside the study, that left this site.

    Attributes:
        line: of the ledger.
        folder: the leg's files here; None if they are of another statement, for example of a leg signed again.
        chain: the statements of all legs in it, oldest first.
        roster: the version of the newest roster here when it left.
    """

    line: Line
    folder: Path | None = None
    chain: tuple[Statement, ...] = ()
    roster: int = 0

    @property
    def leg(self) -> int:
        """Which leg's."""
        return int(self.line.facts["leg"])

    @property
    def what(self) -> str:
        """What it is called in a row."""
        day = self.line.time[:10]
        if self.line.event == "sent":
            return f"Bundle of leg {self.leg}, {day}"
        return f"Copy of leg {self.leg} for {self.line.facts['reader']}, {day}"

    @cached_property
    def names(self) -> tuple[str, ...]:
        """Its entries; none if its files are not here. They are read on demand: who withdraws a patient needs none.

        Raises:
            UserError: the manifest is missing or damaged.
        """
        if self.folder is None:
            return ()
        path = self.folder / manifest.MANIFEST
        try:
            listed = manifest.parse(read_bytes(path))
        except OSError as error:
            raise damaged(path, error.strerror or error, AGAIN) from error
        except BadDocument as error:
            raise damaged(path, error, AGAIN) from error
        names = [manifest.STATEMENT, manifest.MANIFEST, *listed]
        if self.line.event == "sent":
            return tuple(names)
        left_out = set(self.line.facts.get("left_out", ()))
        rosters = {manifest.roster(self.roster)} - {*names}  # a copy has the newest roster, too
        return (manifest.SHARE, *(name for name in names if name not in left_out), *sorted(rosters))


def leaving(store: StudyStore) -> Iterator[Leaving]:
    """Everything that left, as the ledger says.

    Raises:
        DamagedLedger: the ledger is not what was written.
    """
    version = 0
    for line in store.ledger.lines():
        if line.event == "roster":
            version = line.facts["version"]
        elif line.event in ("sent", "shared"):
            folder = _folder(store, line)
            yield Leaving(line, folder, chain_in(folder), version) if folder else Leaving(line)


def _folder(store: StudyStore, line: Line) -> Path | None:
    """The files here of exactly the hand-over that a line is about."""
    for folder in (store.signed(line.facts["leg"]), store.received(line.facts["leg"])):
        if folder.is_dir() and chain_in(folder)[-1].digest == line.facts.get("statement"):
            return folder
    return None


def left(store: StudyStore) -> Iterator[Fact]:
    """Every file of everything that left, and what the hand-overs in it disclose."""
    told: set[tuple[Path, str]] = set()
    ledger = cited(store.ledger.path) if store.ledger.lines() else Source("")
    for each in leaving(store):
        source = replace(ledger, place=f"line {each.line.n}")
        if each.folder is None:
            yield Fact(f"{each.what}: files", None, hint="its files are no longer here, or the leg was signed again")
            continue
        names = meanings.in_short(each.names)
        yield Fact(f"{each.what}: files", names, (source, cited(each.folder / manifest.MANIFEST)))
        for fact in _disclosed(each.leg, each.folder, each.chain, each.names):
            if (each.folder, fact.what) not in told:
                told.add((each.folder, fact.what))
                yield fact


def _disclosed(leg: int, folder: Path, chain: Sequence[Statement], names: Sequence[str]) -> Iterator[Fact]:
    claims, source = [made.claim for made in chain], cited(folder / manifest.STATEMENT)
    for entry, part in manifest.stated_tensors(claims).items():
        if part and entry in names:
            said = f"{part.tensors} tensors, {part.bytes} bytes"
            of = folder / manifest.STATEMENT
            if entry.startswith("chain/"):
                of = folder / manifest.earlier(int(entry.split("/")[1]), manifest.STATEMENT)
            yield Fact(f"Leg {leg}, {meanings.in_short([entry])}", said, (cited(of),))
    own = claims[-1]
    scores = ", ".join(f"{name} {'not measured' if score is None else score}" for name, score in own.scores.items())
    yield Fact(f"Leg {leg}, scores", scores or "none", (source,))
    card = folder / manifest.DATA_CARD
    counts = documents.read(manifest.DATA_CARD, read_bytes(card)).counts
    many = f"{own.samples}{documents.in_brackets(own.samples, counts, group=False)}"
    yield Fact(f"Leg {leg}, training images", f"{many}; counts are {counts}", (source, cited(card)))


def of_ledger(store: StudyStore) -> Iterator[Fact]:
    """Every event of the ledger."""
    store.whole()  # damaged, it would say anything
    found, lines = {each.line.n: each for each in leaving(store)}, store.ledger.lines()
    ledger = cited(store.ledger.path) if lines else Source("")
    for line in lines:
        what, said = _event(store, line, found)
        yield Fact(what, f"{line.time[:10]}{said}", (replace(ledger, place=f"line {line.n}"),))


def _event(store: StudyStore, line: Line, found: dict[int, Leaving]) -> tuple[str, str]:
    """What happened, and more about it, after the day."""
    said, leg = line.facts, line.facts.get("leg", 0)
    if line.event == "roster":
        return f"Roster {said['version']} was installed", ""
    if line.event == "received":
        copy = ", in a copy for a hospital outside the study" if "share" in said else ""
        return f"Leg {leg} came in", f", made by {said.get('site')}{copy}"
    if line.event == "charged":
        return f"Leg {leg} was charged to the patients", f", ε = {said['epsilon']:g}, δ = {said['delta']:g}"
    if line.event == "approved":
        return f"Leg {leg} was approved", f", by {said['name']}: {said['reason']}"
    if line.event == "signed":
        return f"Leg {leg} was signed", ""
    if line.event == "withdrawn":
        return "A patient withdrew", f"; legs that had learned: {shown(said['legs'])}"
    files = ", ".join(said["files"])
    if line.event == "sent":
        return f"Leg {leg} left", f", as {files}, {_to(store, found[line.n])}"
    by = f"; approved by {said['approved_by']}" if "approved_by" in said else ""
    left_out = f"; left out: {meanings.in_short(said['left_out'])}" if said.get("left_out") else "; nothing left out"
    return f"A copy of leg {leg} left", f", as {files}, sealed for {said['reader']}, outside the study{left_out}{by}"


def _to(store: StudyStore, each: Leaving) -> str:
    """For whom a bundle is, and whether the roster that it was made under has it sealed."""
    if not each.chain:
        return "recipients not known"
    claim = each.chain[-1].claim
    names = ", ".join(recipient.name for recipient in claim.recipients)
    roster = store.roster_version(claim.roster.version)
    if roster is None:
        return f"for {names}; whether it was sealed is not known here"
    return f"sealed for {names}" if roster.policy.sealed else f"NOT SEALED, for {names}"
