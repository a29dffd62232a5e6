"""Which hospital does an image look like it is from? Told from what style memories release (:mod:`.looks`).

Every image has a Mahalanobis distance to each site. The mean and the variance of the log distances of a site's own
patients, each left out in turn, give the scale and the degrees of freedom of an F distribution (by the moments of its
logarithm: Smyth 2004, 10.2202/1544-6115.1027): a p-value, and the density of the multivariate t distribution that has
such distances.

Quantiles of one image largely repeat each other, so that densities alone are far too sure. Distances vary as those of
k independent numbers would (trigamma(k/2) is the variance of a log chi-square), not of all d: log densities therefore
count k/d (a power posterior: Miller and Dunson 2019, 10.1080/01621459.2018.1469995).
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from scipy.optimize import brentq
from scipy.special import digamma, fdtrc, polygamma
from torch import Tensor
from typing_extensions import Self

from relay.errors import HandoverError
from relay.handover import MemoryState
from relay.memory.appearance import eight_bits, overall
from relay.memory.looks import FEW, QUANTILES, Looks, Normal, read, thinned
from relay.memory.moments import Moments

LEVEL = 0.01
"""An image with a smaller p-value at every site is unlike all of them."""
DOF = (2.0, 1000.0)
"""Fewest and most degrees of freedom: few patients tell little about how heavy the tails are."""


class Router:
    """Tells images of several sites apart.

    Attributes:
        sites: those that release how their images look, in the order of the columns of all results.
    """

    def __init__(self, looks: Mapping[str, Looks], channels: int, intensity_range: tuple[float, float]) -> None:
        full = channels * QUANTILES
        self.many = QUANTILES if all(len(one.mean) == full for one in looks.values()) else FEW
        if self.many == FEW:  # some have no more
            looks = {site: thinned(one) if len(one.mean) == full else one for site, one in looks.items()}
        self.sites, self.channels, self.range = tuple(looks), channels, intensity_range
        self.size = channels * self.many
        laws = [_law(float(one.distance[0]), float(one.distance[1]), self.size) for one in looks.values()]
        varies = sum(float(one.distance[1]) for one in looks.values()) / len(looks)
        self._normals = [Normal(Moments(one.mean, one.directions, one.spread), one.variance) for one in looks.values()]
        self._scale, self._dof = (torch.tensor(numbers, dtype=torch.float64) for numbers in zip(*laws, strict=True))
        self._share = _numbers(varies, self.size) / self.size

    @classmethod
    def of(cls, states: Mapping[str, MemoryState], intensity_range: tuple[float, float]) -> Self | None:
        """From the memories of sites, by name; None if none releases how its images look.

        Args:
            intensity_range: of the images to come.

        Raises:
            HandoverError: a memory is not what a site releases, or two are of images with other channels.
        """
        found = {site: read(site, state) for site, state in states.items() if state.kind == "style"}
        looks = {site: one for site, one in found.items() if one is not None}
        channels = {int(states[site].about["channels"]) for site in looks}
        if len(channels) > 1:
            raise HandoverError(f"the memories of {', '.join(looks)} are of images with {sorted(channels)} channels")
        return cls(looks, channels.pop(), intensity_range) if looks else None

    def p_values(self, image: Tensor) -> Tensor:
        """How often images of each site are farther from it than this one: ``(B, C, *S)`` to ``(B, sites)``.

        Args:
            image: whole, float, scaled to ``intensity_range``, as a net gets it; on any device.

        Raises:
            ValueError: the images have other channels than those of the sites.
        """
        return self._p_values(self._distances(image)).to(image.device, torch.float32)

    def strange(self, image: Tensor) -> Tensor:
        """Whether each image is unlike all sites: its p-values are below :data:`LEVEL`; bool ``(B,)``."""
        return self.p_values(image).amax(1) < LEVEL

    def weights(self, image: Tensor) -> Tensor:
        """How likely each image is from each of these sites, if all are as likely before: float32 ``(B, sites)``.

        Rows sum to 1. An image that is unlike all sites (:data:`LEVEL`) has the same weight for each.

        Args:
            image: as for :meth:`p_values`.
        """
        distance = self._distances(image)
        found = (self._share * self._log_densities(distance)).softmax(1)
        strange = self._p_values(distance).max(1, keepdim=True).values < LEVEL
        return torch.where(strange, 1 / len(self.sites), found).to(image.device, torch.float32)

    def _distances(self, image: Tensor) -> Tensor:
        """Squared, to each site: float64 ``(B, sites)`` on the CPU; only counting grey levels is for the device."""
        if image.shape[1] != self.channels:
            raise ValueError(f"{image.shape[1]} channels; the sites' images have {self.channels}")
        looks = overall(eight_bits(image.float(), self.range), self.many).cpu()
        return torch.stack([normal.distances(looks) for normal in self._normals], 1)

    def _p_values(self, distance: Tensor) -> Tensor:
        found = fdtrc(self.size, self._dof.numpy(), (distance / (self.size * self._scale)).numpy())
        return torch.from_numpy(found)

    def _log_densities(self, distance: Tensor) -> Tensor:
        """Of the multivariate t distribution, up to a constant."""
        size, dof, scale = self.size, self._dof, self._scale
        volume = torch.stack([normal.log_volume for normal in self._normals]) + size / 2 * (dof * scale).log()
        peak = ((dof + size) / 2).lgamma() - (dof / 2).lgamma() - volume
        return peak - (dof + size) / 2 * (distance / (dof * scale)).log1p()


def _law(mean: float, variance: float, size: int) -> tuple[float, float]:
    """Scale c and degrees of freedom n, so that a squared distance is ``c * size`` times an F of (size, n)."""
    fewest, most = DOF
    excess = max(variance - float(polygamma(1, size / 2)), float(polygamma(1, most / 2)))
    dof = max(fewest, 2 * _trigamma_inverse(excess))
    # log F has the mean digamma(size/2) - log(size/2) - digamma(dof/2) + log(dof/2)
    log = float(digamma(size / 2) - math.log(size / 2) - digamma(dof / 2) + math.log(dof / 2))
    return math.exp(mean - log) / size, dof


def _numbers(variance: float, size: int) -> float:
    """The degrees of freedom of a chi-square whose logarithm varies as much; at most ``size``."""
    return 2 * _trigamma_inverse(max(variance, float(polygamma(1, size / 2))))


def _trigamma_inverse(value: float) -> float:
    """x with trigamma(x) = value, which is from 1e-3 to 1e6 here."""
    return float(brentq(lambda x: float(polygamma(1, x)) - value, 1e-4, 1e4))
