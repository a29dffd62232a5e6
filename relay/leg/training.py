"""What a strategy receives about a leg: its task, and its training images outside the fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain

import torch
from torch import nn

from relay.data import Collated, SiteData, eval_batches, people, scaled
from relay.leg.inference import batches, predict
from relay.phase import Batch, Task, Training
from relay.plan import Leg


def task_of(leg: Leg) -> Task:
    """The task of a leg: what to learn, and where."""
    data, size = leg.data, leg.data.patch_size or leg.data.fixed_size
    return Task(
        site=leg.task_name,
        outputs=data.outputs,
        channels=data.channels,
        intensity_range=data.intensity_range,
        size=tuple(size) if size else None,
        seed=leg.conf.random_seed,
        dense=data.does.dense,
        likelihood=data.does.likelihood,
    )


def training_of(leg: Leg, sites: Sequence[SiteData], model: nn.Module, device: torch.device, samples: int) -> Training:
    """The training images of a leg; ``samples``: how many there are, in the form that may be disclosed."""
    return Training(
        samples,
        [
            f"{number}/{name}"
            for number, site in enumerate(sites)
            for name in people(sample.patient for sample in site.split.train)
        ],
        lambda: _batches(leg, sites, device),
        lambda: leg.data.does.gain(validation_score(model, sites, device), 0.0),
    )


def images_of(leg: Leg, sites: Sequence[SiteData], device: torch.device, places: Sequence[int]) -> Iterator[Batch]:
    """Some of the training images, each a batch of its own.

    Args:
        places: in all training images of the leg, as :attr:`.Batch.index` counts them.
    """
    before = 0
    for site in sites:
        mine = [place - before for place in places if before <= place < before + len(site.train)]
        for batch in eval_batches(site.train, 1, mine):
            yield _batch(leg, batch, before, device)
        before += len(site.train)


def _batches(leg: Leg, sites: Sequence[SiteData], device: torch.device) -> Iterator[Batch]:
    before = 0
    for site in sites:
        for batch in batches(site.train):
            yield _batch(leg, batch, before, device)
        before += len(site.train)


def _batch(leg: Leg, batch: Collated, before: int, device: torch.device) -> Batch:
    image = scaled(batch["image"].to(device), leg.data.intensity_range)
    return Batch(image, leg.data.does.label(batch["label"].to(device)), (batch["index"] + before).to(device))


def validation_score(model: nn.Module, sites: Sequence[SiteData], device: torch.device) -> float:
    """The task's primary metric, at the network's resolution; NaN if nothing can be measured."""
    options = sites[0].dataset.options
    task = options.does
    score = task.meters()[task.primary.name].to(device)
    score.distributed_available_fn = lambda: False  # only one process does this; sync_on_compute is read too early
    for batch in chain.from_iterable(batches(site.val) for site in sites):
        logits = predict(model, scaled(batch["image"].to(device), options.intensity_range), options.patch_size)
        score.update(task.decide(logits), task.label(batch["label"].to(device)))
    return float(score.class_mean())
