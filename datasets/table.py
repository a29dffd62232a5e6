"""Images listed in a CSV or TSV table, with the columns that GaNDLF uses, or any others.

``SubjectID,Channel_0,Channel_1,Label`` is read as it is (GaNDLF: Pati et al. 2023, 10.1038/s44172-023-00066-3);
``ValueToPredict`` stands in the place of ``Label`` if images have a class or a number instead of a mask. Files are
named relative to the table. All rows that are wrong are reported together, with their lines.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePath
from typing import Annotated, TypeAlias

from pydantic import ValidationInfo, field_validator

from relay.config import Field, options
from relay.data import (
    ClassWords,
    Dataset,
    DatasetOptions,
    Labels,
    MaskValues,
    NamedFiles,
    Record,
    Regex,
    Row,
    Sheet,
    SplitName,
    Text,
    by_regex,
    clean,
    is_missing,
    of_person,
    read_sheet,
    refuse,
    stem,
)
from relay.errors import DataError, some

CHANNEL = re.compile(r"Channel_(\d+)", re.ASCII)
SUBJECT, MASK, VALUE, SPLIT = "SubjectID", "Label", "ValueToPredict", "split"
PARTS: dict[str, SplitName] = {
    **dict.fromkeys(("train", "training"), "train"),
    **dict.fromkeys(("val", "valid", "validation"), "val"),
    **dict.fromkeys(("test", "testing"), "test"),
}
"""What a split is called."""
FIX = "Correct these rows of the table, or remove them."
Values: TypeAlias = Annotated[list[Text], Field(min_length=1)]


@options
class TableOptions(DatasetOptions):
    """Options of :class:`Table`.

    Attributes:
        table: The table in each ``img_folder``: commas, semicolons or tabs; UTF-8.
        rows: Only the rows that have this value, or one of these, in a column: ``{hospital: north}``.
        only: Only the rows whose id matches this regular expression anywhere.
        image_columns: The columns of the image's files, one for each channel or group of channels; None: ``Channel_0``,
            ``Channel_1`` and so on.
        image_dir: The folder of the images, seen from the table.
        mask_dir: The folder of the masks, seen from the table.
        target_column: What is to be predicted: a mask's file; a class by its name or index; a number; several labels
            as ``A|B``, or a column of 0 and 1 for each. None: ``ValueToPredict`` if there is one and the task has no
            masks, else ``Label``.
        label_values: How the table writes each class, in the order of ``class_names``. None: as in ``class_names``, or
            as its index.
        mask_values: The mask value of each class, background first; None: the class indices 0, 1, ….
        id_column: A name for each row, different in all. None: the name of its first file.
        patient_column: The patient; None: ``SubjectID`` if there is one, else every image is a patient.
        patient_regex: Finds the patient in that column, or in the id if there is none: group 1, or the whole match.
        split_column: Says ``train``, ``val`` or ``test``; used if the table has it. An empty cell leaves it to relay;
            null ignores the column.
    """

    root_path: Text
    table: Text = "table.csv"
    rows: dict[str, Text | Values] = Field(default_factory=dict)
    only: Regex | None = None
    image_columns: Values | None = None
    image_dir: Text = "."
    mask_dir: Text = "."
    target_column: Text | Values | None = None
    label_values: ClassWords | None = None
    mask_values: MaskValues | None = None
    id_column: Text | None = None
    patient_column: Text | None = None
    patient_regex: Regex | None = None
    split_column: Text | None = SPLIT

    @field_validator("target_column")
    @classmethod
    def _a_column_a_label(cls, column: str | list[str] | None, info: ValidationInfo) -> str | list[str] | None:
        if isinstance(column, list) and (info.data.get("task") != "multilabel"):
            raise ValueError("only a multilabel task has several: name one column")
        if isinstance(column, list) and len(column) != info.data.get("num_classes"):
            raise ValueError(f"must name {info.data.get('num_classes')} columns, one for each label")
        return column


class Table(Dataset):
    """Images listed in a table."""

    Options = TableOptions
    options: TableOptions

    def samples(self) -> list[Record]:
        """All rows, table by table, in their order."""
        found: list[Record] = []
        for name in self.options.folder_names:
            prefix = PurePath(name) if len(self.options.folder_names) > 1 else PurePath()
            found += _Reader(self, self.root / name / self.options.table, prefix).records()
        return found


class _Reader:
    """Makes the records of one table; ``prefix`` comes before their ids."""

    def __init__(self, dataset: Table, path: Path, prefix: PurePath) -> None:
        self.dataset, self.options, self.prefix = dataset, dataset.options, prefix
        self.labels, self.files = Labels(self.options, self.options.label_values), NamedFiles()
        named = self.options
        asked = [named.id_column, named.patient_column, *named.rows, *(named.image_columns or ())]
        wanted = [clean(name) for name in [*asked, *self._targets(())] if name is not None]
        self.sheet = read_sheet(path, wanted, "Correct root_path, img_folder or table in the config.")
        self.images = [clean(name) for name in named.image_columns or _channels(self.sheet)]
        self.targets = self._targets(self.sheet.header)
        self.patient = self._patient()
        self.split = self._split()
        self.sheet.need([*wanted, *self.images, *self.targets], "Name the table's columns in the config")

    def records(self) -> list[Record]:
        """A record for each row.

        Raises:
            DataError: rows are wrong; they are named with their lines.
        """
        problems: dict[int, list[str]] = {}
        lines: dict[str, int] = {}
        found = []
        for row in filter(self._chosen, self.sheet.rows):
            wrong: list[str] = []
            record = self._record(row, wrong)
            if self.options.only is not None and not re.search(self.options.only, record.id):
                continue
            if record.id and lines.setdefault(record.id, row.line) != row.line:
                wrong.append(f"{record.id} is in line {lines[record.id]}, too")
            if wrong:
                problems[row.line] = wrong
            found.append(record)
        told = [f"line {line}: {'; '.join(wrong)}" for line, wrong in problems.items()]
        refuse(told, f"{self.dataset}: {self.sheet.path}: wrong rows, {ranges(list(problems))}", FIX)
        if not found:
            self._no_rows()
        return found

    def _chosen(self, row: Row) -> bool:
        wanted = {key: [value] if isinstance(value, str) else value for key, value in self.options.rows.items()}
        return all(row[clean(key)] in map(clean, values) for key, values in wanted.items())

    def _no_rows(self) -> None:
        there = {key: sorted({row[clean(key)] for row in self.sheet.rows}) for key in self.options.rows}
        said = "; ".join(f"{key} is {some(values)}" for key, values in there.items() if values)
        raise DataError(
            f"{self.dataset}: {self.sheet.path}: no rows" + (f" like {self.options.rows}; {said}" if said else ""),
            "Correct rows and only in the config, or add rows to the table.",
        )

    # -- one row -----------------------------------------------------------------------------------------------------

    def _record(self, row: Row, wrong: list[str]) -> Record:
        images = tuple(self._file(self.options.image_dir, row, column, wrong) for column in self.images)
        id_column = self.options.id_column
        name = self._plain(images[0]) if id_column is None else row[clean(id_column)]
        if id_column is not None and is_missing(name):
            wrong.append(f"{id_column} is {name!r}")
        return Record(
            (self.prefix / name).as_posix() if name else "",
            self._who(row, name, wrong),
            images,
            self._target(row, wrong),
            self._part(row, wrong),
            {key: row[key] for key in self.sheet.header},
        )

    def _file(self, folder: str, row: Row, column: str, wrong: list[str]) -> Path:
        """A cell's file; its extension may be left out."""
        if is_missing(row[column]):
            wrong.append(f"{column} is {row[column]!r}")
            return Path()
        base = self.sheet.path.parent / folder
        found = self.files.find([base], row, column)
        if found is None:
            wrong.append(f"{column}: no such file: {base / row[column]}")
        return found or base / row[column]

    def _plain(self, image: Path) -> str:
        """A file's name as an id: seen from the table, without the extension."""
        base = self.sheet.path.parent / self.options.image_dir
        inner = image.relative_to(base) if image.is_relative_to(base) else image
        parts = [part for part in inner.parts if part not in ("..", inner.anchor)]
        return PurePath(*parts[:-1], stem(image)).as_posix() if parts else ""

    def _who(self, row: Row, name: str, wrong: list[str]) -> str:
        said = name if self.patient is None else row[self.patient]
        pattern = self.options.patient_regex
        found = said if pattern is None else by_regex(pattern, PurePath(said).name)
        if found is None:
            wrong.append(f"patient_regex does not match {said!r}")
        elif self.patient is not None and is_missing(found):
            wrong.append(f"{self.patient} is {said!r}")
        return found or ""

    def _target(self, row: Row, wrong: list[str]) -> Path | int | float | tuple[int, ...] | None:
        if self.options.task == "segmentation":
            return self._file(self.options.mask_dir, row, self.targets[0], wrong)
        column = self.targets[0]
        try:
            if len(self.targets) == 1:
                return self.labels(row[column])
            flags = []
            for column in self.targets:
                flags.append(self.labels.flag(row[column]))
            return tuple(flags)
        except ValueError as error:
            wrong.append(f"{column}: {error}")
            return None

    def _part(self, row: Row, wrong: list[str]) -> SplitName | None:
        said = "" if self.split is None else row[self.split]
        if said and said.casefold() not in PARTS:
            wrong.append(f"{self.split} is {said!r}, not train, val or test")
        return PARTS.get(said.casefold())

    # -- columns that the config does not name ---------------------------------------------------------------------

    def _targets(self, header: Sequence[str]) -> list[str]:
        column = self.options.target_column
        if column is None:
            return [VALUE if VALUE in header and self.options.task != "segmentation" else MASK] if header else []
        return [clean(name) for name in ([column] if isinstance(column, str) else column)]

    def _patient(self) -> str | None:
        named, header = self.options.patient_column, self.sheet.header
        if named is not None or SUBJECT in header:
            return clean(named or SUBJECT)
        if maybe := of_person(header):
            raise DataError(
                f"{self.sheet.path}: the column {maybe[0]} seems to say whose image it is; the config ignores it",
                f"Set patient_column: {maybe[0]} (relay init: --patient {maybe[0]}); or rename the column if it says "
                "something else.",
            )
        return None

    def _split(self) -> str | None:
        named = self.options.split_column
        if named is None or (named == SPLIT and SPLIT not in self.sheet.header):
            return None
        self.sheet.need([clean(named)], "Set split_column in the config to the table's column, or to null")
        return clean(named)


def _channels(sheet: Sheet) -> Iterator[str]:
    """``Channel_0``, ``Channel_1``, … in the order of their numbers.

    Raises:
        DataError: there are none.
    """
    found = {int(match[1]): name for name in sheet.header if (match := CHANNEL.fullmatch(name))}
    if not found:
        raise DataError(
            f"{sheet.path}: no column Channel_0; it has {', '.join(sheet.header) or 'none'}",
            "Name the columns of the images in the config: image_columns (relay init: --images).",
        )
    return (found[number] for number in sorted(found))


def ranges(lines: Sequence[int]) -> str:
    """``lines 2, 5 to 7``; ``line 2``."""
    groups: list[list[int]] = []
    for line in lines:
        if groups and line == groups[-1][1] + 1:
            groups[-1][1] = line
        else:
            groups.append([line, line])
    told = ", ".join(f"{a}" if a == b else f"{a} to {b}" for a, b in groups)
    return f"line{'s' if len(lines) > 1 else ''} {told}"
