"""Receiving: verify a bundle, check its weights, and only then accept it."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

from relay.bundle import MemoryCard, Opened, clear, handover_files, layout_of, manifest, measure, opened, weights_digest
from relay.errors import RelayError, UserError
from relay.exchange.expected_config import ExpectedConfig
from relay.exchange.rules import Verification, VerificationContext
from relay.exchange.store import StudyStore
from relay.files import read_bytes, replace_folder, write_bytes
from relay.handover import Handover
from relay.trust import Claim, DigestMismatch, Keys, Policy, Refused, Roster, Share, Statement, digest, statement

Kept = Literal["received", "signed"]
"""What a site stores of a leg: what it received, or what it signed itself."""
AcceptanceCheck = Callable[[Handover, "StudyStore", Policy], list[str]]
"""The acceptance check: returns notes for people.

Raises:
    GateFailed: the weights must not be accepted.
"""


@dataclass(frozen=True)
class Verified:
    """A bundle that passed every rule.

    Attributes:
        statements: of all legs, oldest first; the last is the bundle's own.
        again: it was received before.
        entries: name and size in bytes of everything in it.
        memories: the cards of all memories in it, by the entry of each one's tensors.
        notes: what people should know, such as the findings of the acceptance check.
        share: who gave it to whom, if it is a copy for a hospital outside the study.
        without: the signed files that a share has left out, and that are not here from an earlier copy.
        added: the files that an earlier copy had left out, and that came with this one.
    """

    statements: tuple[Statement, ...]
    again: bool
    entries: Mapping[str, int]
    memories: Mapping[str, MemoryCard]
    notes: tuple[str, ...] = ()
    share: Share | None = None
    without: tuple[str, ...] = ()
    added: tuple[str, ...] = ()

    @property
    def claim(self) -> Claim:
        """The claim of the bundle's own leg."""
        return self.statements[-1].claim


def judge(
    bundle: Opened, at: VerificationContext, fit: ExpectedConfig | None = None, folder: Path | None = None
) -> Verification:
    """Check an opened bundle against all the rules, cheapest first.

    Args:
        fit: what this site's config expects; None to skip the comparison.
        folder: where its files are written; don't use them before this has returned.

    Raises:
        Refused: at the first broken rule.
    """
    check = Verification(at)
    check.rosters(bundle.rosters)
    check.statement(bundle.read(manifest.STATEMENT), bundle.share)
    check.chain(bundle.chain)
    check.standing()
    check.contents(bundle.read(manifest.MANIFEST), bundle.digests(folder), bundle.documents)
    check.policy(bundle.size, bundle.sealed, bundle.sizes, bundle.seal)
    check.fit(bundle.read(manifest.HANDOVER), fit)
    return check


def limit_of(store: StudyStore) -> int:
    """The largest bundle that is opened here, in bytes: what the roster says, or the default until there is one."""
    trusted = store.trusted
    return trusted.roster.policy.max_bundle_bytes if trusted else Policy().max_bundle_bytes


def verify(
    store: StudyStore, keys: Keys | None, path: Path, look_on: bool = False, fit: ExpectedConfig | None = None
) -> Verified:
    """Check whether this site would accept a bundle, without keeping anything.

    Raises:
        Refused: it would not; the message says why.
    """
    with opened(path, keys, store.folder, limit_of(store)) as bundle:
        check = judge(bundle, store.context(look_on), fit)
    return Verified(check.verified, check.again, bundle.sizes, check.memories, share=check.share)


def look_into(
    store: StudyStore, keys: Keys | None, path: Path, fit: ExpectedConfig | None = None, until: int | None = None
) -> tuple[Verified, Handover]:
    """The content of a bundle, after verifying it as an observer would; nothing is kept.

    Args:
        until: as for :meth:`StudyStore.context`.

    Raises:
        Refused: it fails verification; the message says why.
    """
    part = clear(store.folder / ".looking")
    try:
        with opened(path, keys, store.folder, limit_of(store)) as bundle:
            check = judge(bundle, store.context(look_on=True, until=until), fit, part)
        inside = _inside(part, check.verified)
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Verified(check.verified, check.again, bundle.sizes, check.memories), inside


