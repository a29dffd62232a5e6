"""Remove a patient from the files of runs, and leave everybody else's as it is."""

from __future__ import annotations

import csv
import io
import json
import shutil
from collections.abc import Iterable, Iterator, Mapping
from hashlib import sha256
from pathlib import Path

from relay.bundle import measure
from relay.data import Cache
from relay.errors import DataError
from relay.files import read_json, write_text
from relay.locks import locked
from relay.protection.holding import Held
from relay.protection.listing import AGAIN, without_ids
from relay.protection.patient import Person

RECORDS = ("leg.json", "adopted.json", "learned.json")
"""Files beside a table that have its digest."""


def remove(held: Iterable[Held], someone: Person) -> None:
    """Remove a patient from what holds it.

    Raises:
        UserError: a file is damaged; a job of the page is not over.
        OSError: one can't be changed.
    """
    for each in held:
        if each.kind == "cache":
            if cache := Cache.of_environment():
                cache.clear()
        elif each.kind in ("folder", "job"):
            if each.kind == "job":
                _check_over(each.path)
            shutil.rmtree(each.path)
        elif each.kind == "file":
            each.path.unlink(missing_ok=True)
        elif each.kind == "lines":
            kept = [line for line in _lines(each.path) if not someone.in_text.search(line)]
            write_text(each.path, "".join(kept))
        elif each.kind == "ids":
            without_ids(each.path, someone)
        else:
            _without_rows(each.path, someone)


def _check_over(job: Path) -> None:
    """Refuse to remove a job of the page while its process, or its command, lives: each holds a lock."""
    for name in ("lock", "command"):
        with locked(job / name, f"job {int(job.name)} of the page"):
            pass


def rows_of(path: Path, someone: Person) -> Iterator[Mapping[str, str]]:
    """A patient's rows of a table of scores.

    Raises:
        DataError: it is damaged.
    """
    _, rows = _table(path)
    return (row for row in rows if _is_row(row, someone))


def _table(path: Path) -> tuple[list[str], list[dict[str, str]]]:
    try:
        read = csv.DictReader(io.StringIO(path.read_bytes().decode(), newline=""), strict=True)
        rows = list(read)
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} is damaged: {error}", AGAIN) from error
    if any(None in row for row in rows):
        raise DataError(f"{path} is damaged: a line has too many cells", AGAIN)
    return list(read.fieldnames or ()), rows


def _is_row(row: Mapping[str, str], someone: Person) -> bool:
    return someone.is_row(row.get("site"), row.get("patient"), row.get("sample"))


def _without_rows(path: Path, someone: Person) -> None:
    """Rewrite a table, and before it its digest in the record beside it: if this is interrupted between the two, the
    table still has the rows, and the next time puts it right."""
    before, (columns, rows) = measure(path).sha256, _table(path)
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns)
    writer.writeheader()
    writer.writerows(row for row in rows if not _is_row(row, someone))
    after = sha256(text.getvalue().encode()).hexdigest()
    for record in (path.with_name(name) for name in RECORDS):
        said = read_json(record, AGAIN) if record.is_file() else {}
        if isinstance(said.get("sha256"), dict) and said["sha256"].get(path.name) == before:
            said["sha256"][path.name] = after
            write_text(record, json.dumps(said, indent=1) + "\n")
    write_text(path, text.getvalue())


def _lines(path: Path) -> list[str]:
    return path.read_text(errors="replace").splitlines(keepends=True)
