"""Score a model on test sets, sample by sample, at the images' original geometry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor, nn

from relay.data import Pixels, Record, SiteData, scaled
from relay.leg.inference import batches, predict
from relay.metrics import sample_dice
from relay.postprocess import Postprocessing, cleaned


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
            mask, spacing = site.truth("test", index)
            truth = np.array(mask)  # a copy: the store's own array is read-only
            probabilities = resized(logits[place : place + 1], truth.shape)
            found = probabilities.argmax(1)
            target = torch.from_numpy(truth).to(device).long()[None]
            if calibration is not None:
                calibration.update(probabilities, target)
            label = cleaned(found[0].to(torch.uint8).cpu().numpy(), steps)
            found = torch.from_numpy(label).to(device).long()[None] if steps else found
            dice = sample_dice(found, target, options.num_classes)[0].tolist()
            yield Predicted(site.split.test[index], label, truth, spacing, dice)


def resized(logits: Tensor, size: Sequence[int]) -> Tensor:
    """Probabilities at a given size: logits ``(1, C, *S)`` to ``(1, C, *size)``."""
    probabilities = logits.float().softmax(1)
    if tuple(logits.shape[2:]) == tuple(size):
        return probabilities
    mode = "bilinear" if len(size) == 2 else "trilinear"
    return nn.functional.interpolate(probabilities, size=tuple(size), mode=mode)


def rows(found: Predicted, names: Sequence[str], **where: Any) -> Iterator[dict[str, Any]]:
    """A result row for each class of one sample; ``where`` has the columns that all rows share."""
    for name, value in zip(names, found.dice, strict=True):
        row = {"patient": found.sample.patient, "sample": found.sample.id, "class": name, "metric": "dice"}
        yield {**where, **row, "value": value}
