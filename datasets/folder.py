"""A folder of images beside a folder of masks, in any format Pillow or SimpleITK reads.

``<root_path>/<img_folder>/image/NAME.png`` with ``…/mask/NAME.png``: one file each, with the same stem; 2D or
3D. Masks contain class indices, or the values in ``mask_values``.
"""

from __future__ import annotations

import re
import unicodedata
from functools import cached_property
from pathlib import Path, PurePath
from typing import Literal

from pydantic import ValidationInfo, field_validator

from relay.config import options
from relay.data import (
    Dataset,
    DatasetOptions,
    MaskValues,
    Record,
    Regex,
    Text,
    alike,
    by_regex,
    clean,
    pairs,
    read_table,
    refuse,
    stem,
)
from relay.errors import DataError

UNKNOWN = "Correct patient_regex, complete the patient_table, or remove these images."


@options
class FolderOptions(DatasetOptions):
    """Options of :class:`Folder`.

    Attributes:
        image_dir: The sub-folder with the images.
        mask_dir: The sub-folder with the masks.
        nested: Images may be in folders below these, each mask in the folder of the same name; an image's id and
            what ``patient_regex`` and ``test_regex`` see then begin with the folders: ``p01/scan_2/slice_07``.
        mask_values: The mask value of each class, background first: [0, 255] for black and white masks. None: the
            class indices 0, 1, ….
        patient_regex: Finds the patient in a file's stem: group 1, or the whole match. Without it and without
            a table, every image is a patient.
        patient_table: A CSV file (commas, semicolons or tabs; UTF-8), under ``root_path`` or anywhere, with the
            patient of each stem.
        id_column: The table's column of stems.
        patient_column: The table's column of patients.
        only: Only images whose stem matches this regular expression anywhere, such as those of one scanner.
        test_regex: Images whose stem matches it anywhere are the published test set.
    """

    task: Literal["segmentation"] = "segmentation"
    root_path: Text
    image_dir: Text = "image"
    mask_dir: Text = "mask"
    nested: bool = False
    mask_values: MaskValues | None = None
    patient_regex: Regex | None = None
    patient_table: str | None = None
    id_column: Text = "id"
    patient_column: Text = "patient"
    only: Regex | None = None
    test_regex: Regex | None = None

    @field_validator("patient_table")
    @classmethod
    def _one_way_to_the_patient(cls, table: str | None, info: ValidationInfo) -> str | None:
        if table is not None and info.data.get("patient_regex") is not None:
            raise ValueError("set only one of patient_regex and patient_table")
        return table


class Folder(Dataset):
    """Images and masks with the same names in two folders."""

    Options = FolderOptions
    options: FolderOptions

    def folders(self) -> list[Path]:
        """The image and the mask folder of each ``img_folder``."""
        parts = (self.options.image_dir, self.options.mask_dir)
        return [self.root / name / part for name in self.options.folder_names for part in parts]

    def samples(self) -> list[Record]:
        """All pairs, folder by folder, each sorted by name."""
        places = self.folders()
        problems: list[str] = []
        found = []
        for name, images, masks in zip(self.options.folder_names, places[::2], places[1::2], strict=True):
            for image, mask in pairs(images, masks, self.options.nested):
                inner = image.parent.relative_to(images) / stem(image)
                if self.options.only is None or _matches(self.options.only, inner.as_posix()):
                    found.append(self._sample(PurePath(name), inner.as_posix(), image, mask, problems))
        refuse(problems, f"{self}: images without a known patient", UNKNOWN)
        if self.options.only and not found:
            raise DataError(f"{self}: only '{self.options.only}' matches no image", "Correct only, or leave it out.")
        if self.options.test_regex and found and not any(sample.split == "test" for sample in found):
            names = ", ".join(PurePath(sample.id).name for sample in found[:3])
            raise DataError(
                f"{self}: test_regex '{self.options.test_regex}' matches no image; names look like {names}",
                "Correct test_regex, or leave it out to choose the test set by patient.",
            )
        return found

    def _sample(self, folder: PurePath, name: str, image: Path, mask: Path, problems: list[str]) -> Record:
        patient: str | None = (folder / name).as_posix()
        if self.options.patient_table is not None:
            patient = self._table.get(name)
        elif self.options.patient_regex is not None:
            patient = by_regex(self.options.patient_regex, name)
        if patient is None:
            problems.append(self._unknown(name, image))
        test = self.options.test_regex
        part: Literal["train", "test"] = "test" if test and _matches(test, name) else "train"
        return Record((folder / name).as_posix(), patient or "", (image,), mask, part)

    @cached_property
    def _table(self) -> dict[str, str]:
        path = self.root / (self.options.patient_table or "")
        return read_table(path, self.options.id_column, self.options.patient_column)

    @cached_property
    def _by_likeness(self) -> dict[str, str]:
        """The first of the table's names that are alike: there may be as many unknown images as it has rows."""
        return {alike(name): name for name in reversed(self._table)}

    def _unknown(self, its: str, image: Path) -> str:
        """Why an image has no patient."""
        if self.options.patient_table is None:
            return f"{image}: patient_regex does not match its name, {its}"
        whole = clean(image.name)
        near = self._by_likeness.get(alike(its)) or (whole if whole in self._table else None)
        said = f", but {near!r}: ids must be exact file names without the extension" if near else ""
        return f"{image}: the table has no {its!r}{said}"


def _matches(pattern: str, name: str) -> bool:
    return re.search(unicodedata.normalize("NFC", pattern), name) is not None
