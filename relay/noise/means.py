"""A differentially private mean, one vector for each patient, of numbers from -1 to 1.

In up to three steps (as in Biswas et al. 2020, arXiv:2006.06618). The first finds out roughly where the vectors are:
they are clipped to a large ball about the *public* middle, zero. The next clips them to a smaller ball about the first
step's noisy mean, which is as public as all that is released. How many steps there are, and how large the balls,
follows from constants here, epsilon, delta and the number of patients, never from the data; so do the coordinates that
make them balls (:class:`Axes`).

Why it is private: a step clips n vectors to a ball of radius r about a centre that is fixed before it. To replace a
patient replaces one vector of that ball by another of it, at most 2 r away, and so moves the mean by at most
``2 r / n``. Gaussian noise of standard deviation ``2 r / (n m)`` makes it m-GDP (Dong, Roth and Su 2022,
10.1111/rssb.12454; in arXiv:1905.02383, theorem 2.7). A centre may come from earlier steps; all together are
``sqrt(m1^2 + m2^2 + ...)``-GDP (corollary 3.3). What is m-GDP is (epsilon, delta)-private exactly if

    delta >= Phi(m/2 - epsilon/m) - exp(epsilon) Phi(-m/2 - epsilon/m)

(corollary 2.13; the analytic Gaussian mechanism of Balle and Wang 2018, arXiv:1805.06530, theorem 8). What is reckoned
from the released mean tells nothing more. n, the number of patients, is taken as known.

To have nothing in the place of a patient, with n as it was, is to have a vector at the centre: that moves the mean by
half as much. So what is 2m-GDP for replacing a patient is m-GDP for the relation of :mod:`relay.noise.accounting`.
"""

from __future__ import annotations

import math
import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.fft import dct
from scipy.optimize import brentq
from scipy.special import log_ndtr, ndtr
from torch import Tensor
from typing_extensions import Self

REACH = 0.75
"""Root mean square of the numbers of a vector, in their usual mixture, at the edge of the first ball."""
WITHIN = 0.2
"""Likewise of the second ball, before noise: patients of a hospital are rarely farther from their mean."""
OTHERS = 0.1
"""Reach of numbers beside the grid: area-to-perimeter ratios are logarithms, of which 0.1 is a magnification of 1.4."""
PLANS = ((1.0,), (0.3, 0.7), (0.15, 0.25, 0.6))
"""What each step takes of the budget, m squared. The plan with the least noise in the end is followed: with few
patients, a first step finds out nothing that a second could use."""


@dataclass(frozen=True)
class Axes:
    """The coordinates in which vectors are clipped and get their noise: public, whatever the vectors are.

    Noise grows with the number of coordinates and with how far each may reach. But what is bright is mostly bright in
    every channel and region. So along each axis of a grid of numbers, frequency f of its discrete cosine transform is
    taken to reach 1/(1 + f) as far as the mean. Each coordinate is divided by the root of its reach: of all scalings
    that gives the least noise in total, if vectors do mostly reach that far.

    Attributes:
        rows: float64 ``(d, d)``, orthonormal.
        reach: float64 ``(d,)``, of mean square 1 in the grid.
    """

    rows: Tensor
    reach: Tensor

    @classmethod
    def of(cls, grid: Sequence[int], others: int) -> Self:
        """For a grid of numbers, flattened, and others after it, each of which is a coordinate of its own."""
        rows, reach = torch.ones(1, 1, dtype=torch.float64), torch.ones(1, dtype=torch.float64)
        for many in grid:
            rows = torch.kron(rows, torch.from_numpy(dct(np.eye(many), norm="ortho", axis=0)))
            reach = torch.kron(reach, 1 / torch.arange(1, many + 1, dtype=torch.float64))
        both = torch.eye(len(rows) + others, dtype=torch.float64)
        both[: len(rows), : len(rows)] = rows
        return cls(both, torch.cat([reach / reach.square().mean().sqrt(), reach.new_full((others,), OTHERS)]))

    @property
    def norm(self) -> float:
        """Of a scaled vector with a root mean square of 1, in the usual mixture."""
        return float(self.reach.sum().sqrt())

    def scaled(self, vectors: Tensor) -> Tensor:
        """``(n, d)``, to be clipped."""
        return vectors.double() @ self.rows.T / self.reach.sqrt()

    def back(self, scaled: Tensor) -> Tensor:
        """``(..., d)`` as it was before :meth:`scaled`."""
        return scaled * self.reach.sqrt() @ self.rows


