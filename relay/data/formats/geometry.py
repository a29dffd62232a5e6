"""An image's place in space, and the single orientation in which every volume reaches the net.

Files store a volume in any of 48 orientations. It is read as ``(slices, rows, columns)`` that run towards the head, the
back and the left hand (LPS, the axes of DICOM and ITK; a slice is shown as radiologists look at it): axes are exchanged
and reversed, and no voxel is resampled. The axes of an oblique scan are named after the nearest of those directions.
A volume with one slice is a 2D image: axial ones are oriented as above, coronal and sagittal ones with the head up.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from itertools import permutations
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

CLOSE = 1e-3
"""Tolerance, in voxels or as a direction cosine. ITK allows 1e-6, but NIfTI and DICOM files store about seven digits,
and a quaternion fewer; a thousandth of a voxel is invisible."""

LONGEST = 1 << 20
"""Most voxels along an axis. A larger number is a damaged header, and what it says may not fit into memory."""

LEFT, BACK, HEAD = range(3)
TOWARDS = {
    None: ((HEAD, 1), (BACK, 1), (LEFT, 1)),
    HEAD: ((HEAD, 1), (BACK, 1), (LEFT, 1)),
    BACK: ((BACK, 1), (HEAD, -1), (LEFT, 1)),
    LEFT: ((LEFT, 1), (HEAD, -1), (BACK, 1)),
}
"""Directions of an array's axes, by the axis of its only slice (None for a volume)."""

T = TypeVar("T", bound=np.generic)


