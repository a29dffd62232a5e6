"""The roster: the sites of a study, their keys, their order and the policy.

The coordinator signs it. A site trusts the coordinator it has pinned, and never returns to an older version.
:mod:`relay.trust.roster_builder` makes rosters.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Literal

from relay.config import Field, options
from relay.trust.document import Name, Sha256, Slug, Time, canonical, digest, moment, parse
from relay.trust.envelope import Signed
from relay.trust.keys import Identity, Keys
from relay.trust.policy import Gate, Policy, read_policy
from relay.trust.refusals import BadRoster, ExpiredKey, Fork, OldRoster, UnknownKey, WrongStudy

__all__ = [
    "Gate",
    "Policy",
    "Revoked",
    "Roster",
    "TrustedRoster",
    "check_roster",
    "ending",
    "newer",
    "open_roster",
    "read_policy",
    "roster_name",
    "sign_roster",
]

KIND = "application/vnd.relay.roster+json"
MAX_LEGS = 9999
"""Maximum number of legs, and of versions of a roster: file names give them four digits."""
NOTICE = timedelta(days=14)
"""How long before a roster ends to start warning."""


@options
class Revoked:
    """A key that is no longer valid.

    Attributes:
        last_leg: the last leg that this key was allowed to sign; 0 for none.
        reason: one line for people.
        left: its site has left in good standing. It may sign its legs up to ``last_leg`` again under a newer
            roster, for a site that has not received them yet. A key that was lost or replaced may sign nothing more.
    """

    key: Sha256
    site: Name
    last_leg: Annotated[int, Field(ge=0, le=MAX_LEGS)]
    reason: Annotated[str, Field(pattern=r"^\P{C}{1,200}$")]
    left: bool = False


@options
class Roster:
    """One version of the roster.

    Attributes:
        version: from 1.
        issued: when it was signed.
        not_before, not_after: when it is valid.
        order: the site of each leg: ``order[k - 1]`` does leg k. A site may have several legs.
        done: for every version so far, how many legs stood when it was made; later legs made under older versions
            are void.
        readers: sites (or the coordinator) that can open every bundle.
        withdrawn_experts: completed legs whose experts no longer travel.
    """

    format: Literal[1] = 1
    study: Slug
    version: Annotated[int, Field(ge=1, le=MAX_LEGS)]
    issued: Time
    not_before: Time
    not_after: Time
    coordinator: Identity
    sites: tuple[Identity, ...]
    order: Annotated[tuple[Name, ...], Field(max_length=MAX_LEGS)]
    done: Annotated[tuple[Annotated[int, Field(ge=0, le=MAX_LEGS)], ...], Field(max_length=MAX_LEGS)] = (0,)
    readers: tuple[Name, ...] = ()
    revoked: tuple[Revoked, ...] = ()
    policy: Policy = Policy()
    withdrawn_experts: Annotated[tuple[Annotated[int, Field(ge=1, le=MAX_LEGS)], ...], Field(max_length=MAX_LEGS)] = ()

    def site(self, name: str) -> Identity:
        """A site, or the coordinator, by name.

        Raises:
            UnknownKey: the roster has no such name.
        """
        for identity in (*self.sites, self.coordinator):
            if identity.name == name:
                return identity
        raise UnknownKey(f"{name} is not in roster {self.version} of study {self.study}")

    def turn(self, leg: int) -> str | None:
        """Whose turn a leg (from 1) is; None if there is no such leg."""
        return self.order[leg - 1] if 1 <= leg <= len(self.order) else None

    def recipients(self, leg: int) -> list[tuple[str, str]]:
        """Names and sealing keys of those who can open the bundle of a leg, the next site first.

        These are the site of the next leg (after the last leg, every site whose key is still valid) and the readers.
        The sender is not included, unless the next leg is its own too or there is no one else.
        """
        sender, following = self.turn(leg), self.turn(leg + 1)
        standing = [s.name for s in self.sites if self.key_stands(s.signing, s.name, leg + 1)]
        others = [name for name in (*([] if following else standing), *self.readers) if name != sender]
        names = [*([following] if following else []), *others] or [sender or self.coordinator.name]
        return [(name, self.site(name).sealing) for name in dict.fromkeys(names)]

    def lets_travel(self, leg: int) -> bool:
        """Whether a leg's expert may be in a bundle made under this version."""
        return self.policy.experts != "none" and leg not in self.withdrawn_experts

    def void(self, leg: int, made_under: int) -> bool:
        """Whether this version, or one in between, requires a leg made under an older version to be done again."""
        return any(done < leg for done in self.done[made_under:])

    def key_stands(self, keyid: str, site: str, leg: int) -> bool:
        """Whether this key is valid for that site's statement of this leg."""
        for revoked in self.revoked:
            if revoked.key == keyid:
                return revoked.site == site and leg <= revoked.last_leg
        return any(s.name == site and s.signing == keyid for s in self.sites)


