"""Score a model on test sets, sample by sample; masks at the images' original geometry."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod
from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from relay.data import Grid, Pixels, Record, SiteData, restored, scaled
from relay.leg.inference import batches, predict
from relay.postprocess import Postprocessing, cleaned
from relay.tasks import Task

SLAB = 1 << 26
"""How many probabilities of a large image are made at once."""


class Calibration(Protocol):
    """Takes probabilities ``(B, C, *S)`` and class indices ``(B, *S)``, on any device."""

    def update(self, probabilities: Tensor, target: Tensor) -> None:
        """Add a batch."""


@dataclass(frozen=True)
class Predicted:
    """One test image's prediction.

    Attributes:
        mask: of a dense task, uint8 class indices of the size of ``truth``; else None.
        answer: of another task, its probabilities or its number, as they were predicted; else empty.
        truth: the target: of a dense task at the image's own size.
        spacing: in mm, if known.
        scores: its score in each of the task's groups; NaN if missing.
    """

    sample: Record
    mask: Pixels | None
    answer: list[float]
    truth: NDArray[Any]
    spacing: tuple[float, ...] | None
    scores: list[float]


def predictions(
    model: nn.Module,
    site: SiteData,
    device: torch.device,
    calibration: Calibration | None = None,
    steps: Sequence[Postprocessing] = (),
) -> Iterator[Predicted]:
    """Predict every test image of a site; the model is on ``device`` already.

    If images are resized for the net, its probabilities are resized back before the class is chosen. So a
    score refers to the hospital's image, not to the one the net saw.

    Args:
        calibration: receives the probabilities and the truth.
        steps: what is done to the predicted mask before it is scored.
    """
    options = site.dataset.options
    for batch in batches(site.test):
        logits = predict(model, scaled(batch["image"].to(device), options.intensity_range), options.patch_size)
        for place, index in enumerate(batch["index"].tolist()):
            one = logits[place : place + 1]
            if options.does.dense:
                yield _of_image(one, site, index, calibration, steps)
            else:
                yield _of_sample(one, site, index, calibration)


def _of_image(
    logits: Tensor, site: SiteData, index: int, calibration: Calibration | None, steps: Sequence[Postprocessing]
) -> Predicted:
    task = site.dataset.options.does
    mask, spacing = site.truth("test", index)
    truth = np.array(mask)  # a copy: the store's own array is read-only
    target = torch.from_numpy(truth).to(logits.device)[None]
    found = torch.empty_like(target)
    for rows, probabilities in slabs(logits, truth.shape, site.test.grids[index]):
        found[:, rows] = task.decide(probabilities)
        if calibration is not None:
            calibration.update(probabilities, target[:, rows])
    label = cleaned(found[0].cpu().numpy(), steps)
    found = torch.from_numpy(label).to(found)[None] if steps else found
    scores = task.values(found, target)[0].tolist()
    return Predicted(site.split.test[index], label, [], truth, spacing, scores)


def _of_sample(logits: Tensor, site: SiteData, index: int, calibration: Calibration | None) -> Predicted:
    task = site.dataset.options.does
    truth = np.array(site.test[index][1])
    answer, label = task.answer(logits), task.label(torch.from_numpy(truth[None]).to(logits.device))
    scores = task.values(task.decide(logits), label)[0].tolist()
    return Predicted(site.split.test[index], None, answer[0].tolist(), truth, site.test.spacings[index], scores)


def slabs(logits: Tensor, size: Sequence[int], grid: Grid | None = None) -> Iterator[tuple[slice, Tensor]]:
    """What :func:`resized` gives, in parts along the image's first axis, each with its rows: of a CT volume, the
    probabilities of all classes at once would take gigabytes. Those of a small image are one part.

    Args:
        logits: ``(1, C, *S)``.
        size, grid: as in :func:`resized`.
    """
    if _stay(logits, size, grid):  # then each part has a softmax of its own
        for rows, part in regridded_slabs(logits, size, grid):
            yield rows, part.float().softmax(1)
    else:
        yield from regridded_slabs(logits.float().softmax(1), size, grid)


def regridded_slabs(maps: Tensor, size: Sequence[int], grid: Grid | None = None) -> Iterator[tuple[slice, Tensor]]:
    """What :func:`regridded` gives, in parts as those of :func:`slabs`."""
    step = max(1, SLAB // (maps.shape[1] * prod(size[1:])))
    if step >= size[0]:
        yield slice(None), regridded(maps, size, grid)
        return
    stay = _stay(maps, size, grid)
    scale = tuple(whole / part for whole, part in zip(size, maps.shape[2:], strict=True))
    grid = grid or Grid(tuple(size), (0.0,) * len(size), scale)  # only resized
    for begin in range(0, size[0], step):
        rows = slice(begin, begin + step)
        yield rows, maps[:, :, rows] if stay else restored(maps, grid, rows)


def resized(logits: Tensor, size: Sequence[int], grid: Grid | None = None) -> Tensor:
    """Probabilities at an image's own size: logits ``(1, C, *S)`` to ``(1, C, *size)``.

    Args:
        grid: where the voxels of the processed image lie on the image as read; None if it was not cropped.
    """
    return regridded(logits.float().softmax(1), size, grid)


def regridded(maps: Tensor, size: Sequence[int], grid: Grid | None = None) -> Tensor:
    """Maps at an image's own size, ``(1, C, *S)`` to ``(1, C, *size)``, interpolated linearly; ``grid`` as in
    :func:`resized`. What was cropped away is 1 in the first map, which is the background's, and 0 in the others."""
    if _stay(maps, size, grid):
        return maps
    if grid is not None and not grid.covers(maps.shape[2:]):
        return restored(maps, grid)
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return nn.functional.interpolate(maps, size=tuple(size), mode=mode)


def _stay(maps: Tensor, size: Sequence[int], grid: Grid | None) -> bool:
    """Whether maps are on the image's own voxels already."""
    return tuple(maps.shape[2:]) == tuple(size) and (grid is None or grid.covers(size))


def rows(found: Predicted, task: Task, **where: Any) -> Iterator[dict[str, Any]]:
    """The result rows of one sample: a dense task's for each class; else what it scored, then what was predicted.

    Args:
        where: the columns that all rows share.
    """
    about = {**where, "patient": found.sample.patient, "sample": found.sample.id}
    for name, value in zip(task.groups, found.scores, strict=True):
        if task.dense or not math.isnan(value):  # an image without a mask is of few of the groups
            yield {**about, "class": name, "metric": task.sample_metric, "value": value}
    for name, metric, value in task.details(found.answer, found.truth):
        yield {**about, "class": name, "metric": metric, "value": value}
