"""Sending: draft what would leave, sign it, seal it, and put it on the stick."""

from __future__ import annotations

import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from pathlib import Path

import relay
from relay.bundle import (
    FACTS,
    TRAVELLING,
    WEIGHTS,
    Facts,
    Measured,
    MemoryCard,
    cards,
    cards_in,
    check_whole,
    clear,
    container,
    documents,
    layout_of,
    link,
    manifest,
    measure,
    memory_card,
    read_facts,
    seal,
    stick,
    weights_digest,
)
from relay.config import check
from relay.errors import RelayError, UserError
from relay.exchange.receiving import chain_in, known
from relay.exchange.store import StudyStore
from relay.files import read_bytes, replace_folder, write_bytes
from relay.trust import (
    BadDocument,
    Claim,
    DigestMismatch,
    Expired,
    Fork,
    Keys,
    Policy,
    PolicyBreach,
    RosterPeriod,
    Statement,
    TrustedRoster,
    WrongLeg,
    canonical,
    digest,
    moment,
    parse,
    read,
    stamp,
    statement,
)

SIGNING = ".signing"
"""Where a leg's bundle is assembled."""


@dataclass(frozen=True)
class Draft:
    """What would leave; nothing is signed yet.

    Attributes:
        folder: contains the bundle's files, except the statement and the manifest.
        sizes: size of every file in it, in bytes.
        memories: the cards of all memories in it, by the entry of each one's tensors.
        signed: this leg is already signed and only has to be sent again.
    """

    folder: Path
    claim: Claim
    earlier: tuple[Statement, ...]
    sizes: Mapping[str, int]
    memories: Mapping[str, MemoryCard]
    signed: bool = False

    def lines(self, policy: Policy) -> list[str]:
        """Everything that leaves, for people: each file and its size, its recipients, and what the leg discloses."""
        claim = self.claim
        scores = ", ".join(f"{site} {'–' if dice is None else f'{dice:.3f}'}" for site, dice in claim.result.items())
        disclosed = (
            ("sealed, for" if policy.sealed else "NOT SEALED, for", ", ".join(r.name for r in claim.recipients)),
            ("samples", f"{claim.samples} ({policy.sample_counts}, as the policy says)"),
            ("result", f"mean Dice {scores or 'not measured'}"),
            ("strategy", claim.strategy),
            ("roster", f"version {claim.roster.version}"),
        )
        memories = memory_card.lines(self.memories, [*(made.claim for made in self.earlier), claim])
        return [
            f"This leaves {claim.site}, as leg {claim.leg} of {claim.study}:",
            *(f"  {size:>15,} B  {name}" for name, size in self.sizes.items()),
            f"  {sum(self.sizes.values()):>15,} B  in {len(self.sizes)} files",
            *([] if self.signed else ["  and the statement and the manifest, which are made on signing"]),
            *(f"{label:<16} {text}" for label, text in disclosed),
            *(f"{label}: {text}" for label, text in memories),
        ]


def draft(store: StudyStore, keys: Keys, folder: Path) -> Draft:
    """Collect what would leave after a leg that was run here.

    Args:
        folder: the leg's handover.

    Raises:
        UserError: this site can't send it (because of its keys, its turn, or the leg it was trained from).
        PolicyBreach: the roster's policy forbids it.
        DigestMismatch: what was received of the previous leg is no longer intact.
        Fork: this leg was already signed with different content.
    """
    _finish(store)
    facts, trusted = read_facts(folder), _trusted(store)
    check_turn(store, facts.leg)
    known_here = store.record().signed.get(facts.leg)
    if known_here:
        check_there(store, facts.leg)
    if known_here and not _unchanged(store.signed(facts.leg), folder):
        raise Fork(
            f"leg {facts.leg} was already signed here, with different content than {folder}",
            "A leg is signed only once. To send what was signed, give its own note (-n). To repeat the leg, ask the "
            "coordinator for a new version of the roster that does not count it as done.",
        )
    if known_here and known_here.roster == trusted.roster.version:
        return signed_before(store, facts.leg)
    if not known_here:
        check_whole(folder)
    earlier = _earlier(store, facts)
    part = clear(store.folder / SIGNING)
    try:
        claim = _claim(store, facts, folder, trusted, earlier)
        _gather(store, folder, part, claim, earlier, trusted)
        check_policy(claim, facts.samples, trusted, part)
    except RelayError:
        shutil.rmtree(part)
        raise
    return Draft(part, claim, earlier, _sizes(part), cards_in(part))


