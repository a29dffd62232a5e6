"""A rectified flow: noise moves straight to data along a velocity that a small U-Net has learned.

Between noise ``x0`` and data ``x1`` is ``x_t = (1 - t) x0 + t x1``; the net learns its velocity ``x1 - x0`` in the
mean square (Liu et al. 2023, arXiv:2209.03003; Lipman et al. 2023, arXiv:2210.02747). To sample is to follow it from
t = 0 to 1 in a few Euler steps. Data are image channels and one-hot label channels together, all in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import pairwise
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.nn import functional

GROUPS, EMBEDDING, FREQUENCIES = 8, 128, 32
SPREAD = 0.5
"""Assumed standard deviation of the data; approximate is enough, and a value below the true one worked best."""
LEAST = 0.05
"""Standard deviation below which a channel counts as constant."""


class VelocityNet(nn.Module):
    """A U-Net of residual blocks, scaled and shifted by time and site.

    Its first convolution halves the resolution, its last doubles it again: the finest level is the one that costs.
    It works on channels with about zero mean and unit spread (:meth:`standard`): otherwise, faint structures would be
    lost. It learns the residual of the best linear guess of the velocity, at unit variance, as Karras et al. 2022
    (arXiv:2206.00364) do for diffusion; without that, it needs about twice the steps.

    Args:
        axes: number of spatial axes, 2 or 3.
        channels: number of channels of an image, plus one for each class.
        sites: number of sites it can generate.
        features: channels of each level, the finest first; multiples of 8, at least 16.
    """

    frequencies: Tensor
    centre: Tensor
    scale: Tensor

    def __init__(self, axes: int, channels: int, sites: int, features: Sequence[int]) -> None:
        super().__init__()
        conv, up = _convolution(axes)
        self.multiple = 2 ** len(features)
        self.register_buffer("frequencies", torch.logspace(0, 2, FREQUENCIES), persistent=False)
        self.register_buffer("centre", torch.zeros(channels))
        self.register_buffer("scale", torch.ones(channels))
        self.time = nn.Sequential(nn.Linear(2 * FREQUENCIES, EMBEDDING), nn.SiLU(), nn.Linear(EMBEDDING, EMBEDDING))
        self.site = nn.Embedding(sites, EMBEDDING)
        self.first = conv(channels, features[0], 2, stride=2)
        self.down = nn.ModuleList(Block(axes, width, width) for width in features)
        self.shrink = nn.ModuleList(conv(a, b, 2, stride=2) for a, b in pairwise(features))
        self.middle = Block(axes, features[-1], features[-1])
        self.up = nn.ModuleList(Block(axes, 2 * width, width) for width in features)
        self.grow = nn.ModuleList(up(b, a, 2, stride=2) for a, b in pairwise(features))
        last = _zeroed(up(features[0], 2 * channels, 2, stride=2))
        self.last = nn.Sequential(nn.GroupNorm(GROUPS, features[0]), nn.SiLU(), last)

    def fit_scale(self, images: Iterable[Tensor]) -> None:
        """Take mean and spread of the first channels from images in [-1, 1]; those of labels stay 0 and 1."""
        sums = sum(torch.stack([torch.ones_like(x), x, x * x]).sum(2) for x in map(_flat, images))
        assert isinstance(sums, Tensor)
        mean, square = sums[1:] / sums[0]
        self.centre[: len(mean)] = mean
        self.scale[: len(mean)] = (square - mean**2).clamp(min=LEAST**2).sqrt()

    def standard(self, data: Tensor) -> Tensor:
        """Standardise data for the net."""
        shape = (1, -1, *[1] * (data.ndim - 2))
        return (data - self.centre.view(shape)) / self.scale.view(shape)

    def restored(self, x: Tensor) -> Tensor:
        """The reverse of :meth:`standard`."""
        shape = (1, -1, *[1] * (x.ndim - 2))
        return x * self.scale.view(shape) + self.centre.view(shape)

    def forward(self, x: Tensor, time: Tensor, site: Tensor) -> Tensor:
        """The velocity at ``x`` ``(B, channels, *spatial)``, of any size; ``time`` (0..1) and ``site`` are ``(B,)``."""
        t = time.view(-1, *[1] * (x.ndim - 1))
        variance = (t * SPREAD) ** 2 + (1 - t) ** 2
        guess = (t * SPREAD**2 - (1 - t)) / variance * x
        return guess + SPREAD / variance.sqrt() * self.rest(x / variance.sqrt(), time, site)

    def rest(self, x: Tensor, time: Tensor, site: Tensor) -> Tensor:
        """The correction to the guess, in its own unit: a map, and a multiple of each pixel.

        Because of the multiple, noise need not pass through the coarser levels to be removed; images are far cleaner.
        """
        given = x
        phase = time[:, None] * self.frequencies
        about = functional.silu(self.time(torch.cat([phase.sin(), phase.cos()], 1)) + self.site(site))
        size = x.shape[2:]
        lack = [(-side) % self.multiple for side in size]
        x = self.first(functional.pad(x, [end for side in reversed(lack) for end in (0, side)]))
        seen = []
        for level, block in enumerate(self.down):
            x = block(self.shrink[level - 1](x) if level else x, about)
            seen.append(x)
        x = self.middle(x, about)
        for level in reversed(range(len(seen))):
            x = self.up[level](torch.cat([x, seen[level]], 1), about)
            x = self.grow[level - 1](x) if level else self.last(x)
        for axis, side in enumerate(size, 2):
            x = x.narrow(axis, 0, side)
        add, gain = x.chunk(2, 1)
        return add + gain * given


class Block(nn.Module):
    """Two convolutions with a skip connection; ``about`` scales and shifts the features between them."""

    def __init__(self, axes: int, before: int, after: int) -> None:
        super().__init__()
        conv, _ = _convolution(axes)
        self.enter = nn.Sequential(nn.GroupNorm(GROUPS, before), nn.SiLU(), conv(before, after, 3, padding=1))
        self.norm = nn.GroupNorm(GROUPS, after)
        self.about = nn.Linear(EMBEDDING, 2 * after)
        self.leave = nn.Sequential(nn.SiLU(), _zeroed(conv(after, after, 3, padding=1)))
        self.around = nn.Identity() if before == after else conv(before, after, 1)

    def forward(self, x: Tensor, about: Tensor) -> Tensor:
        """Features ``(B, before, *spatial)`` to ``(B, after, *spatial)``."""
        scale, shift = self.about(about).view(len(x), -1, *[1] * (x.ndim - 2)).chunk(2, 1)
        mixed: Tensor = self.around(x) + self.leave(self.norm(self.enter(x)) * (1 + scale) + shift)
        return mixed


def velocity_loss(net: nn.Module, data: Tensor, site: Tensor) -> Tensor:
    """Mean squared error of the velocity, at a random time for each of ``data`` ``(B, channels, *spatial)``.

    The times of a batch are spread evenly (Kingma et al. 2021, arXiv:2107.00630, appendix I.1).
    """
    noise = torch.randn_like(data)
    time = (torch.rand(1, device=data.device) + torch.arange(len(data), device=data.device) / len(data)) % 1
    time = time.to(data.dtype)
    at = time.view(-1, *[1] * (data.ndim - 1))
    return functional.mse_loss(net(torch.lerp(noise, data, at), time, site).to(data.dtype), data - noise)


@torch.no_grad()
def sample(net: nn.Module, noise: Tensor, site: Tensor, steps: int) -> Tensor:
    """Data from noise ``(B, channels, *spatial)``, in Euler steps."""
    x = noise
    for step in range(steps):
        x = x + net(x, x.new_full((len(x),), step / steps), site) / steps
    return x


class Average(pl.Callback):  # type: ignore[misc]
    """Keeps ``mean`` the exponential moving average of a net's weights; it starts fast, so that short fits gain too."""

    def __init__(self, net: nn.Module, mean: nn.Module, decay: float) -> None:
        self.net, self.mean, self.decay, self.step = net, mean, decay, 0

    @torch.no_grad()
    def on_train_batch_end(self, trainer: Any, *_: Any) -> None:
        """After each step; its speed depends only on the step, so that a resumed fit gives the same result."""
        if trainer.global_step == self.step:
            return  # a batch whose gradients are only added up
        self.step = trainer.global_step
        weight = 1 - min(self.decay, (1 + trainer.global_step) / (10 + trainer.global_step))
        for mean, now in zip(self.mean.parameters(), self.net.parameters(), strict=True):
            mean.lerp_(now, weight)


def _convolution(axes: int) -> tuple[Any, Any]:
    return (nn.Conv2d, nn.ConvTranspose2d) if axes == 2 else (nn.Conv3d, nn.ConvTranspose3d)


def _flat(image: Tensor) -> Tensor:
    return image.double().transpose(0, 1).flatten(1)


def _zeroed(layer: Any) -> Any:
    """Initialise a layer to zero: blocks and the velocity start at zero, which makes training start smoothly."""
    nn.init.zeros_(layer.weight)
    return layer