@dataclass(frozen=True)
class Noisy:
    """A mean that may be released.

    Attributes:
        mean: float64 ``(d,)``, in -1..1.
        noise: float64 ``(d,)``, standard deviation of the noise in each number, as if the number of patients were the
            nearest power of two.
        strong: the m for which it is m-GDP for replacing a patient.
    """

    mean: Tensor
    noise: Tensor
    strong: float


def noisy_mean(
    vectors: Tensor,
    axes: Axes,
    strong: float,
    reach: float = REACH,
    normal: Callable[[int, int], NDArray[np.float64]] | None = None,
) -> Noisy:
    """The mean of vectors ``(n, d)``, one for each patient.

    Args:
        strong: the m for which it is m-GDP for replacing a patient: see :func:`strength`.
        reach: of the first ball, as :data:`REACH`.
        normal: gives so many standard normal numbers, for the step of a number; by default new ones every time, from
            the operating system: anyone who could find a seed of the noise could subtract it again.
    """
    vectors = axes.scaled(vectors)
    centre = torch.zeros_like(axes.reach)
    for number, (radius, noise) in enumerate(_steps(len(vectors), axes, strong, reach)):
        drawn = (normal or _normal)(len(centre), number)
        centre = _step(vectors, centre, radius) + noise * torch.from_numpy(drawn)
    mean = axes.back(centre).clamp(-1, 1)  # noise may take it out of where descriptions lie
    rough = 2 ** round(math.log2(len(vectors)))  # this travels, and must not tell how many there are
    return Noisy(mean, noise_of(rough, axes, strong, reach), strong)


def noise_of(many: int, axes: Axes, strong: float, reach: float = REACH) -> Tensor:
    """The standard deviation of the noise in each number, for so many patients: ``(d,)``. It is no secret."""
    _, noise = _steps(many, axes, strong, reach)[-1]
    return noise * (axes.rows.square() * axes.reach[:, None]).sum(0).sqrt()


def _steps(many: int, axes: Axes, strong: float, reach: float) -> list[tuple[float, float]]:
    """The radius and the noise of each step, of the best plan."""
    return min((_planned(plan, many * strong, axes, reach) for plan in PLANS), key=lambda steps: steps[-1][1])


def _planned(plan: Sequence[float], strong: float, axes: Axes, reach: float) -> list[tuple[float, float]]:
    found, radius = [], reach * axes.norm
    for share in plan:
        noise = 2 * radius / (strong * math.sqrt(share))
        found.append((radius, noise))
        radius = math.hypot(WITHIN * axes.norm, noise * math.sqrt(len(axes.reach)))
    return found


def _step(vectors: Tensor, centre: Tensor, radius: float) -> Tensor:
    """The mean of vectors clipped to a ball: another patient moves it by ``2 radius / n`` at most."""
    return centre + shortened(vectors - centre, radius).mean(0)


def shortened(vectors: Tensor, radius: float) -> Tensor:
    """Vectors ``(n, d)`` longer than ``radius`` are shortened to it."""
    norms = vectors.norm(dim=1, keepdim=True)
    shorter: Tensor = vectors * (radius / norms.clamp(min=radius))
    return shorter


def strength(epsilon: float, delta: float) -> float:
    """The largest m for which m-GDP gives (epsilon, delta)."""
    return float(brentq(lambda m: _delta(epsilon, m) - delta, 1e-12, 2 * math.sqrt(2 * (epsilon + 50))))


def _delta(epsilon: float, m: float) -> float:
    """The smallest delta that m-GDP gives with epsilon."""
    return float(ndtr(m / 2 - epsilon / m) - math.exp(epsilon + log_ndtr(-m / 2 - epsilon / m)))


def epsilon_of_strength(strong: float, delta: float) -> float:
    """The least epsilon with which m-GDP is (epsilon, delta)-private: the inverse of :func:`strength`."""
    if _delta(0.0, strong) <= delta:
        return 0.0
    return float(brentq(lambda epsilon: _delta(epsilon, strong) - delta, 0.0, strong * (strong + 40)))


def _normal(many: int, step: int) -> NDArray[np.float64]:
    """Standard normal numbers, each from the operating system; torch's own generator has 32 bits of seed to try out."""
    source = secrets.SystemRandom()
    return np.array([source.gauss(0, 1) for _ in range(many)])
