"""Tumours of the mediastinum in CT slices, in the layout of the published RelayLearning project.

``<root_path>/<img_folder>/meta.txt`` is a CSV table with the columns ``instance_id``, ``study_id``, ``img_file``,
``label_file`` and ``positive`` (True or False: whether the slice shows a tumour). The files it names lie beside it:
slices as 16-bit PNG, with values in Hounsfield units above -160, so that 0 is -160 HU; and masks, where a tumour is
above 0. A slice is classified, or its tumour is segmented. All slices of a study stay in one split (Bo et al. 2023,
10.1038/s41746-023-00934-4).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath
from typing import Annotated, Literal

import numpy as np
from pydantic import model_validator
from typing_extensions import Self

from relay.config import Field, options
from relay.data import Case, Dataset, DatasetOptions, Record, Row, Text, Word, is_missing, read_sheet, refuse
from relay.files import exists

COLUMNS = ("instance_id", "study_id", "img_file", "positive")
SAID = {"true": 1, "t": 1, "1": 1, "false": 0, "f": 0, "0": 0}
"""How ``positive`` is written."""


@options
class MediastinumOptions(DatasetOptions):
    """Options of :class:`Mediastinum`.

    Attributes:
        channels: How many windows of a slice the network sees; each needs a ``Normalise`` of its own in ``steps``, in
            the values of the files: 0 to 400 is -160 to 240 HU.
        meta: The table in each ``img_folder``.
    """

    task: Literal["classification", "segmentation"] = "classification"
    root_path: Text
    num_classes: Literal[2] = 2
    class_names: list[Word] | None = Field(default_factory=lambda: ["no tumour", "tumour"])
    channels: Annotated[int, Field(ge=1)] = 2
    meta: Text = "meta.txt"

    @property
    def one_file(self) -> bool:
        """True: channels are windows."""
        return True

    @model_validator(mode="after")
    def _windows(self) -> Self:
        if self.channels > 1 and self.steps is None:
            raise ValueError(
                f"channels: {self.channels} channels would be the same: set steps, with a Normalise window for each; "
                "or channels: 1"
            )
        return self


class Mediastinum(Dataset):
    """CT slices, each with or without a tumour."""

    Options = MediastinumOptions
    options: MediastinumOptions

    def samples(self) -> list[Record]:
        """All slices, site by site, in the order of their tables."""
        found, problems = [], []
        for name in self.options.folder_names:
            path = self.root / name / self.options.meta
            sheet = read_sheet(path, COLUMNS, "Correct root_path, img_folder or meta in the config.")
            masks = ["label_file"] if self.options.task == "segmentation" else []
            sheet.need([*COLUMNS, *masks], "It must have the columns of the published layout")
            lines: dict[str, int] = {}
            for row in sheet.rows:
                record, wrong = self._record(name, path.parent, row)
                if lines.setdefault(record.id, row.line) != row.line:
                    wrong.append(f"{record.id} is in line {lines[record.id]}, too")
                found.append(record)
                problems += [f"{path}, line {row.line}: {why}" for why in wrong]
        refuse(problems, f"{self}: wrong rows", "Correct these rows of the table, or remove them.")
        return found

    def _record(self, name: str, folder: Path, row: Row) -> tuple[Record, list[str]]:
        """A row's slice, and what is wrong with it."""
        image, study = folder / row["img_file"], row["study_id"]
        wrong = [] if row["img_file"] and exists(image) and image.is_file() else [f"there is no {image}"]
        if is_missing(study):
            wrong.append(f"study_id is {study!r}")
        target: Path | int | None = SAID.get(row["positive"].casefold())
        if target is None:
            wrong.append(f"positive is {row['positive']!r}, not True or False")
        if self.options.task == "segmentation":
            target = folder / row["label_file"]
            wrong += [] if row["label_file"] and exists(target) and target.is_file() else [f"there is no {target}"]
        one = PurePath(name, row["instance_id"] or row["img_file"]).as_posix()
        return Record(one, study, (image,) * self.options.channels, target), wrong

    def mask_values(self) -> range:
        """All values that a mask may have; :meth:`read` makes two classes of them."""
        return range(256)

    def read(self, sample: Record) -> Case:
        """See :meth:`Dataset.read`; of a mask, everything above 0 is tumour."""
        case = super().read(sample)
        return replace(case, target=(case.target > 0).astype(np.uint8)) if case.dense else case
