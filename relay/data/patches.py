"""Random patches of images, in 2D or 3D."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from relay.data.record import Pixels


def random_patches(
    pairs: Sequence[tuple[Pixels, Pixels]], size: Sequence[int], rng: np.random.Generator
) -> list[tuple[Pixels, Pixels]]:
    """A patch at a uniformly random place in each image; smaller images are padded by reflection."""
    draws = rng.random((len(pairs), len(size)))
    return [_patch(image, mask, size, draw) for (image, mask), draw in zip(pairs, draws, strict=True)]


def _patch(image: Pixels, mask: Pixels, size: Sequence[int], draw: NDArray[np.float64]) -> tuple[Pixels, Pixels]:
    lacking = [max(0, want - have) for want, have in zip(size, mask.shape, strict=True)]
    if any(lacking):
        around = [(lack // 2, lack - lack // 2) for lack in lacking]
        image, mask = np.pad(image, [*around, (0, 0)], "reflect"), np.pad(mask, around, "reflect")
    free = np.array(mask.shape) - size + 1
    window = tuple(slice(b, b + n) for b, n in zip((draw * free).astype(int).tolist(), size, strict=True))
    return image[window], mask[window]
