"""How near each image is to what a memory holds: what an attacker measures who has the memory and a patient's image.

A memory that tells nothing of single patients is as near to patients of the site whom it has never seen.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from relay.config import check
from relay.errors import HandoverError
from relay.handover import MemoryState, load_model
from relay.memory.appearance import Form, describe, eight_bits, overall
from relay.memory.describing import tiled
from relay.memory.flow_card import About
from relay.memory.flow_net import VelocityNet
from relay.memory.flow_pool import draw_pool
from relay.memory.looks import FEW, PREFIX, QUANTILES, Looks, Normal
from relay.memory.moments import Moments
from relay.memory.projection import layers, seen
from relay.phase import Batch, Task
from relay.seeds import derive

SAMPLES = 256
"""Images drawn from a generator."""
SIDE = 32
"""Images are compared at no more pixels than this along an axis."""
OFF = (1 / 16) ** 2
"""Variance of a style's numbers beside the directions that it holds."""

Batches = Callable[[], Iterable[Batch]]
Features = Callable[[Tensor], Tensor]


def distances(
    state: MemoryState, batches: Batches, task: Task, model: nn.Module, features: Features | None = None
) -> Iterator[tuple[str, Tensor, bool]]:
    """Distances of all images to a memory, in each way that is known for its kind; nothing for an unknown kind.

    Args:
        batches: the images, in order, each time it is called.
        model: the generalist, whose layers a memory of directions is about.
        features: images ``(B, C, *S)`` to what they are compared by, ``(B, F)``, besides their pixels.

    Yields:
        What was measured, float64 ``(images,)``, and whether a small distance means that an image itself is held.
    """
    kinds: Mapping[str, Any] = {"style": _style, "flow": _flow, "owm": _directions}
    if state.kind in kinds:
        yield from kinds[state.kind](state, batches, task, model, features)


def _style(state: MemoryState, batches: Batches, task: Task, *_: Any) -> Iterator[tuple[str, Tensor, bool]]:
    """Mahalanobis distances to the appearance of the regions, and of images as a whole."""
    form, held = Form(**dict(state.about)), state.tensors
    moments = Moments(held["mean"], held["directions"], held["spread"])
    regions, whole = [], []
    look = {name.removeprefix(PREFIX): tensor for name, tensor in held.items() if name.startswith(PREFIX)}
    looks = Looks(**look) if look else None
    for batch in batches():
        image = eight_bits(batch.image.float(), task.intensity_range)
        region = batch.label if task.dense else torch.zeros_like(image[:, 0]).long()
        tiles, parts = tiled(image, task.size), tiled(region[:, None], task.size)[:, 0]
        found = _away(describe(tiles, parts, form).cpu().double(), moments, held["described"])
        regions.append(found.view(len(image), -1).mean(1))
        if looks is not None:
            many = QUANTILES if len(looks.mean) == image.shape[1] * QUANTILES else FEW
            normal = Normal(Moments(looks.mean, looks.directions, looks.spread), looks.variance)
            whole.append(normal.distances(overall(image, many).cpu()))
    yield "appearance of the classes", torch.cat(regions), True
    if whole:
        yield "appearance of whole images", torch.cat(whole), True


def _away(found: Tensor, moments: Moments, described: Tensor) -> Tensor:
    """Squared distances ``(N,)`` under the normal distribution that is released, for each number that is there."""
    away = torch.where(found.isnan() | ~described, 0.0, found - moments.mean.double())
    along = away @ moments.directions.double().T
    beside = away.square().sum(1) - along.square().sum(1)
    total = (along.square() / (moments.spread.double().square() + OFF)).sum(1) + beside.clamp(min=0) / OFF
    return total / (~found.isnan() & described).sum(1).clamp(min=1)


def _flow(
    state: MemoryState, batches: Batches, task: Task, _: nn.Module, features: Features | None
) -> Iterator[tuple[str, Tensor, bool]]:
    """Distance to the nearest of many samples, by pixels and by features, relative to the mean of the next ones.

    A smooth sample is near to every image: the ratio to the ten next samples tells a copy from that (as Carlini et al.
    2023, arXiv:2301.13188, section 5).
    """
    pool = drawn(state, task, next(iter(batches())).image.device)
    if pool is None:
        return
    ways: dict[str, Features] = {"pixels": small}
    ways |= {"features of the model": features} if features else {}
    for name, way in ways.items():
        samples = torch.cat([way(unit(some)) for some in torch.split(pool, 32)])
        found = []
        for batch in batches():
            image = eight_bits(batch.image.float(), task.intensity_range)
            mine = way(unit(tiled(image, task.size)))
            apart = torch.cdist(mine.double(), samples.double()).view(len(image), -1)
            near = apart.topk(min(11, apart.shape[1]), largest=False).values
            found.append((near[:, 0] / near[:, 1:].mean(1).clamp(min=1e-12)).cpu())
        yield f"nearest of {len(pool)} samples by {name}", torch.cat(found), True


def drawn(state: MemoryState, task: Task, device: torch.device) -> Tensor | None:
    """Samples of the site's own images, uint8 ``(N, C, *S)``; None if the generator does not know the site.

    Raises:
        HandoverError: its card is invalid.
    """
    about, problems = check(About, dict(state.about))
    if about is None:
        raise HandoverError("the generator's card is invalid: " + "; ".join(map(str, problems)))
    if task.site not in about.sites:
        return None
    net = VelocityNet(len(about.size), about.channels + about.classes, len(about.sites), about.features)
    load_model(net, {name: value.float() for name, value in state.tensors.items()})
    net = net.to(device).eval().requires_grad_(False)
    shape = (SAMPLES, about.channels + about.classes, *about.size)
    site = [about.sites.index(task.site)]
    return draw_pool(net, shape, site, about.steps, task, None, derive(task.seed, task.site, "audit")).image


def unit(image: Tensor) -> Tensor:
    """Images of 8 bits in -1..1."""
    return image.float() / 127.5 - 1


def small(image: Tensor) -> Tensor:
    """At most :data:`SIDE` pixels along an axis, as vectors ``(B, F)``."""
    size = [min(SIDE, n) for n in image.shape[2:]]
    pooled: Any = nn.functional.adaptive_avg_pool2d if len(size) == 2 else nn.functional.adaptive_avg_pool3d
    small: Tensor = pooled(image, size)
    return small.flatten(1)


def _directions(
    state: MemoryState, batches: Batches, task: Task, model: nn.Module, *_: Any
) -> Iterator[tuple[str, Tensor, bool]]:
    """The share of each layer's inputs that the directions do not hold: those of members are said to be in them."""
    held = {name: columns.double() for name, columns in state.tensors.items()}
    device = next(model.parameters()).device
    found = []
    for batch in batches():
        for number in range(len(batch.image)):
            rows = seen(model, [batch.image[number : number + 1].to(device)], seed=0)
            found.append(_outside(rows, held, list(layers(model))))
    yield "directions of layer inputs", torch.stack(found), False


def _outside(rows: Mapping[str, Tensor], held: Mapping[str, Tensor], names: Sequence[str]) -> Tensor:
    shares = []
    for name in names:
        x = rows[name].cpu().double()
        power = x.square().sum().clamp(min=1e-12)
        shares.append(1 - (x @ held[name]).square().sum() / power)
    return torch.stack(shares).mean()
