"""Training images one by one, for what a leg looks at after its fits (imports torch: import it late)."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from relay.phase import Training
from relay.seeds import derive


def views(training: Training, size: Sequence[int] | None, count: int, seed: int) -> Iterator[Tensor]:
    """Training images one by one, ``(1, C, *spatial)``: ``count`` in all, taken evenly from all that there are.

    An image is given several times where there are fewer images than ``count``. One that is larger than ``size``, as in
    training on patches, is cropped to it, each time at a place that depends on ``seed`` and the image alone.
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
