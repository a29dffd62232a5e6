"""A differentially private mean, one vector for each patient, of numbers from -1 to 1.

In two steps (as in Biswas et al. 2020, arXiv:2006.06618). The first finds out roughly where the vectors are: they are
clipped to a large ball about the *public* middle, zero. The second clips them to a small ball about the first step's
noisy mean, which is as public as all that was released. Both balls follow from constants here, epsilon, delta and the
number of patients, never from the data.

Why it is private: a step clips n vectors to a ball of radius r about a centre that is fixed before it. To replace a
patient replaces one vector of that ball by another of it, at most 2 r away, and so moves the mean by at most
``2 r / n``. Gaussian noise of standard deviation ``2 r / (n m)`` makes it m-GDP (Dong, Roth and Su 2022,
10.1111/rssb.12454; in arXiv:1905.02383, theorem 2.7). The second centre may come from the first step; both together are
``sqrt(m1^2 + m2^2)``-GDP (corollary 3.3). What is m-GDP is (epsilon, delta)-private exactly if

    delta >= Phi(m/2 - epsilon/m) - exp(epsilon) Phi(-m/2 - epsilon/m)

(corollary 2.13; the analytic Gaussian mechanism of Balle and Wang 2018, arXiv:1805.06530, theorem 8). What is reckoned
from the released mean tells nothing more. n, the number of patients, is taken as known.
"""

from __future__ import annotations

import math
import secrets
from dataclasses import dataclass

import torch
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr
from torch import Tensor

from relay.memory.moments import clipped

REACH = 0.75
"""Of the first ball, per root of the numbers: a description is rarely farther from mid-grey in the root mean square."""
WITHIN = 0.2
"""Likewise of the second ball, before noise: patients of a hospital are rarely farther from their mean."""
FIRST = 0.3
"""What the first step takes of the budget, m squared."""


@dataclass(frozen=True)
class Noisy:
    """A mean that may be released.

    Attributes:
        mean: float64 ``(d,)``, in -1..1.
        noise: standard deviation of the noise in each number.
    """

    mean: Tensor
    noise: float


def noisy_mean(vectors: Tensor, epsilon: float, delta: float, reach: float = REACH) -> Noisy:
    """The mean of vectors ``(n, d)``, one for each patient, (epsilon, delta)-private for replacing one.

    Args:
        reach: radius of the first ball, per root of d.

    What is released does not repeat: anyone who could find a seed of its noise could subtract it again.
    """
    many, size = vectors.shape
    total, root = strength(epsilon, delta), math.sqrt(size)
    centre, radius = torch.zeros(size, dtype=torch.float64), reach * root
    for share in (FIRST, 1 - FIRST):
        noise = 2 * radius / (many * total * math.sqrt(share))
        centre = _step(vectors, centre, radius) + noise * _normal(size)
        centre = centre.clamp(-1, 1)  # noise may take it out of where descriptions lie
        radius = math.hypot(WITHIN, noise) * root
    return Noisy(centre, noise)


def _step(vectors: Tensor, centre: Tensor, radius: float) -> Tensor:
    """The mean of vectors clipped to a ball: another patient moves it by ``2 radius / n`` at most."""
    return centre + clipped(vectors.double() - centre, radius).mean(0)


def strength(epsilon: float, delta: float) -> float:
    """The largest m for which m-GDP gives (epsilon, delta)."""
    return float(brentq(lambda m: _delta(epsilon, m) - delta, 1e-12, 2 * math.sqrt(2 * (epsilon + 50))))


def _delta(epsilon: float, m: float) -> float:
    """The smallest delta that m-GDP gives with epsilon."""
    return float(ndtr(m / 2 - epsilon / m) - math.exp(epsilon + log_ndtr(-m / 2 - epsilon / m)))


def _normal(many: int) -> Tensor:
    """Standard normal numbers, each from the operating system; torch's own generator has 32 bits of seed to try out."""
    source = secrets.SystemRandom()
    return torch.tensor([source.gauss(0, 1) for _ in range(many)], dtype=torch.float64)