def receive(
    store: StudyStore, keys: Keys, path: Path, weigh: AcceptanceCheck | None = None, fit: ExpectedConfig | None = None
) -> Verified:
    """Verify a bundle, check its weights, and accept it: store its files and newer rosters, and add a ledger line.

    Raises:
        Refused: it is not accepted; this site's state is unchanged.
        UserError: this is not a site of the study, and it is no share for it.
    """
    with store.alone():
        return _receive(store, keys, path, weigh, fit)


def _receive(
    store: StudyStore, keys: Keys, path: Path, weigh: AcceptanceCheck | None, fit: ExpectedConfig | None
) -> Verified:
    part = clear(store.folder / ".receiving")
    try:
        at = store.context()
        with opened(path, keys, store.folder, limit_of(store)) as bundle:
            if at.site is None and at.roster is not None and bundle.share is None:
                raise UserError(
                    f"{store.identity.name} is not a site of study {store.study}",
                    "Only sites can receive its bundles. To check one, use relay verify. To get the final model, ask a "
                    "site to share it with you: relay share.",
                )
            check = judge(bundle, at, fit, part)
        statements = check.verified
        notes = weigh(_inside(part, statements), store, check.newest.policy) if weigh else []
        without, added = _take_in(store, part, check)
    except OSError as error:
        raise RelayError(
            f"can't write below {store.folder}: {error.strerror}; nothing was received",
            "Check that the disk is not full and that you may write there. Then receive the bundle again.",
        ) from error
    finally:
        shutil.rmtree(part, ignore_errors=True)
    return Verified(statements, check.again, bundle.sizes, check.memories, tuple(notes), check.share, without, added)


def _take_in(store: StudyStore, part: Path, check: Verification) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Commit in an order that a power cut can interrupt anywhere: you can then receive the same bundle again.

    Returns:
        What is left out, and what an earlier copy had left out.
    """
    *older, newest = (check.trusted[version] for version in sorted(check.trusted))
    store.install(newest.data)  # first: a roster that the ledger does not know counts as damage
    for trusted in older:
        if not (path := store.folder / manifest.roster(trusted.roster.version)).exists():
            write_bytes(path, trusted.data)
    own = check.verified[-1].claim
    before = keep_more(store.received(own.leg), part, check) if check.again else set()
    told = shared(part)
    if not check.again or not told.items() <= _last_said(store, own.leg, told.get("share")).items():
        store.ledger.append("received", store.now(), leg=own.leg, site=own.site, chain=known(check.verified), **told)
    replace_folder(part, store.received(own.leg))  # after the ledger: a folder that it does not know is a fault
    there = [name for name in _listed(store.received(own.leg)) if (store.received(own.leg) / name).is_file()]
    return tuple(told.get("left_out", ())), tuple(name for name in there if name not in before) if before else ()


def _listed(folder: Path) -> dict[str, str]:
    """The signed digest of every file, by name."""
    return manifest.parse(read_bytes(folder / manifest.MANIFEST))


def keep_more(here: Path, part: Path, check: Verification) -> set[str]:
    """If ``part`` is a share: what an earlier copy of the same leg in the folder ``here`` has and it leaves out is put
    beside it, as far as it is intact and may still travel.

    Returns:
        The signed files that are intact in ``here``.
    """
    if not check.share:
        return set()
    listed = _listed(part)
    there = {
        name for name, sha256 in listed.items() if (here / name).is_file() and measure(here / name).sha256 == sha256
    }
    for name in there - withdrawn(check.newest, [made.claim.leg for made in check.verified]):
        both = [each for each in listed if _of_one_part(each) == _of_one_part(name)]  # a memory comes with its card
        if not (part / name).exists() and there.issuperset(both):
            (part / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(here / name, part / name)
    return there


def _of_one_part(name: str) -> str:
    return name.removesuffix(".safetensors").removesuffix(".json")


def withdrawn(roster: Roster, legs: Sequence[int]) -> set[str]:
    """The experts that a roster no longer lets travel, by their names in the bundle of the last of these legs."""
    *before, own = legs
    experts = {own: manifest.EXPERT, **{leg: manifest.earlier(leg, manifest.EXPERT) for leg in before}}
    return {name for leg, name in experts.items() if not roster.lets_travel(leg)}


def shared(folder: Path) -> dict[str, Any]:
    """What the ledger says of a folder with a share: its digest, and the signed files that are left out. Of a whole
    bundle, nothing."""
    if not (folder / manifest.SHARE).is_file():
        return {}
    left = [name for name in _listed(folder) if not (folder / name).is_file()]
    return {"share": measure(folder / manifest.SHARE).sha256, "left_out": left}


def _last_said(store: StudyStore, leg: int, share: str | None) -> Mapping[str, Any]:
    """The facts of the ledger's last line about receiving this share of a leg; empty if there is none."""
    lines = [line.facts for line in store.ledger.lines() if line.event == "received" and line.facts["leg"] == leg]
    return next((facts for facts in reversed(lines) if facts.get("share") == share), {})


