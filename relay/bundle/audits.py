"""What a privacy audit found: the record that stays at the site, and the card that travels with a leg.

:mod:`relay.privacy` makes them; :mod:`relay.exchange` reads only these. No patient is named in either, and the numbers
of patients are rounded on the card as all other counts are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Annotated, Literal, TypeAlias

from relay.config import Field, options
from relay.numbers import number
from relay.trust import Claim, Count, Policy, Sha256, Text

RECORD = "audit.json"
"""In the folder of a handover. It stays at the site; its card leaves."""
LEVEL = 0.01
"""A smaller p-value says that patients can be told apart: one audit in a hundred of a harmless handover."""
NEAR = 0.5
"""A copy is nearer than this to what is held, in units of the median distance of patients it has never seen."""
FEW = 4
"""Classes of no more patients are tested by themselves for what a memory holds of them."""
OF_SMALL = "of small classes"
"""How the name of a copy's test ends that is of all classes of few patients together."""
LIMIT = 0.6
"""Largest ``auc`` that is tolerated unless the policy says otherwise."""
MANY_ATTACKS = 500
CURE = (
    "What helps: fewer epochs, more patients, stronger augmentation, training with differential privacy, no expert "
    "(experts: none), a memory without a generator. Train again with a new note (-n), and audit that. If the study can "
    "tolerate more, the coordinator can raise audit_limit in a new roster."
)
"""What reduces what a handover tells."""

Share = Annotated[float, Field(ge=0, le=1)]
Part: TypeAlias = Literal["model", "expert", "difference", "memory", "cumulative"]
Verdict: TypeAlias = Literal["passed", "leaks", "too few patients"]
PARTS: Mapping[str, str] = {
    "model": "the model",
    "expert": "the expert",
    "difference": "what the leg changed",
    "memory": "the memory of this site",
    "cumulative": "the memory of all sites",
}


@options
class Attack:
    """What one attack found on one part of a handover.

    Attributes:
        name: of the attack: ``lira``, ``loss``, ...
        auc: how often it ranks a patient who was trained on above one who was not.
        low, high: 95 % interval of ``auc``.
        right: share of patients it sorts right if both groups count alike, and it calls as many members as there are.
        tpr_1, tpr_01: share of members it finds at 1 % and 0.1 % false alarms; null if there are too few patients to
            measure that.
        p: of the permutation test, adjusted for all attacks of the audit.
    """

    part: Part
    name: Text
    auc: Share
    low: Share
    high: Share
    right: Share
    tpr_1: Share | None
    tpr_01: Share | None
    p: Share


@options
class Copy:
    """Whether a memory holds a single patient: how near the nearest member is, against patients it has never seen.

    Attributes:
        by: how distances were measured.
        nearest: distance of the nearest member, in units of the others' median; below 1 it is nearer.
        p: adjusted for the number of members.
    """

    part: Part
    by: Text
    nearest: Annotated[float, Field(ge=0, le=1e15)]
    p: Share


@options
class PrivacyAudit:
    """The card of an audit: ``privacy_audit`` in ``data-card.json``.

    Attributes:
        members: patients that the leg was trained on; ``others``: patients that it was not, and who were compared.
        shadows: how many shadow models were trained.
        strength: optimiser steps of a shadow model, as a share of what the leg's own training would make of its data.
        measurable: whether there are enough patients for any attack, however good, to be told from a coin.
        detectable: the ``auc`` of an attack that so many patients would show in nine audits out of ten.
        p: the smallest p-value, adjusted for everything that was tested.
        epsilon, delta: what differential privacy promises of the leg, if it was trained with it.
    """

    members: Count
    others: Count
    shadows: Count
    strength: Share
    attacks: Annotated[list[Attack], Field(max_length=MANY_ATTACKS)]
    copies: Annotated[list[Copy], Field(max_length=MANY_ATTACKS)]
    measurable: bool
    detectable: Share
    p: Share
    epsilon: Annotated[float, Field(gt=0)] | None
    delta: Annotated[float, Field(gt=0, lt=1)] | None

    @property
    def strongest(self) -> Attack | None:
        """The attack with the smallest p, of equal ones the one that is right most often."""
        return min(self.attacks, key=lambda one: (one.p, -one.auc), default=None)

    @property
    def copied(self) -> list[Copy]:
        """The memories that hold something very close to a single patient."""
        return [one for one in self.copies if one.p < LEVEL and one.nearest < NEAR]

    def verdict(self, limit: float) -> Verdict:
        """What follows from the numbers.

        Args:
            limit: largest ``auc`` that is tolerated, even if it is no chance.
        """
        if not self.measurable:
            return "too few patients"
        proven = [one for one in self.attacks if one.p < LEVEL and one.auc > limit]
        return "leaks" if proven or self.copied else "passed"