@dataclass(frozen=True)
class TrustedRoster:
    """A roster signed by the pinned coordinator.

    Attributes:
        data: the envelope.
        digest: SHA-256 of the signed payload.
    """

    roster: Roster
    data: bytes
    digest: str


def roster_name(study: str, version: int) -> str:
    """The usual file name."""
    return f"{study}.roster-{version}.json"


def check_roster(roster: Roster) -> None:
    """Check that a roster is consistent.

    Raises:
        BadRoster: it contradicts itself; the message lists every contradiction.
        ExpiredKey: it was issued after the coordinator's keys had expired.
    """
    if wrong := [*_wrong_names(roster), *_wrong_keys(roster)]:
        raise BadRoster(f"roster {roster.version} of study {roster.study}: {'; '.join(wrong)}")
    if roster.issued > roster.coordinator.expires:
        raise ExpiredKey(
            f"roster {roster.version} was issued at {roster.issued}; "
            f"the coordinator's keys expired at {roster.coordinator.expires}"
        )


def _wrong_names(roster: Roster) -> Iterable[str]:
    names = [s.name for s in roster.sites]
    for name in _doubled([*(n.lower() for n in names), roster.coordinator.name.lower()]):
        yield f"the name '{name}' is used twice (upper and lower case count as the same)"
    if not roster.order:
        yield "its order is empty"
    if len(roster.done) != roster.version:
        yield f"it records the completed legs of {len(roster.done)} versions, but is version {roster.version}"
    elif roster.done[-1] > len(roster.order):
        yield f"{roster.done[-1]} legs are done, but its order has {len(roster.order)}"
    for leg in sorted({leg for leg in roster.withdrawn_experts if leg > max(roster.done[-1:], default=0)}):
        yield f"the expert of leg {leg} is withdrawn, but that leg is not done"
    for number in _doubled(map(str, roster.withdrawn_experts)):
        yield f"the expert of leg {number} is withdrawn twice"
    for name in sorted({*roster.order} - {*names}):
        yield f"'{name}' is in the order but is not one of the sites"
    for name in sorted({*roster.readers} - {*names, roster.coordinator.name}):
        yield f"'{name}' is a reader but is neither a site nor the coordinator"
    for name in _doubled(roster.readers):
        yield f"'{name}' is listed twice as a reader"
    if roster.not_before >= roster.not_after:
        yield f"it begins at {roster.not_before} and ends at {roster.not_after}"


def _wrong_keys(roster: Roster) -> Iterable[str]:
    everyone = (*roster.sites, roster.coordinator)
    for key in _doubled([i.signing for i in everyone]) + _doubled([i.sealing for i in everyone]):
        yield f"the key {key[:16]}… is used twice"
    for key in _doubled([r.key for r in roster.revoked]):
        yield f"key {key[:16]}… is revoked twice"
    for revoked in roster.revoked:
        if revoked.key == roster.coordinator.signing:
            yield "the coordinator's own key is revoked"
        for name in [s.name for s in roster.sites if s.signing == revoked.key]:
            yield from _still_needed(roster, name, revoked)


