"""Images and masks as the net and the metrics see them: one orientation, 8 bits, class indices.

Pictures of 8 bits stay as they are, everything deeper is windowed; volumes are always windowed, one by one, for their
scale differs from scan to scan (:func:`relay.data.sizes.window`).
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
from relay.data.sample import Case, Pixels
from relay.data.sizes import window
from relay.errors import DataError

log = logging.getLogger(__name__)
Spacing = tuple[float, ...] | None
PLACE = (
    "If the {what} was drawn on another grid, resample it to the {other}'s with nearest neighbours; if its header was "
    "lost, give it the {other}'s. 3D Slicer and SimpleITK do both. Look at one laid over the other before you do."
)


def read_pair(image: Path, mask: Path, mask_values: Sequence[int]) -> Case:
    """An image and its mask, in one geometry.

    Args:
        mask_values: What stands for each class in the mask, background first.

    Raises:
        DataError: a file can't be read, the two lie elsewhere in space, or a value stands for no class.
    """
    its, drawn = read_raw(image), read_raw(mask, indices=True)
    geometry, notes = together(drawn, its, "mask", "image")
    pixels, spacing, more = _image(its)
    notes = (*its.notes, *more, *(f"its mask: {note}" for note in (*drawn.notes, *notes)))
    return Case(pixels, class_indices(_mask(drawn, geometry), mask_values, mask), spacing, notes)


def read_image(path: Path) -> tuple[Pixels, Spacing]:
    """An image as uint8 ``(*S, C)``, with ``C`` 1 or 3, and its spacing in mm (None for pictures).

    What is suspicious about it is logged.

    Raises:
        DataError: the file can't be read, or is no image of one or three channels.
    """
    pixels, spacing, notes = read_noted(path)
    for note in notes:
        log.warning("%s: %s", path, note)
    return pixels, spacing


def read_noted(path: Path) -> tuple[Pixels, Spacing, tuple[str, ...]]:
    """The same, with what is suspicious about it, a phrase each, instead of a line in the log.

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
        predicted, mask_values: What stands for each class in the prediction, and in the truth.

    Raises:
        DataError: a file can't be read, the two lie elsewhere in space, or a value stands for no class.
    """
    one, other = read_raw(pred, indices=True), read_raw(truth, indices=True)
    geometry, _ = together(one, other, "mask", "truth")
    geometry = geometry or one.geometry
    mine, theirs = (_mask(raw, geometry) for raw in (one, other))
    spacing = geometry.turned_spacing if geometry else None
    return class_indices(mine, predicted, pred), class_indices(theirs, mask_values, truth), spacing


def read_mask(path: Path) -> NDArray[Any]:
    """A mask's values as they are in the file, ``(*S)``, of an integer type.

    Raises:
        DataError: the file can't be read, or is a colour picture or holds fractions.
    """
    raw = read_raw(path, indices=True)
    return _mask(raw, raw.geometry)


def together(one: Raw, other: Raw, what: str, whose: str) -> tuple[Geometry | None, tuple[str, ...]]:
    """Refuse two files that say that they lie elsewhere; the geometry that holds for both is the second's.

    A picture does not say where it lies. Beside a volume it is taken to lie as the volume is stored.

    Args:
        what, whose: What the two are, for the message.

    Raises:
        DataError: say where each of them lies, and what to do.
    """
    if one.geometry is None and other.geometry is None:
        return None, _upright(one, other, whose)
    if one.geometry is None or other.geometry is None:
        volume = other if one.geometry is None else one
        turned = volume.geometry is not None and volume.geometry.turns
        note = "a picture does not say how it lies; it was taken to lie as the volume is stored"
        return other.geometry, (note,) if turned else ()
    wrong = one.geometry.differences(other.geometry)
    if wrong:
        told = "; ".join(f"{name} {mine}, but that of its {whose} is {theirs}" for name, mine, theirs in wrong)
        raise DataError(f"{one.path}: {told} ({other.path})", PLACE.format(what=what, other=whose))
    return other.geometry, ()


def _upright(one: Raw, other: Raw, whose: str) -> tuple[str, ...]:
    """Refuse two pictures that were turned differently, but where their sizes tell that this made them fit."""
    if one.exif == other.exif:
        return ()
    height, width = one.values.shape[:2]
    quarters = (one.exif > 4) != (other.exif > 4)
    if quarters and height != width and other.values.shape[:2] == (height, width):
        return (f"EXIF orientation {one.exif}, but that of its {whose} is {other.exif}; turned so, their sizes agree",)
    raise DataError(
        f"{one.path}: EXIF orientation {one.exif}, but that of its {whose} is {other.exif} ({other.path}): only one of "
        "them, or each another way, is turned when it is shown",
        "Save both upright, without an EXIF orientation, and look at one laid over the other.",
    )


def _mask(raw: Raw, geometry: Geometry | None) -> NDArray[Any]:
    """Integers ``(*S)``, turned as the geometry turns an image of that size; without one as stored."""
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
            "Save the channel that you need as an image of its own, or three of them as RGB.",
        )
    values = raw.values if raw.channels == 3 else raw.values[..., None]
    spacing = None
    if raw.geometry is not None:
        values, spacing = raw.geometry.turn(values), raw.geometry.turned_spacing
    if values.ndim == 3 and values.dtype == np.uint8:
        return values, spacing, ()
    pixels, notes = window(values)
    return pixels, spacing, notes
