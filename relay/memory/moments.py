"""Aggregates over patients: a clipped mean and second moment, if wanted with noise, and the directions in them.

Every vector is clipped, and every patient counts as much as any other, however many vectors there are of each. So to
replace one patient moves the mean by at most ``2 R / n``, and the second moment by at most ``sqrt(2) R^2 / n``
(Frobenius), with the radius R and n patients; what is reckoned from them afterwards tells nothing more.

Noise is that of the Gaussian mechanism under zero-concentrated differential privacy (Bun and Steinke 2016,
10.1007/978-3-662-53641-4_24): a release with standard deviation ``sensitivity / sqrt(2 rho)`` costs rho, costs add
up, and rho gives (epsilon, delta) by ``epsilon = rho + 2 sqrt(rho ln(1/delta))``. The noisy second moment is that of
Dwork et al. 2014 (10.1145/2591796.2591883). The unit is one patient, replaced by another; n is taken as known.
"""

from __future__ import annotations

import math
import secrets
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Moments:
    """What is released of a site.

    Attributes:
        mean: float32 ``(d,)``.
        directions: float32 ``(k, d)``, orthonormal rows, the most telling first.
        spread: float32 ``(k,)``, standard deviations along them.
    """

    mean: Tensor
    directions: Tensor
    spread: Tensor


def clipped(vectors: Tensor, radius: float) -> Tensor:
    """Vectors ``(n, d)`` longer than ``radius`` are shortened to it."""
    norms = vectors.norm(dim=1, keepdim=True)
    shorter: Tensor = vectors * (radius / norms.clamp(min=radius))
    return shorter


def release(
    vectors: Tensor,
    patients: Sequence[str],
    directions: int,
    radius: float,
    epsilon: float | None = None,
    delta: float = 1e-5,
) -> Moments:
    """The moments of vectors ``(N, d)``, clipped to ``radius``.

    Args:
        patients: whose each vector is.
        directions: how many, at most.
        epsilon: of the noise, with ``delta``; None adds none.

    With noise, what is released does not repeat: anyone who could find its seed could subtract it again.
    """
    vectors = clipped(vectors.double(), radius)
    weight = weights(patients)  # of sum 1, so that weight @ x is a mean in which each patient is one vote
    many, size = len(set(patients)), vectors.shape[1]
    mean, second = weight @ vectors, vectors.T @ (weight[:, None] * vectors)
    floor = 0.0
    if epsilon is not None:
        # Two releases share rho (costs add up). One patient replaced by another moves the mean by two vectors of length
        # R, each of weight 1/n: 2 R / n. It moves the second moment by |a a^T - b b^T| / n <= sqrt(2) R^2 / n in
        # Frobenius norm (equal where a and b are orthogonal). Both go into sensitivity / sqrt(2 rho).
        cost = budget(epsilon, delta) / 2
        mean = mean + _noise(size) * (2 * radius / many / math.sqrt(2 * cost))
        scale = math.sqrt(2) * radius**2 / many / math.sqrt(2 * cost)
        # Symmetric noise, the upper triangle drawn once: Dwork et al. 2014, algorithm 1. The sensitivity above counts
        # both triangles, so that the noise is rather too large than too small.
        noise = _noise(size * size).view(size, size).triu()
        second = second + scale * (noise + noise.triu(1).T)
        floor = 2 * scale * math.sqrt(size)  # the edge of Wigner's semicircle: noise alone has hardly a larger one
    # The covariance is E[x x^T] - m m^T; with noise it may have negative eigenvalues, which the floor takes away, too.
    values, vectors = torch.linalg.eigh(second - mean[:, None] * mean)
    values, vectors = values.flip(0)[:directions], vectors.flip(1)[:, :directions]
    kept = values > max(floor, 1e-12)
    signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()  # an eigenvector has no sign of its own
    mean = mean.clamp(-1, 1)  # noise may have taken it out of where descriptions lie
    return Moments(mean.float(), (vectors * signs).T[kept].float(), (values[kept] - floor).sqrt().float())


def _noise(many: int) -> Tensor:
    """Standard normal numbers, each from the operating system; torch's own generator has 32 bits of seed to try out."""
    source = secrets.SystemRandom()
    return torch.tensor([source.gauss(0, 1) for _ in range(many)], dtype=torch.float64)


def weights(patients: Sequence[str]) -> Tensor:
    """What each vector counts: float64 ``(N,)``, alike for every patient in sum."""
    counts = Counter(patients)
    return torch.tensor([1 / (len(counts) * counts[patient]) for patient in patients], dtype=torch.float64)


def budget(epsilon: float, delta: float) -> float:
    """The largest rho that gives (epsilon, delta): ``(sqrt(epsilon + ln(1/delta)) - sqrt(ln(1/delta)))^2``."""
    # epsilon = rho + 2 sqrt(rho tail), solved for sqrt(rho) (Bun and Steinke 2016, proposition 1.3)
    tail = math.log(1 / delta)
    return (math.sqrt(epsilon + tail) - math.sqrt(tail)) ** 2
