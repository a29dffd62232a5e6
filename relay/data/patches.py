"""Random patches of images, in 2D or 3D."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pair: TypeAlias = tuple[NDArray[Any], NDArray[Any]]
Place: TypeAlias = tuple[int, ...]
MOST = 256
"""Maximum number of voxels that are remembered for each class of an image."""


def random_patches(
    pairs: Sequence[Pair], size: Sequence[int], rng: np.random.Generator, centres: Sequence[Place | None] | None = None
) -> list[Pair]:
    """A patch at a uniformly random place in each image; smaller images are padded by reflection.

    Args:
        centres: A voxel for each image that its patch is centred on, as far as the image reaches; None for a random
            place.
    """
    draws = rng.random((len(pairs), len(size)))
    middles = centres or [None] * len(pairs)
    return [_patch(*pair, size, draw, at) for pair, draw, at in zip(pairs, draws, middles, strict=True)]


def _patch(
    image: NDArray[Any], target: NDArray[Any], size: Sequence[int], draw: NDArray[np.float64], at: Place | None
) -> Pair:
    """A target that is no mask stays as it is."""
    dense = target.ndim == len(size)
    shape = image.shape[:-1]
    lacking = [max(0, want - have) for want, have in zip(size, shape, strict=True)]
    around = [(lack // 2, lack - lack // 2) for lack in lacking]
    if any(lacking):
        image = np.pad(image, [*around, (0, 0)], "reflect")
        target = np.pad(target, around, "reflect") if dense else target
    free = np.array(image.shape[:-1]) - size + 1
    begin = (draw * free).astype(int)
    if at is not None:
        begin = np.clip(np.add(at, [before for before, _ in around]) - np.array(size) // 2, 0, free - 1)
    window = tuple(slice(b, b + n) for b, n in zip(begin.tolist(), size, strict=True))
    return image[window], target[window] if dense else target


def places_of_classes(mask: NDArray[Any]) -> list[NDArray[np.int32]]:
    """For each class present except background, at most :data:`MOST` of its voxels, evenly spaced: ``(N, axes)``."""
    found = []
    for k in np.unique(mask):
        if k:
            voxels = np.flatnonzero(mask == k)
            some = voxels[np.linspace(0, len(voxels) - 1, min(MOST, len(voxels))).astype(int)]
            found.append(np.stack(np.unravel_index(some, mask.shape), axis=1).astype(np.int32))
    return found
