"""Sending: sign a draft, seal it to its recipients, and put it on the stick."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from relay.bundle import (
    Measured,
    container,
    layout_of,
    manifest,
    measure,
    seal,
    stick,
)
from relay.errors import UserError
from relay.exchange.approving import check_approved
from relay.exchange.assembling import list_digest
from relay.exchange.drafting import Draft, check_signed, finish
from relay.exchange.receiving import chain_in, known
from relay.exchange.store import StudyStore
from relay.files import read_bytes, replace_folder, write_bytes
from relay.trust import (
    Claim,
    DigestMismatch,
    Expired,
    Keys,
    PolicyBreach,
    Statement,
    digest,
    moment,
    statement,
)


def sign(store: StudyStore, keys: Keys, drafted: Draft) -> Path:
    """Sign a draft; return the folder with the bundle's files, which stays at this site.

    Raises:
        NotApproved: it needs a person's approval, and has none for exactly these files.
    """
    leg = drafted.claim.leg
    if drafted.signed:
        return drafted.folder
    files = {
        name: measure(drafted.folder / name)
        for name in layout_of(drafted.folder).names()
        if name not in (manifest.STATEMENT, manifest.MANIFEST)
    }
    check_approved(store, drafted.claim, list_digest(drafted.claim, files))
    listing = manifest.write({name: file.sha256 for name, file in files.items()})
    payload = statement.payload(drafted.claim, digest(listing))
    envelope = keys.sign(payload, statement.KIND)
    write_bytes(drafted.folder / manifest.MANIFEST, listing)
    write_bytes(drafted.folder / manifest.STATEMENT, envelope)
    made = Statement(drafted.claim, digest(listing), digest(payload), envelope)
    store.ledger.append("signed", store.now(), leg=leg, chain=known((*drafted.earlier, made)))
    replace_folder(drafted.folder, store.signed(leg))  # after the ledger: a folder that it does not know is a fault
    return store.signed(leg)


def export(store: StudyStore, leg: int, target: Path, volume: int | None = None) -> list[Path]:
    """Seal a signed leg to its recipients and put it on the stick.

    Args:
        target: a folder, on the stick.
        volume: largest file, in bytes; None for whatever the stick's file system needs.

    Returns:
        The files written: one, or its volumes.

    Raises:
        UserError: the next site would refuse it, because it has expired or there is a newer roster.
        PolicyBreach: the sealed bundle is too large.
        DigestMismatch: the files here are no longer what was signed.
        NotApproved: it needs a person's approval, and has none for exactly these files.
    """
    finish(store)
    folder = store.signed(leg)
    made = chain_in(folder)[-1]
    policy = store.roster.policy
    check_signed(store, made)
    _check_fresh(store, made.claim)
    parts = [(name, measure(folder / name)) for name in layout_of(folder).names()]
    _check_whole(folder, made, parts)
    approval = check_approved(store, made.claim, list_digest(made.claim, dict(parts)))
    with container.write(parts) as source:
        size = seal.sealed_size(source.size, len(made.claim.recipients)) if policy.sealed else source.size
        if size > policy.max_bundle_bytes:
            raise PolicyBreach(f"the bundle of leg {leg} has {size} bytes; the limit is {policy.max_bundle_bytes}")
        name = stick.bundle_name(store.study, leg, made.claim.site, policy.sealed)
        to = [recipient.sealing for recipient in made.claim.recipients] if policy.sealed else []
        files = stick.put(source, target, name, volume or stick.default_volume(target), recipients=to, check=True)
    facts = {"leg": leg, "statement": made.digest, "files": [file.name for file in files]}
    store.ledger.append("sent", store.now(), **facts, **({"approval": approval.line} if approval else {}))
    return files


def _check_fresh(store: StudyStore, claim: Claim) -> None:
    newest = store.roster.version
    if claim.roster.version < newest:
        raise UserError(
            f"leg {claim.leg} was signed under roster {claim.roster.version}; roster {newest} is installed here",
            "Sign it again under the new one: relay send -c CONFIG with the leg's own note (-n). If that run no longer "
            f"exists: {store.command('send', store.signed(claim.leg))} -o FOLDER",
        )
    if store.now() > moment(claim.expires):
        raise Expired(
            f"leg {claim.leg} was signed as valid until {claim.expires}",
            "Check this computer's clock. If it is right, ask the coordinator for a new version of the roster, install "
            "it, and send the leg again with its own note (-n): this signs it again.",
        )


def _check_whole(folder: Path, made: Statement, parts: Sequence[tuple[str, Measured]]) -> None:
    _, (_, listing), *rest = parts
    listed = manifest.parse(read_bytes(folder / manifest.MANIFEST))
    if listing.sha256 != made.manifest or listed != {name: part.sha256 for name, part in rest}:
        raise DigestMismatch(
            f"{folder} is not what was signed", "Someone changed it. Restore it from a backup; don't send it."
        )
