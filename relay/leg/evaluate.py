"""Score a model on test sets, sample by sample, at the images' original geometry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from relay.data import Grid, Pixels, Record, SiteData, restored, scaled
from relay.leg.inference import batches, predict
from relay.metrics import sample_dice


class Calibration(Protocol):
    """Takes probabilities ``(B, C, *S)`` and class indices ``(B, *S)``, on any device."""

    def update(self, probabilities: Tensor, target: Tensor) -> None:
        """Add a batch."""


@dataclass(frozen=True)
class Predicted:
    """One test image's prediction: uint8 class indices, of the size of ``truth``; spacing in mm, if known; Dice per
    class, NaN if missing."""

    sample: Record
    mask: Pixels
    truth: Pixels
    spacing: tuple[float, ...] | None
    dice: list[float]


def predictions(
    model: nn.Module, site: SiteData, device: torch.device, calibration: Calibration | None = None
) -> Iterator[Predicted]:
    """Predict every test image of a site; the model is on ``device`` already.

    If images are resized for the net, its probabilities are resized back before the class is chosen. So a
    score refers to the hospital's image, not to the one the net saw.

    Args:
        calibration: receives the probabilities and the truth.
    """
    options = site.dataset.options
    for batch in batches(site.test):
        logits = predict(model, scaled(batch["image"].to(device), options.intensity_range), options.patch_size)
        for place, index in enumerate(batch["index"].tolist()):
            mask, spacing = site.truth("test", index)
            truth = np.array(mask)  # a copy: the store's own array is read-only
            probabilities = resized(logits[place : place + 1], truth.shape, site.test.grids[index])
            found = probabilities.argmax(1)
            target = torch.from_numpy(truth).to(device).long()[None]
            if calibration is not None:
                calibration.update(probabilities, target)
            dice = sample_dice(found, target, options.outputs)[0].tolist()
            label = found[0].to(torch.uint8).cpu().numpy()
            yield Predicted(site.split.test[index], label, truth, spacing, dice)


def resized(logits: Tensor, size: Sequence[int], grid: Grid | None = None) -> Tensor:
    """Probabilities at an image's own size: logits ``(1, C, *S)`` to ``(1, C, *size)``.

    Args:
        grid: where the voxels of the processed image lie on the image as read; None if it was not cropped.
    """
    probabilities = logits.float().softmax(1)
    if tuple(logits.shape[2:]) == tuple(size) and (grid is None or grid.covers(size)):
        return probabilities
    if grid is not None and not grid.covers(logits.shape[2:]):
        return restored(probabilities, grid)
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return nn.functional.interpolate(probabilities, size=tuple(size), mode=mode)


def rows(found: Predicted, names: Sequence[str], **where: Any) -> Iterator[dict[str, Any]]:
    """A result row for each class of one sample; ``where`` has the columns that all rows share."""
    for name, value in zip(names, found.dice, strict=True):
        row = {"patient": found.sample.patient, "sample": found.sample.id, "class": name, "metric": "dice"}
        yield {**where, **row, "value": value}
