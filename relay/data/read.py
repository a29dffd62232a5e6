"""Images and masks as read from their files: one orientation, all channels together, class indices.

Without steps, images get 8 bits here: 2D images with 8 bits stay unchanged, deeper ones are windowed. Volumes are
always windowed individually, because their scale differs between scans (:func:`relay.data.sizes.window`).
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data.dicom.segments import read_drawn
from relay.data.formats.geometry import Geometry
from relay.data.formats.labels import class_indices, integers
from relay.data.formats.raw import Raw, read_raw
from relay.data.record import Case, Pixels
from relay.data.sizes import window
from relay.errors import DataError

log = logging.getLogger(__name__)
Spacing = tuple[float, ...] | None
PLACE = (
    "If the {what} was drawn on another grid, resample it to the {other}'s grid with nearest neighbours. If its header "
    "was lost, give it the {other}'s. 3D Slicer and SimpleITK can do both. First, check an overlay of the two."
)
CHANNELS = (
    "The channels of one image must be on one voxel grid. Resample each to the grid of the first, for example with 3D "
    "Slicer or SimpleITK, or leave it out. Check that the files are of the same scan."
)


def read_pair(image: Path | Sequence[Path], mask: Path, mask_values: Sequence[int], eight_bits: bool = True) -> Case:
    """An image and its mask, in one geometry.

    Args:
        image: Its file; or several, whose channels are put together.
        mask_values: The value of each class in the mask, background first.
        eight_bits: Whether to map other intensities to 8 bits, as without steps; otherwise, they stay as in the files.

    Raises:
        DataError: a file can't be read, two of them differ in position, or a value is not a class.
    """
    files = _files(image)
    drawn = read_drawn(mask, files[0]).onto(files[0])
    geometry, notes = together(drawn, files[0], "mask", "image")
    case = _image(files, eight_bits)
    notes = (*case.notes, *(f"its mask: {note}" for note in (*drawn.notes, *notes)))
    return replace(case, target=class_indices(_mask(drawn, geometry), mask_values, mask), notes=notes)


def read_images(image: Path | Sequence[Path], eight_bits: bool = True) -> Case:
    """An image without a target; its target is an empty array. Arguments as of :func:`read_pair`.

    Raises:
        DataError: a file can't be read, or two of them differ in position.
    """
    return _image(_files(image), eight_bits)


def read_image(path: Path) -> tuple[Pixels, Spacing]:
    """An image as uint8 ``(*S, C)`` and its spacing in mm (None for 2D images).

    Anything suspicious about it is logged.

    Raises:
        DataError: the file can't be read.
    """
    case = read_images(path)
    for note in case.notes:
        log.warning("%s: %s", path, note)
    return case.image, case.spacing


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
    one = one.onto(other)
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

    A file of the same voxels with its axes in another order was turned before (:meth:`Raw.onto`). A 2D image has no
    position. Together with a volume, it is assumed to have the volume's stored orientation.

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


def _files(image: Path | Sequence[Path]) -> list[Raw]:
    """An image's files, decoded, all in the geometry of the first.

    Raises:
        DataError: one can't be read, or differs from the first.
    """
    paths = [image] if isinstance(image, Path) else image
    read = {path: read_raw(path) for path in dict.fromkeys(paths)}  # channels may be windows of one file
    first, *others = (read[path] for path in paths)
    files = [first]
    for other in (raw.onto(first) for raw in others):
        try:
            _, notes = together(other, first, "channel", "first channel")
        except DataError as error:
            raise DataError(str(error), CHANNELS) from error
        mine, its = (raw.values.shape[: raw.axes] for raw in (other, first))
        if mine != its:
            told = (
                f"{other.path}: size {'×'.join(map(str, mine))}, but that of its first channel is "
                f"{'×'.join(map(str, its))} ({first.path})"
            )
            raise DataError(told, CHANNELS)
        files.append(replace(other, notes=(*other.notes, *notes)))
    return files


def _image(files: Sequence[Raw], eight_bits: bool) -> Case:
    """The files' channels, put together in their order."""
    geometry = files[0].geometry
    channels = [_channels(raw, geometry) for raw in files]
    notes = [raw.notes for raw in files]
    if eight_bits:
        found = [_eight_bits(values) for values in channels]
        channels = [values for values, _ in found]
        notes += [told for _, told in found]
    image = channels[0] if len(channels) == 1 else np.concatenate(channels, axis=-1)
    return Case(image, np.empty(0), geometry.turned_spacing if geometry else None, _numbered(files, notes))


def _numbered(files: Sequence[Raw], notes: Sequence[tuple[str, ...]]) -> tuple[str, ...]:
    """Notes on the files, in their order: of several files with their numbers, not with their names, which may say who
    the patient is. One file that is several channels is described once."""
    paths = list(dict.fromkeys(raw.path for raw in files))
    return tuple(
        dict.fromkeys(
            f"file {paths.index(raw.path) + 1}: {note}" if len(paths) > 1 else note
            for raw, told in zip(cycle(files), notes, strict=False)
            for note in told
        )
    )


def _channels(raw: Raw, geometry: Geometry | None) -> NDArray[Any]:
    """A file's values ``(*S, C)``, turned."""
    values = raw.values if raw.channels > 1 else raw.values[..., None]
    return values if geometry is None else geometry.turn(values)


def _eight_bits(values: NDArray[Any]) -> tuple[Pixels, tuple[str, ...]]:
    """A file's values as uint8: colours have one window, channels of any other kind a window each."""
    if values.ndim == 3 and values.dtype == np.uint8:
        return values, ()
    if values.shape[-1] in (1, 3):
        return window(values)
    found = [window(values[..., c]) for c in range(values.shape[-1])]
    notes = (f"channel {c}: {note}" for c, (_, told) in enumerate(found) for note in told)
    return np.stack([pixels for pixels, _ in found], axis=-1), tuple(notes)
