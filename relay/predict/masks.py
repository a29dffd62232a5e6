"""Predicted masks as files, in the geometry of their image."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data import EXIF_ORIENTATION, Pixels, Record, exif_of, is_volume, read_geometry
from relay.errors import DataError
from relay.files import atomic, inside, write_bytes
from relay.palette import PALETTE

UNTURN = {2: 0, 3: 3, 4: 1, 5: 5, 6: 2, 7: 6, 8: 4}
"""EXIF orientation → the ``Image.Transpose`` that undoes what was done to see a picture upright."""
COLOURS = [value for label in range(256) for value in PALETTE[(label - 1) % 7 + 1 if label else 0]]
"""Of class 0, 1, …: the first is black; from the ninth on they begin again."""


def path_of(sample: Record) -> Path:
    """Path of a sample's files below a folder, without the extension."""
    return inside(sample.id)


def save_mask(mask: Pixels, like: Path, place: Path) -> Path:
    """Save class indices as a palette PNG or as NIfTI, voxel for voxel as the image is stored.

    Args:
        mask: uint8 ``(*S)``, in the orientation in which images are read (:mod:`relay.data.formats.geometry`).
        like: the image's file.
        place: where to write, without the extension.

    Returns:
        The path of the file.

    Raises:
        DataError: the image has another size.
    """
    path = place.with_name(place.name + (".nii.gz" if is_volume(like) or mask.ndim == 3 else ".png"))
    if path.suffix == ".png":
        _save_png(mask, like, path, COLOURS)
    else:
        save_volume(mask, like, path)
    return path


def save_map(values: NDArray[np.float32], like: Path, place: Path) -> Path:
    """Save a map of numbers from 0 to 1, ``(*S)``, as :func:`save_mask` does: as a grey PNG, in which 255 stands for 1,
    or as NIfTI with the numbers themselves.

    Raises:
        DataError: the image has another size.
    """
    if is_volume(like) or values.ndim == 3:
        path = place.with_name(f"{place.name}.nii.gz")
        save_volume(values, like, path)
        return path
    path = place.with_name(f"{place.name}.png")
    _save_png(np.rint(255 * values).astype(np.uint8), like, path, ())
    return path


def _save_png(values: Pixels, like: Path, path: Path, palette: Sequence[int]) -> None:
    """A photograph taken sideways gets a mask that is stored sideways, with the same EXIF orientation."""
    from PIL import Image

    image = Image.fromarray(values)
    if palette:
        image.putpalette(palette)
    exif = Image.Exif()
    turned = exif_of(like) if like.is_file() else 1  # synthetic images have no file
    if turned != 1:
        image = image.transpose(Image.Transpose(UNTURN[turned]))
        exif[EXIF_ORIENTATION] = turned
    data = io.BytesIO()
    image.save(data, "PNG", exif=exif)
    write_bytes(path, data.getvalue())


def save_volume(array: NDArray[Any], like: Path, path: Path) -> None:
    """Save an array ``(*S)``, in the orientation in which images are read, as NIfTI in the geometry of an image's file.

    Raises:
        DataError: the image has another size.
    """
    import SimpleITK as sitk

    geometry = read_geometry(like)
    try:
        image = sitk.GetImageFromArray(geometry.turn_back(array) if geometry else array)
    except ValueError as error:
        advice = "If a data set's read() crops or turns a volume, masks can't be saved in the volume's geometry."
        raise DataError(f"{like}: its mask can't be saved: {error}", advice) from error
    if geometry:
        image.SetSpacing(geometry.spacing)
        image.SetOrigin(geometry.origin)
        image.SetDirection(geometry.direction)
    with atomic(path) as beside:
        sitk.WriteImage(image, str(beside))
