"""Score a solver on test sets, sample by sample, at the images' original geometry."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from relay.data.sample import Pixels, Sample
from relay.data.site import SiteData
from relay.leg.predict import batches, predict, scale
from relay.metrics.dice import sample_dice


@dataclass(frozen=True)
class Predicted:
    """One test image's prediction: uint8 class indices, sized as ``truth``; Dice per class, NaN is
    missing."""

    sample: Sample
    mask: Pixels
    truth: Pixels
    dice: list[float]


def predictions(solver: nn.Module, site: SiteData, device: torch.device) -> Iterator[Predicted]:
    """Predict every test image of a site; the solver is on ``device`` already.

    Where images are resized for the net, its probabilities are resized back before the class is chosen, so
    that a score is about the image the hospital has, and not about the one the net saw.
    """
    options = site.dataset.options
    for batch in batches(site.test):
        logits = predict(solver, scale(batch["image"].to(device), options.out_range), options.patch_size)
        for place, index in enumerate(batch["index"].tolist()):
            truth = np.array(site.truth("test", index)[0])  # a copy: the store's own can't be written to
            mask = classes(logits[place : place + 1], truth.shape)
            target = torch.from_numpy(truth).to(device).long()[None]
            dice = sample_dice(mask, target, options.num_classes)[0].tolist()
            yield Predicted(site.split.test[index], mask[0].to(torch.uint8).cpu().numpy(), truth, dice)


def classes(logits: Tensor, size: Sequence[int]) -> Tensor:
    """The most probable class at a given size: ``(1, C, *S)`` to int64 ``(1, *size)``."""
    if tuple(logits.shape[2:]) != tuple(size):
        mode = "bilinear" if len(size) == 2 else "trilinear"
        logits = nn.functional.interpolate(logits.float().softmax(1), size=tuple(size), mode=mode)
    return logits.argmax(1)


def rows(found: Predicted, names: Sequence[str], **where: Any) -> Iterator[dict[str, Any]]:
    """A result row for each class of one sample; ``where`` are the columns that all rows share."""
    for name, value in zip(names, found.dice, strict=True):
        row = {"patient": found.sample.patient, "sample": found.sample.id, "class": name, "metric": "dice"}
        yield {**where, **row, "value": value}
