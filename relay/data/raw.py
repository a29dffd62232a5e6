"""One image file, decoded: its values as they are stored, and what the file says of its place.

Pillow reads the pictures, SimpleITK everything else.
"""

from __future__ import annotations

import re
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from relay.data.files import DICOM_ADVICE, dicom_files, is_volume
from relay.data.geometry import Geometry
from relay.data.nifti import check
from relay.errors import DataError

MOST_PIXELS = 1 << 29
"""Of a picture, 23 000 × 23 000: 1.6 GB in colour. Pillow's own limit, a third of that, is meant for web servers."""
Image.MAX_IMAGE_PIXELS = None  # MOST_PIXELS is checked instead, with a message that names the size
warnings.filterwarnings(
    "ignore", module=r"PIL\."
)  # of tags that nobody needs; a picture that can't be read is an error
EXIF_ORIENTATION = 0x0112

DICOM_ROWS = "0028|0010"
DICOM_SPACING = {"0028|0030", "0018|1164", "0018|2010", "0028|0008"}
"""Pixel Spacing, Imager Pixel Spacing, Nominal Scanned Pixel Spacing; files of many frames say it elsewhere."""

DAMAGED = "The file is damaged, cut short or of another kind: copy it again from its source, or remove it."
SHEARED = (
    "Resample the image, and its mask with nearest neighbours, to axes at right angles. If it is the header that is "
    "wrong, correct that; the qform of a NIfTI file can't be sheared."
)


@dataclass(frozen=True, eq=False)
class Raw:
    """A file's content.

    Attributes:
        path: The file.
        values: ``(*S)``, with a last axis of channels where there are several.
        channels: Their number.
        geometry: Where a volume's voxels lie; None for pictures, which have no place.
        exif: The EXIF orientation by which a picture was turned upright; 1: not at all.
        notes: What is legal but suspicious, a phrase each.
    """

    path: Path
    values: NDArray[Any]
    channels: int
    geometry: Geometry | None = None
    exif: int = 1
    notes: tuple[str, ...] = ()


def read_raw(path: Path, indices: bool = False) -> Raw:
    """Decode a file.

    Args:
        path: A picture or a volume.
        indices: Whether a palette picture is its indices, not its colours: as masks are read.

    Raises:
        DataError: it can't be read; the advice fits the cause.
    """
    if path.is_dir():
        if dicom_files(path):
            raise DataError(f"{path} is a folder of DICOM files, where one file is expected", DICOM_ADVICE)
        raise DataError(f"{path} is a folder, where one image file is expected", "Name the file in it.")
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise DataError(f"{path}: can't be read: it is empty", DAMAGED)
    except OSError as error:
        advice = "Check that it exists and that you may read it."
        raise DataError(f"{path}: can't be read: {error.strerror or error}", advice) from error
    return _volume(path) if is_volume(path) else _picture(path, indices)


def read_geometry(path: Path) -> Geometry | None:
    """A volume's geometry, from its header alone; None for pictures.

    Raises:
        DataError: the header can't be read, or the file has four axes.
    """
    return _geometry(path, _header(path)) if is_volume(path) else None


def exif_of(path: Path) -> int:
    """A picture's EXIF orientation, 1 to 8; 1 is upright."""
    with Image.open(path) as opened:
        return _exif(opened)


def _exif(opened: Image.Image) -> int:
    turn = opened.getexif().get(EXIF_ORIENTATION, 1)
    return turn if turn in range(2, 9) else 1


def _picture(path: Path, indices: bool) -> Raw:
    """``(H, W)`` or ``(H, W, 3)``, upright, as viewers and annotators show it."""
    try:
        # by its name, Pillow would map an uncompressed TIFF into memory, and scramble it if its orientation is 5 to 8
        with path.open("rb") as file, Image.open(file) as opened:
            _check_picture(path, opened)
            exif = _exif(opened)  # before it is decoded: TIFF files are turned then
            values, notes = _pixels(path, ImageOps.exif_transpose(opened), indices)
    except DataError:
        raise
    except UnidentifiedImageError as error:
        raise DataError(f"{path}: can't be read: not a picture of a known kind", DAMAGED) from error
    except Exception as error:  # decoders raise whatever they like on a damaged file
        raise DataError(f"{path}: can't be read: {error}", DAMAGED) from error
    return Raw(path, values, values.shape[2] if values.ndim == 3 else 1, None, exif, notes)


