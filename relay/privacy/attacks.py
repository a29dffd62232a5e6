"""Attacks: from what a model makes of each patient to a score, higher for those it seems to have been trained on.

Everything is in numbers of a patient: the mean over the patient's images. ``loss`` is the negative log-likelihood l;
the *confidence* is its logit, log(p / (1 - p)) with p = exp(-l), which is nearly normal over models (Carlini et al.
2022, arXiv:2112.03570, section IV-C).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from relay.privacy.evidence import Bools, Floats

FLOOR = 1e-9
CHEAP: Mapping[str, float] = {"loss": -1, "entropy": -1, "gradient": -1}
"""What needs no shadow models, and its sign: Yeom et al. 2018 (arXiv:1709.01604), Salem et al. 2019
(arXiv:1806.01246), Nasr et al. 2019 (arXiv:1812.00910)."""


@dataclass(frozen=True)
class Shadows:
    """What shadow models made of each patient.

    Attributes:
        loss: ``(k, patients)``.
        inside: ``(k, patients)``: who was trained on. Each patient is in half of them.
        strength: optimiser steps of each, as a share of what the leg's training would have made of its patients.
    """

    loss: Floats
    inside: Bools
    strength: float


def confidence(loss: Floats) -> Floats:
    """log(p / (1 - p)) of p = exp(-loss)."""
    kept = np.maximum(loss, FLOOR)
    found: Floats = -np.log(np.expm1(np.minimum(kept, 500.0)))
    return found


def cheap(signals: Mapping[str, Floats]) -> Iterator[tuple[str, Floats]]:
    """Attacks without shadow models."""
    for name, sign in CHEAP.items():
        if name in signals:
            yield name, sign * signals[name]


def with_shadows(loss: Floats, shadows: Shadows) -> Iterator[tuple[str, Floats]]:
    """LiRA in both forms, and RMIA."""
    yield "lira", lira(loss, shadows)
    yield "lira-offline", offline(loss, shadows)
    yield "rmia", rmia(loss, shadows)


def lira(loss: Floats, shadows: Shadows) -> Floats:
    """The likelihood ratio of a patient's confidence: models that saw the patient against models that did not.

    One variance for all patients, as Carlini et al. advise for few shadow models (section VI-C).
    """
    seen, (inside, outside) = confidence(loss), _means(shadows)
    spread_in, spread_out = _spread(shadows, inside, True), _spread(shadows, outside, False)
    score: Floats = (
        ((seen - outside) / spread_out) ** 2 / 2
        - ((seen - inside) / spread_in) ** 2 / 2
        + np.log(spread_out / spread_in)
    )
    return score


def offline(loss: Floats, shadows: Shadows) -> Floats:
    """How far the confidence is above that of models that did not see the patient."""
    _, outside = _means(shadows)
    score: Floats = (confidence(loss) - outside) / _spread(shadows, outside, False)
    return score


def rmia(loss: Floats, shadows: Shadows) -> Floats:
    """Relative membership inference (Zarifzadeh et al. 2024, arXiv:2312.03262): the share of other patients z over whom
    patient x wins, p(x | model) / p(x) >= p(z | model) / p(z).

    p(x) is the mean over shadow models, half of which saw x. z are all other patients of the audit, members or not, so
    that both groups are treated alike; the threshold is 1.
    """
    ratio = -loss - np.log(np.exp(-shadows.loss).mean(0) + 1e-300)
    below = (ratio[:, None] > ratio).sum(1) + ((ratio[:, None] == ratio).sum(1) - 1) / 2
    score: Floats = below / max(1, len(ratio) - 1)
    return score


def _means(shadows: Shadows) -> tuple[Floats, Floats]:
    """Mean confidence of each patient, over the models that saw the patient and over the others."""
    found, inside = confidence(shadows.loss), shadows.inside
    return (found * inside).sum(0) / inside.sum(0), (found * ~inside).sum(0) / (~inside).sum(0)


def _spread(shadows: Shadows, mean: Floats, which: bool) -> float:
    """Standard deviation about each patient's mean, over all patients; a patient's mean costs a degree of freedom."""
    taken = shadows.inside == which
    away = (confidence(shadows.loss) - mean)[taken]
    free = max(1, len(away) - taken.shape[1])
    return max(float(np.sqrt((away**2).sum() / free)), 1e-6)
