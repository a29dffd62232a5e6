"""From the scores of attacks to evidence: AUC with an interval, true positives at few false ones, p-values.

A score is one number for each patient; higher means "was trained on". If the handover tells nothing, members and others
are exchangeable, because the split dealt them at random: every permutation test here is then exact, however odd the
score.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypeAlias

import numpy as np
from scipy.stats import norm, rankdata, t

from relay.seeds import generator

Floats: TypeAlias = "np.ndarray[Any, np.dtype[np.float64]]"
Bools: TypeAlias = "np.ndarray[Any, np.dtype[np.bool_]]"
PERMUTATIONS = 9999
LEVEL = 0.95


def auc(score: Floats, member: Bools) -> float:
    """How often a member scores higher than another patient; ties count half."""
    inside, n = rankdata(score)[member].sum(), int(member.sum())
    return float((inside - n * (n + 1) / 2) / (n * (len(member) - n)))


def auc_interval(value: float, members: int, others: int) -> tuple[float, float]:
    """95 % interval of an AUC: Newcombe 2006, 10.1002/sim.2324, method 5. It has a width also at 0 and 1."""
    z, many = norm.ppf((1 + LEVEL) / 2), (members + others) / 2 - 1

    def apart(theta: float) -> float:
        spread = 1 + many * (1 - theta) / (2 - theta) + many * theta / (1 + theta)
        return float(abs(theta - value) - z * math.sqrt(theta * (1 - theta) * spread / (members * others)))

    def edge(inside: float, outside: float) -> float:
        for _ in range(60):
            middle = (inside + outside) / 2
            inside, outside = (middle, outside) if apart(middle) <= 0 else (inside, middle)
        return inside

    return edge(value, 0.0), edge(value, 1.0)


def right(score: Floats, member: Bools) -> float:
    """Balanced accuracy of an attacker who calls as many patients members as there are; ties are shared."""
    n = int(member.sum())
    place = rankdata(-score, method="min")
    tied = rankdata(-score, method="max")
    # of patients who share the last places, each is called a member with the chance that is left for them
    chance = np.clip((n - place + 1) / (tied - place + 1), 0, 1)
    return float((chance[member].mean() + (1 - chance[~member]).mean()) / 2)


def tpr(score: Floats, member: Bools, rate: float) -> float | None:
    """Share of members above a threshold that ``rate`` of the others pass; None if one of them is more than that."""
    others = np.sort(score[~member])[::-1]
    if len(others) * rate < 1 - 1e-9:
        return None
    return float((score[member] > others[math.floor(len(others) * rate + 1e-9)]).mean())


def adjusted(scores: Mapping[Any, Floats], member: Bools, seed: int) -> dict[Any, float]:
    """One-sided p of each attack's AUC, adjusted for all of them: maxT of Westfall and Young (1993).

    All attacks are permuted together, so that similar ones, which tell nearly the same, cost little.
    """
    n, total = int(member.sum()), len(member)
    ranks = np.stack([rankdata(score) for score in scores.values()])
    ranks -= ranks.mean(1, keepdims=True)
    spread = np.sqrt(n * (total - n) / (total * (total - 1)) * (ranks**2).sum(1))  # of a rank sum, ties and all
    ranks /= np.where(spread > 0, spread, np.inf)[:, None]
    seen = ranks[:, member].sum(1)
    rng = generator(seed, "permutations")
    drawn = rng.permuted(np.broadcast_to(member, (PERMUTATIONS, total)), axis=1)
    largest = (drawn.astype(float) @ ranks.T).max(1)
    p = (1 + (largest[:, None] >= seen - 1e-9).sum(0)) / (1 + PERMUTATIONS)
    return dict(zip(scores, p.tolist(), strict=True))


def reachable(members: int, others: int, level: float) -> bool:
    """Whether a perfect attack on so few patients would have a p-value below ``level``."""
    return math.comb(members + others, members) * level > 1


def detectable(members: int, others: int, level: float, power: float = 0.9) -> float:
    """The AUC of one attack that so many patients would show with this power, by the normal approximation."""
    spread = math.sqrt((members + others + 1) / (12 * members * others))
    return min(1.0, 0.5 + float(norm.ppf(1 - level) + norm.ppf(power)) * spread)


def copied(distance: Floats, member: Bools) -> tuple[float, float]:
    """Whether a member is far too near: the distance in units of the others' median, and p.

    Log distances of patients that a memory has never seen are taken to be normal; p is that of a t prediction
    interval for one more of them (Geisser 1993), times the number of members (Bonferroni).
    """
    log = np.log(np.maximum(distance, 1e-12))
    others = log[~member]
    spread = max(float(others.std(ddof=1)), 1e-3)
    nearest = float(log[member].min())
    away = (nearest - float(others.mean())) / (spread * math.sqrt(1 + 1 / len(others)))
    return math.exp(nearest - float(np.median(others))), min(
        1.0, int(member.sum()) * float(t.cdf(away, len(others) - 1))
    )
