"""The output folder: what it is of, what is finished in it, and the table of everything."""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

from relay.bulk.listing import Wanted
from relay.errors import UserError
from relay.files import clear, inside, read_bytes, read_record, write_text
from relay.leg import digest
from relay.numbers import sheet_cell

ABOUT, TABLE, RECORDS, LOG, LOCK = "about.json", "predictions.csv", "records", "predict.log", ".lock"
MINE = ("about.json", "predict.log", ".lock", ".lock.by")
"""What may be in a folder before the first image: no predictions, since nothing would say of which model they are."""
NOTHING = (*MINE, "predictions.csv", "validation.json")
"""What is in a folder of ours in which no image was predicted."""
OTHER = "Name another folder with -o, or move this one away."
NEEDED = {"of": str, "image": str, "outputs": dict, "rows": list, "notes": list}
"""What the record of an image must have; ``of``: the digest of what the folder is of."""
LAST = ("uncertainty", "rank", "review", "unlike", "notes", "mask", "map", "seg", "sr", "model")
"""The last columns of the table, of those that are there."""


@dataclass(frozen=True)
class Outputs:
    """An output folder.

    Args:
        folder: where everything is written.
        about: the content of ``about.json`` that says what the folder is of: the model, the images, the settings.
    """

    folder: Path
    about: Mapping[str, Any]

    @property
    def key(self) -> str:
        """Digest of what the folder is of."""
        return sha256(json.dumps(self.about, sort_keys=True).encode()).hexdigest()

    @property
    def table(self) -> Path:
        """The table of everything."""
        return self.folder / TABLE

    def begin(self) -> None:
        """Begin, or resume. A run that has predicted no image claims the folder for nothing.

        Raises:
            UserError: the folder holds other things, or predictions of another model, of other images or with other
                settings.
        """
        path = self.folder / ABOUT
        if not path.is_file():
            others = sorted(each.name for each in self.folder.iterdir()) if self.folder.is_dir() else []
            if others := [name for name in others if name not in MINE or (self.folder / name).is_dir()]:
                raise UserError(f"{self.folder} holds other things, such as {others[0]}", OTHER)
            self.write_about({})
            return
        then = read_record(path, {}, OTHER) or {}
        if self.about.keys() <= then.keys() and self._predicted_nothing():
            clear(self.folder / TABLE)
            self.write_about({})
            return
        for key, now in self.about.items():
            if then.get(key) != json.loads(json.dumps(now)):
                what = {"model": "another model", "images": "other images"}.get(key, "other settings")
                raise UserError(f"{self.folder} holds predictions of {what} ({key} in {path})", OTHER)

    def _predicted_nothing(self) -> bool:
        """Whether only files of ours are here, and the table, if there is one, has nothing but errors."""
        files = (path for path in self.folder.rglob("*") if not path.is_dir())
        if any(path.relative_to(self.folder).as_posix() not in NOTHING for path in files):
            return False
        try:
            with (self.folder / TABLE).open(encoding="utf-8", newline="") as table:
                return all(row.get("error") for row in csv.DictReader(table))
        except FileNotFoundError:
            return True
        except (ValueError, csv.Error):
            return False

    def write_about(self, more: Mapping[str, Any]) -> None:
        """Write ``about.json``, with what is known at the end."""
        write_text(self.folder / ABOUT, json.dumps({**self.about, **more}, indent=1, ensure_ascii=False) + "\n")

    def place(self, kind: str, wanted: Wanted) -> Path:
        """Where to write something of an image, without the extension."""
        return self.folder / kind / wanted.name

    def finished(self, wanted: Wanted) -> dict[str, Any] | None:
        """The record of an image, if it is the same image and nothing that was made of it is missing or damaged."""
        try:
            record = read_record(self._record(wanted), NEEDED, "")
            if record is None or (record["of"], record["image"]) != (self.key, identity(wanted)):
                return None
        except (UserError, OSError):
            return None  # it is made again
        if not all(isinstance(row, dict) for row in record["rows"]) or not all(
            isinstance(n, str) for n in record["notes"]
        ):
            return None
        outputs: dict[str, str] = record["outputs"]
        return record if all(_is(self.folder / path, said) for path, said in outputs.items()) else None

    def finish(self, wanted: Wanted, record: Mapping[str, Any], files: Sequence[Path]) -> dict[str, Any]:
        """Write the record of an image, whose outputs are all written."""
        outputs = {path.relative_to(self.folder).as_posix(): _sha256(path) for path in files}
        whole = {"of": self.key, "image": identity(wanted), "outputs": outputs, **record}
        write_text(self._record(wanted), json.dumps(whole, ensure_ascii=False) + "\n")
        return whole

    def forget(self, wanted: Wanted) -> None:
        """Remove what was made of an image that can't be predicted any more."""
        try:
            record = read_record(self._record(wanted), NEEDED, "") or {}
        except UserError:
            record = {}
        for path in record.get("outputs", {}):
            clear(self.folder / inside(path))
        clear(self._record(wanted))

    def _record(self, wanted: Wanted) -> Path:
        return self.folder / RECORDS / f"{wanted.name}.json"

    def write_table(self, rows: Sequence[Mapping[str, Any]], extra: Sequence[str]) -> Path:
        """Write the table; missing values are empty cells.

        Args:
            extra: columns of the given table, which come last.
        """
        named = dict.fromkeys(key for row in rows for key in row if key not in LAST and key not in extra)
        last = [key for key in LAST if any(key in row for row in rows)]
        columns = ["file", *(key for key in named if key not in ("file", "error")), *last, "error", *extra]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, columns, restval="")
        writer.writerow({name: sheet_cell(name) for name in columns})
        writer.writerows({name: sheet_cell(value) for name, value in row.items()} for row in rows)
        write_text(self.table, text.getvalue())
        return self.table


def identity(wanted: Wanted) -> str:
    """The digest of an image's files.

    Raises:
        DataError, OSError: one can't be read.
    """
    return sha256("\n".join(digest(path) for path in dict.fromkeys(wanted.files)).encode()).hexdigest()


def _is(path: Path, said: str) -> bool:
    return path.is_file() and _sha256(path) == said


def _sha256(path: Path) -> str:
    return sha256(read_bytes(path)).hexdigest()
