"""The card of an audit: what the scores of all attacks say together."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import numpy as np

from relay.bundle import Attack, Copy, PrivacyAudit, audits, schemas
from relay.privacy import evidence
from relay.privacy.evidence import Bools, Floats

Scores: TypeAlias = Mapping[tuple[str, str], Floats]
"""Of each attack, by part and name, for every patient: ``(patients,)``."""


def card_of(
    scores: Scores,
    copies: Scores,
    member: Bools,
    shadows: int = 0,
    strength: float = 0.0,
    seed: int = 0,
    promise: schemas.Stated | None = None,
) -> PrivacyAudit:
    """What the scores of all attacks say together.

    Where there are tests for copies, too, the permutation test has one half of what may go wrong, and they share the
    other (weighted Bonferroni).

    Args:
        scores: of attacks.
        copies: distances to what a memory holds; NaN for patients whom a test is not about.
        member: who was trained on.
        promise: what the leg's training guarantees; None for nothing.
    """
    inside, others = int(member.sum()), int((~member).sum())
    half = 2 if scores and copies else 1
    ps = evidence.adjusted(scores, member, seed) if scores else {}
    attacks = [
        _attack(part, name, score, member, min(1.0, ps[part, name] * half)) for (part, name), score in scores.items()
    ]
    copied = []
    for (part, name), distance in copies.items():
        there = np.isfinite(distance)
        if member[there].any() and int((~member[there]).sum()) > 2:
            nearest, p = evidence.copied(distance[there], member[there])
            p = min(1.0, p * half * len(copies))
            if name.endswith(audits.OF_SMALL):  # of a class of one patient it would be that patient's number
                nearest = audits.NEAR / 2 if nearest < audits.NEAR else 1.0
            copied.append(Copy(part=part, by=name, nearest=round(nearest, 3), p=_rounded(p)))  # type: ignore[arg-type]
    return PrivacyAudit(
        members=inside,
        others=others,
        shadows=shadows,
        strength=round(strength, 2),
        attacks=attacks,
        copies=copied,
        measurable=evidence.reachable(inside, others, audits.LEVEL),
        detectable=round(evidence.detectable(inside, others, audits.LEVEL), 2),
        p=min([1.0, *(one.p for one in attacks), *(one.p for one in copied)]),
        epsilon=promise.epsilon if promise else None,
        delta=promise.delta if promise else None,
    )


def _attack(part: str, name: str, score: Floats, member: Bools, p: float) -> Attack:
    """Rounded: with few patients, more digits would give their exact number away."""
    inside, others = int(member.sum()), int((~member).sum())
    value = evidence.auc(score, member)
    low, high = evidence.auc_interval(value, inside, others)
    rates = [evidence.tpr(score, member, rate) for rate in (0.01, 0.001)]
    return Attack(
        part=part,  # type: ignore[arg-type]
        name=name,
        auc=round(value, 2),
        low=round(low, 2),
        high=round(high, 2),
        right=round(evidence.right(score, member), 2),
        tpr_1=None if rates[0] is None else round(rates[0], 2),
        tpr_01=None if rates[1] is None else round(rates[1], 3),
        p=_rounded(p),
    )


def _rounded(p: float) -> float:
    """Two significant digits, and nothing so small that documents would write it in another way."""
    return max(1e-4, float(f"{p:.2g}"))