@options
class AuditRecord:
    """``audit.json``: an audit, and of what.

    Attributes:
        parts: SHA-256 of each file of weights that was attacked, by its name in the handover.
    """

    format: Literal[1] = 1
    parts: dict[Text, Sha256]
    card: PrivacyAudit


def breach(card: PrivacyAudit | None, policy: Policy) -> str | None:
    """How a leg's audit breaks a policy, as the end of a sentence about the leg; None if it does not."""
    if policy.audit != "require":
        return None
    if card is None:
        return "it was not audited"
    found = card.verdict(policy.audit_limit)
    return None if found == "passed" else f"its privacy audit says: {found}"


def lines(card: PrivacyAudit, limit: float = LIMIT) -> Iterator[tuple[str, str]]:
    """An audit for people, in three labelled lines."""
    verdict, best = card.verdict(limit), card.strongest
    yield "privacy audit", f"{verdict}: {_meaning(card, verdict)}"
    if best is not None:
        times, chance = round(100 * best.auc), f"p = {number(best.p)}, after counting every attack"
        yield (
            "",
            f"strongest attack: {best.name} on {PARTS[best.part]}; of a patient who was trained on and one who was not "
            f"it picks the right one {times} times in 100 (a coin 50; {100 * best.low:.0f} to {100 * best.high:.0f}); "
            f"{chance}",
        )
    promise = "no formal guarantee" if card.epsilon is None else f"guarantee: ε = {card.epsilon:g}, δ = {card.delta:g}"
    yield (
        "",
        f"{len(card.attacks)} attacks and {len(card.copies)} tests for copies, on about {card.members} patients "
        f"trained on and {card.others} others, with {card.shadows} shadow models; {low_rate(best)}; {promise}",
    )


def told(
    claims: Sequence[Claim], cards: Mapping[int, PrivacyAudit | None], limit: float = LIMIT
) -> Iterator[tuple[str, str]]:
    """The audit of every leg, as labelled lines; ``cards``: by leg."""
    for claim in claims:
        card = cards.get(claim.leg)
        label = f"privacy audit of leg {claim.leg}, by {claim.site}"
        if card is None:
            yield label, "none: whether its model, expert and memories tell of single patients was not measured"
        else:
            yield from ((label, text) for _, text in lines(card, limit))


def low_rate(attack: Attack | None) -> str:
    """How many members an attack finds at few false alarms, in words."""
    if attack is None:
        return "no attack was possible"
    if attack.tpr_1 is None:
        return "at 1 % false alarms not measurable with so few others"
    few = f"at 1 % false alarms it finds {attack.tpr_1:.0%} of the members"
    return few + (f", at 0.1 % {attack.tpr_01:.1%}" if attack.tpr_01 is not None else ", at 0.1 % not measurable")


def _meaning(card: PrivacyAudit, verdict: Verdict) -> str:
    if verdict == "too few patients":
        return "with so few, even an attacker who is always right could not be told from a coin"
    if verdict == "passed":
        told = "no attack does clearly better than a coin" if card.p >= LEVEL else "what is told is within the limit"
        seen = f"one that is right {100 * card.detectable:.0f} times in 100 would have shown"
        return f"{told}; {seen}; that proves nothing about stronger attacks"
    return (
        f"{PARTS[card.copied[0].part]} holds something very close to a single patient"
        if card.copied
        else "patients who were trained on can be told from others"
    )
