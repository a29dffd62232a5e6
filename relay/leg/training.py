"""What a strategy is told of a leg: its task, and its training images outside of the fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import nn

from relay.data.site import SiteData
from relay.leg.accept import validation_dice
from relay.leg.predict import batches, scale
from relay.phase import Batch, Task, Training
from relay.plan import Leg


def task_of(leg: Leg) -> Task:
    """What there is to learn in a leg, and where."""
    data, size = leg.data, leg.data.patch_size or leg.data.img_size
    return Task(
        site=leg.task_name,
        classes=data.num_classes,
        channels=data.channels,
        out_range=tuple(data.out_range),
        size=tuple(size) if size else None,
        seed=leg.conf.random_seed,
        kind=data.task,
    )


def training_of(leg: Leg, sites: Sequence[SiteData], solver: nn.Module, device: torch.device, samples: int) -> Training:
    """The training images of a leg; ``samples``: how many there are, as it may be told."""
    return Training(
        samples,
        [f"{number}/{sample.patient}" for number, site in enumerate(sites) for sample in site.split.train],
        lambda: _batches(leg, sites, device),
        lambda: validation_dice(solver, sites, device),
    )


def _batches(leg: Leg, sites: Sequence[SiteData], device: torch.device) -> Iterator[Batch]:
    before = 0
    for site in sites:
        for batch in batches(site.train):
            image = scale(batch["image"].to(device), leg.data.out_range)
            yield Batch(image, batch["label"].to(device).long(), (batch["index"] + before).to(device))
        before += len(site.train)
