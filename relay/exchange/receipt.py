"""Receipts: a hand-over as a few lines to print, sign by hand, and read out over the phone.

A receipt is made from one ledger and checked against another: both sites must name the same statement.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from relay.bundle import STATEMENT
from relay.errors import UserError, plain
from relay.exchange.receiving import chain_in
from relay.exchange.store import StudyStore
from relay.trust import MAX_MESSAGE, BadDocument, Claim, DamagedLedger, Fork, Statement, from_words, same, words

Kind = Literal["received", "signed"]
_WHAT = {"received": "taken in by", "signed": "signed and sent by"}
MAX_TEXT = 2**16
"""Maximum length of a receipt that is read, in characters."""
_FIELDS = ("study", "leg", "made by", "handed to", "roster", "statement", "in words", "what", "at", "time", "ledger")


@dataclass(frozen=True)
class Receipt:
    """The content of a receipt.

    Attributes:
        digest: of the statement, hex.
        kind: whether the site that prints it has received or signed the leg.
        at: the site that prints it; ``time``: when it received or signed the leg.
        lines, head: how many events its ledger had when it printed the receipt, and the SHA-256 of the last one.
            The holder of the receipt is a witness: a ledger that is rolled back or rewritten no longer has that line.
    """

    study: str
    made: Statement
    kind: Kind
    at: str
    time: str
    lines: int
    head: str

    def text(self) -> str:
        """The receipt as plain text, under 80 columns wide."""
        claim = self.made.claim
        by_words = words(bytes.fromhex(self.made.digest)).split()
        values = (
            self.study,
            str(claim.leg),
            claim.site,
            ", ".join(recipient.name for recipient in claim.recipients),
            str(claim.roster.version),
            self.made.digest,
            " ".join(by_words),
            _WHAT[self.kind],
            self.at,
            self.time,
            f"{self.lines} {self.head}",
        )
        lines = [f"{key + ':':<11}{value}" for key, value in zip(_FIELDS, values, strict=True)]
        return "\n".join(
            ["RELAY RECEIPT", "", *lines, "", "name: ____________________   signature: ____________________", ""]
        )


def write(store: StudyStore, leg: int | None = None) -> Receipt:
    """The receipt for a leg, by default the newest one in the ledger.

    Raises:
        UserError: the ledger has no such leg.
    """
    lines = [line for line in store.ledger.lines() if line.event in ("received", "signed")]
    wanted = [line for line in lines if leg is None or line.facts["leg"] == leg]
    if not wanted:
        there = sorted({line.facts["leg"] for line in lines})
        raise UserError(
            f"the ledger of study {store.study} has no leg {f'{leg} ' if leg else ''}received or signed here",
            f"Legs in the ledger: {', '.join(map(str, there)) or 'none'} (relay ledger).",
        )
    line = wanted[-1]
    number, kind = line.facts["leg"], line.event
    folder = store.received(number) if kind == "received" else store.signed(number)
    if not (folder / STATEMENT).is_file():
        raise UserError(
            f"leg {number} is in the ledger, but its files are not in {folder}",
            "Restore the folder from a backup. Its bundle is sealed to the next site, not to this one."
            if kind == "signed"
            else "Restore them from the bundle: relay ledger --rebuild BUNDLE",
        )
    made = chain_in(folder)[-1]
    digests = store.ledger.digests()
    at = store.identity.name
    return Receipt(store.study, made, kind, at, line.time, len(digests), digests[-1])  # type: ignore[arg-type]


def check(store: StudyStore, text: str) -> str:
    """Compare another site's receipt with this site's ledger; return what matches, as a sentence.

    A receipt that this site printed itself is also compared with the line of the ledger that it names.

    Raises:
        BadDocument: it is too long or not a receipt, or its words don't match its digest.
        Fork: this site knows another statement for that leg.
        DamagedLedger: this site printed it, but its ledger no longer has the line it had then.
        UserError: it is from another study, or for a leg that this site does not know.
    """
    found = _fields(text)
    if missing := [key for key in _FIELDS if key not in found]:
        raise BadDocument(f"this receipt is incomplete: {', '.join(missing)} is missing")
    digest, leg = found["statement"], found["leg"]
    if not re.fullmatch("[0-9a-f]{64}", digest) or not re.fullmatch("[1-9][0-9]{0,3}", leg):
        raise BadDocument("this is not a receipt: its leg or its statement is not valid")
    from_words(found["in words"])  # says which word is wrong
    if not same(found["in words"], bytes.fromhex(digest)):
        raise BadDocument("the words of this receipt don't match its statement")
    if found["study"] != store.study:
        raise UserError(
            f"this receipt is from study {found['study']}; this is {store.study}", "Give the right --study."
        )
    _witnessed(store, found)
    record = store.ledger.record()
    known = record.legs.get(int(leg))
    if known is None:
        raise UserError(
            f"leg {leg} is not in the ledger of {store.identity.name}",
            "Receive the bundle first. Or read the words out to the site that did the leg.",
        )
    if digest not in (known.statement, *record.own.get(int(leg), ())):
        raise Fork(f"this receipt is for another hand-over than the one known here as leg {leg}")
    _same_claim(_claim(store, digest), found)
    return (
        f"leg {leg} of {store.study}, made by {found['made by']}, is the hand-over known here. That it was "
        f"{found['what']} {found['at']} at {found['time']} is what the receipt says; only the handwritten signature "
        "on it vouches for that"
    )


def _witnessed(store: StudyStore, found: Mapping[str, str]) -> None:
    """Compare this site's ledger with what its own receipt says about it."""
    said = re.fullmatch("([1-9][0-9]{0,5}) ([0-9a-f]{64})", found["ledger"])
    if said is None:
        raise BadDocument("this is not a receipt: its ledger line is not a number and a SHA-256")
    if found["at"] != store.identity.name:
        return
    number, digests = int(said[1]), store.ledger.digests()
    if digests[number - 1 : number] != [said[2]]:
        raise DamagedLedger(
            f"line {number} of {store.ledger.path} is not the one that this receipt of {found['time']} names: "
            "the ledger has since been rolled back or rewritten",
            "If you rebuilt it (relay ledger --rebuild), compare the ledger that was moved aside then. Otherwise, find "
            "out who changed it, restore the newest backup, and tell the coordinator.",
        )


