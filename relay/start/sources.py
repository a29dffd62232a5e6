"""What is given to ``relay init``: which data set reads it, and what it says about the target."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.data import PICTURES, VOLUMES, Sheet, is_missing, read_sheet
from relay.errors import DataError, UserError, some, typed
from relay.files import exists
from relay.start.finding import IMAGES, MASKS, find_images, layout_of, named_in
from relay.start.series import series_options

MOST_CLASSES = 50
"""With more different words than this, or with a number above it, such as an age, a column holds no classes."""
MOST_FOLDERS, FEWEST_IMAGES = 10, 5
"""With more folders, or with fewer images in each of several, folders are probably no classes."""


@dataclass(frozen=True)
class Source:
    """Where the images are, and what is known about them before they are read.

    Attributes:
        dataset: Its name in a config.
        kwargs: Its options, as far as known.
        examples: Some names of images, for the question about patients.
        assumed: What was assumed about the target, and how to say otherwise; empty if nothing.
        doubtful: Whether what was assumed is worth a warning.
        numbers: How a table writes its classes, if as numbers.
    """

    dataset: str
    kwargs: dict[str, Any]
    examples: Sequence[str]
    assumed: str = ""
    doubtful: bool = False
    numbers: Sequence[str] = ()


def source_of(path: Path, task: str | None = None, columns: Mapping[str, Any] | None = None) -> Source:
    """Recognise a folder (images and masks, a folder for each class, nnU-Net, DICOM) or a table.

    Args:
        task: The task; None to tell it from the data.
        columns: The options of the data set ``table`` that name its columns; for DICOM, of its table of targets.

    Raises:
        UserError: it is none of these; the advice says what to do.
    """
    if path.is_file():
        return _table(path, task, dict(columns or {}))
    layout = layout_of(path)
    if layout == "dicom":
        return _dicom(path, task, dict(columns or {}))
    _, found = find_images(path)
    names = [each.name for each in found[:3]]
    given = {"root_path": str(path)}
    if layout == "images":
        raise UserError(
            f"{path}: images, but no masks, classes or table",
            "Put masks beside the images (image/ and mask/), or images of each class into a folder of its own; or list "
            f"them: {typed('relay', 'data', 'table', path, '-o', path / 'table.csv')}, add the column ValueToPredict, "
            "and give the table.",
        )
    means = "classification" if layout == "classes" else "segmentation"
    if task not in (None, means):
        raise UserError(
            f"--task {task}: the folders in {path} are for {means}", "Leave out --task, or give a table with targets."
        )
    if layout == "nnunet":
        return Source("nnunet", given, names)
    if layout == "classes":
        kinds = sorted({str(each.target) for each in found})
        if task is None and people(kinds, len(found)):
            raise _people_or_classes(path, kinds)
        told = "a folder is a class, and its name travels with the model: it must not name a patient"
        return Source("classes", {**given, "task": means, "class_names": kinds}, names, told)
    inner = {"image_dir": named_in(path, IMAGES), "mask_dir": named_in(path, MASKS)}
    nested = {"nested": True} if any("/" in each.name for each in found) else {}
    return Source("folder", {**given, "task": means, **inner, **nested}, names)


def people(kinds: Sequence[str], images: int) -> bool:
    """Whether words may name patients rather than classes: there are many, they differ in a number only, or there are
    several with few images."""
    numbered = len(kinds) > 2 and len({re.sub(r"\d+", "", kind) for kind in kinds}) == 1
    few = len(kinds) >= FEWEST_IMAGES and images < FEWEST_IMAGES * len(kinds)
    return numbered or few or len(kinds) > MOST_FOLDERS


def _people_or_classes(path: Path, kinds: Sequence[str]) -> UserError:
    table = typed("relay", "data", "table", path, "--images", ".", "--patients", "^([^/]+)/", "-o", path / "table.csv")
    return UserError(
        f"{path} has {len(kinds)} folders with images ({some(kinds, 3)}): are these patients, or classes?",
        "Names of classes travel with the model. If the folders are classes, say so: --task classification. If they "
        f"are patients, make a table, add a column of targets to it, and give the table: {table}",
    )


def _table(path: Path, task: str | None, columns: dict[str, Any]) -> Source:
    if path.name.lower().endswith((*PICTURES, *VOLUMES)):
        raise UserError(f"{path} is one image", "Give the folder with all images, or a table that lists them.")
    sheet = read_sheet(path)
    given: dict[str, Any] = {"root_path": str(path.parent), "table": path.name, **columns}
    target = columns.get("target_column") or ("ValueToPredict" if "ValueToPredict" in sheet.header else "Label")
    given["target_column"] = target
    of = _targets(sheet, target, task)
    return Source("table", given | of.kwargs, [], of.assumed, of.doubtful, of.numbers)


def _dicom(path: Path, task: str | None, columns: dict[str, Any]) -> Source:
    wanted = columns.get("description_regex")
    known, sheet, told = series_options(path, wanted)
    given = {"root_path": str(path), **known, **({"description_regex": wanted} if wanted else {})}
    if (patient := columns.get("patient_column")) is not None:
        given["patient"] = patient
    if sheet is None:
        if task not in (None, "segmentation"):
            raise UserError(f"--task {task}: these series have masks", "Leave out --task, or move the masks away.")
        return Source("dicom", {**given, "task": "segmentation"}, [], told, bool(told))
    given["label_column"] = target = columns.get("target_column") or "Label"
    of = _targets(sheet, target, task)
    said = "; ".join(filter(None, (told, of.assumed)))
    return Source("dicom", given | of.kwargs, [], said, of.doubtful or bool(told), of.numbers)


@dataclass(frozen=True)
class _Column:
    """What a column of targets is for: the task and the classes as options; the rest as in :class:`Source`."""

    kwargs: dict[str, Any]
    assumed: str = ""
    doubtful: bool = False
    numbers: Sequence[str] = ()


def _targets(sheet: Sheet, target: str, task: str | None) -> _Column:
    """What a column is for.

    Raises:
        DataError: there is no such column, or it has no targets.
    """
    sheet.need([target], "Name the column of what is to be predicted: --target")
    kinds = sorted({row[target] for row in sheet.rows if not is_missing(row[target])})
    if not kinds:
        raise DataError(
            f"{sheet.path}: no row has a value in the column {target}", "Fill it in, or name another: --target."
        )
    chosen = task or _task_of_column(sheet, target, kinds)
    if chosen == "multilabel":
        words = sorted({word.strip() for kind in kinds for word in kind.split("|")})
        return _Column({"task": chosen, "class_names": words})
    if chosen != "classification":
        return _Column({"task": chosen})
    if all(kind.isdecimal() for kind in kinds):
        return _numbered(sorted(kinds, key=int), target, task is None)
    told = f"each word in {target} is a class, and travels with the model: it must not name a patient"
    doubtful = task is None and people(kinds, len(sheet.rows))
    return _Column({"task": chosen, "class_names": kinds}, told, doubtful)


def _numbered(kinds: list[str], target: str, guessed: bool) -> _Column:
    """Classes that are written as numbers, in their order."""
    from_0, from_1 = ([str(k + first) for k in range(len(kinds))] for first in (0, 1))
    given = {"task": "classification", "class_names": [f"class {kind}" for kind in kinds]}
    values = {} if kinds == from_0 else {"label_values": kinds}
    told = (
        f"the numbers {kinds[0]} to {kinds[-1]} in {target} were taken for classes; if they are amounts, such as ages, "
        "run relay init again with --task regression"
    )
    return _Column(given | values, told, guessed and kinds not in (from_0, from_1), kinds)


def _task_of_column(sheet: Sheet, target: str, kinds: Sequence[str]) -> str:
    """The task that a column is for.

    Raises:
        DataError: it has so many different words that these are probably names.
    """
    first = sheet.path.parent / kinds[0]
    if "." in first.name and exists(first):
        return "segmentation"
    numbers = [kind for kind in kinds if _number(kind)]
    if 2 * len(numbers) > len(kinds):
        amounts = any("." in text or not 0 <= float(text) <= MOST_CLASSES for text in numbers)
        return "regression" if amounts or len(kinds) > MOST_CLASSES else "classification"
    if len(kinds) > MOST_CLASSES or 2 < len(sheet.rows) < 2 * len(kinds):
        raise DataError(
            f"{sheet.path}: the column {target} has {len(kinds)} different words in {len(sheet.rows)} rows: these are "
            "probably names, not classes",
            "Names of classes travel with the model. Name the column of the targets: --target. If these are classes, "
            "or files of masks, say so: --task classification, or --task segmentation.",
        )
    return "classification"


def _number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
