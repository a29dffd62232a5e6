"""The roster: who takes part in a study, with which keys, in which order and under which policy.

The coordinator signs it; a site believes the coordinator it has pinned, and never goes back to an older version.
Making one is in :mod:`relay.trust.roster_builder`.
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
"""Most legs, and most versions of a roster: they have four digits in the names of files."""
NOTICE = timedelta(days=14)
"""How long before its end a roster warns."""


@options
class Revoked:
    """A key that no longer stands.

    Attributes:
        last_leg: the last leg that this key may have signed; 0 for none.
        reason: one line for people.
        left: its site has left in good standing. It may sign its legs up to ``last_leg`` once more under a newer
            roster, for a site that has not received them yet; a key that was lost or replaced may sign nothing more.
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
        not_before, not_after: when it holds.
        order: the site of each leg: leg k is done by ``order[k - 1]``. A site may come again.
        done: of every version so far, how many legs stood when it was made; those beyond, made under older versions,
            are void.
        readers: sites (or the coordinator) that can open every bundle.
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

    def site(self, name: str) -> Identity:
        """A site, or the coordinator, by its name.

        Raises:
            UnknownKey: there is none of that name.
        """
        for identity in (*self.sites, self.coordinator):
            if identity.name == name:
                return identity
        raise UnknownKey(f"{name} is not in roster {self.version} of study {self.study}")

    def turn(self, leg: int) -> str | None:
        """Whose turn a leg (from 1) is; None where there is no such leg."""
        return self.order[leg - 1] if 1 <= leg <= len(self.order) else None

    def recipients(self, leg: int) -> list[tuple[str, str]]:
        """Names and sealing keys of those who can open the bundle of a leg, the next site first.

        They are the site of the next leg, or after the last leg all sites whose keys stand, and the readers. The
        sender is not among them, unless the next leg is its own again or there is nobody else.
        """
        sender, following = self.turn(leg), self.turn(leg + 1)
        standing = [s.name for s in self.sites if self.key_stands(s.signing, s.name, leg + 1)]
        others = [name for name in (*([] if following else standing), *self.readers) if name != sender]
        names = [*([following] if following else []), *others] or [sender or self.coordinator.name]
        return [(name, self.site(name).sealing) for name in dict.fromkeys(names)]

    def void(self, leg: int, made_under: int) -> bool:
        """Whether a leg that was made under an older version is to be done again, by this version or one between."""
        return any(done < leg for done in self.done[made_under:])

    def key_stands(self, keyid: str, site: str, leg: int) -> bool:
        """Whether a statement of this leg by this key is to be believed as that site's."""
        for revoked in self.revoked:
            if revoked.key == keyid:
                return revoked.site == site and leg <= revoked.last_leg
        return any(s.name == site and s.signing == keyid for s in self.sites)


@dataclass(frozen=True)
class TrustedRoster:
    """A roster that the pinned coordinator has signed.

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
    """Whether a roster fits together.

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
        yield f"two have the name '{name}' (upper and lower case count as the same)"
    if not roster.order:
        yield "its order is empty"
    if len(roster.done) != roster.version:
        yield f"it says of {len(roster.done)} versions how many legs stand, and is version {roster.version}"
    elif roster.done[-1] > len(roster.order):
        yield f"{roster.done[-1]} legs are done, and its order has {len(roster.order)}"
    for name in sorted({*roster.order} - {*names}):
        yield f"'{name}' is in the order, and not among the sites"
    for name in sorted({*roster.readers} - {*names, roster.coordinator.name}):
        yield f"'{name}' is a reader, and neither a site nor the coordinator"
    for name in _doubled(roster.readers):
        yield f"'{name}' is a reader twice"
    if roster.not_before >= roster.not_after:
        yield f"it holds from {roster.not_before} to {roster.not_after}"


def _wrong_keys(roster: Roster) -> Iterable[str]:
    everyone = (*roster.sites, roster.coordinator)
    for key in _doubled([i.signing for i in everyone]) + _doubled([i.sealing for i in everyone]):
        yield f"two have the key {key[:16]}…"
    for key in _doubled([r.key for r in roster.revoked]):
        yield f"key {key[:16]}… is revoked twice"
    for revoked in roster.revoked:
        if revoked.key == roster.coordinator.signing:
            yield "the coordinator's own key is revoked"
        for name in [s.name for s in roster.sites if s.signing == revoked.key]:
            yield from _still_needed(roster, name, revoked)


