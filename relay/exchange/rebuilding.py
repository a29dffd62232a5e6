"""Rebuild a lost or damaged ledger from what is signed: available bundles, and this site's own folders.

Everything is verified again, as an observer would: signatures, chains, digests, revoked keys. If there are two
different hand-overs of a leg under one roster, nothing is changed. An intact ledger keeps all its lines and gets those
that are missing; lines written while the clock was ahead get the present time. A damaged ledger is moved aside, and
its lines are not trusted.

This receives nothing: a leg that this site has neither built on nor kept must be received again, by all the rules.
An expired bundle is judged as on the day it was issued, because it only serves as a record.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from relay.bundle import clear, layout_of, manifest, opened
from relay.errors import UserError
from relay.exchange.receiving import judge, keep_more, known, limit_of, shared
from relay.exchange.rules import SKEW, Verification, VerificationContext
from relay.exchange.store import StudyStore
from relay.files import read_bytes, replace_folder, write_bytes
from relay.trust import (
    BrokenChain,
    DamagedLedger,
    Event,
    Fork,
    Keys,
    Ledger,
    Line,
    Record,
    Refused,
    RevokedKey,
    Signed,
    Statement,
    TrustedRoster,
    moment,
    newer,
    open_roster,
    statement,
)


@dataclass(frozen=True)
class Evidence:
    """One source, verified.

    Attributes:
        source: its name in messages.
        statements: of its own leg and all earlier ones, oldest first.
        rosters: by version.
        files: where its files were unpacked; None if they are in this home already.
        share: what the ledger says of a share (:func:`~relay.exchange.receiving.shared`).
    """

    source: str
    statements: tuple[Statement, ...]
    rosters: Mapping[int, TrustedRoster]
    files: Path | None = None
    share: Mapping[str, Any] = field(default_factory=dict)

    @property
    def own(self) -> Statement:
        """The statement of its own leg."""
        return self.statements[-1]


@dataclass(frozen=True)
class Rebuilt:
    """What was done.

    Attributes:
        added: the new lines.
        aside: where the replaced ledger is; None if it only got new lines or did not exist.
        restored: legs whose files were restored from the bundles.
        corrected: how many lines had a time in the future and now have the present time.
    """

    added: tuple[Line, ...]
    aside: Path | None
    restored: tuple[int, ...]
    corrected: int = 0


def rebuild(store: StudyStore, keys: Keys | None, bundles: Sequence[Path]) -> Rebuilt:
    """Rebuild the ledger.

    Args:
        keys: to open sealed bundles.

    Raises:
        UserError: the ledger is intact, and there are no bundles to add to it.
        Fork: two sources contradict each other, or one contradicts the ledger.
        Refused: a source can't be trusted. Nothing was changed.
    """
    with store.alone():
        return _rebuild(store, keys, bundles)


def _rebuild(store: StudyStore, keys: Keys | None, bundles: Sequence[Path]) -> Rebuilt:
    old = _whole(store)
    part = clear(store.folder / ".rebuild")
    try:
        found = [*_at_home(store), *(_opened(store, keys, path, part / str(n)) for n, path in enumerate(bundles))]
        found.sort(key=lambda e: (e.own.claim.roster.version, e.own.claim.leg))
        _agree(found)
        rosters = _rosters(store, found)
        fresh = Ledger(part)
        for line in old or []:
            fresh.append(line.event, store.clock() if _ahead([line], store) else moment(line.time), **line.facts)
        _hold_against(fresh.record(), found)
        missing = list(_missing(old or [], _events(store, found, rosters, fresh.record())))
        if old is not None and not bundles and not missing and not _ahead(old, store):
            raise UserError(
                f"the ledger of study {store.study} is intact ({len(old)} lines); there is nothing to rebuild",
                "To add legs that are not in it, name their bundles: relay ledger --rebuild BUNDLE...",
            )
        for event, facts in missing:
            fresh.append(event, store.clock(), **facts, rebuilt=True)
        return _commit(store, fresh, found, rosters, old)
    finally:
        shutil.rmtree(part, ignore_errors=True)


def _whole(store: StudyStore) -> list[Line] | None:
    """The ledger's lines; None if it is damaged or empty."""
    try:
        return store.ledger.lines() or None
    except DamagedLedger:
        return None


