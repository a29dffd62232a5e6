"""Read CSV and TSV tables, as spreadsheets write them."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from relay.data.formats.files import PICTURES, TWICE, VOLUMES, stem
from relay.data.patients import clean, is_missing
from relay.data.problems import refuse
from relay.errors import DataError, nearest
from relay.files import exists, read_bytes

TABLES = (".csv", ".tsv")
"""The endings of tables."""
MARKS = ",;\t"
"""What separates columns; of those that split a header alike, the first."""


@dataclass(frozen=True)
class Row:
    """A row: the line of the file where it ends, and its cells by column, cleaned; and both as they are in the file."""

    line: int
    cells: dict[str, str]
    stored: dict[str, str] = field(default_factory=dict)

    def __getitem__(self, column: str) -> str:
        return self.cells[column]

    def exact(self, column: str) -> str:
        """A cell as it is in the file, by the cleaned name of its column: names of files count to the last blank."""
        return next((cell for name, cell in self.stored.items() if clean(name) == column), self[column])


class NamedFiles:
    """The files that a table names, whose extensions may be left out."""

    def __init__(self) -> None:
        self._folders: dict[Path, dict[str, list[Path]]] = {}

    def find(self, folders: Sequence[Path], row: Row, column: str) -> Path | None:
        """A cell's file, seen from the first of the folders that has it, at best under its exact name; None if it is
        not there.

        Raises:
            DataError: two files in its folder have its name, but for their extensions.
        """
        cells = (row[column], row.exact(column))
        if exact := next((folder / cell for folder in folders for cell in cells if exists(folder / cell)), None):
            return exact
        for path in (folder / row[column] for folder in folders):
            if found := self._listed(path.parent).get(clean(path.name)):
                names = " and ".join(each.name for each in found)
                refuse([names] if len(found) > 1 else [], f"{path.parent}: files with the same name", TWICE)
                return found[0]
        return None

    def _listed(self, folder: Path) -> dict[str, list[Path]]:
        """The images in a folder by their names without extensions; none if there is no such folder."""
        if folder not in self._folders:
            made = self._folders.setdefault(folder, {})
            for path in sorted(folder.iterdir()) if exists(folder) and folder.is_dir() else ():
                if not path.name.startswith(".") and path.name.lower().endswith(PICTURES + VOLUMES):
                    made.setdefault(stem(path), []).append(path)
        return self._folders[folder]


@dataclass(frozen=True)
class Sheet:
    """A table: its file, the names of its columns, the rows below the header, and what separates its cells."""

    path: Path
    header: list[str]
    rows: list[Row]
    mark: str = ","

    def need(self, columns: Sequence[str], advice: str) -> None:
        """Check that these columns exist once.

        Args:
            advice: What to do if one is missing; the nearest names are added.

        Raises:
            DataError: one does not.
        """
        for column in columns:
            if self.header.count(column) > 1:
                raise DataError(f"{self.path}: two columns named {column}", "Rename one of them.")
        if missing := [column for column in dict.fromkeys(columns) if column not in self.header]:
            near = dict.fromkeys(name for column in missing if (name := nearest(column, self.header)))
            raise DataError(
                f"{self.path}: no column {', '.join(missing)}; it has {', '.join(self.header) or 'none'}",
                advice + (f"; did you mean {', '.join(near)}?" if near else "."),
            )


def read_sheet(path: Path, wanted: Sequence[str] = (), advice: str | None = None) -> Sheet:
    """A table with a header, separated by commas, semicolons or tabs, in UTF-8. Empty rows are skipped.

    Args:
        wanted: Columns that help to recognise the separator.
        advice: What to do if there is no such file.

    Raises:
        DataError: it can't be read, is empty, or some of its rows don't have as many cells as the header.
    """
    text = _text(path, advice)
    if not text.strip():
        raise DataError(f"{path}: an empty table", "Save it again, with the names of its columns in the first line.")
    try:
        mark = _separator(text, wanted)
        reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True, skipinitialspace=True)
        lines = [(reader.line_num, cells) for cells in reader]
    except csv.Error as error:
        raise DataError(f"{path}: can't be read as a table: {error}", "Save it as CSV again.") from error
    stored = lines[0][1] if lines else []
    header = list(map(clean, stored))
    rows = [(line, cells) for line, cells in lines[1:] if any(map(clean, cells))]
    many = len(header)
    wrong = [f"line {n}: {len(cells)} cells for {many} columns" for n, cells in rows if len(cells) != many]
    refuse(
        wrong,
        f"{path}: rows that don't fit the header",
        "Correct or remove these rows. Put quotes around a cell that contains the separator.",
    )
    made = [
        Row(line, dict(zip(header, map(clean, cells), strict=True)), dict(zip(stored, cells, strict=True)))
        for line, cells in rows
    ]
    return Sheet(path, header, made, mark)


def _text(path: Path, advice: str | None) -> str:
    try:
        return read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: can't be read as a table: it is not UTF-8 ({error.reason})",
            "Save it as CSV in UTF-8. In a spreadsheet, choose Save as, CSV UTF-8.",
        ) from error
    except OSError as error:
        raise DataError(f"{path}: can't be read as a table: {error.strerror}", advice) from error


def _separator(text: str, wanted: Sequence[str]) -> str:
    """The separator with which the header has most of the wanted columns, and most columns; of equals the comma."""
    first = text.partition("\n")[0]
    heads = {mark: [clean(cell.strip(' "\r')) for cell in first.split(mark)] for mark in MARKS}
    return max(MARKS, key=lambda mark: (len(set(wanted) & set(heads[mark])), len(heads[mark])))


def read_table(path: Path, id_column: str, patient_column: str) -> dict[str, str]:
    """Image → patient, from a table.

    Raises:
        DataError: it can't be read or lacks a column; or rows have an empty cell in one of the two columns, or give one
            image two patients.
    """
    columns = clean(id_column), clean(patient_column)
    sheet = read_sheet(path, columns, "Correct patient_table in the config.")
    sheet.need(columns, "Set id_column and patient_column in the config to the names of the table's columns")
    table: dict[str, str] = {}
    problems = []
    for row in sheet.rows:
        name, patient = (row[column] for column in columns)
        if not name or is_missing(patient):
            problems.append(f"line {row.line}: {id_column} {name!r}, {patient_column} {patient!r}")
        elif table.setdefault(name, patient) != patient:
            problems.append(f"line {row.line}: {name} has patient {patient!r}, but {table[name]!r} in an earlier line")
    refuse(problems, f"{path}: rows that don't give an image's patient", "Correct or remove these rows of the table.")
    return table
