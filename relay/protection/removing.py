"""Remove a patient from the files of runs, and leave everybody else's as it is."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from relay.bundle import measure
from relay.data import Cache
from relay.errors import DataError
from relay.files import read_json, write_text
from relay.protection.patient import Person

if TYPE_CHECKING:
    from relay.protection.held import Held

AGAIN = "Restore it from a backup, or remove the run's folder."
RECORDS = ("leg.json", "adopted.json", "learned.json")
"""Files beside a table that have its digest."""


def remove(held: Iterable[Held], someone: Person) -> None:
    """Remove a patient from what holds it.

    Raises:
        UserError: a file is damaged.
        OSError: one can't be changed.
    """
    for each in held:
        if each.kind == "cache":
            if cache := Cache.of_environment():
                cache.clear()
        elif each.kind == "folder":
            shutil.rmtree(each.path)
        elif each.kind == "file":
            each.path.unlink(missing_ok=True)
        elif each.kind == "lines":
            kept = [line for line in _lines(each.path) if not someone.in_text.search(line)]
            write_text(each.path, "".join(kept))
        elif each.kind == "ids":
            _without_ids(each.path, someone)
        else:
            _without_rows(each.path, someone)


def names(content: object) -> set[str]:
    """The keys of an object, or nothing."""
    return set(content) if isinstance(content, Mapping) else set()


def rows_of(path: Path, someone: Person) -> Iterator[Mapping[str, str]]:
    """A patient's rows of a table of scores.

    Raises:
        DataError: it is damaged.
    """
    _, rows = _table(path)
    return (row for row in rows if someone.is_row(row.get("site"), row.get("patient"), row.get("sample")))


def _table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        read = csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""), strict=True)
        rows = list(read)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is damaged: {error}", AGAIN) from error
    return list(read.fieldnames or ()), rows


def _without_rows(path: Path, someone: Person) -> None:
    """Rewrite a table, and its digest in the record beside it."""
    before, (columns, rows) = measure(path).sha256, _table(path)
    gone = [id(row) for row in rows if someone.is_row(row.get("site"), row.get("patient"), row.get("sample"))]
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(row for row in rows if id(row) not in gone)
    write_text(path, text.getvalue())
    for record in (path.with_name(name) for name in RECORDS):
        if record.is_file():
            said = read_json(record, AGAIN)
            if isinstance(said.get("sha256"), dict) and said["sha256"].get(path.name) == before:
                said["sha256"][path.name] = measure(path).sha256
                write_text(record, json.dumps(said, indent=1) + "\n")


def _without_ids(path: Path, someone: Person) -> None:
    """Rewrite a split, or the digests of a leg's files at this site."""
    said: dict[str, Any] = read_json(path, AGAIN)
    if path.parent.name == "splits":
        said = {part: [name for name in said[part] if name not in someone.images] for part in said}
    else:
        own = {name: value for name, value in said[someone.site].items() if name not in someone.images}
        said = {**said, someone.site: own}
    write_text(path, json.dumps(said, indent=1) + "\n")


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines(keepends=True)
