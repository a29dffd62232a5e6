"""Training images one by one, for use after the fits of a leg (imports torch: import it late)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from relay.phase import Training
from relay.seeds import derive


def views(training: Training, size: Sequence[int] | None, count: int, seed: int) -> Iterator[Tensor]:
    """Training images one by one, ``(1, C, *spatial)``: ``count`` in total, spread evenly over all images.

    Images repeat if there are fewer than ``count``. An image larger than ``size``, as in
    training on patches, is cropped to it, each time at a place that depends only on ``seed`` and the image.
    """
    images = len(training.patients)
    for batch in training.batches():
        for image, index in zip(torch.split(batch.image, 1), batch.index.tolist(), strict=True):
            draw = torch.Generator().manual_seed(derive(seed, "view", index))
            for _ in range((index + 1) * count // images - index * count // images):
                yield _crop(image, size or image.shape[2:], draw)


def _crop(image: Tensor, size: Sequence[int], draw: torch.Generator) -> Tensor:
    for axis, side in enumerate(size, 2):
        spare = max(0, image.shape[axis] - side)
        start = int(torch.randint(spare + 1, (), generator=draw))
        image = image.narrow(axis, start, image.shape[axis] - spare)
    return image
