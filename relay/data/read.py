"""Images and masks as the net and the metrics see them: one orientation, 8 bits, class indices.

2D images with 8 bits stay unchanged, deeper ones are windowed. Volumes are always windowed individually, because their
scale differs between scans (:func:`relay.data.sizes.window`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data.geometry import Geometry
from relay.data.labels import class_indices, integers
from relay.data.raw import Raw, read_raw
from relay.data.record import Case, Pixels
from relay.data.segments import read_drawn
from relay.data.sizes import window
from relay.errors import DataError

log = logging.getLogger(__name__)
Spacing = tuple[float, ...] | None
PLACE = (
    "If the {what} was drawn on another grid, resample it to the {other}'s grid with nearest neighbours. If its header "
    "was lost, give it the {other}'s. 3D Slicer and SimpleITK can do both. First, check an overlay of the two."
)


def read_pair(image: Path, mask: Path, mask_values: Sequence[int]) -> Case:
    """An image and its mask, in one geometry.

    Args:
        mask_values: The value of each class in the mask, background first.

    Raises:
        DataError: a file can't be read, the two differ in position, or a value is not a class.
    """
    its = read_raw(image)
    drawn = read_drawn(mask, its)
    geometry, notes = together(drawn, its, "mask", "image")
    pixels, spacing, more = _image(its)
    notes = (*its.notes, *more, *(f"its mask: {note}" for note in (*drawn.notes, *notes)))
    return Case(pixels, class_indices(_mask(drawn, geometry), mask_values, mask), spacing, notes)


def read_image(path: Path) -> tuple[Pixels, Spacing]:
    """An image as uint8 ``(*S, C)``, with ``C`` 1 or 3, and its spacing in mm (None for 2D images).

    Anything suspicious about it is logged.

    Raises:
        DataError: the file can't be read, or is not an image with one or three channels.
    """
    pixels, spacing, notes = read_noted(path)
    for note in notes:
        log.warning("%s: %s", path, note)
    return pixels, spacing


def read_noted(path: Path) -> tuple[Pixels, Spacing, tuple[str, ...]]:
    """The same, with a phrase for everything suspicious instead of a line in the log.

    Raises:
        DataError: as :func:`read_image`.
    """
    raw = read_raw(path)
    pixels, spacing, notes = _image(raw)
    return pixels, spacing, (*raw.notes, *notes)


def read_masks(
    pred: Path, truth: Path, predicted: Sequence[int], mask_values: Sequence[int]
) -> tuple[Pixels, Pixels, Spacing]:
    """Two masks of one image, as class indices, and their spacing; their sizes may differ.

    Args:
        predicted, mask_values: The value of each class in the prediction, and in the truth.

    Raises:
        DataError: a file can't be read, the two differ in position, or a value is not a class.
    """
    one, other = read_raw(pred, indices=True), read_raw(truth, indices=True)
    geometry, _ = together(one, other, "mask", "truth")
    geometry = geometry or one.geometry
    mine, theirs = (_mask(raw, geometry) for raw in (one, other))
    spacing = geometry.turned_spacing if geometry else None
    return class_indices(mine, predicted, pred), class_indices(theirs, mask_values, truth), spacing


def read_mask(path: Path) -> NDArray[Any]:
    """A mask's values as in the file, ``(*S)``, with an integer type.

    Raises:
        DataError: the file can't be read, is a colour image or contains fractions.
    """
    raw = read_raw(path, indices=True)
    return _mask(raw, raw.geometry)


def together(one: Raw, other: Raw, what: str, whose: str) -> tuple[Geometry | None, tuple[str, ...]]:
    """Refuse two files with different positions in space; return the geometry for both, which is the second's.

    A 2D image has no position. Together with a volume, it is assumed to have the volume's stored orientation.

    Args:
        what, whose: What the two are, for the message.

    Raises:
        DataError: they differ; the message gives both positions and what to do.
    """
    if one.geometry is None and other.geometry is None:
        return None, _upright(one, other, whose)
    if one.geometry is None or other.geometry is None:
        volume = other if one.geometry is None else one
        turned = volume.geometry is not None and volume.geometry.turns
        note = "a 2D image has no orientation; assumed that of the stored volume"
        return other.geometry, (note,) if turned else ()
    wrong = one.geometry.differences(other.geometry)
    if wrong:
        told = "; ".join(f"{name} {mine}, but that of its {whose} is {theirs}" for name, mine, theirs in wrong)
        raise DataError(f"{one.path}: {told} ({other.path})", PLACE.format(what=what, other=whose))
    return other.geometry, ()


def _upright(one: Raw, other: Raw, whose: str) -> tuple[str, ...]:
    """Refuse two 2D images that were turned differently, unless their sizes show that this made them match."""
    if one.exif == other.exif:
        return ()
    height, width = one.values.shape[:2]
    quarters = (one.exif > 4) != (other.exif > 4)
    if quarters and height != width and other.values.shape[:2] == (height, width):
        return (
            f"EXIF orientation {one.exif}, but that of its {whose} is {other.exif}; turned this way, their sizes agree",
        )
    raise DataError(
        f"{one.path}: EXIF orientation {one.exif}, but that of its {whose} is {other.exif} ({other.path}): viewers "
        "turn them differently",
        "Save both upright, without an EXIF orientation, and check an overlay of the two.",
    )


def _mask(raw: Raw, geometry: Geometry | None) -> NDArray[Any]:
    """Integers ``(*S)``, turned as the geometry turns an image of that size; without a geometry, as stored."""
    values = integers(raw)
    own = raw.geometry
    if geometry is None:
        return values[0] if values.ndim == 3 and len(values) == 1 else values
    stored = geometry.size[::-1]
    if [n for n in values.shape if n > 1] == [n for n in stored if n > 1]:
        return geometry.turn(values.reshape(stored))
    return own.turn(values) if own else values


def _image(raw: Raw) -> tuple[Pixels, Spacing, tuple[str, ...]]:
    if raw.channels not in (1, 3):
        raise DataError(
            f"{raw.path}: {raw.channels} channels; an image has 1 or 3",
            "Save the channel you need as its own image, or three of them as RGB.",
        )
    values = raw.values if raw.channels == 3 else raw.values[..., None]
    spacing = None
    if raw.geometry is not None:
        values, spacing = raw.geometry.turn(values), raw.geometry.turned_spacing
    if values.ndim == 3 and values.dtype == np.uint8:
        return values, spacing, ()
    pixels, notes = window(values)
    return pixels, spacing, notes
