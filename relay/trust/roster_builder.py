"""Make rosters, as the coordinator does: the first one and every later version."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence, Set as AbstractSet
from datetime import datetime, timedelta
from typing import TypeVar

from relay.config import check
from relay.errors import UserError, nearest
from relay.trust.document import stamp
from relay.trust.keys import Identity
from relay.trust.policy import Policy
from relay.trust.refusals import Refused
from relay.trust.roster import Revoked, Roster, check_roster

MAX_DAYS = 3650
"""Longest life of a roster, in days."""

T = TypeVar("T")


def first(
    study: str,
    coordinator: Identity,
    sites: Sequence[Identity],
    order: Sequence[str],
    policy: Policy,
    now: datetime,
    days: int = 365,
    readers: Sequence[str] = (),
) -> Roster:
    """Version 1, valid for ``days`` from now.

    Raises:
        UserError: it would contradict itself; the message says how.
    """
    content = {
        "study": study,
        "version": 1,
        "issued": stamp(now),
        "not_before": stamp(now),
        "not_after": _end(now, days),
        "coordinator": coordinator,
        "sites": sites,
        "order": order,
        "readers": readers,
        "policy": policy,
    }
    return _sound(content)


def amend(
    old: Roster,
    now: datetime,
    *,
    done: int,
    add: Sequence[Identity] = (),
    drop: Sequence[str] = (),
    revoke: Mapping[str, str] | None = None,
    order: Sequence[str] | None = None,
    policy: Policy | None = None,
    readers: Sequence[str] | None = None,
    days: int | None = None,
    withdraw: Sequence[str] = (),
) -> Roster:
    """The next version; anything you don't give stays as it is.

    Args:
        done: how many legs are final. They keep their place in the order, a key that is replaced or
            revoked can't sign any later leg, and any leg done after them must be done again.
        add: sites to add. A known site gets these keys instead of its old ones, which are revoked.
        drop: sites that leave. Turns after ``done`` are removed. A site with earlier turns stays, with its key
            revoked.
        revoke: the reason, by site name or key id. The site must get new keys (``add``) or leave (``drop``).
        order: of all legs, including those done. Without it, each new site gets a turn at the end.
        days: how many days it is valid from now.
        withdraw: sites whose experts of completed legs no longer travel. What was withdrawn before stays so, except
            for legs that must be done again.

    Raises:
        UserError: a site is unknown, or has no completed leg whose expert could be withdrawn; a completed leg would
            change; or the result would contradict itself.
    """
    reasons = {_site(old, who).name: why for who, why in (revoke or {}).items()}
    leaving = {_site(old, name).name for name in drop}
    added = {identity.name: identity for identity in add}
    if len(added) < len(add):
        raise UserError("two of the sites to add have the same name", "Ask one of them to choose another name.")
    if both := sorted(leaving & added.keys()):
        raise UserError(f"{', '.join(both)} can't be added and dropped at once")
    turns = _order(old, order, leaving, added, done)
    gone = leaving - {*turns}
    known = {s.name for s in old.sites}
    content = {
        "study": old.study,
        "version": old.version + 1,
        "issued": max(stamp(now), old.issued),  # a clock that was once ahead must not block the study
        "not_before": min(stamp(now), old.not_before),
        "not_after": old.not_after if days is None else _end(now, days),
        "coordinator": old.coordinator,
        "sites": [
            *(added.get(s.name, s) for s in old.sites if s.name not in gone),
            *(identity for name, identity in added.items() if name not in known),
        ],
        "order": turns,
        "done": (*old.done, done),
        "readers": [name for name in old.readers if name not in leaving] if readers is None else readers,
        "revoked": _revoked(old, reasons, added, leaving - gone, done),
        "policy": policy or old.policy,
        "withdrawn_experts": _withdrawn(old, withdraw, done),
    }
    return _sound(content)


def _withdrawn(old: Roster, withdraw: Sequence[str], done: int) -> list[int]:
    """The completed legs whose experts no longer travel."""
    legs = {leg for leg in old.withdrawn_experts if leg <= done}
    for name in (_site(old, who).name for who in withdraw):
        found = {leg for leg, turn in enumerate(old.order[:done], 1) if turn == name}
        if not found:
            raise UserError(
                f"{name} has no expert to withdraw: none of legs 1 to {done} is its own",
                "Only experts of final legs can be withdrawn. If it has made one since, give that leg's number with "
                "--done. To let no expert travel from now on, use the policy: experts: none.",
            )
        legs |= found
    return sorted(legs)


def _order(
    old: Roster, order: Sequence[str] | None, leaving: AbstractSet[str], added: Mapping[str, Identity], done: int
) -> list[str]:
    """The order of the next version."""
    if not 0 <= done <= len(old.order):
        raise UserError(f"{done} legs can't be done: the order has {len(old.order)}")
    if order is not None:
        if tuple(order[:done]) != old.order[:done]:
            raise UserError(
                f"the order must begin with the legs that are done: {', '.join(old.order[:done])}",
                "Give the whole order, beginning with the completed legs. Only the legs after them can change.",
            )
        return list(order)
    late = [name for name in added if name not in {s.name for s in old.sites}]
    return [*old.order[:done], *(name for name in old.order[done:] if name not in leaving), *late]


def _revoked(
    old: Roster, reasons: Mapping[str, str], added: Mapping[str, Identity], left: AbstractSet[str], done: int
) -> list[Revoked]:
    """The keys revoked before, and those replaced, given up or revoked now."""
    found = [
        dataclasses.replace(
            r,
            last_leg=min(r.last_leg, done),
            reason=reasons.get(r.site, r.reason) if r.left else r.reason,
            left=r.left and r.site not in reasons,
        )
        for r in old.revoked
    ]
    known = {r.key for r in found}
    for site in old.sites:
        reason, gone = reasons.get(site.name), False
        if site.name in added and added[site.name].signing != site.signing:
            reason = reason or "new keys"
        elif site.name in left:
            reason, gone = reason or "left the study", reason is None
        if reason is not None and site.signing not in known:
            found.append(_checked(Revoked, key=site.signing, site=site.name, last_leg=done, reason=reason, left=gone))
    return found


def _sound(content: Mapping[str, object]) -> Roster:
    roster = _checked(Roster, **content)
    try:
        check_roster(roster)
    except Refused as error:
        raise UserError(str(error), "Correct what you gave. Nothing was signed.") from error
    return roster


def _checked(schema: type[T], **content: object) -> T:
    found, problems = check(schema, content)
    if found is None:
        raise UserError("; ".join(map(str, problems)), "Correct what you gave. Nothing was signed.")
    return found


def _site(old: Roster, who: str) -> Identity:
    """A site by its name or its key id."""
    for site in old.sites:
        if who in (site.name, site.signing):
            return site
    near = nearest(who, [s.name for s in old.sites])
    hint = f"; did you mean '{near}'?" if near else ""
    raise UserError(f"'{who}' is not a site of roster {old.version} of study {old.study}{hint}")


def _end(now: datetime, days: int) -> str:
    if not 1 <= days <= MAX_DAYS:
        raise UserError(f"a roster can't be valid for {days} days; choose 1 to {MAX_DAYS}")
    return stamp(now + timedelta(days=days))


def describe(roster: Roster) -> list[tuple[str, str]]:
    """A roster as labelled lines, for people."""
    gate, policy = roster.policy.gate, roster.policy
    lines = [
        ("study", f"{roster.study}, roster {roster.version}, issued {roster.issued}"),
        ("valid", f"{roster.not_before} to {roster.not_after}"),
        ("coordinator", f"{roster.coordinator.name}: {roster.coordinator.fingerprint}"),
        *((f"site {s.name}", f"{s.fingerprint} (keys until {s.expires[:10]})") for s in roster.sites),
        *((f"leg {leg}", name) for leg, name in enumerate(roster.order, 1)),
        ("done", f"legs 1 to {roster.done[-1]}" if roster.done[-1] else "no legs yet"),
        ("readers", ", ".join(roster.readers) or "only the next site"),
    ]
    if roster.withdrawn_experts:
        legs = ", ".join(f"leg {leg} ({roster.turn(leg)})" for leg in roster.withdrawn_experts)
        lines.append(("experts", f"withdrawn, no longer travel: {legs}"))
    for r in roster.revoked:
        lines.append(("revoked", f"{r.site}, key {r.key[:16]}…, valid up to leg {r.last_leg}: {r.reason}"))
    lines += [("policy", f"{key} = {_plain(value)}") for key, value in vars(policy).items() if value is not gate]
    lines += [("gate", f"{key} = {_plain(value)}") for key, value in vars(gate).items()]
    return lines


def _plain(value: object) -> str:
    """A value in everyday words."""
    if isinstance(value, tuple):
        return ", ".join(map(str, value)) or "none"
    words = {True: "yes", False: "no", None: "not checked"}
    return words[value] if value is None or isinstance(value, bool) else str(value)