def _check_picture(path: Path, opened: Image.Image) -> None:
    frames = getattr(opened, "n_frames", 1)
    if frames != 1 and opened.format != "MPO":  # a camera's JPEG with previews behind the photograph
        raise DataError(
            f"{path}: {frames} pictures in one file",
            "Save each as a file of its own; if they are the slices of a volume, all of them as one .nii.gz or .mha.",
        )
    width, height = opened.size
    if width * height > MOST_PIXELS:
        size = f"{width}×{height} is {width * height / 1e6:.0f} megapixels"
        raise DataError(
            f"{path}: {size}; at most {MOST_PIXELS / 1e6:.0f} are read",
            "Crop it to what matters, or save it smaller, its mask likewise (nearest neighbour).",
        )


def _pixels(path: Path, picture: Image.Image, indices: bool) -> tuple[NDArray[Any], tuple[str, ...]]:
    notes: tuple[str, ...] = ()
    if "A" in picture.mode and picture.mode != "LAB" and picture.getchannel("A").getextrema() != (255, 255):
        if indices:
            advice = "Save it without an alpha channel; a class is what a pixel's value says, not how opaque it is."
            raise DataError(f"{path}: transparent in places, which can't stand for a class", advice)
        notes = ("transparent in places; the colours beneath were taken",)
    plain = picture.mode in ("1", "L", "RGB", "F") or picture.mode.startswith("I")
    plain = plain or (indices and picture.mode == "P")
    grey = picture.mode in ("LA", "La")
    array: NDArray[Any] = np.array(picture if plain else picture.convert("L" if grey else "RGB"))
    if array.dtype == np.bool_:
        array = np.uint8(1 if indices else 255) * array.astype(np.uint8)
    return array, notes


def _volume(path: Path) -> Raw:
    import SimpleITK as sitk

    header = _header(path)
    geometry = _geometry(path, header)
    try:
        volume = header.Execute()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    if "complex" in volume.GetPixelIDTypeAsString():
        raise DataError(f"{path}: complex numbers", "Save what you need of them as real numbers: the magnitude, say.")
    channels = int(volume.GetNumberOfComponentsPerPixel())
    values: NDArray[Any] = sitk.GetArrayFromImage(volume)
    keys = set(volume.GetMetaDataKeys())
    notes = check(path, volume, values) if "vox_offset" in keys else ()
    if DICOM_ROWS in keys and not keys & DICOM_SPACING:
        notes = ("its header does not say how large pixels are; 1 mm was taken",)
    shape = geometry.size[::-1] + ((channels,) if channels > 1 else ())
    return Raw(path, values.reshape(shape), channels, geometry, notes=notes)


def _header(path: Path) -> Any:
    """A reader that has read what stands before the voxels."""
    import SimpleITK as sitk

    if path.suffix.lower() in (".mha", ".mhd") and _metaimage_axes(path) > 10:  # ITK would write past its memory
        raise DataError(f"{path}: can't be read: its header has more axes than there are", DAMAGED)
    sitk.ProcessObject.SetGlobalWarningDisplay(False)  # what it warns of ends in an error or a note of ours
    reader = sitk.ImageFileReader()
    reader.SetFileName(str(path))
    try:
        reader.ReadImageInformation()
    except RuntimeError as error:
        raise _unreadable(path, error) from error
    return reader


def _metaimage_axes(path: Path) -> int:
    with path.open("rb") as file:
        said = re.search(rb"NDims\s*=\s*(\d+)", file.read(4096))
    return int(said[1][:9]) if said else 0


def _geometry(path: Path, header: Any) -> Geometry:
    more = [size for size in header.GetSize()[3:] if size > 1]
    if more:
        shape = "×".join(map(str, header.GetSize()))
        raise DataError(
            f"{path}: a {header.GetDimension()}D volume ({shape}), where 3 axes are expected",
            "It holds several volumes, of times or contrasts, say. Save the one you need, or their mean, as one file.",
        )
    try:
        return Geometry.of(header)
    except ValueError as error:
        raise DataError(f"{path}: {error}", "Correct its header, or convert it again from its source.") from error


def _unreadable(path: Path, error: RuntimeError) -> DataError:
    reason = str(error).strip().splitlines()[-1].removeprefix("ITK ERROR: ")
    if "orthonormal" in reason:
        return DataError(f"{path}: sheared: the axes in its header (a NIfTI sform) are not at right angles", SHEARED)
    return DataError(f"{path}: can't be read: damaged, cut short or of another kind ({reason})", DAMAGED)