def known(statements: tuple[Statement, ...]) -> dict[str, list[Any]]:
    """A chain as the ledger stores it: from leg to digest and roster version."""
    return {str(made.claim.leg): [made.digest, made.claim.roster.version] for made in statements}


def legs_of(statements: tuple[Statement, ...]) -> list[dict[str, Any]]:
    """What strategies learn about the legs so far, taken from each leg's own statement."""
    return [
        {"leg": c.leg, "site": c.site, "strategy": c.strategy, "train_samples": c.samples}
        for c in (made.claim for made in statements)
    ]


def _inside(folder: Path, statements: tuple[Statement, ...]) -> Handover:
    """The handover in a folder of verified files, each with the number of tensors its statement gives."""
    said = manifest.stated_tensors([made.claim for made in statements])
    if layout_of(folder).share:  # which was verified without what it leaves out
        said = {name: part for name, part in said.items() if (folder / name).is_file()}
    return handover_files.load(folder, legs_of(statements), {name: part.tensors for name, part in said.items() if part})


def reopen(store: StudyStore, leg: int, kind: Kept = "received") -> tuple[Handover, str]:
    """What was received or signed for a leg, and the digest of its weights, without experts that were withdrawn; every
    file is checked against the ledger again.

    Raises:
        UserError: it was not received or signed here.
        DigestMismatch: it is not what was received or signed.
    """
    folder, statements, listed = compared(store, leg, kind)
    handover = _inside(folder, statements)
    experts = {leg: weights for leg, weights in handover.experts.items() if store.roster.lets_travel(leg)}
    return replace(handover, experts=experts), weights_digest(listed)


def check_kept(store: StudyStore, leg: int, kind: Kept) -> None:
    """Check like :func:`reopen`, without reading any weights. Those that :meth:`StudyStore.forget_weights` has removed
    may be missing, once the next leg is signed.

    Raises:
        UserError, DigestMismatch: as :func:`reopen`.
    """
    over = kind == "received" and leg + 1 in store.ledger.record().own
    compared(store, leg, kind, (manifest.MODEL, manifest.CUMULATIVE) if over else ())


def newest(store: StudyStore) -> tuple[Handover, str]:
    """The handover of the newest leg that this site has received or signed, and the digest of its weights, checked like
    :func:`reopen`.

    Raises:
        UserError: there is none.
        DigestMismatch: it is not what was received or signed.
    """
    record = store.record()
    received, signed = max(record.received, default=0), max(record.signed, default=0)
    if not (received or signed):
        raise UserError(
            f"no leg of study {store.study} was received or signed in {store.home}",
            f"Receive the last bundle: {store.command('receive')} BUNDLE",
        )
    return reopen(store, received) if received > signed else reopen(store, signed, "signed")


