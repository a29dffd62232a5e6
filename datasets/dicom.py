"""DICOM series as they come from an archive or a scanner: any tree of files, whatever their names.

A series is one record, and its PatientID the patient. Of the PatientID, only a keyed digest is kept, with a key that
never leaves the site (:mod:`relay.data.dicom.pseudonyms`); ids of records are digests, too. Masks are DICOM-SEG files
anywhere in the tree, or files whose names follow a rule; other targets are in a table.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from string import Formatter
from typing import Annotated, Literal, TypeAlias

from pydantic import field_validator, model_validator
from typing_extensions import Self

from relay.config import Field, options
from relay.data import (
    ClassWords,
    Dataset,
    DatasetOptions,
    Labels,
    MaskValues,
    Pseudonyms,
    Record,
    Regex,
    Series,
    Text,
    clean,
    find_series,
    read_sheet,
    refuse,
    site_pseudonyms,
)
from relay.errors import DataError, some

Target: TypeAlias = int | float | tuple[int, ...]
Key = Literal["PatientID", "StudyInstanceUID", "SeriesInstanceUID"]
FIELDS = ("folder", "name", "series", "study")
UNKNOWN = (
    "Set patient: StudyInstanceUID in the config (relay init: --patient StudyInstanceUID) if no patient has several "
    "studies; or export these series again with their PatientID, or with a pseudonym in it."
)
UNLABELLED = (
    "Add them to the table, restrict the series with modality or description_regex, or move them away. Check that the "
    "table's label_key is the one of the config."
)
UNMASKED = (
    "Put a DICOM-SEG of each series anywhere in the folder, or set mask_name in the config; restrict the series with "
    "modality or description_regex (relay init: --series); or move those without a mask away."
)
SHARED = (
    "Put {series} into mask_name, and name each mask after its series; or choose one series of each folder with "
    "modality or description_regex. If one mask is right for several series, list them in a table."
)


@options
class DicomOptions(DatasetOptions):
    """Options of :class:`Dicom`.

    Attributes:
        modality: Only series of this modality, such as ``CT`` or ``MR``; None: of all.
        description_regex: Only series whose SeriesDescription matches it anywhere, in upper or lower case.
        patient: What tells whose a series is. ``StudyInstanceUID`` is for files without a PatientID: every study counts
            as a patient.
        mask_name: The path of a series' mask, under the site's folder or absolute: ``{folder}/mask.nii.gz``. It can
            contain ``{folder}`` (the folder that contains the series' files), ``{name}`` (that folder's name),
            ``{series}`` and ``{study}`` (the UIDs). None: DICOM-SEG files that refer to the series.
        label_table: For tasks without masks: a CSV or TSV table, under the site's folder or absolute, with the target
            of each patient, study or series.
        label_key: The table's column that says whose target it is, which has the name of a DICOM tag.
        label_column: The table's column with the target: a class by its name or index; a number; labels as ``A|B``.
        label_values: How the table writes each class, in the order of ``class_names``. None: as in ``class_names``, or
            as its index.
        windows: Use each series once for each of the ``channels``, which then differ by their ``Normalise`` steps, such
            as two windows of a CT.
        mask_values: The mask value of each class, background first; in a DICOM-SEG, the numbers of the segments after
            a 0. None: the class indices 0, 1, ….
    """

    root_path: Text
    channels: Annotated[int, Field(ge=1)] = 1
    modality: Text | None = None
    description_regex: Regex | None = None
    patient: Literal["PatientID", "StudyInstanceUID"] = "PatientID"
    mask_name: Text | None = None
    label_table: Text | None = None
    label_key: Key = "PatientID"
    label_column: Text = "Label"
    label_values: ClassWords | None = None
    windows: bool = False
    mask_values: MaskValues | None = None

    @field_validator("mask_name")
    @classmethod
    def _known_fields(cls, rule: str | None) -> str | None:
        try:
            fields = [field for _, field, _, _ in Formatter().parse(rule or "") if field is not None]
        except ValueError as error:
            raise ValueError(f"{error}: write a brace that is no field twice") from None
        if wrong := [field for field in fields if field not in FIELDS]:
            allowed = ", ".join(f"{{{field}}}" for field in FIELDS)
            raise ValueError(f"no field {{{wrong[0]}}}; allowed: {allowed}")
        return rule

    @property
    def one_file(self) -> bool:
        """``windows``."""
        return self.windows

    @model_validator(mode="after")
    def _masks_or_labels(self) -> Self:
        if (self.label_table is None) != (self.task == "segmentation"):
            needs = "needs masks, not a label_table" if self.label_table else "needs a label_table"
            raise ValueError(f"task: {self.task} {needs}")
        if self.label_table is not None and clean(self.label_column) == self.label_key:
            raise ValueError(f"label_column: {self.label_key} says whose the target is; name the target's column")
        if self.windows and self.steps is None:
            raise ValueError("windows: set steps, with a Normalise for each of the channels")
        return self


class Dicom(Dataset):
    """DICOM series in a tree of files."""

    Options = DicomOptions
    options: DicomOptions

    def samples(self) -> list[Record]:
        """All series that the options choose, folder by folder, in the order of their files; reads headers only."""
        pseudonyms = site_pseudonyms()
        unknown: list[str] = []
        unmasked: list[str] = []
        unlabelled: list[str] = []
        found = []
        for folder in self.folders():
            series = find_series(folder, pseudonyms)
            segments, labels = _segments(series), self._labels(folder, pseudonyms)
            for one in self._chosen(folder, series):
                patient = self._patient(one, pseudonyms)
                if not patient:
                    unknown.append(str(one.path))
                target = labels.get(self._key(one)) if labels else self._mask(folder, one, segments[one.uid], unmasked)
                if labels and target is None:
                    unlabelled.append(str(one.path))
                images = (one.path,) * (self.options.channels if self.options.windows else 1)
                found.append(Record(f"{patient}/{pseudonyms.digest(one.uid)}", patient, images, target))
        refuse(unknown, f"{self}: series without a PatientID", UNKNOWN)
        refuse(unmasked, f"{self}: series without exactly one mask", UNMASKED)
        refuse(_shared(found) if self.options.mask_name else [], f"{self}: masks with several series", SHARED)
        refuse(unlabelled, f"{self}: series that are not in {self.options.label_table}", UNLABELLED)
        return found

    def _chosen(self, folder: Path, series: Sequence[Series]) -> Iterator[Series]:
        """The scans that the options choose.

        Raises:
            DataError: there are scans, but none of those.
        """
        scans = [one for one in series if one.scan]
        wanted = re.compile(self.options.description_regex or "", re.IGNORECASE)
        of = [one for one in scans if self.options.modality in (None, one.modality)]
        chosen = [one for one in of if wanted.search(one.description)]
        if scans and not chosen:
            what = f"with a SeriesDescription that matches '{wanted.pattern}'" if of else f"of {self.options.modality}"
            modalities = some(sorted({one.modality or "no modality" for one in scans}))
            raise DataError(
                f"{self}: {folder} contains {len(scans)} series ({modalities}), but none {what}",
                "Correct modality or description_regex in the config.",
            )
        yield from chosen

    def _patient(self, one: Series, pseudonyms: Pseudonyms) -> str:
        by_study = self.options.patient == "StudyInstanceUID"
        return (pseudonyms.digest(one.study) if one.study else "") if by_study else one.patient

    def _key(self, one: Series) -> str:
        """What a series has in the table's column of keys."""
        keys = {"PatientID": one.patient, "StudyInstanceUID": one.study, "SeriesInstanceUID": one.uid}
        return keys[self.options.label_key]

    def _labels(self, folder: Path, pseudonyms: Pseudonyms) -> dict[str, Target]:
        """The target of each patient, by its pseudonym, or of each study or series; none for a task with masks.

        Raises:
            DataError: the table can't be read, or some of its rows have no target or two; no key is quoted.
        """
        if self.options.label_table is None:
            return {}
        key, column = self.options.label_key, clean(self.options.label_column)
        sheet = read_sheet(folder / self.options.label_table, (key, column), "Correct label_table in the config.")
        advice = "Set label_key and label_column in the config to the names of the table's columns"
        if missing := [name for name in (key, column) if name not in sheet.header]:  # without a header, the first line
            message = f"{sheet.path}: no column {', '.join(missing)} in its first line"  # names a patient: not quoted
            raise DataError(message, f"{advice}, and check that its first line has these names.")
        sheet.need((key, column), advice)
        read = Labels(self.options, self.options.label_values)
        found: dict[str, Target] = {}
        problems = []
        for row in sheet.rows:
            whose = pseudonyms.of(row[key]) if key == "PatientID" else row[key]
            try:
                target = read(row[column])
            except ValueError as error:
                problems.append(f"line {row.line}: {column}: {error}")
                continue
            if not whose:
                problems.append(f"line {row.line}: no {key}")
            elif found.setdefault(whose, target) != target:
                problems.append(f"line {row.line}: another {column} than in an earlier line for the same {key}")
        refuse(problems, f"{sheet.path}: wrong rows", "Correct these rows of the table, or remove them.")
        return found

    def _mask(self, folder: Path, one: Series, segments: Sequence[Path], problems: list[str]) -> Path | None:
        """A series' mask; what is wrong goes to ``problems``."""
        if self.options.mask_name is None:
            if len(segments) != 1:
                several = f": {some([str(path) for path in segments])}" if segments else ""
                problems.append(f"{one.path}: {len(segments) or 'no'} DICOM-SEG files refer to it{several}")
                return None
            return segments[0]
        place = (one.path if one.path.is_dir() else one.files[0].parent).absolute()  # the rule may begin with it
        mask = folder / self.options.mask_name.format(folder=place, name=place.name, series=one.uid, study=one.study)
        if not mask.is_file():
            problems.append(f"{one.path}: there is no {mask}")
        return mask


def _shared(records: Sequence[Record]) -> list[str]:
    """Masks that several series have, which would be drawn on one of them."""
    of: dict[object, list[str]] = defaultdict(list)
    for record in records:
        of[record.target].append(str(record.image))
    return [f"{mask}: the mask of {some(paths)}" for mask, paths in of.items() if len(paths) > 1]


def _segments(series: Sequence[Series]) -> dict[str, list[Path]]:
    """The DICOM-SEG files that refer to each series, by its UID."""
    found: dict[str, list[Path]] = defaultdict(list)
    for one in series:
        for file, about in zip(one.files, one.about, strict=True):
            for uid in about:
                found[uid].append(file)
    return found