def _still_needed(roster: Roster, name: str, revoked: Revoked) -> Iterable[str]:
    """A site may stay with a revoked key for the sake of its earlier legs, and for nothing else."""
    if name != revoked.site:
        yield f"the key of {name} is revoked as that of {revoked.site}"
    if name in roster.order[revoked.last_leg :]:
        yield f"the key of {name} is revoked after leg {revoked.last_leg}, and {name} has a later leg"
    if name in roster.readers:
        yield f"the key of {name} is revoked, and {name} is a reader"


def _doubled(words: Iterable[str]) -> list[str]:
    return sorted(word for word, count in Counter(words).items() if count > 1)


def sign_roster(roster: Roster, keys: Keys) -> bytes:
    """The roster in an envelope, signed by its coordinator.

    Raises:
        BadRoster, ExpiredKey: as :func:`check_roster`; or the keys are not the coordinator's.
    """
    if keys.identity != roster.coordinator:
        raise BadRoster(
            f"roster {roster.version} of study {roster.study} has the coordinator {roster.coordinator.name}; "
            f"these are the keys of {keys.identity.name}",
            "Sign it with the keys of the coordinator it names.",
        )
    check_roster(roster)
    return keys.sign(canonical(roster), KIND)


def open_roster(data: bytes, coordinator: Identity, study: str) -> TrustedRoster:
    """A roster, once it is known to be the pinned coordinator's.

    Raises:
        BadDocument, UnknownFormat: it is not a roster.
        BadSignature: it was changed after it was signed.
        BadRoster: by another coordinator, or it contradicts itself.
        ExpiredKey: issued after the coordinator's keys had expired.
        WrongStudy: of another study.
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
        raise WrongStudy(f"the roster is of study '{roster.study}'; this is '{study}'")
    if roster.coordinator != coordinator:
        raise BadRoster(f"roster {roster.version} gives the coordinator another name or sealing key than pinned here")
    check_roster(roster)
    return TrustedRoster(roster, data, digest(payload))


def ending(roster: Roster, now: datetime) -> str | None:
    """A warning in the last :data:`NOTICE` of a roster's life; None before. Whoever keeps newer rosters from a site can
    do so no longer than its roster holds: so the end must be seen coming, and not be put off by habit.
    """
    left = moment(roster.not_after) - now
    if left > NOTICE:
        return None
    when = f"ends in {left.days} day(s), on" if left > timedelta() else "ended on"
    return (
        f"roster {roster.version} of study {roster.study} {when} {roster.not_after[:10]}. Ask the coordinator for the "
        "newest one (relay roster amend), and install it: no bundle is accepted under a roster that has ended."
    )


def newer(old: TrustedRoster, new: TrustedRoster) -> None:
    """Whether ``new`` may take the place of ``old``; the very same roster may.

    Raises:
        OldRoster: of a lower version.
        Fork: of the same version, with other content.
        BadRoster: of a higher version, issued before the old one, or with another past.
    """
    was, now = old.roster, new.roster
    if now.version < was.version:
        raise OldRoster(
            f"this is roster {now.version} of study {now.study}; roster {was.version} is known here",
            "Use the newest roster. A roster is never replaced by an older one.",
        )
    if now.version == was.version and old.digest != new.digest:
        raise Fork(
            f"there are two different rosters {now.version} of study {now.study}",
            "Telephone the coordinator: which one is right? A new one, of the next version, must replace both.",
        )
    if now.done[: was.version] != was.done:
        raise BadRoster(
            f"roster {now.version} says otherwise than roster {was.version} which legs stood then",
            "Ask for a roster that the coordinator has made from the newest one.",
        )
    if now.issued < was.issued:
        raise BadRoster(
            f"roster {now.version} was issued at {now.issued}, before roster {was.version} ({was.issued})",
            "The coordinator's clock was wrong. Ask for a roster of the next version, issued with the right time.",
        )
