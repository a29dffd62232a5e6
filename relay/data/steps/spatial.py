"""Steps that change the voxel grid: ``Resample``, ``Crop``, ``Resize``. Images are interpolated; masks never are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from math import prod
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import model_validator
from typing_extensions import Self

from relay.config import Field, options
from relay.data.record import Case
from relay.data.sizes import resize_image, resize_mask
from relay.data.steps.base import Known, Sides, Step
from relay.data.steps.grid import Grid
from relay.errors import DataError

Millimetres = Annotated[float, Field(gt=0)]
Interpolation = Literal["linear", "cubic"]
MOST_VOXELS = 1 << 30
"""Maximum number of voxels of a resampled image: 4 GB in each channel."""
AXES = "Give one number for each axis of the images (slices, rows, columns); don't mix 2D images and volumes."


@options
class Resample(Step):
    """Brings all images to one spacing. The extent stays, so it is met as far as whole voxels allow.

    Attributes:
        spacing: Millimetres per voxel along each axis (slices, rows, columns); null leaves an axis as it is.
        interpolation: Of the image; where it shrinks, both average over the area. Masks take the nearest voxel.
    """

    spacing: Annotated[list[Millimetres | None], Field(min_length=2, max_length=3)]
    interpolation: Interpolation = "linear"

    def process(self, case: Case) -> Case:
        """See :meth:`Step.process`."""
        shape = case.image.shape[:-1]
        _check_axes("spacing", self.spacing, shape)
        if case.spacing is None:
            raise DataError(
                "the file gives no spacing, which the step Resample needs",
                "2D pictures have no millimetres: use Resize instead of Resample.",
            )
        wanted = zip(shape, case.spacing, self.spacing, strict=True)
        sides = [n if new is None else max(1, round(min(n * mm / new, MOST_VOXELS))) for n, mm, new in wanted]
        if prod(sides) >= MOST_VOXELS:
            raise DataError(
                f"its spacing of {case.spacing} mm makes {prod(sides):.2g} voxels with {self.spacing} mm",
                "Correct the spacing in the file's header, or give Resample a larger spacing.",
            )
        if lost := [n for n, side in zip(shape, sides, strict=True) if side == 1 < n]:
            note = f"the step Resample makes a single voxel of {lost[0]}: check the spacing in the file's header"
            case = replace(case, notes=(*case.notes, note))
        return resized(case, sides, self)

    def lengths(self) -> Sequence[object]:
        """See :meth:`Step.lengths`."""
        return self.spacing

    def fixed(self, before: Known) -> Known:
        """See :meth:`Step.fixed`."""
        return None


@options
class Resize(Step):
    """Brings all images to one size, whatever their spacing.

    Attributes:
        size: Voxels along each axis (slices, rows, columns); null leaves an axis as it is.
        interpolation: As for ``Resample``.
    """

    size: Sides
    interpolation: Interpolation = "linear"

    def process(self, case: Case) -> Case:
        """See :meth:`Step.process`."""
        shape = case.image.shape[:-1]
        _check_axes("size", self.size, shape)
        return resized(
            case, [have if want is None else want for want, have in zip(self.size, shape, strict=True)], self
        )

    def lengths(self) -> Sequence[object]:
        """See :meth:`Step.lengths`."""
        return self.size

    def fixed(self, before: Known) -> Known:
        """See :meth:`Step.fixed`."""
        return _filled(self.size, before)


@options
class Crop(Step):
    """Crops to a size about the centre, or to what is brighter than the background. What is cut off is predicted as
    background.

    Attributes:
        size: Voxels along each axis; null leaves an axis as it is. Smaller images are padded with their lowest value.
        above: Instead of a size: the smallest box that holds every voxel with a value above this in some channel, such
            as 0 for MRI or -500 (HU) for CT. An image without such voxels stays as it is.
        margin: Voxels added to that box on each side, as far as the image reaches.
    """

    size: Sides | None = None
    above: float | None = None
    margin: Annotated[int, Field(ge=0)] = 0

    @model_validator(mode="after")
    def _one_way(self) -> Self:
        if (self.size is None) == (self.above is None):
            raise ValueError("give exactly one of size and above")
        if self.size is not None and self.margin:
            raise ValueError("margin is for above, not for size")
        return self

    def process(self, case: Case) -> Case:
        """See :meth:`Step.process`."""
        shape = case.image.shape[:-1]
        if self.size is None:
            begin, size = _box(np.asarray((case.image > self.above).any(-1)), self.margin)
            return cropped(case, begin, size)
        _check_axes("size", self.size, shape)
        size = [have if want is None else want for want, have in zip(self.size, shape, strict=True)]
        return cropped(case, [(have - want) // 2 for want, have in zip(size, shape, strict=True)], size)

    def lengths(self) -> Sequence[object] | None:
        """See :meth:`Step.lengths`."""
        return self.size

    def fixed(self, before: Known) -> Known:
        """See :meth:`Step.fixed`."""
        return None if self.size is None else _filled(self.size, before)


def resized(case: Case, size: Sequence[int], how: Resample | Resize | None = None) -> Case:
    """A case at another size; the mask by nearest neighbour, the image as ``how`` says, or else linearly."""
    shape = case.image.shape[:-1]
    if tuple(size) == shape:
        return case
    factors = [old / new for old, new in zip(shape, size, strict=True)]
    return replace(
        case,
        image=resize_image(case.image, size, cubic=how is not None and how.interpolation == "cubic"),
        target=resize_mask(case.target, size) if case.dense else case.target,
        spacing=case.spacing and tuple(mm * by for mm, by in zip(case.spacing, factors, strict=True)),
        grid=(case.grid or Grid.of(shape)).scaled(factors),
    )


def cropped(case: Case, begin: Sequence[int], size: Sequence[int]) -> Case:
    """A window of a case; beyond the image, it has each channel's lowest value, and class 0."""
    shape = case.image.shape[:-1]
    if tuple(size) == shape and not any(begin):
        return case
    inner = tuple(slice(max(b, 0), b + n) for b, n in zip(begin, size, strict=True))
    around = [(max(-b, 0), max(b + n - have, 0)) for b, n, have in zip(begin, size, shape, strict=True)]
    lowest = case.image.min(axis=tuple(range(len(shape))))
    image = np.stack(
        [np.pad(case.image[..., c][inner], around, constant_values=low) for c, low in enumerate(lowest)], axis=-1
    )
    target = np.pad(case.target[inner], around) if case.dense else case.target
    return replace(case, image=image, target=target, grid=(case.grid or Grid.of(shape)).cropped(begin))


def _box(inside: NDArray[np.bool_], margin: int) -> tuple[list[int], list[int]]:
    """Begin and size of the smallest box around all true voxels; the whole image if there are none."""
    begin, size = [], []
    for axis, length in enumerate(inside.shape):
        others = tuple(a for a in range(inside.ndim) if a != axis)
        found = np.flatnonzero(inside.any(axis=others))
        first, last = (int(found[0]), int(found[-1]) + 1) if found.size else (0, length)
        first, last = max(first - margin, 0), min(last + margin, length)
        begin.append(first)
        size.append(last - first)
    return begin, size


def _filled(size: Sequence[int | None], before: Known) -> Known:
    known = before or [None] * len(size)
    return [have if want is None else want for want, have in zip(size, known, strict=True)]


def _check_axes(name: str, given: Sequence[object], shape: tuple[int, ...]) -> None:
    if len(given) != len(shape):
        raise DataError(f"{len(shape)} axes, but the step's {name} has {len(given)}", AXES)