def check_there(store: StudyStore, leg: int) -> None:
    """Check that what was signed is still here: signing again would make a second hand-over of the leg.

    Raises:
        UserError: it is missing.
    """
    folder = store.signed(leg)
    if not (folder / manifest.STATEMENT).is_file():
        raise UserError(
            f"the ledger says that leg {leg} was signed here, but {folder} is missing",
            "Restore that folder from a backup. Its bundle can't restore it: it is sealed to the next site, not to "
            "this one. Without a backup, copy the bundle itself from the stick or from the next site. Or ask the "
            "coordinator for a new roster that does not count this leg as done, and train it again.",
        )


def check_turn(store: StudyStore, leg: int) -> None:
    """Check that this site, with its present keys, may do a leg now.

    Raises:
        WrongLeg, UserError: it may not; the message says why.
    """
    roster, name = store.roster, store.identity.name
    if roster.turn(leg) != name:
        raise WrongLeg(f"leg {leg} is the turn of {roster.turn(leg) or 'no site'}; this is {name}")
    if roster.site(name).signing != store.identity.signing:
        raise UserError(
            f"the keys in {store.home} are not those of {name} in roster {roster.version}",
            "Install the roster that lists these keys, or ask the coordinator for one (relay request).",
        )
    store.identity.check_alive(store.now())


def check_policy(claim: Claim, samples: int, trusted: TrustedRoster, folder: Path) -> None:
    """Check what would leave against the policy, before it is signed. ``samples`` is the exact count.

    Raises:
        PolicyBreach: it lists everything that breaks the policy.
    """
    policy, wrong = trusted.roster.policy, []
    if samples < policy.min_samples:
        wrong.append(f"{samples} training samples; the minimum is {policy.min_samples}")
    for name, card in cards_in(folder).items():
        wrong += memory_card.breaches(name, card, policy)
    total = sum(_sizes(folder).values())
    if total > policy.max_bundle_bytes:
        wrong.append(f"{total} bytes; the limit is {policy.max_bundle_bytes}")
    if wrong:
        raise PolicyBreach(f"leg {claim.leg} can't be sent under roster {trusted.roster.version}: {'; '.join(wrong)}")


def sign(store: StudyStore, keys: Keys, drafted: Draft) -> Path:
    """Sign a draft; return the folder with the bundle's files, which stays at this site."""
    leg = drafted.claim.leg
    if drafted.signed:
        return drafted.folder
    digests = {
        name: measure(drafted.folder / name).sha256
        for name in layout_of(drafted.folder).names()
        if name not in (manifest.STATEMENT, manifest.MANIFEST)
    }
    listing = manifest.write(digests)
    payload = statement.payload(drafted.claim, listing)
    envelope = keys.sign(payload, statement.KIND)
    write_bytes(drafted.folder / manifest.MANIFEST, listing)
    write_bytes(drafted.folder / manifest.STATEMENT, envelope)
    made = Statement(drafted.claim, digest(listing), digest(payload), envelope)
    store.ledger.append("signed", store.now(), leg=leg, chain=known((*drafted.earlier, made)))
    replace_folder(drafted.folder, store.signed(leg))  # after the ledger: a folder that it does not know is a fault
    return store.signed(leg)


