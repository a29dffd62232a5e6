"""Aggregates over patients: a clipped mean and second moment, and the directions in them.

Every vector is clipped, and every patient counts as much as any other, however many vectors there are of each. So to
replace one patient moves the mean by at most ``2 R / n``, and the second moment by at most ``sqrt(2) R^2 / n``
(Frobenius), with the radius R and n patients; what is reckoned from them afterwards tells nothing more. A noisy
mean is in :mod:`relay.noise.means`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relay.noise import shortened


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


def release(vectors: Tensor, patients: Sequence[str], directions: int, radius: float) -> Moments:
    """The moments of vectors ``(N, d)``, clipped to ``radius``.

    Args:
        patients: whose each vector is.
        directions: how many, at most.
    """
    vectors = shortened(vectors.double(), radius)
    weight = weights(patients)  # of sum 1, so that weight @ x is a mean in which each patient is one vote
    mean, second = weight @ vectors, vectors.T @ (weight[:, None] * vectors)
    # The covariance is E[x x^T] - m m^T.
    values, vectors = torch.linalg.eigh(second - mean[:, None] * mean)
    values, vectors = values.flip(0)[:directions], vectors.flip(1)[:, :directions]
    kept = values > 1e-12
    signs = vectors.gather(0, vectors.abs().argmax(0, keepdim=True)).sign()  # an eigenvector has no sign of its own
    mean = mean.clamp(-1, 1)  # rounding may have taken it out of where descriptions lie
    return Moments(mean.float(), (vectors * signs).T[kept].float(), values[kept].sqrt().float())


def weights(patients: Sequence[str]) -> Tensor:
    """What each vector counts: float64 ``(N,)``, alike for every patient in sum."""
    counts = Counter(patients)
    return torch.tensor([1 / (len(counts) * counts[patient]) for patient in patients], dtype=torch.float64)


def numbered(patients: Sequence[str]) -> Tensor:
    """The number of each vector's patient, int64 ``(N,)``: patients count from 0 in the order of their names."""
    numbers = {name: number for number, name in enumerate(sorted(set(patients)))}
    return torch.tensor([numbers[patient] for patient in patients], dtype=torch.int64)


def divided(vectors: Tensor, patients: Sequence[str]) -> tuple[Tensor, ...]:
    """The vectors ``(N, d)`` of each patient by themselves, patients in the order of their names."""
    which = numbered(patients)
    return torch.split(vectors[which.argsort(stable=True)], which.bincount().tolist())


def means(vectors: Tensor, patients: Sequence[str]) -> Tensor:
    """The mean vector of each patient: ``(N, d)`` to float64 ``(n, d)``, patients in the order of their names."""
    return torch.stack([own.double().mean(0) for own in divided(vectors, patients)])