def _still_needed(roster: Roster, name: str, revoked: Revoked) -> Iterable[str]:
    """A site with a revoked key may stay in the roster for its earlier legs, but for nothing else."""
    if name != revoked.site:
        yield f"the key of {name} is listed as a revoked key of {revoked.site}"
    if name in roster.order[revoked.last_leg :]:
        yield f"the key of {name} is revoked after leg {revoked.last_leg}, but {name} has a later leg"
    if name in roster.readers:
        yield f"the key of {name} is revoked, but {name} is a reader"


def _doubled(words: Iterable[str]) -> list[str]:
    return sorted(word for word, count in Counter(words).items() if count > 1)


def sign_roster(roster: Roster, keys: Keys) -> bytes:
    """The roster in an envelope, signed by its coordinator.

    Raises:
        BadRoster, ExpiredKey: as :func:`check_roster`; or the keys are not the coordinator's.
    """
    if keys.identity != roster.coordinator:
        raise BadRoster(
            f"the coordinator of roster {roster.version} of study {roster.study} is {roster.coordinator.name}; "
            f"these are the keys of {keys.identity.name}",
            "Sign it with that coordinator's keys.",
        )
    check_roster(roster)
    return keys.sign(canonical(roster), KIND)


def open_roster(data: bytes, coordinator: Identity, study: str) -> TrustedRoster:
    """A roster, after checking that the pinned coordinator signed it.

    Raises:
        BadDocument, UnknownFormat: it is not a roster.
        BadSignature: it was changed after it was signed.
        BadRoster: it is from another coordinator, or it contradicts itself.
        ExpiredKey: issued after the coordinator's keys had expired.
        WrongStudy: it is from another study.
    """
    signed = Signed(data, KIND, "the roster")
    if signed.keyid != coordinator.signing:
        raise BadRoster(
            f"the roster is signed with the key {signed.keyid[:16]}…; "
            f"the coordinator pinned here is {coordinator.name}, with the key {coordinator.signing[:16]}…"
        )
    payload = signed.verify(coordinator.signing)
    roster = parse(Roster, payload, "the roster")
    if roster.study != study:
        raise WrongStudy(f"the roster is from study '{roster.study}'; this is '{study}'")
    if roster.coordinator != coordinator:
        raise BadRoster(
            f"roster {roster.version} names a coordinator whose name or sealing key differs from those pinned here"
        )
    check_roster(roster)
    return TrustedRoster(roster, data, digest(payload))


def ending(roster: Roster, now: datetime) -> str | None:
    """A warning in the last :data:`NOTICE` of a roster's life; None before. An attacker can withhold newer rosters from
    a site only until its current one ends. People should see that end coming, and not extend rosters out of habit.
    """
    left = moment(roster.not_after) - now
    if left > NOTICE:
        return None
    when = f"ends in {left.days} day(s), on" if left > timedelta() else "ended on"
    return (
        f"roster {roster.version} of study {roster.study} {when} {roster.not_after[:10]}. Ask the coordinator for the "
        "newest one (relay roster amend) and install it: once a roster has ended, no bundle is accepted under it."
    )


def newer(old: TrustedRoster, new: TrustedRoster) -> None:
    """Check that ``new`` may replace ``old``; the same roster may replace itself.

    Raises:
        OldRoster: it has a lower version.
        Fork: it has the same version but different content.
        BadRoster: it has a higher version, but was issued before the old one or has a different history.
    """
    was, now = old.roster, new.roster
    if now.version < was.version:
        raise OldRoster(
            f"this is roster {now.version} of study {now.study}; roster {was.version} is already known here",
            "Use the newest roster. An older roster never replaces a newer one.",
        )
    if now.version == was.version and old.digest != new.digest:
        raise Fork(
            f"there are two different rosters {now.version} of study {now.study}",
            "Call the coordinator: which one is right? A new one, with the next version number, must replace both.",
        )
    if now.done[: was.version] != was.done:
        raise BadRoster(
            f"roster {now.version} contradicts roster {was.version} on which legs were done then",
            "Ask for a roster that the coordinator made from the newest one.",
        )
    if now.issued < was.issued:
        raise BadRoster(
            f"roster {now.version} was issued at {now.issued}, before roster {was.version} ({was.issued})",
            "The coordinator's clock was wrong. Ask for the next version of the roster, issued at the right time.",
        )
