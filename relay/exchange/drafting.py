"""Drafting: collect and check what would leave after a leg, before anything is signed."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.bundle import (
    WEIGHTS,
    Facts,
    MemoryCard,
    PrivacyAudit,
    audits,
    cards_in,
    check_whole,
    clear,
    documents,
    experts,
    manifest,
    measure,
    memory_card,
    read_facts,
    schemas,
    weights_digest,
)
from relay.errors import RelayError, UserError
from relay.exchange.assembling import claim_of, gather, list_digest, sha256_of, sizes_in
from relay.exchange.audited import audit_of
from relay.exchange.receiving import chain_in
from relay.exchange.store import StudyStore
from relay.files import read_bytes, replace_folder
from relay.numbers import number
from relay.trust import (
    Claim,
    DigestMismatch,
    Fork,
    Policy,
    PolicyBreach,
    RosterPeriod,
    Statement,
    TrustedRoster,
    WrongLeg,
    digest,
    moment,
)

WITHDRAW = (
    "Ask the coordinator for a new roster: with another policy, or with the experts that are too large withdrawn "
    "(relay roster amend --withdraw-expert SITE)."
)
SIGNING = ".signing"
"""Where a leg's bundle is assembled."""


ENOUGH_TESTED = 12
"""Patients in a test set whose mean is published without a warning; rounded, fewer are 8."""
FEW = "; few patients are tested on, so that a mean tells much about each of them"


@dataclass(frozen=True)
class Draft:
    """What would leave; nothing is signed yet.

    Attributes:
        folder: contains the bundle's files, except the statement and the manifest.
        sizes: size of every file in it, in bytes.
        memories: the cards of all memories in it, by the entry of each one's tensors.
        signed: this leg is already signed and only has to be sent again.
        expert_stays: the leg has an expert, which the roster doesn't let travel.
        privacy: what its training guarantees; None for nothing.
        few: few patients are tested on, as far as the data card says.
    """

    folder: Path
    claim: Claim
    earlier: tuple[Statement, ...]
    sizes: Mapping[str, int]
    memories: Mapping[str, MemoryCard]
    signed: bool = False
    expert_stays: bool = False
    privacy: schemas.Stated | None = None
    few: bool = False

    def digest(self) -> str:
        """SHA-256 of the closed list of what leaves; it reads every file."""
        return list_digest(self.claim, {name: measure(self.folder / name) for name in self.sizes})

    def lines(self, policy: Policy) -> list[str]:
        """Everything that leaves, for people: each file and its size, its recipients, and what the leg discloses."""
        claim = self.claim
        return [
            f"This leaves {claim.site}, as leg {claim.leg} of {claim.study}:",
            *(f"  {size:>15,} B  {name}" for name, size in self.sizes.items()),
            f"  {sum(self.sizes.values()):>15,} B  in {len(self.sizes)} files",
            *([] if self.signed else ["  and the statement and the manifest, which are made on signing"]),
            *(f"{label:<16} {text}" for label, text in self.disclosed(policy)),
            *(f"{label}: {text}" for label, text in self.beside(policy)),
        ]

    def disclosed(self, policy: Policy) -> list[tuple[str, str]]:
        """What the leg discloses, and to whom, as labelled lines."""
        claim = self.claim
        scores = ", ".join(f"{site} {number(score)}" for site, score in claim.scores.items())
        return [
            ("sealed, for" if policy.sealed else "NOT SEALED, for", ", ".join(r.name for r in claim.recipients)),
            ("samples", f"{claim.samples} ({policy.sample_counts}, as the policy says)"),
            ("result", f"{claim.score_name} {scores or 'not measured'}{FEW if scores and self.few else ''}"),
            ("strategy", claim.strategy),
            ("roster", f"version {claim.roster.version}"),
        ]

    def _audits(self) -> dict[int, PrivacyAudit | None]:
        """The privacy audit of each leg, by number."""
        entries = {made.claim.leg: manifest.earlier(made.claim.leg, manifest.DATA_CARD) for made in self.earlier}
        entries[self.claim.leg] = manifest.DATA_CARD
        return {
            leg: documents.read(manifest.DATA_CARD, read_bytes(self.folder / name)).privacy_audit
            for leg, name in entries.items()
        }

    def beside(self, policy: Policy) -> list[tuple[str, str]]:
        """What travels beside the model, as labelled lines: each memory and expert, its privacy and its audit; and what
        the training guarantees."""
        claims = [*(made.claim for made in self.earlier), self.claim]
        lines = [
            *audits.told(claims, self._audits(), policy.audit_limit),
            *memory_card.lines(self.memories, claims),
            *experts.lines(claims, self.sizes),
        ]
        if self.privacy is not None:
            lines.append(("differential privacy of the training", str(self.privacy)))
        if self.expert_stays:
            roster = self.claim.roster.version
            lines.append((f"expert of leg {self.claim.leg}", f"stays here: roster {roster} does not let it travel"))
        return lines