def _ahead(lines: Sequence[Line] | None, store: StudyStore) -> int:
    """How many lines have a time that blocks :meth:`StudyStore.now`: the clock was ahead when they were written."""
    return sum(moment(line.time) > store.clock() + SKEW for line in lines or [])


# -- what is available -----------------------------------------------------------------------------------------------


def _at_home(store: StudyStore) -> Iterator[Evidence]:
    """What this site has received and signed before, as far as it is still intact."""
    for folder in store.kept():
        try:
            yield Evidence(str(folder), *_documents(store, folder), share=shared(folder))
        except (Refused, OSError) as error:
            why = f"{Path(error.filename).name}: {error.strerror}" if isinstance(error, OSError) else error
            mine = folder.parent.name == "signed"  # its own bundle is sealed to the next site and can't be opened here
            bundle = "a bundle of a later leg" if mine else "the bundle it came from"
            raise BrokenChain(
                f"{folder} is not what this site stored there: {why}",
                f"Restore that folder from a backup. Or move it away and give {bundle}.",
            ) from error


def _documents(store: StudyStore, folder: Path) -> tuple[tuple[Statement, ...], Mapping[int, TrustedRoster]]:
    """The statements and rosters in one of this site's own folders, verified."""
    layout = layout_of(folder)
    envelope = read_bytes(folder / manifest.STATEMENT)
    share = read_bytes(folder / manifest.SHARE) if layout.share else None
    check = Verification(_context(store, share or envelope, mine=True))
    check.rosters([read_bytes(folder / manifest.roster(version)) for version in layout.rosters])
    check.statement(envelope, share)
    check.chain(layout.links(lambda name: read_bytes(folder / name)))
    return tuple(check.chain_so_far), check.trusted


def _opened(store: StudyStore, keys: Keys | None, path: Path, part: Path) -> Evidence:
    with opened(path, keys, store.folder, limit_of(store)) as bundle:
        check = judge(bundle, _context(store, bundle.share or bundle.read(manifest.STATEMENT)), folder=part)
    keep_more(store.received(check.verified[-1].claim.leg), part, check)
    return Evidence(str(path), check.verified, check.trusted, part, shared(part))


def _context(store: StudyStore, envelope: bytes, mine: bool = False) -> VerificationContext:
    """An observer's context on the day of issue; later rosters are checked against it afterwards.

    Args:
        mine: it was signed or received here; that day may then be in the future, if the clock was ahead.
    """
    _, said = statement.peek(envelope, "the statement")
    issued = said.get("issued")
    try:
        issue = moment(issued) if isinstance(issued, str) else store.clock()
        now = issue if mine else min(store.clock(), issue)
    except ValueError:  # verification will refuse it for that
        now = store.clock()
    return VerificationContext(store.study, None, store.coordinator, None, Record(), now)


# -- is it consistent ------------------------------------------------------------------------------------------------


def _agree(found: Sequence[Evidence]) -> None:
    """Check that no two sources have different hand-overs of one leg under one roster."""
    seen: dict[tuple[int, int], tuple[str, str]] = {}
    for evidence in found:
        for made in evidence.statements:
            leg, version = made.claim.leg, made.claim.roster.version
            digest, source = seen.setdefault((leg, version), (made.digest, evidence.source))
            if digest != made.digest:
                raise Fork(
                    f"{source} and {evidence.source} have different hand-overs of leg {leg}",
                    "Ask the coordinator which one is right, and name only bundles that agree with it. Nothing was "
                    "changed.",
                )


def _hold_against(record: Record, found: Sequence[Evidence]) -> None:
    """An intact ledger takes precedence, except for a leg that a newer roster allowed to be repeated."""
    for evidence in found:
        for made in evidence.statements:
            there, version = record.legs.get(made.claim.leg), made.claim.roster.version
            if there is not None and there.statement != made.digest and version <= there.roster:
                raise Fork(
                    f"{evidence.source} has another hand-over of leg {made.claim.leg} than the ledger",
                    "Leave this bundle out. If it is the right one, ask the coordinator: only a new roster can decide.",
                )


def _rosters(store: StudyStore, found: Sequence[Evidence]) -> dict[int, TrustedRoster]:
    """All rosters, by version, after checking that the newest one revokes no key that is relied on here."""
    here = [open_roster(read_bytes(path), store.coordinator, store.study) for path in store.roster_files()]
    merged: dict[int, TrustedRoster] = {}
    for trusted in [*here, *(trusted for evidence in found for trusted in evidence.rosters.values())]:
        newer(merged.setdefault(trusted.roster.version, trusted), trusted)
    ascending = {version: merged[version] for version in sorted(merged)}
    for old, new in zip([*ascending.values()], [*ascending.values()][1:], strict=False):
        newer(old, new)
    if ascending:
        _none_revoked(ascending[max(ascending)], found)
    return ascending


