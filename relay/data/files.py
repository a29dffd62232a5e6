"""Images and masks in files: finding them in pairs, and reading them.

Pillow reads the pictures (8-bit as they are, everything deeper windowed), SimpleITK everything else; volumes
are always windowed, one by one, for their scale differs from scan to scan (:func:`relay.data.sizes.window`).
"""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from relay.data.patients import alike, clean
from relay.data.problems import refuse
from relay.data.sample import Pixels
from relay.data.sizes import window
from relay.errors import DataError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
VOLUMES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd", ".dcm")
LEVELS = (
    "Where masks hold other values than 0, 1, 2, … (0 and 255, say), list them in mask_values: [0, 255]; "
    "where there are more classes than num_classes, raise it."
)
Spacing = tuple[float, ...] | None


def stem(path: Path) -> str:
    """The name of an image's file without its ending: ``hippocampus_001.nii.gz`` is ``hippocampus_001``.

    Its letters are composed (NFC): a Mac may write an accent as a character of its own.
    """
    name = next((path.name[: -len(end)] for end in VOLUMES if path.name.lower().endswith(end)), path.stem)
    return clean(name)


def listing(folder: Path) -> dict[str, Path]:
    """The images of a folder by stem, sorted; hidden files and those of other kinds are passed over.

    Raises:
        DataError: the folder does not exist, or two of its files have the same stem.
    """
    if not folder.is_dir():
        raise DataError(f"folder not found: {folder}", _look_around(folder))
    found: dict[str, Path] = {}
    twice = []
    for path in sorted(folder.iterdir()):
        if path.name.startswith(".") or not path.name.lower().endswith(PICTURES + VOLUMES):
            continue
        if stem(path) in found:
            twice.append(f"{found[stem(path)].name} and {path.name}")
        found[stem(path)] = path
    refuse(
        twice, f"{folder}: files of the same name", "Keep one of each; the ending and invisible letters don't count."
    )
    return found


def _look_around(folder: Path) -> str:
    above = next((parent for parent in folder.parents if parent.is_dir()), Path())
    inside = sorted(path.name for path in above.iterdir() if not path.name.startswith("."))
    shown = ", ".join(inside[:8]) + (", …" if len(inside) > 8 else "") if inside else "nothing"
    return f"Correct root_path or img_folder in the config. {above} is there and holds: {shown}."


def pairs(images: Path, masks: Path) -> list[tuple[Path, Path]]:
    """The images of one folder with the masks of the same stem in another, sorted by stem.

    Raises:
        DataError: a folder is missing, or an image has no mask or a mask no image.
    """
    left, right = listing(images), listing(masks)
    more, less = left.keys() - right.keys(), right.keys() - left.keys()
    near = {alike(name): right[name].name for name in less}
    almost = {name: near[alike(name)] for name in more if alike(name) in near}
    alone = [
        f"no mask for {left[name]} in {masks}"
        + (f": {almost[name]} there has a name that differs only in case, width or zeros" if name in almost else "")
        for name in more
    ]
    alone += [f"no image for {right[name]} in {images}" for name in less if right[name].name not in almost.values()]
    refuse(
        sorted(alone),
        f"{images.parent}: images and masks without a partner",
        "Give an image and its mask the same name, letter by letter; remove or complete what has no partner.",
    )
    return [(path, right[name]) for name, path in left.items()]


def read_image(path: Path) -> tuple[Pixels, Spacing]:
    """An image as uint8 ``(*S, C)``, with ``C`` 1 or 3, and its spacing in mm (None for pictures).

    Raises:
        DataError: the file can't be read, or is no image of one or three channels.
    """
    if path.name.lower().endswith(VOLUMES):
        values, spacing, channels = _read_volume(path)
    else:
        values, spacing = _read_picture(path), None
        channels = values.shape[2] if values.ndim == 3 else 1
    if channels not in (1, 3):
        raise DataError(f"{path}: {channels} channels; an image has 1 or 3")
    values = values if values.ndim > 2 and channels == 3 else values[..., None]
    is_picture = values.ndim == 3 and values.dtype == np.uint8
    return (values if is_picture else window(values)), spacing


