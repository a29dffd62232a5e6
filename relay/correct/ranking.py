"""Which images to correct first: those that the model is least sure of, or that the experts disagree on.

Two numbers, each 0 to 1, higher is less sure. *Entropy*: of the model's probabilities in a voxel, divided by the
logarithm of the number of classes, averaged over the region that may be foreground (Shannon 1948; as a measure of what
to label next: Settles 2009). *Disagreement*: 1 − Dice of two experts' masks, averaged over classes and pairs of
experts, as in query by committee (Seung et al. 1992).
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from itertools import combinations
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from relay.config import Devices
from relay.correct.ranked import Ranked, folder_of
from relay.correct.target import Target
from relay.data import Case, Pixels, Record
from relay.files import inside, write_text
from relay.leg import Progress, Vote, candidates_in, device_of
from relay.postprocess import cleaned, steps_of
from relay.predict import OwnRun, probabilities, save_mask
from relay.results import VOTE

LIKELY = 0.25
"""A voxel may be foreground if the model gives its classes but the background at least this probability."""


def rank(
    target: Target, here: OwnRun, samples: Sequence[Record], devices: Devices, progress: Progress
) -> tuple[list[Ranked], str]:
    """Predict images with the site's own model, and order them: the least sure first.

    The predicted masks and ``ranking.json`` are written to the run's folder, for ``relay correct add`` and the page.

    Args:
        here: the run with the models.

    Returns:
        The images in order, and the number that they are ordered by: ``disagreement`` if the newest handover has at
        least two experts, else ``entropy``.

    Raises:
        DataError: images can't be read, or don't suit the model.
    """
    model, place = here.at_home(target.leg), folder_of(here.root, target)
    net, experts = model.net(devices), _experts(target, here, devices)
    found = []
    for sample in progress.counted(samples, "predicting"):
        case = target.stored.original(sample)
        entropy = Entropy()
        mask = _mask(target, case, probabilities(model, net, case, sample.image), entropy.add)
        path = save_mask(mask, sample.image, place / inside(sample.id))
        masks = [_mask(target, case, probabilities(model, each, case, sample.image)) for each in experts]
        apart = disagreement(target, masks) if len(masks) > 1 else None
        row = Ranked(sample.id, target.splits[sample.id], entropy.mean, apart, path.relative_to(place).as_posix())
        found.append(row)
    by = "disagreement" if len(experts) > 1 else "entropy"
    found.sort(key=lambda row: (-getattr(row, by), row.image))
    rows = [asdict(row) for row in found]
    content = {"format": 1, "site": target.leg.task_name, "model": model.digest, "by": by, "images": rows}
    write_text(place / "ranking.json", json.dumps(content, indent=1) + "\n")
    return found, by


@dataclass
class Entropy:
    """The mean entropy where there may be foreground; of the most uncertain voxel if that is nowhere."""

    total: float = 0.0
    voxels: int = 0
    most: float = 0.0

    def add(self, likely: NDArray[np.float32]) -> None:
        """Count a part of the image.

        Args:
            likely: probabilities ``(C, *S)``, background first.
        """
        bits = -(likely * np.log(np.clip(likely, 1e-12, 1))).sum(0) / math.log(len(likely))
        region = 1 - likely[0] >= LIKELY
        self.total += float(bits[region].sum(dtype=np.float64))
        self.voxels += int(region.sum())
        self.most = max(self.most, float(bits.max()))

    @property
    def mean(self) -> float:
        """0 to 1, of all parts so far."""
        return round(self.total / self.voxels if self.voxels else self.most, 6)


def disagreement(target: Target, masks: Sequence[Pixels]) -> float:
    """Mean over pairs of masks of 1 − Dice, averaged over the classes that one of the two has; 0 if none has any."""
    task, found = target.leg.data.does, []
    for one, other in combinations(masks, 2):
        pair = [torch.from_numpy(mask.astype(np.int64))[None] for mask in (one, other)]
        dice = task.each(task.values(*pair))
        found.append(1 - float(dice.nan_to_num(1.0)[0]))
    return round(float(np.mean(found)), 6)


def _mask(target: Target, case: Case, parts: Iterable[Any], also: Callable[[Any], None] = lambda _: None) -> Pixels:
    """The mask of an image, from the :func:`probabilities` of its parts; each of these is also given to ``also``."""
    mask: Pixels = np.zeros(case.image.shape[:-1], np.uint8)
    for place, likely in parts:
        mask[place] = likely.argmax(0)
        also(likely)
    return cleaned(mask, steps_of(target.leg.conf.predict.postprocess))


def _experts(target: Target, here: OwnRun, devices: Devices) -> list[Any]:
    """The nets of the experts in the newest handover."""
    if here.incoming is None:
        return []
    vote = candidates_in(target.leg, here.incoming.handover, "").get(VOTE)
    if not isinstance(vote, Vote):
        return []
    return [net.to(device_of(devices)).eval() for net in list(vote.nets)[: len(vote.sites)]]
