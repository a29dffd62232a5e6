"""The replay pool: images and labels sampled once from a generator, as 8-bit integers on the device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

import torch
from torch import Tensor
from torch.nn import functional

from relay.data import scaled
from relay.memory.flow_net import VelocityNet, sample
from relay.phase import Batch, Task

VOXELS = 2**18
"""Maximum number of values of images that are sampled together."""


@dataclass(frozen=True)
class DrawnPool:
    """The samples.

    Attributes:
        image: uint8 ``(N, C, *spatial)``; 0 and 255 are the ends of the range.
        label: uint8 ``(N, *spatial)``.
        site: int64 ``(N,)``: the site each was sampled for.
    """

    image: Tensor
    label: Tensor
    site: Tensor

    def pick(self, batch: Batch, intensity_range: tuple[float, float]) -> tuple[Batch, Tensor]:
        """A random selection of the size and type of ``batch``, and their sites."""
        chosen = torch.randint(len(self.site), (len(batch.image),), device=self.site.device)
        image = torch.empty_like(batch.image).copy_(scaled(self.image[chosen], intensity_range))
        return Batch(image, self.label[chosen].long(), torch.full_like(batch.index, -1)), self.site[chosen]


def draw_pool(
    net: VelocityNet,
    shape: tuple[int, ...],
    sites: Sequence[int],
    steps: int,
    task: Task,
    teacher: Callable[[Tensor], Tensor] | None,
    seed: int,
) -> DrawnPool:
    """A pool from a generator, on the generator's device; the noise is the same on every device.

    Args:
        shape: ``(N, channels + classes, *spatial)``.
        sites: the sites to sample from in turn.
        teacher: images in ``intensity_range`` to logits, whose classes become the labels; None keeps the sampled ones.
    """
    device = next(net.parameters()).device
    source, together = torch.Generator().manual_seed(seed), max(1, VOXELS // prod(shape[2:]))
    site = torch.tensor(sites)[torch.arange(shape[0]) % len(sites)].to(device)
    images, labels = [], []
    for some in torch.split(site, together):
        noise = torch.randn(len(some), *shape[1:], generator=source).to(device)
        image, label = torch.split(net.restored(sample(net, noise, some, steps)), [task.channels, task.outputs], 1)
        image = ((image.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
        images.append(image)
        seen = label if teacher is None else teacher(scaled(image, task.intensity_range)).detach()
        labels.append(seen.argmax(1).to(torch.uint8))
    return DrawnPool(torch.cat(images), torch.cat(labels), site)


def join(batch: Batch, task: Task) -> Tensor:
    """Image and one-hot label channels as one, all in [-1, 1]: ``(B, channels + classes, *spatial)``."""
    label = functional.one_hot(batch.label, task.outputs).movedim(-1, 1).to(batch.image.dtype)
    return torch.cat([centred(batch.image, task.intensity_range), label * 2 - 1], 1)


def centred(image: Tensor, intensity_range: tuple[float, float]) -> Tensor:
    """Intensities of ``intensity_range`` in [-1, 1]."""
    low, high = intensity_range
    return (image - low) * (2 / (high - low)) - 1
