"""What one patient changes in what a style memory releases: the most it could be, and the most it is.

A released mean counts every patient alike, and every number of a description is in -1..1. So leaving out one of n
patients moves a mean by at most ``2 / n``, its range divided by n, and the second moment, relative to the square of the
radius that holds all descriptions, by at most ``sqrt(2) / n`` (Frobenius). See :mod:`relay.memory.moments`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from relay.handover import MemoryState
from relay.memory.appearance import Form, eight_bits
from relay.memory.describing import Described, descriptions
from relay.memory.exposure import Batches
from relay.memory.looks import PREFIX, QUANTILES
from relay.memory.moments import divided, means, weights
from relay.phase import Task

SAME = 1e-3
"""How far rounding may move a mean that is measured again."""


@dataclass(frozen=True)
class Influence:
    """What leaving out one patient changes.

    Attributes:
        what: is changed, in words.
        patients: the fewest behind any of its numbers.
        bound: the most that any patient could change, as a share of the range.
        measured: the most that a patient does change, likewise.
        same: whether what is measured again is what was released; where not, ``measured`` is of something similar.
    """

    what: str
    patients: int
    bound: float
    measured: float
    same: bool


def influence(state: MemoryState, batches: Batches, patients: Sequence[str], task: Task) -> Iterator[Influence]:
    """What one patient changes in a style memory; nothing for other kinds, and for one that was released with noise,
    whose guarantee says more.

    Args:
        batches: the images behind it, in order.
        patients: whose each image is, by its index.
    """
    if state.kind != "style" or state.privacy.epsilon is not None:
        return
    form, held = Form(**dict(state.about)), state.tensors
    found = _described(batches, patients, form, task)
    kept, behind = held["described"], found.behind
    mine = torch.where(kept, found.filled(), found.whole).double()
    again = weights(found.whose) @ mine
    same = bool((again - held["mean"].double())[kept].abs().max() < SAME)
    few = int(behind[kept].min())
    away = (found.patients.double() - found.patients.double().nanmean(0)).abs() / (behind - 1).clamp(min=1)
    yield Influence("mean appearance of the classes", few, 1 / few, float(away[:, kept].nan_to_num(0).max()) / 2, same)
    many = len(set(found.whose))
    bound = math.sqrt(2) / many
    yield Influence("how much appearances vary", many, bound, _second(mine, found.whose) / form.size, same)
    if PREFIX + "mean" in held:
        looks = means(found.images, found.patient)
        same = looks.shape[1] == len(held[PREFIX + "mean"])
        same = same and bool((looks.mean(0) - held[PREFIX + "mean"].double()).abs().max() < SAME)
        most = float((looks - looks.mean(0)).abs().max()) / (len(looks) - 1)
        yield Influence("mean appearance of whole images", len(looks), 1 / len(looks), most / 2, same)


def _described(batches: Batches, patients: Sequence[str], form: Form, task: Task) -> Described:
    def pixels() -> Iterator[tuple[Tensor, Tensor, Tensor]]:
        for batch in batches():
            image = eight_bits(batch.image.float(), task.intensity_range)
            yield image, batch.label if task.dense else torch.zeros_like(image[:, 0]).long(), batch.index

    return descriptions(pixels(), patients, form, task.size, QUANTILES)


def _second(vectors: Tensor, whose: Sequence[str]) -> float:
    """The most that leaving out a patient changes the second moment, as a Frobenius norm."""
    second = vectors.T @ (weights(whose)[:, None] * vectors)
    each = divided(vectors, whose)
    most = max(float((own.T @ own / len(own) - second).norm()) for own in each)
    return most / max(1, len(each) - 1)
