"""Find pairs of image and mask files. :mod:`relay.data.read` reads them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from math import prod
from pathlib import Path

from relay.data.patients import alike, clean
from relay.data.problems import refuse
from relay.errors import DataError

PICTURES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".pgm", ".ppm", ".tif", ".tiff", ".webp")
VOLUME_FILES = (".nii.gz", ".nii", ".mha", ".mhd", ".nrrd")
"""The endings of files that hold a whole volume."""
VOLUMES = (*VOLUME_FILES, ".dcm")
WHOLE = (*PICTURES, *VOLUME_FILES)
"""The endings of files that hold a whole image: a ``.dcm`` may be a slice of one."""
MOST = 10_000
"""Most voxels a byte of a file can stand for: compression of even blank images stays far below."""
DAMAGED = "The file is damaged, truncated or of another type. Copy it again from its source, or remove it."
DICOM_ADVICE = (
    "Use the data set dicom, which reads series from folders. Or save each one as a volume (.nii.gz, .nrrd or .mha; "
    "for example with dcm2niix or 3D Slicer), with its mask on the same grid."
)
TWICE = "Keep one of each; extensions and invisible characters don't count."
UID = re.compile(r"[0-9]+(\.[0-9]+)+")
"""How a SeriesInstanceUID looks."""


def is_volume(path: Path) -> bool:
    """Whether a path is a volume or DICOM rather than a 2D image: it has a place in space."""
    return path.name.lower().endswith(VOLUMES) or is_series(path) or is_dicom(path)


def is_series(path: Path) -> bool:
    """Whether a path names a series of DICOM files rather than a file (:mod:`relay.data.dicom.series`): a folder, or
    ``FOLDER/UID``."""
    return path.is_dir() or (UID.fullmatch(path.name) is not None and not path.exists() and path.parent.is_dir())


def dicom_files(folder: Path) -> int:
    """How many DICOM files are in a folder and its subfolders, whatever their names."""
    return sum(map(is_dicom, folder.rglob("*")))


def is_dicom(path: Path) -> bool:
    """Whether a file is DICOM, judging by its first bytes: a scanner's files often have no extension."""
    if path.name.startswith(".") or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False  # an unreadable file belongs to no series


def check_size(path: Path, shape: Sequence[int], size: int) -> None:
    """Refuse a header that gives an image more voxels than its file can hold, before memory is reserved for them.

    Args:
        size: bytes of the file.

    Raises:
        DataError: it does.
    """
    if prod(shape) > MOST * size:
        raise DataError(f"{path}: can't be read: its header gives it a size of {'×'.join(map(str, shape))}", DAMAGED)


def stem(path: Path) -> str:
    """The name of an image file without its extension: ``hippocampus_001`` for ``hippocampus_001.nii.gz``.

    Its letters are composed (NFC): a Mac may write an accent as a separate character.
    """
    name = next((path.name[: -len(end)] for end in VOLUMES if path.name.lower().endswith(end)), path.stem)
    return clean(name)


def listing(folder: Path, below: bool = True) -> dict[str, Path]:
    """The images in a folder by stem, sorted; hidden files and other file types are skipped.

    Args:
        below: Whether to look for DICOM series in its subfolders.

    Raises:
        DataError: the folder does not exist, two of its files have the same stem, or it contains DICOM series.
    """
    if not folder.is_dir():
        raise DataError(f"folder not found: {folder}", _look_around(folder))
    found: dict[str, Path] = {}
    twice, series, nameless = [], [], []
    for path in sorted(folder.iterdir()):
        if below and path.is_dir() and not path.name.startswith(".") and (count := dicom_files(path)):
            series.append(f"{path} contains a series of {count} DICOM files")
            continue
        if path.name.startswith(".") or not path.name.lower().endswith(PICTURES + VOLUMES):
            if path.name != "DICOMDIR" and is_dicom(path):
                nameless.append(str(path))
            continue
        if stem(path) in found:
            twice.append(f"{found[stem(path)].name} and {path.name}")
        found[stem(path)] = path
    refuse(series, f"{folder}: folders where files are expected", DICOM_ADVICE)
    refuse(
        nameless, f"{folder}: DICOM files without the .dcm extension", "Rename them to end in .dcm, or move them away."
    )
    refuse(twice, f"{folder}: files with the same name", TWICE)
    return found


def tree(folder: Path) -> dict[str, Path]:
    """The images in a folder and its subfolders, sorted, by their place below it without the extension: ``a/b/name``.

    Raises:
        DataError: as :func:`listing`.
    """
    below = [path for path in folder.rglob("*") if path.is_dir() and not _hidden(path.relative_to(folder))]
    found: dict[str, Path] = {}
    for inner in (folder, *sorted(below)):
        place = inner.relative_to(folder)
        found |= {(place / name).as_posix(): path for name, path in listing(inner, below=False).items()}
    return found


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _look_around(folder: Path) -> str:
    above = next((parent for parent in folder.parents if parent.is_dir()), Path())
    inside = sorted(path.name for path in above.iterdir() if not path.name.startswith("."))
    shown = ", ".join(inside[:8]) + (", …" if len(inside) > 8 else "") if inside else "nothing"
    return f"Correct root_path or img_folder in the config. {above} exists and contains: {shown}."


def pairs(images: Path, masks: Path, nested: bool = False) -> list[tuple[Path, Path]]:
    """The images in one folder with the masks of the same stem in another, sorted by stem.

    Args:
        nested: Whether to look in subfolders, too: an image and its mask are then in the same one.

    Raises:
        DataError: a folder is missing, or an image has no mask or a mask no image.
    """
    left, right = (tree(images), tree(masks)) if nested else (listing(images), listing(masks))
    more, less = left.keys() - right.keys(), right.keys() - left.keys()
    near = {alike(name): right[name].name for name in less}
    almost = {name: near[alike(name)] for name in more if alike(name) in near}
    alone = [
        f"no mask for {left[name]} in {masks}"
        + (
            f": {almost[name]} there has a name that differs only in case, width, dashes or zeros"
            if name in almost
            else ""
        )
        for name in more
    ]
    named = {*almost.values()}
    alone += [f"no image for {right[name]} in {images}" for name in less if right[name].name not in named]
    refuse(
        sorted(alone),
        f"{images.parent}: images and masks without a partner",
        "Give an image and its mask exactly the same name. Remove files without a partner, or add the missing ones.",
    )
    return [(path, right[name]) for name, path in left.items()]
