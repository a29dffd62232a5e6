"""Where the voxels of a processed image lie on the image as it was read."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from typing_extensions import Self

CLOSE = 1e-9


@dataclass(frozen=True)
class Grid:
    """Cropping, resampling and resizing as one linear map, axis by axis: ``u = begin + scale * v``.

    ``v`` is a place on the processed image and ``u`` the same place on the image as read, both in voxels from the
    image's edge: the centre of voxel ``i`` is at ``i + 0.5``. Maps of several steps combine to one, so that a
    prediction is interpolated only once on its way back.

    Attributes:
        size: Voxels of the image as read.
        begin: Where the processed image begins.
        scale: How many voxels of the image as read make one voxel of the processed image.
    """

    size: tuple[int, ...]
    begin: tuple[float, ...]
    scale: tuple[float, ...]

    @classmethod
    def of(cls, size: Sequence[int]) -> Self:
        """That of an image that has not been processed."""
        return cls(tuple(size), (0.0,) * len(size), (1.0,) * len(size))

    def cropped(self, begin: Sequence[float]) -> Grid:
        """After cutting off, or for negative numbers adding, voxels at the near edges."""
        moved = (b + s * by for b, s, by in zip(self.begin, self.scale, begin, strict=True))
        return Grid(self.size, tuple(moved), self.scale)

    def scaled(self, factors: Sequence[float]) -> Grid:
        """After combining ``factors`` voxels along each axis to one."""
        return Grid(self.size, self.begin, tuple(s * f for s, f in zip(self.scale, factors, strict=True)))

    def without(self, axis: int) -> Grid:
        """That of a slice across an axis."""
        size, begin, scale = self.size, self.begin, self.scale
        return Grid(
            (*size[:axis], *size[axis + 1 :]), (*begin[:axis], *begin[axis + 1 :]), (*scale[:axis], *scale[axis + 1 :])
        )

    def flipped(self, axis: int, length: int) -> Grid:
        """With an axis of both images reversed; the processed one has ``length`` voxels along it."""
        begin = list(self.begin)
        begin[axis] = self.size[axis] - begin[axis] - self.scale[axis] * length
        return Grid(self.size, tuple(begin), self.scale)

    def covers(self, shape: Sequence[int]) -> bool:
        """Whether a processed image of this shape covers exactly the image as read: it was only resized."""
        ends = (b + s * n - full for b, s, n, full in zip(self.begin, self.scale, shape, self.size, strict=True))
        return all(abs(b) < CLOSE for b in self.begin) and all(abs(end) < CLOSE * max(self.size) for end in ends)

    def keeps(self, axis: int) -> bool:
        """Whether the voxels along an axis are those of the image as read."""
        return abs(self.begin[axis]) < CLOSE and abs(self.scale[axis] - 1) < CLOSE

    def places(self, axis: int) -> NDArray[np.float64]:
        """Where the centres of the voxels as read lie on the processed image, in voxels from its edge."""
        centres = np.arange(self.size[axis]) + 0.5
        return np.asarray((centres - self.begin[axis]) / self.scale[axis], np.float64)
