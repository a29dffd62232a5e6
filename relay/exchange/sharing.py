"""Sharing: give the final model to one hospital outside the study, with the proof of where it comes from.

What the last leg's site has signed is sealed again, to that hospital alone, without what it does not need. The
manifest that was signed lists the digest of every file, so that what is left can be verified; a *share*, signed by the
site that gives it, says who may have this copy. Nothing is trained or signed again in the name of a leg.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from relay.bundle import Measured, container, layout_of, manifest, meanings, measure, seal, stick
from relay.errors import UserError, some
from relay.exchange.approving import Approver
from relay.exchange.receiving import Kept, compared
from relay.exchange.rules import SHARING
from relay.exchange.select_bundle import SHARED
from relay.exchange.store import StudyStore
from relay.files import read_bytes
from relay.trust import (
    Identity,
    Keys,
    NotApproved,
    PolicyBreach,
    Recipient,
    RosterPeriod,
    RosterRef,
    Share,
    Statement,
    moment,
    stamp,
    statement,
)


@dataclass(frozen=True)
class Shareable:
    """The final model, and what a copy of it holds.

    Attributes:
        made: the statement of the last leg.
        parts: the files of the copy but the share, by their names in a bundle, in order.
        left_out: the files of the leg that stay here.
    """

    made: Statement
    parts: dict[str, Measured]
    left_out: tuple[str, ...]


def shareable(store: StudyStore, reader: Identity, experts: bool = False) -> Shareable:
    """What would leave, after the rules about keys, dates and the roster that the reader will check, too.

    Args:
        experts: also what a vote of all sites' experts needs: these, and all memories.

    Raises:
        UserError: the final model is not here, or the reader belongs to the study.
        ExpiredKey, RosterPeriod: the reader's keys, this site's, or the roster have expired.
        PolicyBreach: the roster does not let sites share.
        DigestMismatch: the files here are no longer what was received or signed.
    """
    roster, record = store.roster, store.record()
    if roster.policy.share != "sites":
        raise PolicyBreach(f"roster {roster.version} does not let sites share the final model", SHARING)
    reader.check_alive(store.now())
    mine, leg = store.identity, len(roster.order)
    mine.check_alive(store.now())
    if not moment(roster.not_before) <= store.now() < moment(roster.not_after):
        raise RosterPeriod(f"roster {roster.version} is valid from {roster.not_before} to {roster.not_after}")
    if not roster.key_stands(mine.signing, mine.name, leg + 1):
        raise UserError(
            f"{mine.name} is not a site of study {store.study}, or its key is no longer valid",
            "Ask a site of the study to share the model.",
        )
    for known in (*roster.sites, roster.coordinator):
        same = (reader.signing == known.signing, reader.sealing == known.sealing)
        if known.name.lower() == reader.name.lower() or any(same):
            raise UserError(
                f"{reader.name} is {'the coordinator' if known == roster.coordinator else 'a site'} of the study",
                "relay send seals the last leg to all sites of the study. Another hospital needs a name and keys of "
                "its own.",
            )
    kinds: dict[Kept, bool] = {"signed": leg in record.signed, "received": leg in record.received}
    if not (kind := next((kind for kind, there in kinds.items() if there), None)):
        raise UserError(
            f"leg {leg}, the last one of study {store.study}, was not signed or received here",
            f"Receive it first: {store.command('receive')} BUNDLE",
        )
    folder, statements, listed = compared(store, leg, kind)
    claims = [made.claim for made in statements]
    names = [name for name in layout_of(folder).names() if name in manifest.UNLISTED or name in listed]
    wanted = [name for name in names if name != manifest.SHARE and (experts or not _optional(name))]
    withdrawn = {each.leg for each in claims if not roster.lets_travel(each.leg)}
    gone = {manifest.EXPERT if n == leg else manifest.earlier(n, manifest.EXPERT) for n in withdrawn}
    parts = {name: measure(folder / name) for name in wanted if name not in gone}
    left = tuple(name for name in listed if name not in parts)
    return Shareable(statements[-1], _with_roster(store, parts), left)


def _optional(name: str) -> bool:
    return name.rpartition("/")[2] in manifest.OPTIONAL


def _with_roster(store: StudyStore, parts: dict[str, Measured]) -> dict[str, Measured]:
    """The same, with the newest roster in its place, which may have come after the last leg."""
    name = manifest.roster(store.roster.version)
    if name in parts:
        return parts
    last = max(part for part in parts if part.startswith("rosters/"))
    return {
        each: measured
        for part, own in parts.items()
        for each, measured in [(part, own), *([(name, measure(store.folder / name))] if part == last else [])]
    }


def share(
    store: StudyStore,
    keys: Keys,
    reader: Identity,
    found: Shareable,
    target: Path,
    approver: Approver | None = None,
    volume: int | None = None,
) -> list[Path]:
    """Sign a share, seal the copy to the reader, put it on the stick, and record it.

    Args:
        reader: its fingerprint must have been compared.
        target: a folder, on the stick.
        approver: who approves that it leaves; needed if the policy requires approval.
        volume: largest file, in bytes; None for whatever the stick's file system needs.

    Returns:
        The files written: one, or its volumes.

    Raises:
        NotApproved: the policy requires an approval, and none is given.
        PolicyBreach: the sealed copy is too large.
    """
    policy, claim = store.roster.policy, found.made.claim
    if policy.approval == "required" and approver is None:
        raise NotApproved(f"roster {store.roster.version} requires an approval before anything leaves")
    envelope = keys.sign(statement.payload(_said(store, keys, reader, found), found.made.manifest), statement.KIND)
    with container.write([(manifest.SHARE, measure(envelope)), *found.parts.items()]) as source:
        if (size := seal.sealed_size(source.size, 1)) > policy.max_bundle_bytes:
            raise PolicyBreach(f"the copy has {size} bytes; the limit is {policy.max_bundle_bytes}")
        name = _name(store, reader, claim.leg)
        room = volume or stick.default_volume(target)
        files = stick.put(source, target, name, room, recipients=[reader.sealing], check=True)
    facts = {"leg": claim.leg, "statement": found.made.digest, "files": [file.name for file in files]}
    facts |= {"reader": reader.name, "sealing": reader.sealing, "left_out": list(found.left_out)}
    facts |= {"share": measure(envelope).sha256}
    facts |= {"approved_by": approver.name, "reason": approver.reason} if approver else {}
    store.ledger.append("shared", store.now(), **facts)
    return files


def _said(store: StudyStore, keys: Keys, reader: Identity, found: Shareable) -> Share:
    trusted, now = store.trusted, store.now()
    assert trusted is not None
    until = min(now + timedelta(days=trusted.roster.policy.expires_days), moment(trusted.roster.not_after))
    return Share(
        study=store.study,
        leg=found.made.claim.leg,
        statement=found.made.digest,
        site=keys.identity.name,
        reader=Recipient(name=reader.name, sealing=reader.sealing),
        roster=RosterRef(version=trusted.roster.version, sha256=trusted.digest),
        issued=stamp(now),
        expires=stamp(until),
    )


def lines(store: StudyStore, reader: Identity, found: Shareable, target: Path) -> Iterator[str]:
    """What would leave, for people."""
    claim = found.made.claim
    size = sum(part.size for part in found.parts.values())
    yield f"{'study':<12} {store.study}, leg {claim.leg} by {claim.site}"
    yield f"{'for':<12} {reader.name}, which is not a site of the study; sealed to it alone"
    yield f"{'files':<12} the one model for everybody, and the documents of all legs:"
    yield from (f"  {part.size:>15,} B  {name}" for name, part in found.parts.items())
    yield f"  {size:>15,} B  in {len(found.parts)} files, and the share, which is made on signing"
    yield f"{'stays here':<12} {meanings.in_short(found.left_out) or 'nothing'}"
    yield f"{'to':<12} {target}"
    if before := stick.same(target, _name(store, reader, claim.leg)):
        yield f"{'replaces':<12} {some([path.name for path in before])}, an earlier copy for {reader.name}"


def _name(store: StudyStore, reader: Identity, leg: int) -> str:
    return stick.bundle_name(store.study, leg, SHARED + reader.name, sealed=True)


def roster_of(store: StudyStore) -> bytes:
    """The newest roster, signed, to be carried with the copy."""
    return read_bytes(store.folder / manifest.roster(store.roster.version))
