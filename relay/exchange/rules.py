"""The rules for trusting a bundle, as a state machine without input or output.

A :class:`Verification` is given the content of a bundle step by step, from the cheapest and most telling check to the
most expensive. At the first broken rule it raises a class of :mod:`relay.trust.refusals`. Steps can't be skipped or
swapped. Nothing is examined before the step that establishes who signed it, and no step parses weights.

1. ``rosters``: each is signed by this site's pinned coordinator (``BadSignature``), belongs to this study
   (``WrongStudy``) and is consistent (``BadRoster``). No two with the same version differ, in the bundle or here
   (``Fork``). The newest of all is valid today (``RosterPeriod``).
2. ``statement``: signed (``BadSignature``) with a key that the newest roster lists for the site that claims the leg
   (``UnknownKey``). The key is not revoked for that leg, nor by the roster the leg was made under (``RevokedKey``),
   and has not expired (``ExpiredKey``).
   The leg was made under the newest roster, known here or in the bundle (``OldRoster``).
   It belongs to this study (``WrongStudy``), was made by the site whose turn it was (``WrongOrder``), and is sealed
   to this site and to everyone the roster requires (``WrongRecipient``). The next leg is this site's turn, unless the
   relay has ended (``WrongLeg``).
   It was issued before it expires, neither in the future nor too long ago (``Expired``).
3. ``chain``: every earlier leg is present once. The rosters it names confirm its signature and its turn. Its manifest,
   results and data card are the signed ones, and so is its memory's card, which is present exactly if one was signed.
   No roster is older than the one before (``BrokenChain``, and the errors above). Results, data card and memory card
   have the right form, leg and site, and disclose no counts that the roster rounds (``PolicyBreach``). Each statement
   continues the one before it (``PredecessorMismatch``). No later roster requires any of the legs to be done again
   (``OldRoster``).
4. ``standing``: compared with this site's ledger, without the legs that must be done again. There is no other
   statement for a leg known here, unless it was signed again under a newer roster before this site built on it
   (``Fork``). This site has not already built on it (``Replay``). It is not older than the newest leg known here
   (``Rollback``). No leg in this site's name is missing from its ledger (``UnknownOwnLeg``).
5. ``contents``: every file has the digest given in the signed manifest (``DigestMismatch``), and there are no others
   (``BadContainer``). An earlier leg's memory and expert have the digests given in that leg's own manifest
   (``BrokenChain``); an expert that a roster withdrew before its own leg or a later one is missing (``PolicyBreach``).
   Its documents are judged like those of the earlier legs.
6. ``policy``: size, seal, days, approval, all memories, experts and sample count comply with the newest roster's
   policy, and the weight files have the sizes that the statements give (``PolicyBreach``).
7. ``fit``: the net, and how it reads images and names classes, match this site's config (``ConfigMismatch``). Skipped,
   visibly, if there is no config.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import islice, pairwise
from typing import Any

from relay.bundle import MemoryCard, Seal, breaches, check, disclosed, manifest
from relay.errors import some
from relay.exchange.expected_config import ExpectedConfig, check_fit
from relay.trust import (
    BadDocument,
    BrokenChain,
    Claim,
    DigestMismatch,
    Expired,
    ExpiredKey,
    Fork,
    Identity,
    Known,
    OldRoster,
    PolicyBreach,
    PredecessorMismatch,
    Record,
    Refused,
    Replay,
    RevokedKey,
    Rollback,
    Roster,
    RosterPeriod,
    Share,
    Statement,
    TrustedRoster,
    UnknownKey,
    UnknownOwnLeg,
    WrongLeg,
    WrongOrder,
    WrongRecipient,
    WrongStudy,
    digest,
    moment,
    newer,
    open_roster,
    read,
    stamp,
    statement,
)

STEPS = ("rosters", "statement", "chain", "standing", "contents", "policy", "fit")
SKEW = timedelta(days=1)
"""How far the clocks of two hospitals may differ."""
OUTSIDE = 16
"""How many test sets from outside the study a leg may be scored on."""
AGAIN = (
    "Nothing needs to be done: it is kept in this site's own folder. If files of it are damaged, this puts them back: "
    "relay ledger --rebuild BUNDLE"
)
"""What to do about a bundle that was received here when it could be."""
SHARE_AGAIN: dict[type[Refused], str] = {
    OldRoster: "Give a site of the study the newest roster. It can then share the model again (relay share).",
    Expired: "Check this computer's clock. If it is right, ask a site of the study to share the model again (relay "
    "share).",
    ExpiredKey: "Ask another site of the study to share the model (relay share).",
    RevokedKey: "Ask another site of the study to share the model (relay share).",
}
"""What to do about a share, which any site of the study can make again."""
SHARING = "The coordinator can allow it in a new roster: a policy with share: sites."


def check_issued(roster: Roster, now: datetime) -> None:
    """Refuse a roster from the future: once accepted, it would make every legitimate one look older.

    Raises:
        RosterPeriod: it was issued more than a day after ``now``.
    """
    if moment(roster.issued) > now + SKEW:
        raise RosterPeriod(
            f"roster {roster.version} of {roster.study} was issued at {roster.issued}; here it is {stamp(now)}",
            "Check this computer's clock. If it is right, the coordinator's was wrong: ask for a roster with the right "
            "dates.",
        )


@dataclass(frozen=True)
class VerificationContext:
    """The context in which a bundle is judged.

    Attributes:
        study: which study it must belong to.
        site: this site's name; None for an observer (the coordinator, an auditor).
        coordinator: the pinned identity.
        roster: the newest roster known here, None if there is none yet; ``older``: the earlier ones.
        record: what the ledger says.
        now: the time.
        sealing: this home's own age key, for which a share must have been made; None for an observer.
    """

    study: str
    site: str | None
    coordinator: Identity
    roster: TrustedRoster | None
    record: Record
    now: datetime
    older: tuple[TrustedRoster, ...] = ()
    sealing: str | None = None


def expected_recipients(claim: Claim, roster: Roster) -> set[tuple[str, str]]:
    """Names and age keys that a leg's bundle must be signed for and sealed to: these and no others.

    Args:
        roster: the one that the claim names.
    """
    return set(roster.recipients(claim.leg))


@dataclass
class Verification:
    """One bundle on its way through the rules; see the module docstring.

    Attributes:
        memories: the cards of all memories in it, by the entry of each one's tensors.
        share: if it is a copy for a hospital outside the study, what its giver says.
    """

    at: VerificationContext
    trusted: dict[int, TrustedRoster] = field(default_factory=dict)
    chain_so_far: list[Statement] = field(default_factory=list)
    again: bool = False
    memories: dict[str, MemoryCard] = field(default_factory=dict)
    share: Share | None = None
    _left: set[str] = field(default_factory=set)
    _kept: dict[str, str | None] = field(default_factory=dict)
    _done: int = 0

    def _step(self, name: str) -> None:
        if STEPS[self._done] != name:
            raise RuntimeError(f"step {name} out of turn; next is {STEPS[self._done]}")
        self._done += 1

    # -- 1 -----------------------------------------------------------------------------------------------------------

    def rosters(self, envelopes: Iterable[bytes]) -> None:
        """Trust the rosters that the pinned coordinator signed, including the installed one."""
        self._step("rosters")
        found = [open_roster(data, self.at.coordinator, self.at.study) for data in envelopes]
        for roster in [*self.at.older, *([self.at.roster] if self.at.roster else []), *found]:
            known = self.trusted.setdefault(roster.roster.version, roster)
            if known.digest != roster.digest:
                raise Fork(f"two different rosters of study {self.at.study} have version {roster.roster.version}")
        if not self.trusted:
            raise BadDocument("it contains no roster, and none is installed here")
        ascending = [self.trusted[version] for version in sorted(self.trusted)]
        for old, new in pairwise(ascending):
            newer(old, new)
        now = self.newest
        check_issued(now, self.at.now)
        if not moment(now.not_before) - SKEW <= self.at.now <= moment(now.not_after) + SKEW:
            raise RosterPeriod(f"roster {now.version} of {now.study} is valid from {now.not_before} to {now.not_after}")

    @property
    def newest(self) -> Roster:
        """The roster with the highest version known so far."""
        return self.trusted[max(self.trusted)].roster

    # -- 2 -----------------------------------------------------------------------------------------------------------

    def statement(self, envelope: bytes, share: bytes | None = None) -> None:
        """Trust the statement of the bundle's own leg, and the share around it, if it is one."""
        self._step("statement")
        try:
            self._statement(envelope, share)
        except (OldRoster, Expired) as error:
            if (leg := self._received_before(envelope)) is None:
                raise
            cure = (
                AGAIN if share is None else f"{AGAIN}. For what it lacks, ask a site to share it again (relay share)."
            )
            raise type(error)(f"{error}. But leg {leg} was received here before", cure) from error

    def _received_before(self, envelope: bytes) -> int | None:
        """The leg that this very statement is of, if this site has received it and it still stands."""
        made = digest(statement.peek(envelope, "the statement")[0].unverified)
        received = self.at.record.without(self.newest.void).received
        return next((leg for leg, known in received.items() if known.statement == made), None)

    def _statement(self, envelope: bytes, share: bytes | None) -> None:
        made = self._signed(envelope, "the statement", last=share is None)
        claim = made.claim
        self._recipients(claim, addressed=share is None)
        if share is not None:
            try:
                self.share = self._share(share, made)
            except Refused as error:
                if cure := SHARE_AGAIN.get(type(error)):
                    raise type(error)(str(error), cure) from error
                raise
        until = self.share.expires if self.share else claim.expires
        if moment(claim.issued) > self.at.now + SKEW:
            raise Expired(
                f"leg {claim.leg} was issued at {claim.issued}, which is in the future by this computer's clock"
            )
        if not claim.issued < claim.expires or self.at.now > moment(until):
            if self.share:
                since, cure = self.share.issued, SHARE_AGAIN[Expired]
                raise Expired(
                    f"the share of leg {claim.leg} by {self.share.site} was valid from {since} to {until}", cure
                )
            raise Expired(f"leg {claim.leg} by {claim.site} was valid from {claim.issued} to {until}")
        self.chain_so_far = [made]

    def _share(self, envelope: bytes, made: Statement) -> Share:
        """Who gave this copy to whom: a site whose key stands, after the last leg, as the newest policy allows."""
        what, newest, leg = "the share", self.newest, made.claim.leg
        signed, said = statement.peek(envelope, what)
        self._of_this_study(said.get("study"), what)
        under, site = self._roster_of(said, what), said.get("site")
        if under.version < newest.version:
            raise OldRoster(f"{what} was made under roster {under.version}; the newest is roster {newest.version}")
        self._not_revoked(signed.keyid, str(site), leg + 1, under, what)
        self._key(signed.keyid, str(site), newest, what)
        share, about = statement.parse_as(Share, signed.verify(signed.keyid), what)
        if (share.leg, share.statement, about) != (leg, made.digest, made.manifest):
            raise DigestMismatch(f"{what} by {share.site} is of another hand-over than this one")
        if newest.turn(leg + 1) is not None:
            raise WrongLeg(f"{what} is of leg {leg}, but the study goes on: only the model of the last leg is shared")
        if newest.policy.share != "sites":
            raise PolicyBreach(f"roster {newest.version} does not let sites share the final model", SHARING)
        if share.issued > newest.site(share.site).expires:
            raise ExpiredKey(f"{what}, by {share.site}: issued {share.issued}, after its key had expired")
        lasts = moment(share.expires) - moment(share.issued)
        if moment(share.issued) > self.at.now + SKEW or not timedelta(0) < lasts <= timedelta(
            days=newest.policy.expires_days
        ):
            raise Expired(f"{what} by {share.site} claims to be valid from {share.issued} to {share.expires}")
        inside = (*newest.sites, newest.coordinator)
        if any(share.reader.sealing == one.sealing or share.reader.name.lower() == one.name.lower() for one in inside):
            raise WrongRecipient(f"{what} by {share.site} is for {share.reader.name}, which belongs to the study")
        if self.at.sealing not in (None, share.reader.sealing):
            raise WrongRecipient(f"{what} by {share.site} is for {share.reader.name}, whose sealing key is another")
        return share

    def _signed(self, envelope: bytes, what: str, last: bool = False) -> Statement:
        """A statement with a valid key, in its turn."""
        signed, said = statement.peek(envelope, what)
        self._of_this_study(said.get("study"), what)
        under = self._roster_of(said, what)
        site, leg = said.get("site"), said.get("leg")
        if type(leg) is not int or leg < 1 or not isinstance(site, str):
            raise BadDocument(f"{what} does not name a leg and a site")
        self._not_revoked(signed.keyid, site, leg, under, what)
        if last and under.version < self.newest.version:
            raise OldRoster(
                f"leg {leg} by {site} was made under roster {under.version}; the newest is roster {self.newest.version}"
            )
        if self.newest.void(leg, under.version):
            raise OldRoster(f"leg {leg} by {site} was made under roster {under.version}, and must since be done again")
        judged = self.newest if last else under
        self._key(signed.keyid, site, judged, what)
        claim, about = statement.parse(signed.verify(signed.keyid), what)
        self._result(claim, under, what)
        identity = judged.site(site)
        if claim.issued > identity.expires:
            raise ExpiredKey(f"{what}, by {site}: issued {claim.issued}, but the key expired at {identity.expires}")
        for roster in (under, self.newest):  # a completed leg keeps its place in every later order
            if (turn := roster.turn(leg)) != site:
                raise WrongOrder(
                    f"{what}: leg {leg} was made by {site}, but in roster {roster.version} it is the turn of "
                    f"{turn or 'no site'}"
                )
        if not moment(under.not_before) - SKEW <= moment(claim.issued) <= moment(under.not_after) + SKEW:
            raise RosterPeriod(
                f"{what}: issued {claim.issued}, but roster {under.version} is valid from {under.not_before} "
                f"to {under.not_after}"
            )
        return Statement(claim, about, digest(signed.unverified), envelope)

    def _result(self, claim: Claim, under: Roster, what: str) -> None:
        """Test sets belong to the roster's sites, or are among the few from outside the study that a site may have."""
        outside = sorted(claim.result.keys() - {site.name for site in under.sites})
        if len(outside) > OUTSIDE:
            raise BadDocument(
                f"{what} names {len(outside)} test sets that are not sites of roster {under.version} "
                f"({', '.join(outside[:3])}, …); the limit is {OUTSIDE}"
            )

    def _of_this_study(self, study: object, what: str) -> None:
        if study != self.at.study:
            raise WrongStudy(f"{what} is from study {study!r}; this is study {self.at.study!r}")

    def _roster_of(self, said: Mapping[str, Any], what: str) -> Roster:
        """The roster that a statement names."""
        named = said.get("roster")
        version, sha256 = (named.get("version"), named.get("sha256")) if isinstance(named, Mapping) else (None, None)
        there = self.trusted.get(version) if isinstance(version, int) else None
        if there is None:
            raise BadDocument(f"{what} was made under roster {version!r}, which is not in the bundle")
        if there.digest != sha256:
            raise Fork(f"{what} was made under a roster {version} that differs from the one known here")
        return there.roster

    def _not_revoked(self, keyid: str, site: str, leg: int, under: Roster, what: str) -> None:
        """Legs up to ``last_leg``, made before the key was revoked, stay valid; anything made afterwards is not."""
        revoked = next((r for r in self.newest.revoked if r.key == keyid), None)
        afterwards = keyid in [r.key for r in under.revoked if not r.left]
        if revoked is not None and (afterwards or leg > revoked.last_leg):
            raise RevokedKey(f"{what}, by {site}: its key {keyid[:16]}… is revoked ({revoked.reason})")

    def _key(self, keyid: str, site: str, judged: Roster, what: str) -> None:
        if site not in [s.name for s in judged.sites] or judged.site(site).signing != keyid:
            raise UnknownKey(f"{what}: {keyid[:16]}… is not the key of {site} in roster {judged.version}")

    def _recipients(self, claim: Claim, addressed: bool = True) -> None:
        under = self.trusted[claim.roster.version].roster
        there = {(r.name, r.sealing) for r in claim.recipients}
        wanted = expected_recipients(claim, under)
        if there != wanted:
            odd = ", ".join(sorted(name for name, _ in there ^ wanted))
            raise WrongRecipient(
                f"leg {claim.leg} is not sealed to exactly those that roster {under.version} names: {odd}"
            )
        if self.at.site is None or not addressed:
            return
        following = self.newest.turn(claim.leg + 1)
        mine = [r for r in claim.recipients if r.name == self.at.site]
        if not mine:
            names = ", ".join(r.name for r in claim.recipients) or "no one"
            raise WrongRecipient(f"leg {claim.leg} by {claim.site} is for {names}; this is {self.at.site}")
        if following not in (None, self.at.site):
            raise WrongLeg(f"leg {claim.leg + 1} is the turn of {following}; this is {self.at.site}")

    # -- 3 -----------------------------------------------------------------------------------------------------------

    def chain(self, links: Iterable[Mapping[str, bytes]]) -> None:
        """Trust the records of the earlier legs; for each, its documents by name."""
        self._step("chain")
        (own,) = self.chain_so_far
        wanted = own.claim.leg - 1
        earlier = [self._link(number, link) for number, link in enumerate(islice(links, own.claim.leg), 1)]
        if len(earlier) != wanted:
            there = "more" if len(earlier) > wanted else str(len(earlier))
            raise BrokenChain(f"leg {own.claim.leg} must bring {wanted} earlier legs, but there are {there}")
        self.chain_so_far = [*earlier, own]
        before = None
        version = 0
        for made in self.chain_so_far:
            claim = made.claim
            if claim.previous != (before.digest if before else None):
                raise PredecessorMismatch(f"leg {claim.leg} by {claim.site} does not continue the previous leg")
            if claim.roster.version < version:
                raise BrokenChain(f"leg {claim.leg} was made under an older roster than the previous leg")
            before, version = made, claim.roster.version

    def _link(self, number: int, files: Mapping[str, bytes]) -> Statement:
        what = f"the statement of leg {number}"
        made = self._signed(files[manifest.STATEMENT], what)
        if made.claim.leg != number:
            raise BrokenChain(f"{what} is for leg {made.claim.leg}")
        if digest(files[manifest.MANIFEST]) != made.manifest:
            raise BrokenChain(f"the manifest of leg {number} is not the one in its statement")
        listed = manifest.parse(files[manifest.MANIFEST], f"the manifest of leg {number}")
        copied = (manifest.RESULTS, manifest.DATA_CARD, manifest.card_of(manifest.MEMORY))
        there = {name: files[name] for name in copied if name in files}
        for name in copied:
            missing = self.share is not None and name in manifest.OPTIONAL and name not in there
            if not missing and listed.get(name) != (digest(there[name]) if name in there else None):
                raise BrokenChain(f"{name} of leg {number} is not the one that {made.claim.site} signed")
        memory = manifest.earlier(number, manifest.MEMORY)
        for name in (manifest.MEMORY, manifest.EXPERT):  # of any size: compared with the contents
            self._kept[manifest.earlier(number, name)] = listed.get(name)
        for card in self._documents(there, made.claim).values():
            self.memories[memory] = card
        return made

    # -- 4 -----------------------------------------------------------------------------------------------------------

    def standing(self) -> None:
        """Compare it with this site's ledger, except for legs that a roster allowed to be repeated."""
        self._step("standing")
        record, own = self.at.record.without(self.newest.void), self.chain_so_far[-1]
        leg = own.claim.leg
        for made in self.chain_so_far:
            self._same(made, record)
            if made.claim.site == self.at.site and made.claim.leg not in record.signed:
                raise UnknownOwnLeg(
                    f"leg {made.claim.leg} is signed in the name of this site, but its ledger has no such leg"
                )
        self.again = record.received.get(leg) == Known(own.digest, own.claim.roster.version)
        if self.again and record.gone_on > leg:
            raise Replay(
                f"leg {leg} by {own.claim.site} was received before, and leg {record.gone_on} is already built on it"
            )
        if leg < record.newest:
            raise Rollback(f"this is leg {leg} by {own.claim.site}; leg {record.newest} is already known here")

    def _same(self, made: Statement, record: Record) -> None:
        leg, version = made.claim.leg, made.claim.roster.version
        known = record.legs.get(leg)
        if known is None or known.statement == made.digest or made.digest in record.own.get(leg, {}):
            return
        if version > known.roster and record.gone_on <= leg and leg not in record.signed:
            return  # signed again under a newer roster, and nothing here was built on the old one
        raise Fork(f"leg {leg} by {made.claim.site} is not the hand-over known here for that leg")

    # -- 5, 6, 7 -----------------------------------------------------------------------------------------------------

    def contents(self, listing: bytes, digests: Mapping[str, str], documents: Mapping[str, bytes]) -> None:
        """Compare every file with the signed manifest.

        Args:
            digests: of all entries but statement and manifest.
            documents: the bundle's own JSON files.
        """
        self._step("contents")
        if digest(listing) != self.chain_so_far[-1].manifest:
            raise DigestMismatch("the manifest is not the one in the statement")
        listed = manifest.parse(listing)
        digests = {name: value for name, value in digests.items() if name in listed or not self._may_be_added(name)}
        self._left = {name for name in listed if name not in digests} & self._may_stay(listed)
        listed = {name: value for name, value in listed.items() if name not in self._left}
        manifest.covers(listed, list(digests))
        if wrong := [name for name, value in digests.items() if listed[name] != value]:
            raise DigestMismatch(f"not the file that was signed: {some(wrong)}")
        withdrawn = [manifest.earlier(leg, manifest.EXPERT) for leg in sorted(self._withdrawn)]
        if there := [name for name in withdrawn if name in digests]:
            raise PolicyBreach(
                f"its rosters no longer let these experts travel: {some(there)}",
                "They were withdrawn, or the policy forbids them. Ask the previous site to update relay, which leaves "
                "them out, and to send again.",
            )
        kept = {**self._kept, **dict.fromkeys(withdrawn)}
        kept = {name: value for name, value in kept.items() if name not in self._left}
        if wrong := [name for name, value in kept.items() if digests.get(name) != value]:
            raise BrokenChain(f"not the memory or expert that its leg's site signed: {some(wrong)}")
        claim = self.chain_so_far[-1].claim
        if digests[manifest.CONFIG] != claim.config:
            raise DigestMismatch("config.json is not the one in the statement")
        cards = self._documents(documents, claim)
        self.memories |= {name: cards[card] for name in manifest.OWN if (card := manifest.card_of(name)) in cards}

    def _may_stay(self, names: Iterable[str]) -> set[str]:
        """The entries that a share may leave out; none of a bundle."""
        return {name for name in names if self.share and name.rpartition("/")[2] in manifest.OPTIONAL}

    def _may_be_added(self, name: str) -> bool:
        """Whether a share may have an entry that its manifest does not list: a newer roster, which was verified."""
        return self.share is not None and name in map(manifest.roster, self.trusted)

    def _documents(self, documents: Mapping[str, bytes], claim: Claim) -> dict[str, MemoryCard]:
        """Check the documents beside a claim under the policy of its roster; return the cards of its memories."""
        return check(documents, claim, self.trusted[claim.roster.version].roster.policy)

    def policy(self, size: int, sealed: bool, sizes: Mapping[str, int], seal: Seal | None = None) -> None:
        """Check the file against the newest roster's policy and against its own statements.

        Args:
            size: of the bundle, in bytes; ``sizes``: of its entries.
            seal: who can open it, if that was examined.
        """
        self._step("policy")
        claim, policy = self.chain_so_far[-1].claim, self.newest.policy
        wrong = []
        if policy.sealed and not sealed:
            wrong.append("it is not sealed")
        if policy.sealed and seal is not None and seal != self._signed_seal(claim):
            wrong.append(f"it is sealed to {seal}, but was signed for {self._signed_seal(claim).recipients}")
        if policy.approval == "required" and not claim.approved:
            wrong.append(f"{claim.site} does not say that a person approved it")
        if size > policy.max_bundle_bytes:
            wrong.append(f"it has {size} bytes; the limit is {policy.max_bundle_bytes}")
        for name, card in self.memories.items():
            wrong += breaches(name, card, policy)
        wrong += self._experts(sizes)
        claims = [made.claim for made in self.chain_so_far]
        for name, part in manifest.stated_tensors(claims, self._withdrawn).items():
            if name in self._left:
                continue
            if (there := sizes.get(name)) != (part.bytes if part else None):
                wrong.append(
                    f"{name} has {there or 'no'} bytes, but its statement says {part.bytes if part else 'none'}"
                )
        if claim.samples < disclosed(policy.min_samples, policy):
            wrong.append(f"it was trained on {claim.samples} samples; the minimum is {policy.min_samples}")
        if moment(claim.expires) - moment(claim.issued) > timedelta(days=policy.expires_days):
            wrong.append(f"it is valid until {claim.expires}, which is longer than {policy.expires_days} days")
        if policy.same_config and len({made.claim.config for made in self.chain_so_far}) > 1:
            wrong.append("its legs were made with different configs")
        if wrong:
            raise PolicyBreach(
                f"leg {claim.leg} by {claim.site} breaks the policy of roster {self.newest.version}: {'; '.join(wrong)}"
            )

    @property
    def _withdrawn(self) -> set[int]:
        """The earlier legs whose experts are missing: they did not travel under the roster of some later leg. Once
        left out, an expert can't come back."""
        last = {made.claim.roster.version: made.claim.leg for made in self.chain_so_far}
        return {
            leg
            for version, end in last.items()
            for leg in range(1, end)
            if not self.trusted[version].roster.lets_travel(leg)
        } | {made.claim.leg for made in self.chain_so_far if self.share and not self.newest.lets_travel(made.claim.leg)}

    def _experts(self, sizes: Mapping[str, int]) -> Iterator[str]:
        """How the bundle's experts break the policy."""
        policy, claim = self.newest.policy, self.chain_so_far[-1].claim
        if manifest.EXPERT in sizes and not self.newest.lets_travel(claim.leg):
            yield f"the expert of leg {claim.leg} may not travel"
        for name, size in sizes.items():
            if name.endswith(manifest.EXPERT) and size > policy.max_expert_bytes:
                yield f"{name} has {size} bytes; the limit for an expert is {policy.max_expert_bytes}"

    def _signed_seal(self, claim: Claim) -> Seal:
        if self.share:
            return Seal(1)
        return Seal(len(expected_recipients(claim, self.trusted[claim.roster.version].roster)))

    def fit(self, facts: bytes, mine: ExpectedConfig | None) -> None:
        """Compare the net and what it reads with this site's config; ``facts``: the bytes of ``handover.json``."""
        self._step("fit")
        there = read(facts, manifest.HANDOVER)
        if mine is not None:
            check_fit(there, self.chain_so_far[-1].claim, mine, self.newest.policy)

    @property
    def verified(self) -> tuple[Statement, ...]:
        """The statements of all legs, oldest first.

        Raises:
            RuntimeError: not all steps were taken.
        """
        if self._done < len(STEPS):
            raise RuntimeError(f"not verified: next is {STEPS[self._done]}")
        return tuple(self.chain_so_far)
