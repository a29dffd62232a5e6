"""The pictures of an audit's page."""

from __future__ import annotations

from typing import Any

import numpy as np

from relay.bundle import audits
from relay.privacy.auditing import Audit
from relay.report import Picture, figure

DRAWN = 5
"""How many attacks are drawn."""


def pictures(audit: Audit) -> list[Picture]:
    """ROC curves of the surest attacks, and the scores of all patients; none without an attack."""
    return [_roc(audit), _histogram(audit)] if audit.scores else []


def _roc(audit: Audit) -> Picture:
    """True against false positives, both axes logarithmic: the left end is what counts."""
    member, drawn = audit.subjects.member, figure(3.6)
    axes = drawn.subplots()
    ranked = sorted(audit.record.card.attacks, key=lambda one: (one.p, -one.auc))[:DRAWN]
    lowest = 0.5 / max(int(member.sum()), int((~member).sum()))
    for one in ranked:
        score = _score(audit, one.part, one.name)
        cuts = np.sort(np.unique(score))[::-1]
        rates = [((score[~member] >= cut).mean(), (score[member] >= cut).mean()) for cut in cuts]
        false, true = np.maximum(np.array([(0.0, 0.0), *rates]).T, lowest)
        axes.step(false, true, where="post", label=f"{one.name}, {audits.PARTS[one.part]}")
    axes.plot([lowest, 1], [lowest, 1], linestyle=":", color="grey", label="a coin")
    axes.set(xscale="log", yscale="log", xlabel="others called members (FPR)", ylabel="members found (TPR)")
    for axis in (axes.xaxis, axes.yaxis):  # powers of ten would be mathematical text, which an SVG shows as its source
        axis.set_major_formatter("{x:g}")
        axis.set_minor_formatter("")
    axes.legend(loc="lower right")
    told = "; ".join(f"{one.name} on {audits.PARTS[one.part]}: AUC {one.auc:.2f}" for one in ranked)
    return Picture(
        "roc",
        "Members found, against false alarms",
        f"ROC curves on logarithmic axes. {told}.",
        "The dotted line is a coin. What lies at the left, high above it, finds some patients almost surely.",
        drawn,
    )


def _histogram(audit: Audit) -> Picture:
    best, member, drawn = audit.record.card.strongest, audit.subjects.member, figure(2.6)
    assert best is not None
    score: Any = _score(audit, best.part, best.name)
    axes = drawn.subplots()
    axes.hist([score[member], score[~member]], bins=20, label=["trained on", "others"], density=True)
    axes.set(xlabel=f"score of {best.name} on {audits.PARTS[best.part]}", ylabel="density of patients")
    axes.legend()
    means = f"mean {score[member].mean():.3g} of members, {score[~member].mean():.3g} of others"
    return Picture(
        "scores",
        "Scores of all patients, by the strongest attack",
        f"Histogram of {len(score)} patients: {means}.",
        "If both look alike, the attack can't tell who was trained on.",
        drawn,
    )


def _score(audit: Audit, part: str, name: str) -> Any:
    return audit.scores[part, name]
