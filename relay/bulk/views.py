"""Views of an image for test-time augmentation: a net that is sure says the same of all of them.

Mirror images, if the training images were mirrored: to a net that has never seen one, a mirrored image is another
image, and what it says of it is no measure of doubt. Otherwise small shifts, which change no image's content.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

SHIFT = 2
"""How far an image is shifted, in voxels of the prepared image."""
MIRRORING = {"flip", "flip_rotate", "geometric", "full", "light", "strong"}
"""The augmentations that mirror images along every axis."""


@dataclass(frozen=True)
class View:
    """An image seen in another way.

    Attributes:
        mirrored: the axes along which it is mirrored.
        moved: by how many voxels it is shifted along each axis; empty for none. Voxels beyond the edge repeat it.
    """

    mirrored: tuple[int, ...] = ()
    moved: tuple[int, ...] = ()

    def of(self, image: NDArray[Any]) -> NDArray[Any]:
        """The view of an image ``(*S, C)``."""
        return _moved(np.flip(image, self.mirrored), self.moved)

    def back(self, answer: NDArray[Any], axes: int) -> NDArray[Any]:
        """A map ``(K, *S)`` of the view, on the image; an answer ``(K,)`` as it is.

        Args:
            axes: how many the image has.
        """
        if answer.ndim != axes + 1:
            return answer
        turned = np.moveaxis(answer, 0, -1)
        found = np.flip(_moved(turned, tuple(-by for by in self.moved)), self.mirrored)
        return np.ascontiguousarray(np.moveaxis(found, -1, 0))


def _moved(image: NDArray[Any], by: tuple[int, ...]) -> NDArray[Any]:
    for axis, step in enumerate(by):
        if step:
            at = np.clip(np.arange(image.shape[axis]) - step, 0, image.shape[axis] - 1)
            image = np.take(image, at, axis)
    return image


def views(axes: int, mirror: bool) -> list[View]:
    """The views of an image, itself first: of a picture 4 or 5, of a volume 4 or 7.

    Args:
        mirror: whether mirror images are like those that the net was trained on.
    """
    if mirror:
        pairs = [*combinations(range(axes), 2)] if axes == 2 else []
        return [View(), *(View((axis,)) for axis in range(axes)), *map(View, pairs)]
    steps = [tuple(way * SHIFT * (k == axis) for k in range(axes)) for axis in range(axes) for way in (1, -1)]
    return [View(), *(View((), step) for step in steps)]


def mirrors(choice: Any) -> bool:
    """Whether an augmentation, as a config names it, mirrors images along every axis."""
    if isinstance(choice, list | tuple):
        return any(map(mirrors, choice))
    if isinstance(choice, Mapping):
        return mirrors(choice.get("name")) or mirrors(choice.get("kwargs", {}).get("transforms", []))
    if isinstance(choice, str):
        return choice in MIRRORING
    return hasattr(choice, "name") and mirrors({"name": choice.name, "kwargs": choice.kwargs})
