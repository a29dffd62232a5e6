"""What a folder of images holds: images and masks in two folders, a folder for each class, a data set of nnU-Net, or
DICOM series."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from relay import registry
from relay.data import PICTURES, VOLUMES, WHOLE, SplitName, by_regex, is_dicom, refuse, stem, tree
from relay.errors import DataError, some, typed

IMAGES = ("image", "images", "img", "imgs", "scans")
MASKS = ("mask", "masks", "label", "labels", "seg", "segmentations")
PARTS = ("train", "training", "val", "valid", "validation", "test", "testing")
Layout = Literal["pairs", "classes", "nnunet", "dicom", "images"]
CHANNELS = "Every image needs each channel once: NAME_<channel>. Correct --channels, or remove these files."


@dataclass(frozen=True)
class Found:
    """An image that was found: its files by channel, its mask or the name of its class, and its split if it says so."""

    name: str
    patient: str
    images: tuple[Path, ...]
    target: Path | str | None = None
    split: SplitName | None = None


def find_images(
    folder: Path,
    images: str | None = None,
    masks: str | None = None,
    channels: Sequence[str] = (),
    patients: str | None = None,
) -> tuple[Layout, list[Found]]:
    """The images in a folder, with what the folders say about them.

    Args:
        folder: The folder.
        images, masks: The folders of images and masks in it; None to recognise them by their names.
        channels: The last parts of the names of an image's files, one for each channel: ``t1``, ``flair``.
        patients: A regular expression that finds the patient in an image's name; None: every image is a patient.

    Returns:
        How the folder is laid out, and the images, sorted.

    Raises:
        DataError: there is no such folder, or no image in it; they are DICOM series; images lack a mask, a channel or a
            patient.
    """
    layout = layout_of(folder, images, masks)
    if layout == "dicom":
        raise DataError(
            f"{folder} contains DICOM files: a table would list each slice as an image of its own",
            "Use the data set dicom, which reads series and whose they are: "
            + typed("relay", "init", folder, "-o", "study.yaml"),
        )
    if layout == "nnunet":
        found = _nnunet(folder)
    elif layout == "pairs":
        found = _pairs(*_two(folder, images, masks), channels)
    elif layout == "classes":
        found = [
            replace(each, patient=f"{inner.name}/{each.name}", target=inner.name)
            for inner in _folders(folder)
            for each in _grouped(tree(inner), channels)
        ]
    else:
        found = _grouped(tree(_named(folder, images or ".", "--images")), channels)
    if not found:
        endings = " ".join(PICTURES + VOLUMES)
        raise DataError(f"no images in {folder}", f"Name the folder that holds them. What is read ends in: {endings}")
    return layout, _with_patients(found, patients)


def layout_of(folder: Path, images: str | None = None, masks: str | None = None) -> Layout:
    """How a folder is laid out, by what is in it.

    Raises:
        DataError: there is no such folder, it has the folders of published splits or of several sites, or only a
            part of nnU-Net's.
    """
    if not folder.is_dir():
        raise DataError(f"folder not found: {folder}", "Name the folder with the images.")
    inner = _folders(folder)
    if "imagesTr" in {path.name for path in inner} and not (images or masks):
        if (folder / "dataset.json").is_file():
            return "nnunet"
        raise DataError(
            f"{folder} has the folder imagesTr of nnU-Net, but no dataset.json",
            "Copy dataset.json from its source; it names the channels and the classes.",
        )
    dicom = _has_dicom(folder)
    if masks or named_in(folder, MASKS):
        return "pairs" if images or named_in(folder, IMAGES) or not dicom else "dicom"
    if len(parts := [path.name for path in inner if path.name.lower() in PARTS]) > 1:
        raise DataError(
            f"{folder} has the folders {', '.join(parts)}, which look like splits",
            "Make a table of each of them, or use a data set that reads splits: classes (split_dirs) or fundus.",
        )
    if not (images or masks) and (sites := [path for path in inner if _is_site(path)]):
        if len(sites) == 1:
            raise DataError(
                f"{folder} has one folder with images, and masks or a table, of its own: {sites[0].name}",
                f"Name that folder: {sites[0]}",
            )
        raise DataError(
            f"{folder} has folders with images, and masks or a table, of their own, as of several sites: "
            + some([path.name for path in sites]),
            f"Name one of them, such as {sites[0]}. The config of a study of several sites lists them in "
            "all_tasks_datasets. If they are classes, move masks and tables out of them.",
        )
    if dicom:
        return "dicom"
    return "classes" if not images and len(inner) > 1 and all(map(_has_images, inner)) else "images"


def _folders(folder: Path) -> list[Path]:
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith("."))


def named_in(folder: Path, names: Sequence[str]) -> str:
    """The folder in ``folder`` with one of these names, or an empty text."""
    return next((path.name for path in _folders(folder) if path.name.lower() in names), "")


def _is_site(folder: Path) -> bool:
    """Whether a folder has a folder of images, and beside it one of masks or a table, directly or in folders of splits
    and the like."""
    below = (path for pattern in ("*/", "*/*/") for path in folder.glob(pattern) if path.is_dir())
    return any(
        named_in(each, IMAGES) and (named_in(each, MASKS) or any(each.glob("*.[ct]sv"))) for each in (folder, *below)
    )


def _has_images(folder: Path) -> bool:
    return any(path.name.lower().endswith(PICTURES + VOLUMES) for path in folder.rglob("*"))


def _has_dicom(folder: Path) -> bool:
    """Whether there is a DICOM file anywhere in it; files whose names say that they are something else are not
    opened."""
    files = (path for path in folder.rglob("*") if not path.name.lower().endswith(WHOLE))
    return any(path.suffix.lower() == ".dcm" or is_dicom(path) for path in files)


def _two(folder: Path, images: str | None, masks: str | None) -> tuple[Path, Path]:
    """The folders of the images and of the masks.

    Raises:
        DataError: there is none with a name that images have, or none of these names.
    """
    there, drawn = images or named_in(folder, IMAGES), masks or named_in(folder, MASKS)
    if not there:
        raise DataError(
            f"{folder} has a folder of masks, {drawn}, but none of images: {', '.join(IMAGES)}",
            f"Put the images into a folder called image, beside {drawn}.",
        )
    return _named(folder, there, "--images"), _named(folder, drawn, "--masks")


def _named(folder: Path, name: str, option: str) -> Path:
    if not (folder / name).is_dir():
        there = some([path.name for path in _folders(folder)]) or "none"
        raise DataError(f"folder not found: {folder / name}", f"Correct {option}. The folders there: {there}.")
    return folder / name


def _pairs(images: Path, masks: Path, channels: Sequence[str]) -> list[Found]:
    """Images with the mask of the same name, in the same folder below ``masks``."""
    drawn = tree(masks)
    found = _grouped(tree(images), channels)
    alone = [f"{each.images[0]}: no mask {each.name} in {masks}" for each in found if each.name not in drawn]
    names = {each.name for each in found}
    alone += [f"{path}: no image {name} in {images}" for name, path in drawn.items() if name not in names]
    refuse(
        alone,
        f"{images.parent}: images and masks without a partner",
        "Give an image and its mask the same name (without the channel), or remove what has no partner.",
    )
    return [replace(each, target=drawn[each.name]) for each in found]


def _grouped(files: Mapping[str, Path], channels: Sequence[str]) -> list[Found]:
    """Files by image: those whose names differ only in the channel belong together."""
    if not channels:
        return [Found(name, name, (path,)) for name, path in files.items()]
    pattern = re.compile(rf"(.+)[_\-.]({'|'.join(map(re.escape, channels))})")
    groups: dict[str, dict[str, Path]] = defaultdict(dict)
    problems = []
    for name, path in files.items():
        if match := pattern.fullmatch(name):
            groups[match[1]][match[2]] = path
        else:
            problems.append(f"{path}: its name ends in none of {', '.join(channels)}")
    problems += [
        f"{name}: no {', '.join(missing)}"
        for name, there in groups.items()
        if (missing := [channel for channel in channels if channel not in there])
    ]
    refuse(problems, "files that make no complete image", CHANNELS)
    return [Found(name, name, tuple(there[channel] for channel in channels)) for name, there in groups.items()]


def _nnunet(folder: Path) -> list[Found]:
    """Cases of nnU-Net with a mask; what is wrong with them, the data set ``nnunet`` says."""
    about = registry.find("datasets", "nnunet").about_of(folder)
    channels = [f"{k:04d}" for k in range(about.files)]
    found = []
    parts: tuple[tuple[str, SplitName | None], ...] = (("Tr", None), ("Ts", "test"))
    for end, part in parts:
        if (folder / f"labels{end}").is_dir():
            masks = {stem(path): path for path in tree(folder / f"labels{end}").values()}
            there = _grouped(tree(folder / f"images{end}"), channels)
            found += [replace(each, target=masks[each.name], split=part) for each in there if each.name in masks]
    return found


def _with_patients(found: Sequence[Found], pattern: str | None) -> list[Found]:
    if pattern is None:
        return list(found)
    try:
        re.compile(pattern)
    except re.error as error:
        raise DataError(f"--patients '{pattern}' is not a regular expression: {error}", "Correct it.") from None
    patients = [by_regex(pattern, each.name) for each in found]
    wrong = [f"{each.images[0]}: {each.name}" for each, who in zip(found, patients, strict=True) if not who]
    refuse(wrong, f"--patients '{pattern}' does not match these images' names", "Correct the regular expression.")
    return [replace(each, patient=who or "") for each, who in zip(found, patients, strict=True)]
