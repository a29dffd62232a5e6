"""Write tables of images: CSV or TSV with GaNDLF's columns, or the YAML of ECVL."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from relay.config import dump
from relay.errors import UserError
from relay.files import write_text
from relay.start.finding import Found

MARKS = {".csv": ",", ".tsv": "\t"}
YAMLS = (".yml", ".yaml")
SUBJECT, MASK, VALUE, SPLIT = "SubjectID", "Label", "ValueToPredict", "split"
PARTS = {"train": "training", "val": "validation", "test": "test"}
Rows = Sequence[Mapping[str, str]]


def columns_of(found: Sequence[Found], beside: Path) -> list[dict[str, str]]:
    """Rows with GaNDLF's columns: ``SubjectID``, ``Channel_0``, …, and ``Label`` or ``ValueToPredict``.

    Args:
        beside: The folder of the table: files are named from there.
    """
    rows, dealt = [], any(each.split for each in found)
    for each in found:
        row = {SUBJECT: each.patient}
        row |= {f"Channel_{k}": _from(path, beside) for k, path in enumerate(each.images)}
        if isinstance(each.target, Path):
            row[MASK] = _from(each.target, beside)
        elif each.target is not None:
            row[VALUE] = each.target
        if dealt:
            row[SPLIT] = each.split or ""
        rows.append(row)
    return rows


def _from(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, folder)).as_posix()


def write_sheet(path: Path, rows: Rows, mark: str = ",", replace: bool = False) -> None:
    """Write rows to a file, in the form that its ending says.

    Args:
        path: ``.csv``, ``.tsv``, or ``.yml`` for ECVL.
        rows: The rows, all with the same columns.
        mark: The separator of a ``.csv``.
        replace: Overwrite the file if it exists.

    Raises:
        UserError: it exists, its ending is another, or ECVL can't say what the rows do.
    """
    if path.exists() and not replace:
        raise UserError(f"{path} exists", "Name another file, or give --replace.")
    if not path.parent.is_dir():
        raise UserError(f"there is no folder {path.parent}", "Make it first, or name another one.")
    ending = path.suffix.lower()
    if ending in YAMLS:
        write_text(path, dump(_ecvl(path.stem, rows)))
    elif ending in MARKS:
        write_text(path, _csv(rows, MARKS[ending] if ending == ".tsv" else mark))
    else:
        raise UserError(f"{path}: unknown ending", f"Let it end in {', '.join([*MARKS, *YAMLS])} (ECVL).")


def _csv(rows: Rows, mark: str) -> str:
    text = io.StringIO(newline="")
    blank = any(
        cell.startswith(" ") for row in rows for cell in (*row, *row.values())
    )  # readers skip it, unless quoted
    writer = csv.DictWriter(
        text, list(rows[0]), delimiter=mark, lineterminator="\n", quoting=csv.QUOTE_ALL if blank else csv.QUOTE_MINIMAL
    )
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _ecvl(name: str, rows: Rows) -> dict[str, Any]:
    """See :mod:`datasets.ecvl`. Columns that it has no word for become features."""
    known = {"Channel_0", MASK, VALUE, SPLIT}
    if "Channel_0" not in rows[0] or "Channel_1" in rows[0]:
        raise UserError("ECVL lists one file an image, in the column Channel_0", "Write a .csv instead.")
    features = [column for column in rows[0] if column not in known]
    classes = sorted({row[VALUE] for row in rows}) if VALUE in rows[0] else []
    content: dict[str, Any] = {"name": name, **({"classes": classes} if classes else {}), "features": features}
    content["images"] = [_image(row, features) for row in rows]
    if SPLIT in rows[0]:
        parts = {part: [k for k, row in enumerate(rows) if row[SPLIT] == part] for part in PARTS}
        content["split"] = {PARTS[part]: numbers for part, numbers in parts.items() if numbers}
    return content


def _image(row: Mapping[str, str], features: Sequence[str]) -> dict[str, Any]:
    label = row.get(MASK) or row.get(VALUE)
    return {
        "location": row["Channel_0"],
        **({"label": label} if label else {}),
        "values": {feature: row[feature] or None for feature in features},
    }