def _finish(store: StudyStore) -> None:
    """Move a signed draft into place if a command was killed after writing the ledger and before moving it."""
    part = store.folder / SIGNING
    if not (part / manifest.STATEMENT).is_file():
        return
    made = chain_in(part)[-1]
    known_here = store.ledger.record().signed.get(made.claim.leg)
    if known_here is not None and known_here.statement == made.digest:
        replace_folder(part, store.signed(made.claim.leg))


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
    """
    _finish(store)
    folder = store.signed(leg)
    made = chain_in(folder)[-1]
    policy = store.roster.policy
    _check_signed(store, made)
    _check_fresh(store, made.claim)
    parts = [(name, measure(folder / name)) for name in layout_of(folder).names()]
    _check_whole(folder, made, parts)
    with container.write(parts) as source:
        size = seal.sealed_size(source.size, len(made.claim.recipients)) if policy.sealed else source.size
        if size > policy.max_bundle_bytes:
            raise PolicyBreach(f"the bundle of leg {leg} has {size} bytes; the limit is {policy.max_bundle_bytes}")
        name = stick.bundle_name(store.study, leg, made.claim.site, policy.sealed)
        to = [recipient.sealing for recipient in made.claim.recipients] if policy.sealed else []
        files = stick.put(source, target, name, volume or stick.default_volume(target), recipients=to, check=True)
    store.ledger.append("sent", store.now(), leg=leg, statement=made.digest, files=[file.name for file in files])
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


# -- the parts of a draft --------------------------------------------------------------------------------------------


def _trusted(store: StudyStore) -> TrustedRoster:
    roster, trusted = store.roster, store.trusted
    assert trusted is not None
    now = store.now()
    if not moment(roster.not_before) <= now <= moment(roster.not_after):
        raise RosterPeriod(
            f"roster {roster.version} of {roster.study} is valid from {roster.not_before} to {roster.not_after}",
            "Check this computer's clock. If it is right, ask the coordinator for a roster with new dates.",
        )
    return trusted


def _earlier(store: StudyStore, facts: Facts) -> tuple[Statement, ...]:
    """The statements of the earlier legs, from what was received, after checking that the leg was trained from it."""
    if facts.leg == 1:
        return ()
    folder = store.received(facts.leg - 1)
    if not folder.is_dir():
        raise UserError(
            f"leg {facts.leg - 1} was not received in {store.home}", f"Receive it: {store.command('receive')} BUNDLE"
        )
    listing, chain = read_bytes(folder / manifest.MANIFEST), chain_in(folder)
    known_here = store.record().received.get(facts.leg - 1)
    if known_here is None or chain[-1].digest != known_here.statement or chain[-1].manifest != digest(listing):
        raise DigestMismatch(f"{folder} is not what the ledger says was received", "Receive that bundle again.")
    listed = manifest.parse(listing)
    if facts.start not in (None, weights_digest(listed)):
        raise UserError(
            f"leg {facts.leg} was not trained from the weights received for leg {facts.leg - 1}",
            "Train it again from what was received, with a new note (-n).",
        )
    return chain


def _unchanged(there: Path, folder: Path) -> bool:
    """Whether this handover is the one that was signed."""
    names = (*WEIGHTS, manifest.HANDOVER, manifest.CONFIG, manifest.RESULTS)
    same = all(_sha256(there / name) == _sha256(folder / name) for name in names)
    return same and all(_but_counts(there / name) == _but_counts(folder / name) for name in documents.CARDS)


def _but_counts(path: Path) -> MemoryCard | None:
    """A memory's card without its count, whose form depends on the roster at the time; None if there is none."""
    if not path.is_file():
        return None
    card = parse(MemoryCard, read_bytes(path), path.name)
    return replace(card, privacy=replace(card.privacy, patients=0))


def _sha256(path: Path) -> str | None:
    return measure(path).sha256 if path.is_file() else None


def signed_before(store: StudyStore, leg: int) -> Draft:
    """A leg that was signed here, to send again unchanged.

    Raises:
        DigestMismatch: the files here are not what the ledger says was signed.
    """
    place = store.signed(leg)
    *earlier, own = chain_in(place)
    _check_signed(store, own)
    return Draft(place, own.claim, tuple(earlier), _sizes(place), cards_in(place), signed=True)


def _check_signed(store: StudyStore, made: Statement) -> None:
    """Check the files against the ledger: a power cut may have come between the two."""
    known_here = store.ledger.record().signed.get(made.claim.leg)
    if known_here is None or known_here.statement != made.digest:
        raise DigestMismatch(
            f"leg {made.claim.leg} in {store.signed(made.claim.leg)} is not the one that the ledger says was signed",
            "Sign it again: relay send -c CONFIG, with the leg's own note (-n).",
        )


def _sizes(folder: Path) -> dict[str, int]:
    return {name: (folder / name).stat().st_size for name in layout_of(folder).names() if (folder / name).is_file()}


