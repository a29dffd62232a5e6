"""2D images, read with Pillow."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from relay.data.formats.files import DAMAGED
from relay.errors import DataError

MOST_PIXELS = 1 << 29
"""Maximum pixels of an image, 23 000 × 23 000: 1.6 GB in colour. Pillow's limit, a third of it, is for web servers."""
Image.MAX_IMAGE_PIXELS = None  # MOST_PIXELS is checked instead, with a message that names the size
# they are about irrelevant tags; an unreadable image is an error
warnings.filterwarnings("ignore", module=r"PIL\.")
EXIF_ORIENTATION = 0x0112


def decode(path: Path, indices: bool) -> tuple[NDArray[Any], int, tuple[str, ...]]:
    """``(H, W)`` or ``(H, W, 3)``, upright as viewers and annotators show it; its EXIF orientation; notes.

    Raises:
        DataError: it can't be read.
    """
    try:
        # given a path, Pillow would map an uncompressed TIFF into memory, and scramble it if its orientation is 5 to 8
        with path.open("rb") as file, Image.open(file) as opened:
            _check(path, opened)
            exif = _exif(opened)  # before decoding, which turns TIFF files
            values, notes = _pixels(path, ImageOps.exif_transpose(opened), indices)
    except (DataError, MemoryError):
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: can't be read: not an image of a known type", DAMAGED) from error
    except Exception as error:  # decoders can raise anything for a damaged file
        raise DataError(f"{path}: can't be read: {error}", DAMAGED) from error
    return values, exif, notes


def exif_of(path: Path) -> int:
    """An image's EXIF orientation, 1 to 8; 1 is upright."""
    with Image.open(path) as opened:
        return _exif(opened)


def _exif(opened: Image.Image) -> int:
    turn = opened.getexif().get(EXIF_ORIENTATION, 1)
    return turn if turn in range(2, 9) else 1


def _check(path: Path, opened: Image.Image) -> None:
    frames = getattr(opened, "n_frames", 1)
    if frames != 1 and opened.format != "MPO":  # a camera's JPEG with previews after the photograph
        raise DataError(
            f"{path}: {frames} images in one file",
            "Save each one in its own file. If they are slices of a volume, save them all as one .nii.gz or .mha.",
        )
    width, height = opened.size
    if width * height > MOST_PIXELS:
        size = f"{width}×{height} is {width * height / 1e6:.0f} megapixels"
        raise DataError(
            f"{path}: {size}; the limit is {MOST_PIXELS / 1e6:.0f}",
            "Crop it to the relevant part or reduce its size, and do the same with its mask (nearest neighbour).",
        )
    if _is_deep_colour(opened):
        raise DataError(
            f"{path}: colour with more than 8 bits per channel, of which Pillow reads only the upper 8",
            "If it is grey, save it as an 8- or 16-bit grey image. If it has colours, save it with 8 bits per channel.",
        )


def _is_deep_colour(opened: Image.Image) -> bool:
    """Whether decoding drops bits: Pillow supports 16 bits only for grey images, and scales others down."""
    if opened.mode.startswith(("I", "F")):
        return False
    args = [tile.args for tile in getattr(opened, "tile", ())]
    told = [given if isinstance(given, tuple) else (given,) for given in args]
    if opened.format == "PPM":  # (raw mode, largest value)
        return any(isinstance(largest, int) and largest > 255 for _, *rest in told for largest in rest)
    return any(isinstance(first, str) and ";16" in first for first, *_ in told)


def _pixels(path: Path, picture: Image.Image, indices: bool) -> tuple[NDArray[Any], tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    if "A" in picture.mode and picture.mode != "LAB" and picture.getchannel("A").getextrema() != (255, 255):
        if indices:
            advice = "Save it without an alpha channel: the class is given by a pixel's value, not by its opacity."
            raise DataError(f"{path}: partly transparent, which can't represent a class", advice)
        notes = ("partly transparent; used the colours underneath",)
    plain = picture.mode in ("1", "L", "RGB", "F") or picture.mode.startswith("I")
    plain = plain or (indices and picture.mode == "P")
    grey = picture.mode in ("LA", "La")
    array: NDArray[Any] = np.array(picture if plain else picture.convert("L" if grey else "RGB"))
    if array.dtype == np.bool_:
        array = np.uint8(1 if indices else 255) * array.astype(np.uint8)
    if not indices and array.dtype == np.uint8 and (array == array[0, 0]).all():  # others get a window, which says so
        notes = (*notes, "every pixel has the same value")
    return array, notes