def _none_revoked(newest: TrustedRoster, found: Sequence[Evidence]) -> None:
    last = {revoked.key: revoked.last_leg for revoked in newest.roster.revoked}
    for evidence in found:
        for made in evidence.statements:
            what = f"leg {made.claim.leg} by {made.claim.site}, in {evidence.source}"
            if made.claim.leg > last.get(Signed(made.envelope, statement.KIND, what).keyid, made.claim.leg):
                raise RevokedKey(
                    f"{what}: its key is revoked by roster {newest.roster.version}", "Leave this bundle out."
                )


# -- the new ledger --------------------------------------------------------------------------------------------------


def _events(
    store: StudyStore, found: Sequence[Evidence], rosters: Mapping[int, TrustedRoster], record: Record
) -> Iterator[tuple[Event, dict[str, Any]]]:
    """What this site must have done, given the evidence.

    Args:
        record: of the lines that are kept.
    """
    here = {evidence.own.digest for evidence in found if evidence.files is None}
    here |= {entry.statement for entry in record.received.values()}
    for version, trusted in rosters.items():
        yield "roster", {"version": version, "sha256": trusted.digest}
    for evidence in found:
        for number, made in enumerate(evidence.statements, 1):
            if made.claim.site == store.identity.name:
                if number > 1:
                    yield _taken_in(evidence.statements[: number - 1])
                yield "signed", {"leg": number, "chain": known(evidence.statements[:number])}
        again = evidence.share and evidence.own.digest in here  # another copy of what was received before
        if (evidence.files is None or again) and evidence.own.claim.site != store.identity.name:
            yield _taken_in(evidence.statements, evidence.share)


def _taken_in(
    statements: tuple[Statement, ...], share: Mapping[str, Any] | None = None
) -> tuple[Event, dict[str, Any]]:
    claim = statements[-1].claim
    return "received", {"leg": claim.leg, "site": claim.site, "chain": known(statements), **(share or {})}


def _missing(
    old: Sequence[Line], events: Iterator[tuple[Event, dict[str, Any]]]
) -> Iterator[tuple[Event, dict[str, Any]]]:
    """The events that are missing, each once."""
    there = {_name(line.event, line.facts) for line in old}
    for event, facts in events:
        if (name := _name(event, facts)) not in there:
            there.add(name)
            yield event, facts


def _name(event: str, facts: Mapping[str, Any]) -> tuple[object, ...]:
    if event in ("received", "signed"):
        return event, facts["leg"], facts["chain"][str(facts["leg"])][0], facts.get("share")
    return event, facts.get("sha256"), facts.get("version"), facts.get("leg"), facts.get("patient")


def _commit(
    store: StudyStore,
    fresh: Ledger,
    found: Sequence[Evidence],
    rosters: Mapping[int, TrustedRoster],
    old: Sequence[Line] | None,
) -> Rebuilt:
    """Put rosters, files and the new ledger in place; the ledger last."""
    lines, record = fresh.lines(), fresh.record()
    for version, trusted in rosters.items():
        write_bytes(store.folder / manifest.roster(version), trusted.data)
    restored = [e.own.claim.leg for e in found if _place(store, e, record)]
    for leg in restored:
        if leg + 1 in record.signed:
            store.forget_weights(leg)
    corrected = _ahead(old, store)
    aside = store.ledger.put_aside(store.clock()) if old is None or corrected else None
    if lines:
        fresh.path.replace(store.ledger.path)
        fresh.head.replace(store.ledger.head)
    return Rebuilt(tuple(lines[len(old or []) :]), aside, tuple(restored), corrected)


def _place(store: StudyStore, evidence: Evidence, record: Record) -> bool:
    """Put a bundle's files back, if the ledger says that this site had them."""
    leg, mine = evidence.own.claim.leg, evidence.own.claim.site == store.identity.name
    there = (record.signed if mine else record.received).get(leg)
    if evidence.files is None or there is None or there.statement != evidence.own.digest:
        return False
    place = store.signed(leg) if mine else store.received(leg)
    replace_folder(evidence.files, place)
    return True
