"""What a model says of one image, and how much doubt there is about it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.bulk.agreement import Agreement, doubt_map, doubt_of_answers
from relay.bulk.predictor import Member, Predictor, Prepared
from relay.bulk.views import views
from relay.data import Pixels, stacked


@dataclass(frozen=True, eq=False)
class Found:
    """What was found in an image.

    Attributes:
        image: as it was read and prepared.
        mask: class indices ``(*S)`` on its voxels; None for a task without masks.
        answers: of such a task, one for the image or for each slice; else empty.
        doubts: one number for the image or for each slice; empty if none were asked for.
        doubt_map: of a mask, float32 ``(*S)`` in 0 to 1; None if it was not asked for.
        strange: whether the image, or any of its slices, looks unlike those of every site; None if that isn't known.
    """

    image: Prepared
    mask: Pixels | None = None
    answers: Sequence[Sequence[float]] = ()
    doubts: Sequence[float] = ()
    doubt_map: NDArray[np.float32] | None = None
    strange: bool | None = None


def look(predictor: Predictor, image: Prepared, path: Path, doubts: bool) -> Found:
    """Predict an image; with ``doubts``, also measure them, which changes no prediction.

    Raises:
        DataError: the model can't process it.
    """
    said = [predictor.strange(item) for item in image.items]
    strange = None if None in said else any(said)
    if not predictor.task.dense:
        return _answered(predictor, image, path, doubts, strange)
    agreement = Agreement(predictor.task.outputs)
    masks, maps = [], []
    for item in image.items:
        mask = _mask(predictor, predictor.answer(item, path), item, image.size)
        masks.append(mask)
        if doubts:
            maps.append(_compared(predictor, image, item, path, mask, agreement))
    axis = image.across
    mask = masks[0] if axis is None else stacked(masks, axis)
    if not doubts:
        return Found(image, mask, strange=strange)
    whole = maps[0] if axis is None else stacked(maps, axis)
    return Found(image, mask, (), [agreement.doubt], whole, strange)


def _mask(predictor: Predictor, answer: NDArray[Any], item: Any, size: Sequence[int]) -> Pixels:
    parts = [part.argmax(0).astype(np.uint8) for part in predictor.restored(answer, item, size)]
    return predictor.cleaned(np.concatenate(parts))


def _compared(
    predictor: Predictor, image: Prepared, item: Any, path: Path, mask: Pixels, agreement: Agreement
) -> NDArray[np.float32]:
    """The map of doubt of an item; its mask is compared with that of each net and view."""
    mean: list[NDArray[Any]] = []  # of the probabilities, for each part
    for weight, answer in _members(predictor, item, path, len(image.size)):
        found = []
        for number, part in enumerate(predictor.restored(answer, item, image.size)):
            found.append(part.argmax(0).astype(np.uint8))
            if number < len(mean):
                mean[number] += weight * part
            else:
                mean.append(weight * part)
        agreement.add(mask, predictor.cleaned(np.concatenate(found)), weight)
    return np.concatenate([doubt_map(part) for part in mean])


def _members(predictor: Predictor, item: Any, path: Path, axes: int) -> Iterator[Member]:
    """What each net says of each view, back on the item; the weights have the sum 1."""
    ways = views(axes, predictor.mirror)
    for view in ways:
        for weight, answer in predictor.members(predictor.seen(item, view), path):
            yield weight / len(ways), view.back(answer, axes)


def _answered(predictor: Predictor, image: Prepared, path: Path, doubts: bool, strange: bool | None) -> Found:
    answers = [predictor.answer(item, path).tolist() for item in image.items]
    found = []
    for item in image.items if doubts else ():
        weights, said = zip(*_members(predictor, item, path, len(image.size)), strict=True)
        found.append(doubt_of_answers(np.stack(said), np.array(weights), predictor.task))
    return Found(image, None, answers, found, None, strange)
