"""A memory's card in a bundle (``memory.json``, ``cumulative.json``), and how a memory can breach the policy."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Literal

from relay.bundle import manifest
from relay.bundle.schemas import Config
from relay.config import options
from relay.handover import Privacy
from relay.trust import USUAL, Claim, Kind, Policy

MAX_CARD = 2**18
"""Largest card, in bytes: a bundle may have hundreds."""
MAX_AUDIT = 200
"""How much of an audit is shown, in characters."""


@options
class MemoryCard:
    """A memory's card.

    Attributes:
        kind: the name of the memory that can read it: ``style``, ``flow``, ...
        about: plain values that its reader needs.
        audit: what an audit of it found; null if there was none.
    """

    format: Literal[1]
    kind: Kind
    privacy: Privacy
    about: Config
    audit: Config | None = None


def breaches(name: str, card: MemoryCard, policy: Policy) -> Iterator[str]:
    """How a memory breaches a policy. ``name``: of its entry."""
    privacy, limit = card.privacy, policy.max_epsilon
    if not policy.allows(card.kind):
        yield f"{name} is a {card.kind} memory; allowed: {policy.kinds}"
    if card.kind in USUAL and privacy.derived == "generator":
        yield f"{name} claims to be {card.kind}, but also a generator"
    if limit is None or privacy.derived == "weights":
        return
    if privacy.epsilon is None:
        yield f"{name} has no formal guarantee; it needs an epsilon of at most {limit:g}"
    elif privacy.epsilon > limit:
        yield f"{name} has an epsilon of {privacy.epsilon:g}; the limit is {limit:g}"


def lines(cards: Mapping[str, MemoryCard], claims: Sequence[Claim]) -> Iterator[tuple[str, str]]:
    """Every memory, for people: whose it is, and what its card says.

    Args:
        cards: by the entry of the memory's tensors.
        claims: of all legs, oldest first.
    """
    said = manifest.stated_tensors(claims)
    whose = {manifest.earlier(c.leg, manifest.MEMORY): c for c in claims[:-1]} | {manifest.MEMORY: claims[-1]}
    for name, card in cards.items():
        made, part = whose.get(name), said.get(name)
        label = f"memory of leg {made.leg}, by {made.site}" if made else "cumulative memory of all legs"
        size = f"{part.bytes:,} B in {part.tensors} tensors" if part else "not in its statement"
        yield label, f"{card.kind}, {size}; {private(card.privacy)}{_audit(card)}"


def private(privacy: Privacy) -> str:
    """How private a memory is, as its card says, for people."""
    behind = f"fewest patients {privacy.patients}" if privacy.patients else "patients not counted"
    if privacy.epsilon is None:
        return f"{privacy.derived}; {behind}; no formal guarantee"
    return f"{privacy.derived}; {behind}; ε = {privacy.epsilon:g}, δ = {privacy.delta:g} for replacing a {privacy.unit}"


def _audit(card: MemoryCard) -> str:
    if card.audit is None:
        return ""
    text = json.dumps(card.audit, ensure_ascii=False)
    return f"; audit {text if len(text) <= MAX_AUDIT else text[:MAX_AUDIT] + '…'}"
