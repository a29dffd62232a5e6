"""What a site releases of how its images look as a whole, and the distances of other images to it.

A *look* is a few quantiles of each channel of a whole image; no label is needed. Released are the mean, the leading
directions and the variances of a site's looks, and the mean and the variance of the log distances of its patients, each
left out in turn: what :mod:`relay.memory.router` needs to say how far is unlike. It is a few hundred numbers, all
aggregates over patients.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from scipy.special import digamma, polygamma
from torch import Tensor

from relay.errors import HandoverError
from relay.handover import MemoryState
from relay.memory.moments import Moments, numbered, release, weights
from relay.noise import shortened

QUANTILES = 7
"""Quantiles of each channel of a look."""
FEW = 3
"""Quantiles of what is released with noise, the first, the middle and the last: what is not released needs no noise."""
PREFIX = "look."
"""Of the names of what is released here, among the tensors of a style memory."""
DIRECTIONS = 8
"""Most directions of a look."""
FEWEST = 3
"""Fewer patients have no variance of the distances between one and the others."""
FOLDS = 50
"""Of more patients than these, several are left out together."""
SHRINK = 0.5
"""How much of a covariance off its diagonal is not believed (Schäfer and Strimmer 2005, 10.2202/1544-6115.1175)."""
FLOOR = (1 / 255) ** 2
"""Added to every variance: half a grey level, squared, in looks from -1 to 1."""
NEAREST = 1e-3
"""The smallest squared distance, for each number of a look: what is nearer is as near."""
BRIGHTNESS, REST, TAILS = 0.12, 0.05, 6.0
"""How images of any hospital vary about its mean, for releases with noise, which say nothing of that: standard
deviations of their brightness and of each number for itself (1 is half of all grey levels), and the degrees of freedom
of a t distribution."""


@dataclass(frozen=True)
class Looks:
    """What is released of the looks of a site, all float32.

    Attributes:
        mean: ``(d,)``, channels first, then quantiles.
        directions: ``(k, d)``, orthonormal rows.
        spread: ``(k,)``, standard deviations along them.
        variance: ``(d,)``, of each number.
        distance: ``(2,)``: mean and variance of the log squared distance of a patient's images to all other patients'.
    """

    mean: Tensor
    directions: Tensor
    spread: Tensor
    variance: Tensor
    distance: Tensor

    @property
    def tensors(self) -> dict[str, Tensor]:
        """As they travel."""
        return {PREFIX + name: tensor for name, tensor in vars(self).items()}


def measure(looks: Tensor, patients: Sequence[str], radius: float) -> Looks | None:
    """What to release of looks ``(N, d)``, clipped to ``radius``; None if there are fewer patients than ``FEWEST``.

    Every patient counts alike. There are at most half as many directions as patients.
    """
    many = len(set(patients))
    if many < FEWEST:
        return None
    looks = shortened(looks.double(), radius)
    fold = numbered(patients) % FOLDS
    distance = torch.empty(len(looks), dtype=torch.float64)
    for number in range(min(FOLDS, many)):
        out = fold == number
        rest = [patient for patient, left in zip(patients, out.tolist(), strict=True) if not left]
        distance[out] = Normal(*_moments(looks[~out], rest, radius)).distances(looks[out])
    count, log = weights(patients), distance.log()
    mean = count @ log
    # unbiased over patients, and what a further patient's distance from that mean varies by
    variance = count @ (log - mean) ** 2 * (many + 1) / (many - 1)
    moments, each = _moments(looks, patients, radius)
    return Looks(**vars(moments), variance=each.float(), distance=torch.stack([mean, variance]).float())


def _moments(looks: Tensor, patients: Sequence[str], radius: float) -> tuple[Moments, Tensor]:
    """Mean and directions, and the variance of each number."""
    found = release(looks, patients, min(DIRECTIONS, len(set(patients)) // 2), radius)
    return found, weights(patients) @ (looks.double() - found.mean.double()) ** 2


def sparse(looks: Tensor) -> Tensor:
    """Only ``FEW`` quantiles of looks: ``(..., C * QUANTILES)`` to ``(..., C * FEW)``."""
    curves = looks.view(*looks.shape[:-1], -1, QUANTILES)
    return curves[..., :: (QUANTILES - 1) // (FEW - 1)].flatten(-2)


def thinned(looks: Looks) -> Looks:
    """What a site with ``QUANTILES`` would have released of ``FEW``: the marginal distribution, and its distances
    taken to be as far for each number."""
    few = len(looks.mean) // QUANTILES * FEW
    nearer = torch.tensor([math.log(few / len(looks.mean)), 0.0])
    mean, directions, variance = (sparse(tensor) for tensor in (looks.mean, looks.directions, looks.variance))
    return Looks(mean, directions, looks.spread, variance, looks.distance + nearer)


def guessed(mean: Tensor, noise: Tensor) -> Looks:
    """Looks of which only the mean ``(C * FEW,)`` is known, and that with noise of these standard deviations."""
    size = len(mean)
    log = float(digamma(size / 2) - math.log(size / 2) - digamma(TAILS / 2) + math.log(TAILS / 2))
    varies = float(polygamma(1, size / 2) + polygamma(1, TAILS / 2))  # of a log F, and its mean, as in the router
    return Looks(
        mean,
        mean.new_full((1, size), size**-0.5),
        mean.new_full((1,), BRIGHTNESS * size**0.5),
        (BRIGHTNESS**2 + REST**2 + noise**2).clamp(max=4),
        mean.new_tensor([math.log(size) + log, varies]),
    )


def read(site: str, state: MemoryState) -> Looks | None:
    """What a style memory says about looks; None if it says nothing. It is untrusted.

    Raises:
        HandoverError: it is not what :func:`measure` or :func:`guessed` makes of images with the memory's channels.
    """
    mine = {name.removeprefix(PREFIX): tensor for name, tensor in state.tensors.items() if name.startswith(PREFIX)}
    if not mine:
        return None
    found = {name: (tensor.dtype, *tensor.shape) for name, tensor in mine.items()}
    size, many = (found.get(name, ("", 0))[-1] for name in ("mean", "spread"))
    shapes = {"mean": (size,), "directions": (many, size), "spread": (many,), "variance": (size,), "distance": (2,)}
    channels = state.about.get("channels")
    fits = isinstance(channels, int) and channels > 0 and size in (channels * QUANTILES, channels * FEW)
    if not fits or found != {name: (torch.float32, *shape) for name, shape in shapes.items()}:
        raise HandoverError(f"the memory of {site} does not say how whole images look: its tensors are {found}")
    if many > DIRECTIONS:
        raise HandoverError(f"the memory of {site} has {many} directions of looks; the most are {DIRECTIONS}")
    looks = Looks(**mine)
    farthest = math.log(4 * size / FLOOR)
    sane = (
        looks.mean.abs() <= 1,
        looks.directions.norm(dim=1) <= 1.01,
        looks.spread >= 0,
        looks.spread <= math.sqrt(size),
        looks.variance >= 0,
        looks.variance <= 4,
        looks.distance[0].abs() <= farthest,
        looks.distance[1] >= 0,
        looks.distance[1] <= 4 * farthest**2,
    )  # NaN, too, is not within these
    if not all(bool(test.all()) for test in sane):
        raise HandoverError(f"the memory of {site} has looks that no release has", "Ask that site for its leg again.")
    return looks


class Normal:
    """A normal distribution of looks, its covariance shrunk: at any values it is a distribution."""

    def __init__(self, moments: Moments, variance: Tensor) -> None:
        scaled = (moments.directions * moments.spread[:, None]).double()
        shared = (1 - SHRINK) * scaled.T @ scaled
        own = (variance.double() - shared.diagonal()).clamp(min=0) + FLOOR
        self.mean, self.factor = moments.mean.double(), torch.linalg.cholesky(shared + own.diag())
        self.log_volume = self.factor.diagonal().log().sum()

    def distances(self, looks: Tensor) -> Tensor:
        """Squared Mahalanobis distances of looks ``(N, d)``."""
        away = torch.linalg.solve_triangular(self.factor, (looks.double() - self.mean).T, upper=False)
        squared: Tensor = away.square().sum(0)
        return squared.clamp(min=NEAREST * len(self.mean))
