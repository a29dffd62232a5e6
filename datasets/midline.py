"""The midline of the brain in CT slices, in the layout of the published RelayLearning project.

``<root_path>/<img_folder>/<study>/NAME.jpg`` with ``mask_NAME.png`` beside it: 1 clear midline, 2 vague midline, 0 and
values above 10 background, which become the two classes background and midline. All slices of a study stay in one split
(Bo et al. 2023, 10.1038/s41746-023-00934-4).
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path, PurePath
from typing import Annotated, Literal

import numpy as np

from relay.config import Field, options
from relay.data import Case, Dataset, DatasetOptions, Record, Text, Word, refuse
from relay.errors import DataError
from relay.files import read_json

MASK = "mask_"
LAST = 10
"""Values above it mean that it is not known what is there."""
META = "meta.json"
WITHOUT = "Leave out positive_only, or make the file with the published code."


@options
class MidlineOptions(DatasetOptions):
    """Options of :class:`Midline`.

    Attributes:
        positive_only: Only slices that show a midline, as ``meta.json`` in the site's folder lists them
            (``{study: {pos_slices: [NAME]}}``), which the published code writes.
    """

    task: Literal["segmentation"] = "segmentation"
    root_path: Text
    num_classes: Literal[2] = 2
    class_names: list[Word] | None = Field(default_factory=lambda: ["background", "midline"])
    channels: Annotated[int, Field(ge=1)] = 1
    positive_only: bool = False


class Midline(Dataset):
    """CT slices of the brain, in a folder for each study."""

    Options = MidlineOptions
    options: MidlineOptions

    def samples(self) -> list[Record]:
        """All slices, site by site, study by study, sorted by name."""
        found, problems = [], []
        for name, folder in zip(self.options.folder_names, self.folders(), strict=True):
            if not folder.is_dir():
                raise DataError(f"folder not found: {folder}", "Correct root_path or img_folder in the config.")
            listed = self._positive(folder) if self.options.positive_only else None
            for study in sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith(".")):
                for image in self._of_study(study, listed):
                    mask = image.with_name(f"{MASK}{image.stem}.png")
                    problems += [f"{file}: does not exist" for file in (image, mask) if not file.is_file()]
                    one = PurePath(name, study.name)
                    found.append(Record((one / image.stem).as_posix(), one.as_posix(), (image,), mask))
        refuse(problems, f"{self}: slices or masks that are missing", "Add these files, or remove their partners.")
        return found

    def _of_study(self, study: Path, listed: dict[str, list[str]] | None) -> list[Path]:
        if listed is not None:
            return [study / f"{name}.jpg" for name in sorted(listed.get(study.name, []))]
        return sorted(
            path for path in study.iterdir() if path.suffix.lower() == ".jpg" and not path.name.startswith((MASK, "."))
        )

    def _positive(self, folder: Path) -> dict[str, list[str]]:
        """The slices with a midline, by study."""
        path = folder / META
        if not path.is_file():
            raise DataError(f"{self}: there is no {path}, which lists the slices with a midline", WITHOUT)
        said = read_json(path, WITHOUT)
        try:
            return {study: [str(name) for name in about["pos_slices"]] for study, about in said.items()}
        except (TypeError, KeyError, AttributeError):
            raise DataError(f"{path}: does not list the pos_slices of each study", WITHOUT) from None

    def mask_values(self) -> range:
        """All values that a mask may have; :meth:`read` makes two classes of them."""
        return range(256)

    def read(self, sample: Record) -> Case:
        """See :meth:`Dataset.read`; clear and vague midlines are one class."""
        case = super().read(sample)
        drawn = (case.target > 0) & (case.target <= LAST)
        return replace(case, target=drawn.astype(np.uint8))