def _claim(store: StudyStore, digest: str) -> Claim | None:
    """The signed claim; None if its documents are not here."""
    for folder in store.kept():
        for made in chain_in(folder):
            if made.digest == digest:
                return made.claim
    return None


def _same_claim(claim: Claim | None, found: Mapping[str, str]) -> None:
    """Compare what a receipt repeats from the statement with the statement itself.

    Raises:
        BadDocument: it says something else.
    """
    if found["what"] not in _WHAT.values():
        raise BadDocument("this is not a receipt: it does not say whether the leg was signed or received")
    if claim is None:
        return
    to = [recipient.name for recipient in claim.recipients]
    true = {"made by": claim.site, "handed to": ", ".join(to), "roster": str(claim.roster.version)}
    for key, value in true.items():
        if found[key] != value:
            raise BadDocument(f"the receipt says '{key}: {found[key]}'; its statement says '{value}'")
    if found["at"] not in (to if found["what"] == _WHAT["received"] else [claim.site]):
        raise BadDocument(f"the receipt says '{found['what']} {found['at']}', which its statement does not allow")


def _fields(text: str) -> dict[str, str]:
    """The ``key: value`` lines of someone else's text, made safe to show."""
    if len(text) > MAX_TEXT:
        raise BadDocument(f"this is not a receipt: it has {len(text)} characters; the limit is {MAX_TEXT}")
    pairs = (line.partition(":") for line in text.splitlines())  # whatever a mail program did to the line ends
    return {key: plain(value.strip(), most=MAX_MESSAGE) for key, _, value in pairs if key in _FIELDS and value.strip()}
