"""How near each image is to what a memory holds of a class: what somebody would take for the image of a patient, if the
class has few."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import torch
from torch import Tensor

from relay.handover import MemoryState
from relay.memory.appearance import Form, describe, eight_bits
from relay.memory.describing import tiled
from relay.memory.exposure import Batches
from relay.phase import Batch, Task


def by_class(
    state: MemoryState, batches: Batches, task: Task, near: Mapping[str, Tensor]
) -> Iterator[tuple[str, Tensor]]:
    """For each way that is known for a memory's kind: what is compared, and distances, float64 ``(classes, images)``.

    A distance is NaN where an image has nothing of a class, or the memory nothing of it. Of a style, it is that of the
    class's description from the released mean, which is all there is to reconstruct it from; of directions, the share
    of the layers' inputs that they do not hold.

    Args:
        near: what :func:`relay.memory.distances` found for the same images, by name.
    """
    if state.kind == "style" and task.dense:
        yield "mean appearance", _of_style(state, batches, task)
    if state.kind == "owm" and task.likelihood == "categorical":
        there = torch.cat([_has(batch, task) for batch in batches()]).T
        yield from ((name, torch.where(there, distance, torch.nan)) for name, distance in near.items())


def _of_style(state: MemoryState, batches: Batches, task: Task) -> Tensor:
    form, held = Form(**dict(state.about)), state.tensors
    found = []
    for batch in batches():
        image = eight_bits(batch.image.float(), task.intensity_range)
        tiles, parts = tiled(image, task.size), tiled(batch.label[:, None], task.size)[:, 0]
        looks = describe(tiles, parts, form).cpu().double().view(len(image), -1, form.size).nanmean(1)
        away = torch.where(held["described"], looks - held["mean"].double(), torch.nan).square()
        found.append(torch.stack([away[:, which].nanmean(1).sqrt() for which in _columns(form)]))
    return torch.cat(found, 1)


def _columns(form: Form) -> list[Tensor]:
    """Which numbers of a description are of each class."""
    place, each = torch.arange(form.size), form.channels * form.quantiles
    size = (place >= form.intensities) & form.area_to_perimeter
    return [
        ((place // each == number) & (place < form.intensities)) | (size & (place - form.intensities == number - 1))
        for number in range(form.regions)
    ]


def _has(batch: Batch, task: Task) -> Tensor:
    """Which classes are in each image: ``(B, classes)``."""
    label = batch.label.flatten(1) if task.dense else batch.label[:, None]
    return torch.stack([(label == number).any(1) for number in range(task.outputs)], 1).cpu()