def draft(store: StudyStore, folder: Path) -> Draft:
    """Collect what would leave after a leg that was run here.

    Args:
        folder: the leg's handover.

    Raises:
        UserError: this site can't send it (because of its keys, its turn, or the leg it was trained from).
        PolicyBreach: the roster's policy forbids it.
        DigestMismatch: what was received of the previous leg is no longer intact.
        Fork: this leg was already signed with different content.
    """
    finish(store)
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
        claim = claim_of(store, facts, folder, trusted, earlier)
        audit = audit_of(folder, leaving_weights(claim), trusted.roster.policy, facts.leg)
        gather(store, folder, part, claim, earlier, trusted, audit)
        check_policy(claim, facts.samples, trusted, part)
    except RelayError:
        shutil.rmtree(part)
        raise
    stays = "expert" in facts.tensors and claim.handover.expert is None
    few, stated = _tests_few(part), _stated(part)
    return Draft(part, claim, earlier, sizes_in(part), cards_in(part), expert_stays=stays, privacy=stated, few=few)


def _stated(folder: Path) -> schemas.Stated | None:
    return documents.stated(documents.read(manifest.DATA_CARD, read_bytes(folder / manifest.DATA_CARD)))


@contextmanager
def drafted(store: StudyStore, folder: Path | None) -> Iterator[Draft]:
    """What would leave, while someone looks at it. Unless it is signed meanwhile, it is removed at the end.

    Args:
        folder: the leg's handover; None for what was signed last.

    Raises:
        RelayError: as :func:`draft` and :func:`signed_before`.
    """
    made = draft(store, folder) if folder else signed_before(store, _signed_last(store))
    try:
        yield made
    finally:
        if not made.signed:
            shutil.rmtree(made.folder, ignore_errors=True)


def _signed_last(store: StudyStore) -> int:
    signed = store.ledger.record().signed
    if not signed:
        raise UserError(
            f"no leg of study {store.study} was signed in {store.home}",
            "Name what to send: relay send -c CONFIG -n NOTE, or the folder with a finished leg's handover.",
        )
    check_there(store, max(signed))
    return max(signed)


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
    if why := documents.unguarded(_stated(folder), policy):
        wrong.append(why)
    for name, card in cards_in(folder).items():
        wrong += memory_card.breaches(name, card, policy)
    sizes = sizes_in(folder)
    limit = policy.max_expert_bytes
    large = {name: size for name, size in sizes.items() if name.endswith(manifest.EXPERT) and size > limit}
    wrong += [f"{name} has {size} bytes; the limit for an expert is {limit}" for name, size in large.items()]
    total = sum(sizes.values())
    if total > policy.max_bundle_bytes:
        wrong.append(f"{total} bytes; the limit is {policy.max_bundle_bytes}")
    if wrong:
        raise PolicyBreach(
            f"leg {claim.leg} can't be sent under roster {trusted.roster.version}: {'; '.join(wrong)}",
            WITHDRAW if large else None,
        )


def signed_before(store: StudyStore, leg: int) -> Draft:
    """A leg that was signed here, to send again unchanged.

    Raises:
        DigestMismatch: the files here are not what the ledger says was signed.
    """
    place = store.signed(leg)
    *earlier, own = chain_in(place)
    check_signed(store, own)
    sizes, memories, stated = sizes_in(place), cards_in(place), _stated(place)
    few = _tests_few(place)
    return Draft(place, own.claim, tuple(earlier), sizes, memories, signed=True, privacy=stated, few=few)


def finish(store: StudyStore) -> None:
    """Move a signed draft into place if a command was killed after writing the ledger and before moving it."""
    part = store.folder / SIGNING
    if not (part / manifest.STATEMENT).is_file():
        return
    made = chain_in(part)[-1]
    known_here = store.ledger.record().signed.get(made.claim.leg)
    if known_here is not None and known_here.statement == made.digest:
        replace_folder(part, store.signed(made.claim.leg))


def check_signed(store: StudyStore, made: Statement) -> None:
    """Check the files against the ledger: a power cut may have come between the two."""
    known_here = store.ledger.record().signed.get(made.claim.leg)
    if known_here is None or known_here.statement != made.digest:
        raise DigestMismatch(
            f"leg {made.claim.leg} in {store.signed(made.claim.leg)} is not the one that the ledger says was signed",
            "Sign it again: relay send -c CONFIG, with the leg's own note (-n).",
        )


def leaving_weights(claim: Claim) -> list[str]:
    """The names of the files of weights that a leg itself hands over."""
    return [f"{key}.safetensors" for key, part in vars(claim.handover).items() if part]


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
    names = {*WEIGHTS, manifest.HANDOVER, manifest.CONFIG}
    if not (there / manifest.EXPERT).is_file():  # it may have been signed under a roster that did not let it travel
        names.remove(manifest.EXPERT)
    same = all(sha256_of(there / name) == sha256_of(folder / name) for name in names)
    counted = (manifest.RESULTS, *documents.CARDS)
    return same and all(_but_counts(there / name) == _but_counts(folder / name) for name in counted)


def _but_counts(path: Path) -> Any:
    """A document without its counts, whose form depends on the roster at the time; None if there is none."""
    return documents.uncounted(path.name, read_bytes(path)) if path.is_file() else None


def _tests_few(folder: Path) -> bool:
    """Whether a mean over the test set says much about each of its patients."""
    card = documents.read(manifest.DATA_CARD, read_bytes(folder / manifest.DATA_CARD))
    return bool(0 < card.patients.test < ENOUGH_TESTED)
