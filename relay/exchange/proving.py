"""Check everything that a site's record of a study rests on."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from relay.bundle import layout_of, manifest
from relay.exchange.receiving import check_kept
from relay.exchange.rules import Verification, VerificationContext
from relay.exchange.store import StudyStore
from relay.files import read_bytes
from relay.trust import BadDocument, Record, moment, open_roster, statement


def check_record(store: StudyStore) -> Path | None:
    """The folder of the newest leg that stands in this site's record, or None, after checking all of the record.

    That is: the ledger, and the files beside it; each leg's folder against the ledger; and of the newest leg, and all
    that led to it, every signature, by the rules of the day it was made: it may have expired since.

    Raises:
        Refused: the record does not verify.
        UserError: a file is missing or damaged.
    """
    store.whole()
    record = store.record()
    for leg in record.received:
        check_kept(store, leg, "received")
    for leg in record.signed:
        check_kept(store, leg, "signed")
    received, signed = max(record.received, default=0), max(record.signed, default=0)
    if not (received or signed):
        _ = store.trusted  # its signature
        return None
    folder = store.received(received) if received > signed else store.signed(signed)
    _check_signatures(store, folder)
    return folder


def _issued(envelope: bytes, folder: Path) -> datetime:
    _, said = statement.peek(envelope, str(folder))
    try:
        return moment(said["issued"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadDocument(f"what is signed in {folder} does not say when it was") from error


def _check_signatures(store: StudyStore, folder: Path) -> None:
    """Repeat the rules for rosters, statement and chain of a folder, as if its bundle had just arrived."""
    layout = layout_of(folder)
    here = [open_roster(read_bytes(path), store.coordinator, store.study) for path in store.roster_files()]
    *older, newest = [roster for roster in here if roster.roster.version <= max(layout.rosters)]
    share = read_bytes(folder / manifest.SHARE) if layout.share else None
    envelope = read_bytes(folder / manifest.STATEMENT)
    then = _issued(share or envelope, folder)
    check = Verification(
        VerificationContext(store.study, None, store.coordinator, newest, Record(), then, tuple(older))
    )
    check.rosters(read_bytes(folder / manifest.roster(version)) for version in layout.rosters)
    check.statement(envelope, share)
    check.chain(layout.links(lambda name: read_bytes(folder / name)))
