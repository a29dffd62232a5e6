"""Samples of a generator that are nearly alike: what it makes again and again, it may have by heart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice

import torch
from scipy.sparse.csgraph import connected_components
from torch import Tensor

from relay.handover import MemoryState
from relay.memory.appearance import eight_bits
from relay.memory.describing import tiled
from relay.memory.exposure import Batches, drawn, small, unit
from relay.memory.moments import numbered
from relay.phase import Task

ALIKE = 0.5
"""Samples are alike if they are nearer than this to each other, in units of the median distance between the images of a
patient and the nearest ones of another."""
REAL = 512
"""As many images tell that distance."""


@dataclass(frozen=True)
class Duplicates:
    """Samples that are nearly alike.

    Attributes:
        samples: how many were drawn.
        repeated: of them, how many are like another one.
        largest: the size of the largest group of those alike; 1 for none.
    """

    samples: int
    repeated: int
    largest: int


def duplicates(state: MemoryState, batches: Batches, patients: Sequence[str], task: Task) -> Duplicates | None:
    """How many of a generator's samples are alike; None for other memories, for one without this site, and if images
    of only one patient are known.

    Args:
        batches: images of patients, in order.
        patients: whose each is, by its index.
    """
    pool = drawn(state, task, next(iter(batches())).image.device) if state.kind == "flow" else None
    usual = None if pool is None else _usual(batches, patients, task)
    if pool is None or usual is None:
        return None
    samples = small(unit(pool)).double()
    alike = torch.cdist(samples, samples) < ALIKE * usual
    alike.fill_diagonal_(False)
    _, group = connected_components(alike.cpu().numpy(), directed=False)
    return Duplicates(len(samples), int(alike.any(1).sum()), int(torch.from_numpy(group).bincount().max()))


def _usual(batches: Batches, patients: Sequence[str], task: Task) -> float | None:
    """The median distance to the nearest image of another patient."""
    images: list[Tensor] = []
    whose: list[str] = []
    for batch in batches():
        tiles = tiled(eight_bits(batch.image.float(), task.intensity_range), task.size)
        images.append(small(unit(tiles)))
        whose += [patients[i] for i in batch.index.tolist() for _ in range(len(tiles) // len(batch.image))]
        if len(whose) > REAL:
            break
    found, names = torch.cat(images).double()[:REAL], list(islice(whose, REAL))
    which = numbered(names).to(found.device)
    apart = torch.cdist(found, found).masked_fill(which[:, None] == which, torch.inf)
    nearest = apart.min(1).values
    return float(nearest.median()) if bool(nearest.isfinite().all()) else None
