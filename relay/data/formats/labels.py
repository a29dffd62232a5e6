"""The values of a mask, and the classes they represent."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data.formats.raw import Raw
from relay.data.record import Pixels
from relay.errors import DataError, some

MOST = 256
"""Maximum number of classes; their indices are 8-bit numbers."""
WHOLE = 1e-3
"""How far from an integer a value may be: files scale integers by factors with few digits, or store 32-bit numbers."""
COLOURS = (
    "Save the mask with one number per pixel, its class: as an 8-bit grey or palette PNG, or a NIfTI file. If its "
    "colours are JPEG noise, save it from its source again."
)
JPEG = "JPEG changes values where classes meet. Save the mask as PNG, from its source and not from the JPEG."
FRACTIONS = (
    "If it was resampled, use nearest neighbours instead. If it contains probabilities, choose the most likely "
    "class of each voxel."
)


class UnknownValues(DataError):
    """A mask contains values that are not classes."""


def class_indices(mask: NDArray[Any], mask_values: Sequence[int], path: Path) -> Pixels:
    """A mask's values as uint8 class indices: ``mask_values[k]`` becomes ``k``.

    Raises:
        UnknownValues: there are other values; the message names them.
        DataError: there are too many classes, or the values are a JPEG's.
    """
    if len(mask_values) > MOST:
        raise DataError(f"{path}: {len(mask_values)} classes; the limit is {MOST}", "Merge some of them.")
    found = np.unique(mask)
    wrong = np.setdiff1d(found, mask_values).tolist()
    if wrong:
        expected = (
            f"{mask_values[0]} to {mask_values[-1]}"
            if isinstance(mask_values, range)
            else ", ".join(map(str, mask_values))
        )
        message = f"{path}: values {_some(wrong)} are not classes; expected: {expected}"
        if path.suffix.lower() in (".jpg", ".jpeg"):
            raise DataError(message, JPEG)
        raise UnknownValues(message, _values_advice(found.tolist(), mask_values))
    classes = np.zeros(max(mask_values) + 1, np.uint8)
    classes[list(mask_values)] = range(len(mask_values))
    return np.take(classes, mask)


def _values_advice(found: list[int], mask_values: Sequence[int]) -> str:
    if isinstance(mask_values, range) and len(found) <= len(mask_values) and min(found) >= 0:
        pair = [0, max(found)] if len(mask_values) == 2 and len(found) == 1 else found
        return f"If they are the values of the classes, set the data set's mask_values, background first: {pair}."
    return "Correct the mask, or num_classes and mask_values in the config."


def integers(raw: Raw) -> NDArray[Any]:
    """A mask's values ``(*S)``, with an integer type.

    Raises:
        DataError: it is a colour image, or contains fractions.
    """
    values = _one_channel(raw)
    if values.dtype.kind in "ui":
        return values
    whole = np.isfinite(values)
    near = values[whole]
    whole[whole] = (np.abs(near) < 2**53) & (np.abs(near - np.rint(near)) <= WHOLE)
    if not whole.all():
        wrong = np.unique(values[~whole]).tolist()
        raise DataError(f"{raw.path}: fractional values, {_some(wrong)}: not a mask of class indices", FRACTIONS)
    whole_numbers: NDArray[Any] = np.rint(values).astype(np.int64)
    return whole_numbers


def _one_channel(raw: Raw) -> NDArray[Any]:
    if raw.channels == 1:
        return raw.values
    if (raw.values != raw.values[..., :1]).any():
        raise DataError(f"{raw.path}: a colour image, not a mask of class indices", COLOURS)
    values: NDArray[Any] = raw.values[..., 0]
    return values


def _some(values: Sequence[float]) -> str:
    return some([f"{value:.9g}" for value in values])