def _claim(
    store: StudyStore, facts: Facts, folder: Path, trusted: TrustedRoster, earlier: tuple[Statement, ...]
) -> Claim:
    roster, now = trusted.roster, store.now()
    sizes = {
        key: {"tensors": n, "bytes": (folder / f"{key}.safetensors").stat().st_size} for key, n in facts.tensors.items()
    }
    until = min(now + timedelta(days=roster.policy.expires_days), moment(roster.not_after))
    content = {
        "study": store.study,
        "leg": facts.leg,
        "site": store.identity.name,
        "recipients": [{"name": name, "sealing": sealing} for name, sealing in roster.recipients(facts.leg)],
        "previous": earlier[-1].digest if earlier else None,
        "roster": {"version": roster.version, "sha256": trusted.digest},
        "config": digest(read_bytes(folder / manifest.CONFIG)),
        "code": {"relay": relay.__version__, "torch": facts.torch},
        "strategy": facts.strategy,
        "samples": documents.disclosed(facts.samples, roster.policy),
        "handover": sizes,
        "result": facts.result,
        "issued": stamp(now),
        "expires": stamp(until),
    }
    claim, problems = check(Claim, content)
    if claim is None:
        raise UserError(
            f"leg {facts.leg} can't go into a statement: {'; '.join(map(str, problems))}",
            "Names of test sets and strategies must be ASCII letters and digits; scores must be from 0 to 1.",
        )
    return claim


def _gather(
    store: StudyStore, folder: Path, part: Path, claim: Claim, earlier: tuple[Statement, ...], trusted: TrustedRoster
) -> None:
    """Assemble the bundle's files in ``part``."""
    policy = trusted.roster.policy
    contents = _documents(folder, claim, policy)
    head, config = (documents.read(name, contents[name]) for name in (manifest.HANDOVER, manifest.CONFIG))
    text = cards.model_card([*(made.claim for made in earlier), claim], head, config, policy.sample_counts)
    for name, data in (*contents.items(), (manifest.MODEL_CARD, text.encode())):
        write_bytes(part / name, data)
    for name in (*WEIGHTS, FACTS):  # with its facts, the leg can be signed again from here
        if (folder / name).is_file():
            link(folder / name, part / name)
    for version in {trusted.roster.version, *(made.claim.roster.version for made in earlier)}:
        write_bytes(part / manifest.roster(version), read_bytes(store.folder / manifest.roster(version)))
    for made in earlier:
        _copy_leg(store.received(claim.leg - 1), part, made.claim.leg, last=made is earlier[-1])


def _documents(folder: Path, claim: Claim, policy: Policy) -> dict[str, bytes]:
    """The documents beside the claim, by name, as the next site expects them.

    Raises:
        UserError: something in them must not leave.
    """
    handover = {key for key, part in vars(claim.handover).items() if part}
    cards = [name for name in documents.CARDS if name.removesuffix(".json") in handover]
    try:
        content = {name: read(read_bytes(folder / name), name) for name in (*TRAVELLING, *cards)}
        content[manifest.DATA_CARD] = documents.disclosed_card(content[manifest.DATA_CARD], policy)
        content |= {name: documents.disclosed_memory(name, content[name], policy) for name in cards}
        contents = {name: canonical(value) for name, value in content.items()}
        documents.check(contents, claim, policy)
    except BadDocument as error:
        raise UserError(f"leg {claim.leg} can't be sent: {error}", documents.ADVICE) from error
    return contents


def _copy_leg(source: Path, part: Path, leg: int, last: bool) -> None:
    """Copy what is kept of an earlier leg, from the folder of the previous leg.

    Raises:
        DigestMismatch: a memory is no longer the one that was received.
    """
    paths = {
        name: source / (name if last else manifest.earlier(leg, name)) for name in (*manifest.CHAIN, *manifest.KEPT)
    }
    for name in manifest.CHAIN:
        write_bytes(part / manifest.earlier(leg, name), read_bytes(paths[name]))
    listed = manifest.parse(read_bytes(paths[manifest.MANIFEST]))
    for name in manifest.KEPT:
        if listed.get(name) != _sha256(paths[name]):
            raise DigestMismatch(f"{paths[name]} is not what was received", "Receive that bundle again.")
        if name in listed:
            link(paths[name], part / manifest.earlier(leg, name))