def read_mask(path: Path) -> NDArray[Any]:
    """A mask's values as they are in the file, ``(*S)``, of an integer type.

    Raises:
        DataError: the file can't be read, or is a colour picture or holds fractions.
    """
    if path.name.lower().endswith(VOLUMES):
        values, _, channels = _read_volume(path)
    else:
        values = _read_picture(path, indices=True)
        channels = values.shape[2] if values.ndim == 3 else 1
    if channels > 1:
        if (values != values[..., :1]).any():
            raise DataError(f"{path}: a colour picture, not a mask of class indices")
        values = values[..., 0]
    if values.dtype.kind == "f" and not (values == np.rint(values)).all():
        raise DataError(f"{path}: fractional values, not a mask of class indices")
    return values if values.dtype.kind in "ui" else values.astype(np.int64)


def class_indices(mask: NDArray[Any], levels: Sequence[int], path: Path) -> Pixels:
    """A mask's values as uint8 class indices: ``levels[k]`` becomes ``k``.

    Raises:
        DataError: there are other values, which are named.
    """
    wrong = np.setdiff1d(mask, levels).tolist()
    if wrong:
        shown = ", ".join(map(str, wrong[:5])) + (", …" if len(wrong) > 5 else "")
        expected = f"{levels[0]} to {levels[-1]}" if isinstance(levels, range) else ", ".join(map(str, levels))
        raise DataError(f"{path}: values {shown} stand for no class; expected: {expected}", LEVELS)
    classes = np.zeros(max(levels) + 1, np.uint8)
    classes[list(levels)] = range(len(levels))
    return np.take(classes, mask)


def _read_picture(path: Path, indices: bool = False) -> NDArray[Any]:
    """``(H, W)`` or ``(H, W, 3)``, upright; a palette picture is its colours, or with ``indices`` its indices."""
    try:
        with Image.open(path) as opened:
            frames = getattr(opened, "n_frames", 1)
            picture = ImageOps.exif_transpose(opened)  # upright, as viewers and annotators show it
            plain = picture.mode in ("1", "L", "RGB", "F") or picture.mode.startswith("I")
            plain = plain or (indices and picture.mode == "P")
            grey = picture.mode in ("LA", "La")
            array: NDArray[Any] = np.array(picture if plain else picture.convert("L" if grey else "RGB"))
    except Exception as error:  # decoders raise whatever they like on a damaged file
        raise DataError(f"{path}: can't be read: {error}") from error
    if frames != 1:
        raise DataError(f"{path}: {frames} pictures in one file; save a volume as .nii.gz or .mha")
    bits = array.dtype == np.bool_
    return np.uint8(1 if indices else 255) * array.astype(np.uint8) if bits else array


def _read_volume(path: Path) -> tuple[NDArray[Any], Spacing, int]:
    """Values, spacing in the order of the axes, channels; a single slice is a picture of two axes."""
    import SimpleITK as sitk

    try:
        volume = sitk.ReadImage(str(path))
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise DataError(f"{path}: can't be read: damaged, cut short or of another kind ({reason})") from error
    if "vox_offset" in volume.GetMetaDataKeys():
        _check_nifti(path, volume)
    values: NDArray[Any] = sitk.GetArrayFromImage(volume)
    spacing = volume.GetSpacing()[::-1]
    if volume.GetDimension() == 3 and values.shape[0] == 1:
        values, spacing = values[0], spacing[1:]
    return values, tuple(float(mm) for mm in spacing), int(volume.GetNumberOfComponentsPerPixel())


def _check_nifti(path: Path, volume: Any) -> None:
    """Refuse a NIfTI file that was cut short: ITK reads it without a word, with zeros for what is missing."""
    voxels = volume.GetNumberOfPixels() * int(volume.GetMetaData("bitpix")) // 8
    expected = int(float(volume.GetMetaData("vox_offset"))) + voxels
    try:
        with (gzip.open if path.suffix.lower() == ".gz" else open)(path, "rb") as file:
            actual = sum(len(block) for block in iter(lambda: file.read(1 << 20), b""))
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: can't be read: {error}") from error
    if actual < expected:
        raise DataError(f"{path}: can't be read: cut short, {actual} bytes where {expected} belong")
