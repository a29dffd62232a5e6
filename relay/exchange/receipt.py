"""Receipts: a hand-over as a few lines to print, sign by hand, and read out over the phone.

A receipt is made from one ledger and checked against another: both sites must name the same statement. That of a
hospital outside the study, which got a copy, also names the share: who gave it to whom.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from relay.bundle import STATEMENT, manifest, measure
from relay.errors import UserError, plain
from relay.exchange.receiving import chain_in
from relay.exchange.store import StudyStore
from relay.files import read_bytes
from relay.trust import (
    MAX_MESSAGE,
    BadDocument,
    Claim,
    DamagedLedger,
    Fork,
    Refused,
    Roster,
    Share,
    Statement,
    from_words,
    same,
    statement,
    words,
)

Kind = Literal["received", "signed"]
_WHAT = {"received": "taken in by", "signed": "signed and sent by"}
MAX_TEXT = 2**16
"""Maximum length of a receipt that is read, in characters."""
_FIELDS = ("study", "leg", "made by", "handed to", "roster", "statement", "in words", "what", "at", "time", "ledger")
_SHARED = ("shared by", "share")
"""What the receipt of a share also has: the site that gave it, and the SHA-256 of what that site signed."""


@dataclass(frozen=True)
class Receipt:
    """The content of a receipt.

    Attributes:
        digest: of the statement, hex.
        kind: whether the site that prints it has received or signed the leg.
        at: the site that prints it; ``time``: when it received or signed the leg.
        lines, head: how many events its ledger had when it printed the receipt, and the SHA-256 of the last one.
            The holder of the receipt is a witness: a ledger that is rolled back or rewritten no longer has that line.
        shared: of a share: which site gave it, and the SHA-256 of what that site signed.
    """

    study: str
    made: Statement
    kind: Kind
    at: str
    time: str
    lines: int
    head: str
    shared: tuple[str, str] | None = None

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
        pairs = [*zip(_FIELDS, values, strict=True), *zip(_SHARED, self.shared or (), strict=False)]
        lines = [f"{key + ':':<11}{value}" for key, value in pairs]
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
    at, shared = store.identity.name, _shared_in(folder) if "share" in line.facts else None
    return Receipt(store.study, made, kind, at, line.time, len(digests), digests[-1], shared)  # type: ignore[arg-type]


def _shared_in(folder: Path) -> tuple[str, str]:
    """Which site gave the copy in one of this site's own folders, and the SHA-256 of what that site signed.

    Raises:
        UserError: the file that says so is damaged.
    """
    try:
        envelope = read_bytes(folder / manifest.SHARE)
        signed, _ = statement.peek(envelope, manifest.SHARE)
        return statement.parse_as(Share, signed.unverified, manifest.SHARE)[0].site, measure(envelope).sha256
    except (OSError, Refused) as error:
        raise UserError(f"{folder / manifest.SHARE} can't be read: {error}", "Receive the copy again.") from error


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
    under = {known.statement: known.roster, **record.own.get(int(leg), {})}
    if digest not in under:
        raise Fork(f"this receipt is for another hand-over than the one known here as leg {leg}")
    _same_claim(_claim(store, digest), found)
    given = _given(store, found, store.roster_version(under[digest]) or store.roster)
    return (
        f"leg {leg} of {store.study}, made by {found['made by']}, is the hand-over known here{given}. "
        f"That it was {found['what']} {found['at']} at {found['time']} is what the receipt says; only the "
        "handwritten signature on it vouches for that"
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


def _given(store: StudyStore, found: Mapping[str, str], roster: Roster) -> str:
    """What this site's ledger knows about a share, which the receipt names; nothing of another receipt.

    Args:
        roster: that the leg was made under. Who was outside the study then may have joined since, or left it.

    Raises:
        BadDocument: this site gave it or got it, as the receipt says, but the ledger has no such share.
    """
    if not _is_share(found):
        return ""
    giver, reader, me = found["shared by"], found["at"], store.identity.name
    sites = [site.name for site in roster.sites]
    impossible = found["what"] != _WHAT["received"] or (me != giver and giver not in sites)
    if impossible or (me not in (giver, reader) and reader in (*sites, roster.coordinator.name)):
        raise BadDocument(
            f"the receipt says '{found['what']} {reader}' and 'shared by: {giver}': only a site of the study can share "
            "a copy, and only a hospital outside it can take one in"
        )
    if me not in (giver, reader):
        return f". {giver} shared a copy with {reader}, it says, which the ledger of {giver} must show"
    event = "shared" if me == giver else "received"
    lines = [line for line in store.ledger.lines() if line.event == event and str(line.facts["leg"]) == found["leg"]]
    if me == giver:
        lines = [line for line in lines if line.facts["reader"] == reader]
    unsaid = found["share"] if me == giver else None  # older versions did not say what a site shared
    known = [line for line in lines if line.facts.get("share", unsaid) == found["share"]]
    if not known:
        raise BadDocument(
            f"the receipt names a share of leg {found['leg']} by {giver} for {reader} that is not in {me}'s ledger",
            "Check how it was typed: the line 'share'. If it is right, tell the coordinator.",
        )
    if not any("share" in line.facts for line in known):
        return f". {giver} shared a copy with {reader}, says the ledger of {me}, but not which one"
    return f", and the ledger of {me} knows the copy that {giver} shared with {reader}"


def _is_share(found: Mapping[str, str]) -> bool:
    """Whether a receipt is of a share.

    Raises:
        BadDocument: only half of it is.
    """
    there = [key for key in _SHARED if key in found]
    if not there:
        return False
    if len(there) < len(_SHARED) or not re.fullmatch("[0-9a-f]{64}", found["share"]):
        raise BadDocument("this receipt of a share is incomplete: it must say 'shared by', and 'share' with a SHA-256")
    return True


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
    if not _is_share(found) and found["at"] not in (to if found["what"] == _WHAT["received"] else [claim.site]):
        raise BadDocument(
            f"the receipt says '{found['what']} {found['at']}', which its statement does not allow",
            "Check how it was typed. A receipt of a hospital that a copy was shared with also says 'shared by' "
            "and 'share': if these are missing, it must be printed again with this version of relay.",
        )


def _fields(text: str) -> dict[str, str]:
    """The ``key: value`` lines of someone else's text, made safe to show."""
    if len(text) > MAX_TEXT:
        raise BadDocument(f"this is not a receipt: it has {len(text)} characters; the limit is {MAX_TEXT}")
    pairs = (line.partition(":") for line in text.splitlines())  # whatever a mail program did to the line ends
    known = (*_FIELDS, *_SHARED)
    return {key: plain(value.strip(), most=MAX_MESSAGE) for key, _, value in pairs if key in known and value.strip()}