@dataclass(frozen=True)
class Geometry:
    """The position of a file's voxels, with two or three axes in the file's own order (x, y, z).

    Attributes:
        size: Voxels along each axis.
        spacing: Millimetres per voxel.
        origin: Centre of the first voxel, in mm towards the patient's left, back and head.
        direction: The matrix whose columns are the directions of the axes, row by row.
    """

    size: tuple[int, ...]
    spacing: tuple[float, ...]
    origin: tuple[float, ...]
    direction: tuple[float, ...]

    @classmethod
    def of(cls, header: Any) -> Geometry:
        """The geometry of a SimpleITK image, or of a reader that has read a header; drops a fourth axis of one voxel.

        Raises:
            ValueError: a number is not finite, a spacing not above 0, or a size not possible.
        """
        axes = header.GetDimension()
        kept = min(axes, 3)
        cosines = np.reshape(header.GetDirection(), (axes, axes))[:kept, :kept]
        found = cls(
            header.GetSize()[:kept],
            header.GetSpacing()[:kept],
            header.GetOrigin()[:kept],
            tuple(cosines.ravel().tolist()),
        )
        if kept < 2 or not all(0 < length <= LONGEST for length in found.size):  # ITK reads -1 as billions
            raise ValueError(f"the size {_list(found.size)} in its header is not possible")
        for what in ("spacing", "origin", "direction"):
            if not np.isfinite(getattr(found, what)).all() or min(found.spacing) <= 0:
                raise ValueError(f"the {what} {_list(getattr(found, what))} in its header is not possible")
        return found

    def differences(self, other: Geometry) -> list[tuple[str, str, str]]:
        """What differs, with its values here and there.

        Sizes are included only if they are the same numbers along other axes: when turned, such volumes may look alike.
        The code that compares the arrays reports all other sizes.
        """
        if self.size != other.size:
            same = len(self.size) == len(other.size) and sorted(self.size) == sorted(other.size)
            return [("size", _list(self.size), _list(other.size))] if same else []
        step = np.asarray(other.spacing)
        told = []
        for what, tolerance in (("spacing", CLOSE * step), ("origin", CLOSE * step), ("direction", CLOSE)):
            mine, theirs = (np.asarray(getattr(geometry, what)) for geometry in (self, other))
            if (np.abs(mine - theirs) > tolerance).any():
                told.append((what, _list(mine), _list(theirs)))
        return told

    def way_onto(self, other: Geometry) -> tuple[tuple[int, ...], tuple[int, ...]] | None:
        """How an array as stored here is turned to the axes of another geometry with the same voxels, without
        interpolation: the order of its axes, and which of them are reversed afterwards. None if the voxels differ."""
        axes = len(self.size)
        if axes != len(other.size):
            return None
        mine, theirs = (np.reshape(geometry.direction, (axes, axes)) for geometry in (self, other))
        cosines = theirs.T @ mine
        along = np.abs(cosines).argmax(1).tolist()
        if sorted(along) != list(range(axes)):
            return None
        signs = np.where(cosines[range(axes), along] < 0, -1.0, 1.0)
        turned = self._turned(along, signs)
        if turned.size != other.size or turned.differences(other):
            return None
        order = tuple(axes - 1 - axis for axis in reversed(along))  # an array's axes run the other way: (z, y, x)
        return order, tuple(axes - 1 - axis for axis in range(axes) if signs[axis] < 0)

    def _turned(self, along: Sequence[int], signs: NDArray[np.float64]) -> Geometry:
        """The same voxels, stored with other axes: which of mine each is, and -1 where it is reversed."""
        mine = np.reshape(self.direction, (len(self.size),) * 2)[:, along]
        size, spacing = np.array(self.size)[along], np.array(self.spacing)[along]
        origin = np.array(self.origin) + mine @ np.where(signs < 0, spacing * (size - 1), 0.0)
        numbers = (size, spacing, origin, (mine * signs).ravel())
        return Geometry(*(tuple(each.tolist()) for each in numbers))

    def turn(self, stored: NDArray[T]) -> NDArray[T]:
        """Turn an array as stored, ``(z, y, x)`` or ``(y, x)`` and perhaps channels, to the orientation of the net."""
        array = stored if len(self.size) == 3 else stored[None]
        order, reversed_axes = self.way
        array = np.flip(array.transpose(*order, *range(3, array.ndim)), reversed_axes)
        return np.ascontiguousarray(array[0] if self.is_slice else array)

    def turn_back(self, turned: NDArray[T]) -> NDArray[T]:
        """The inverse of :meth:`turn`.

        Raises:
            ValueError: the array does not have this geometry's size.
        """
        order, reversed_axes = self.way
        array = np.flip(turned[None] if self.is_slice else turned, reversed_axes)
        array = array.transpose(*np.argsort(order).tolist(), *range(3, array.ndim))
        if array.shape[:3] != (*self.size, 1)[2::-1]:
            raise ValueError(f"{array.shape[:3]} voxels where the file has {self.size[::-1]}")
        return np.ascontiguousarray(array if len(self.size) == 3 else array[0])

    @property
    def turns(self) -> bool:
        """Whether :meth:`turn` changes anything except the number of axes."""
        order, reversed_axes = self.way
        return order != (0, 1, 2) or bool(reversed_axes)

    @property
    def turned_spacing(self) -> tuple[float, ...]:
        """Millimetres per voxel along each axis of a turned array."""
        spacing = (*self.spacing, 1.0)[:3]
        turned = tuple(float(spacing[2 - axis]) for axis in self.way[0])
        return turned[1:] if self.is_slice else turned

    @property
    def is_slice(self) -> bool:
        """Whether it has two axes, or is a volume with a single slice along any axis."""
        return len(self.size) == 2 or 1 in self.size

    @cached_property
    def way(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Which stored axis becomes each axis of the array, and which of these are reversed afterwards."""
        cosines = np.eye(3)
        axes = len(self.size)
        cosines[:axes, :axes] = np.reshape(self.direction, (axes, axes))
        # nearest[p] is the file's axis along the patient's axis p; rounded, so that noise decides no tie
        nearest = max(permutations(range(3)), key=lambda along: round(np.abs(cosines[range(3), along]).sum(), 3))
        flat = None
        if self.is_slice:
            size = (*self.size, 1)[:3]
            flat = nearest.index(2 - size[::-1].index(1))  # of several axes with one voxel, the file's last
        towards = TOWARDS[flat]
        order = tuple(2 - nearest[patient] for patient, _ in towards)
        backwards = (cosines[patient, nearest[patient]] * sign < 0 for patient, sign in towards)
        return order, tuple(axis for axis, back in enumerate(backwards) if back)


def _list(values: Sequence[float] | NDArray[Any]) -> str:
    return "(" + ", ".join(f"{value + 0.0:.7g}" for value in values) + ")"