def compared(
    store: StudyStore, leg: int, kind: Kept, removed: Sequence[str] = ()
) -> tuple[Path, tuple[Statement, ...], dict[str, str]]:
    """The folder of a leg, its statements and its manifest, after comparing all of it with the ledger. Experts that
    were withdrawn, and the files in ``removed``, may be missing.

    Raises:
        UserError, DigestMismatch: as :func:`reopen`.
    """
    folder, known_as, again = _kept(store, leg, kind)
    statements, listing = chain_in(folder), _own(folder / manifest.MANIFEST)
    whole = statements[-1].digest == known_as and digest(listing) == statements[-1].manifest
    listed = manifest.parse(listing)
    gone = withdrawn(store.roster, [made.claim.leg for made in statements])
    free = gone | {*removed} | (_left_out(store, leg, folder, listed) if kind == "received" else set())
    paths = {name: folder / name for name in listed if name not in free or (folder / name).is_file()}
    if not whole or any(not p.is_file() or measure(p).sha256 != listed[name] for name, p in paths.items()):
        raise DigestMismatch(f"{folder} is not what was {kind}", again)
    return folder, statements, listed


def _left_out(store: StudyStore, leg: int, folder: Path, listed: Mapping[str, str]) -> set[str]:
    """What a share may leave out, if the ledger says that this is one; of a bundle, nothing."""
    if not (path := folder / manifest.SHARE).is_file():
        return set()
    said = _last_said(store, leg, measure(path).sha256)
    names = said.get("left_out", listed) if said else ()  # older versions did not say which
    return {name for name in names if name.rpartition("/")[2] in manifest.OPTIONAL}


def _kept(store: StudyStore, leg: int, kind: Kept) -> tuple[Path, str, str]:
    """The folder of a leg, the digest of its statement in the ledger, and what to do if its files are damaged."""
    received = kind == "received"
    folder = store.received(leg) if received else store.signed(leg)
    entry = (store.record().received if received else store.record().signed).get(leg)
    if entry is None or not folder.is_dir():
        raise UserError(
            f"leg {leg} of study {store.study} was not {kind} in {store.home}",
            f"Receive it: {store.command('receive')} BUNDLE" if received else "Restore the folder from a backup.",
        )
    if received:
        return folder, entry.statement, f"Receive the bundle again: {store.command('receive')} BUNDLE"
    again = "Restore the folder from a backup. Its bundle is sealed to the other sites, not to this one."
    return folder, entry.statement, again


def chain_in(folder: Path) -> tuple[Statement, ...]:
    """The statements in one of this site's own folders, which were verified on receipt."""
    layout = layout_of(folder)
    paths = [folder / manifest.earlier(leg, manifest.STATEMENT) for leg in range(1, layout.legs + 1)]
    return tuple(_trusted(path) for path in [*paths, folder / manifest.STATEMENT])


def _own(path: Path) -> bytes:
    """One of this site's own small files.

    Raises:
        UserError: it can't be read.
    """
    try:
        return read_bytes(path)
    except OSError as error:
        raise UserError(
            f"{path} can't be read: {error.strerror}", "Restore the folder from a backup, or receive the bundle again."
        ) from error


def _trusted(path: Path) -> Statement:
    data = _own(path)
    try:
        return _parsed(data)
    except Refused:  # again, for a message that names the file
        return _parsed.__wrapped__(data, str(path))


@lru_cache(maxsize=1024)
def _parsed(data: bytes, what: str = "") -> Statement:
    """The chains that a site keeps have most of their statements in common."""
    signed, _ = statement.peek(data, what)
    claim, about = statement.parse(signed.unverified, what)
    return Statement(claim, about, digest(signed.unverified), data)
