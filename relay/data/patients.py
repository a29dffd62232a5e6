"""The patient of each image, from a file's name or a table; names of patients and images are normalised.

A patient whose name is written in two ways would count as two, and could be in both training and test. So names are
cleaned on reading, names that mean "not known" are refused, and names that may belong to one person stay together.
"""

from __future__ import annotations

import csv
import dataclasses
import io
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Final

from relay.data.problems import refuse
from relay.data.record import Record
from relay.errors import DataError, nearest

MISSING: Final = frozenset(
    {
        "",
        "na",
        "n/a",
        "n.a.",
        "#n/a",
        "#na",
        "#nv",
        "#n/v",
        "<na>",
        "nan",
        "none",
        "null",
        "nil",
        "missing",
        "unknown",
        "unbekannt",
        "inconnu",
        "k.a.",
        "?",
        ".",
        "nat",
    }
)
"""What tables contain for a missing value, in lower case; a cell of only dashes means the same."""
ADVICE = "Give every image a patient, or remove it. All images of one patient must have the same patient name."


MINUS = "\N{MINUS SIGN}"


def clean(text: str) -> str:
    """A name as used for comparison: composed (NFC), trimmed, with single spaces and no invisible characters."""
    seen = "".join(c for c in unicodedata.normalize("NFC", text) if unicodedata.category(c) != "Cf")
    return " ".join(seen.split())


def alike(name: str) -> str:
    """A key that is equal for names that differ only in case, width or kind of dash (``P-1``, ``p–1``) or that are the
    same number (``7``, ``007``)."""
    folded = clean(unicodedata.normalize("NFKC", clean(name)).casefold())
    folded = "".join("-" if unicodedata.category(c) == "Pd" or c == MINUS else c for c in folded)
    number = re.fullmatch(r"0*(\d+)(\.0*)?", folded, re.ASCII)
    return number[1] if number else folded


def is_missing(name: str) -> bool:
    """Whether a name means a missing value, or is a spreadsheet error (``#REF!``, ``#WERT!``, ``#NAME?``)."""
    folded = clean(name).casefold()
    broken = folded.startswith("#") and folded.endswith(("!", "?"))
    return folded in MISSING or broken or not folded.strip("-–—−_")


def by_regex(pattern: str, stem: str) -> str | None:
    """The patient in a file's stem: the pattern's first group, or its whole match; None if it does not match."""
    match = re.search(unicodedata.normalize("NFC", pattern), clean(stem))
    if match is None:
        return None
    return match[1] if match.re.groups else match[0]


def named(samples: Iterable[Record], who: str) -> list[Record]:
    """Samples with their ids and patients :func:`clean`.

    Raises:
        DataError: images have no patient; the error lists them.
    """
    cleaned = [dataclasses.replace(s, id=clean(s.id), patient=clean(s.patient)) for s in samples]
    # if each image is its own patient, the patient has the name of the file
    unknown = [
        f"{s.image}: patient {s.patient!r}" for s in cleaned if is_missing(s.patient) and s.patient != (s.id or None)
    ]
    refuse(unknown, f"{who}: images without a known patient", ADVICE)
    return cleaned


def doubtful(names: Iterable[str]) -> list[list[str]]:
    """Different names that are :func:`alike`, in groups."""
    groups = defaultdict(set)
    for name in names:
        groups[alike(name)].add(name)
    return sorted(sorted(group) for group in groups.values() if len(group) > 1)


def read_table(path: Path, id_column: str, patient_column: str) -> dict[str, str]:
    """Image → patient, from a CSV file with a header; separated by commas, semicolons or tabs.

    Rows with only empty cells are skipped.

    Raises:
        DataError: it can't be read or lacks a column; or rows are too short or too long, have an empty cell in one
            of the two columns, or give one image two patients.
    """
    rows, columns = _rows(path, (clean(id_column), clean(patient_column)))
    table: dict[str, str] = {}
    problems = []
    for line, cells, many in rows:
        if len(cells) != many:
            problems.append(f"line {line}: {len(cells)} cells for {many} columns")
            continue
        name, patient = (clean(cells[column]) for column in columns)
        if not name or is_missing(patient):
            problems.append(f"line {line}: {id_column} {name!r}, {patient_column} {patient!r}")
        elif table.setdefault(name, patient) != patient:
            problems.append(f"line {line}: {name} has patient {patient!r}, but {table[name]!r} in an earlier line")
    refuse(problems, f"{path}: rows that don't give an image's patient", "Correct or remove these rows of the table.")
    return table


def _rows(path: Path, wanted: Sequence[str]) -> tuple[list[tuple[int, list[str], int]], list[int]]:
    """The rows below the header, as (line, cells, columns of the header); and the positions of the wanted columns."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except UnicodeDecodeError as error:
        raise DataError(
            f"{path}: can't be read as a table: it is not UTF-8 ({error.reason})",
            "Save it as CSV in UTF-8. In a spreadsheet, choose Save as, CSV UTF-8.",
        ) from error
    except OSError as error:
        raise DataError(
            f"{path}: can't be read as a table: {error.strerror}", "Correct patient_table in the config."
        ) from error
    try:
        lines = _parsed(text, _separator(text, wanted))
    except csv.Error as error:
        raise DataError(f"{path}: can't be read as a table: {error}", "Save it as CSV again.") from error
    header = [clean(cell) for cell in lines[0][1]] if lines else []
    for column in wanted:
        if header.count(column) > 1:
            raise DataError(f"{path}: two columns named {column}", "Rename one of them.")
    if missing := [column for column in wanted if column not in header]:
        near = [name for column in missing if (name := nearest(column, header))]
        raise DataError(
            f"{path}: no column {', '.join(missing)}; it has {', '.join(header) or 'none'}",
            "Set id_column and patient_column in the config to the names of the table's columns"
            + (f"; did you mean {', '.join(near)}?" if near else "."),
        )
    found = [(line, cells, len(header)) for line, cells in lines[1:] if any(map(clean, cells))]
    return found, [header.index(column) for column in wanted]


def _separator(text: str, wanted: Sequence[str]) -> str:
    """The separator with which the header has all wanted columns; else the comma."""
    first = text.partition("\n")[0]
    fits = [m for m in ",;\t" if set(wanted) <= {clean(cell.strip(' "\r')) for cell in first.split(m)}]
    return fits[0] if fits else ","


def _parsed(text: str, mark: str) -> list[tuple[int, list[str]]]:
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=mark, strict=True, skipinitialspace=True)
    return [(reader.line_num, cells) for cells in reader]
