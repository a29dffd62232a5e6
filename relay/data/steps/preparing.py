"""From an image as read to the image that is stored and that the network sees: channels, steps, size, type.

The same happens to training images and to those that are predicted.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data.options import DatasetOptions
from relay.data.record import Case
from relay.data.sizes import LARGEST, as_channels, window
from relay.data.steps.slicing import cut
from relay.data.steps.spatial import resized
from relay.errors import DataError
from relay.registry import blamed

FEWER = (
    "Steps see the whole volume. Give null for the axis across the slices in Resample, Resize and Crop, and leave out "
    "Crop above."
)


def prepared(case: Case, options: DatasetOptions, path: Path) -> Case:
    """A case as stored: with ``channels`` channels, after all steps, at ``img_size``, as uint8 or float16.

    Args:
        case: As read; its target, if it is a mask, has the size of the image.
        path: The image's file, for messages.

    Raises:
        DataError: it does not suit the options.
    """
    return _one(_stepped(case, options, path), options, path)


def prepared_slices(case: Case, options: DatasetOptions, path: Path, slices: Sequence[int | None]) -> list[Case]:
    """Some slices of a volume, each as stored; None stands for the whole image. Arguments as of :func:`prepared`."""
    whole = _stepped(case, options, path)
    before, after = (image.image.shape[:-1] for image in (case, whole))
    axis = options.slice_axis
    if axis is not None and len(before) == 3 and before[axis] != after[axis]:
        raise DataError(f"{path}: the steps change the number of slices from {before[axis]} to {after[axis]}", FEWER)
    if axis is not None and len(before) == 3 and whole.grid is not None and not whole.grid.keeps(axis):
        raise DataError(f"{path}: the steps move the slices, although they end with as many", FEWER)
    return [_one(whole if i is None or axis is None else cut(whole, axis, i), options, path) for i in slices]


def _stepped(case: Case, options: DatasetOptions, path: Path) -> Case:
    try:
        if options.steps is None:
            return replace(case, image=as_channels(case.image, options.channels))
        exact = case.image.dtype == np.uint8 and case.image.ndim == 3
        image, notes = _real(case.image)
        case = replace(case, image=as_channels(image, options.channels), notes=(*case.notes, *notes))
        for named, step in zip(options.steps, options.made_steps, strict=True):
            with blamed(f"step '{named.name}'", step):
                case = step.process(case)
    except DataError as error:
        raise DataError(f"{path}: {error}", error.own_advice) from error
    image, notes = _stored(case.image, options.image_type, exact)
    return replace(case, image=image, notes=(*case.notes, *notes))


def _one(case: Case, options: DatasetOptions, path: Path) -> Case:
    shape, size = case.image.shape[:-1], options.img_size
    if size is None or tuple(size) == shape:
        return case
    if len(size) != len(shape):
        raise DataError(
            f"{path}: size {by(shape)} can't be resized to img_size {by(size)}",
            "Give img_size one number for each axis of the images; don't mix 2D images and volumes.",
        )
    return resized(case, size)


def _real(image: NDArray[Any]) -> tuple[NDArray[np.float32], tuple[str, ...]]:
    """Values as finite float32, in each channel with its lowest finite value for NaN and infinity."""
    if image.dtype.kind != "f":
        return image.astype(np.float32), ()
    finite = np.isfinite(image)
    lowest = np.where(finite, image, np.inf).min(axis=tuple(range(image.ndim - 1)))
    filled = np.where(finite, image, np.where(np.isfinite(lowest), lowest, 0))
    odd = int(image.size - finite.sum())
    notes = (f"{odd} of {image.size} voxels are NaN or infinite; read as the lowest value",) if odd else ()
    return np.clip(filled, -LARGEST, LARGEST).astype(np.float32), notes


def _stored(image: NDArray[Any], kind: type[np.generic], exact: bool) -> tuple[NDArray[Any], tuple[str, ...]]:
    """As it is stored: after ``Normalise`` float16 in -1 to 1, which interpolation may exceed a little; else 8 bits."""
    if kind is np.float16:
        return np.clip(image, -1, 1).astype(np.float16), ()
    return (np.rint(np.clip(image, 0, 255)).astype(np.uint8), ()) if exact else window(image)


def by(shape: Sequence[int]) -> str:
    """``3×4×5``."""
    return "×".join(map(str, shape))
