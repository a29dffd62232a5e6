"""Copies and pictures of a patient's images, by their names or their content."""

from __future__ import annotations

import filecmp
import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path

from relay.data import is_series, series_files
from relay.files import read_json
from relay.protection.holding import Held
from relay.protection.patient import Person

KEPT = 50
"""How many characters of an image's name the files of ``relay predict --image`` and ``relay explain`` keep."""
MADE = re.compile(r"(.+)-[0-9a-f]{8}(?:_(?:mask|overlay)\..+)?")
"""What they name an image's files, or its folder: the name, and digits."""
AGAIN = "Remove this job's folder: it is only a record of a command that the page has run."


def pictures(root: Path, someone: Person) -> Iterator[Held]:
    """Masks, overlays and heat maps of a run, by the names of their images."""
    for folder in sorted({*root.glob("results/**/predictions/*/*"), *root.glob("results/**/overlays/*/*")}):
        if folder.is_dir() and folder.name == someone.site:
            found = (path for path in sorted(folder.rglob("*")) if path.is_file() and someone.owns(path, folder))
            yield from (Held(path, "file", "a predicted mask or its overlay") for path in found)
    ranked = root / "results" / "correct" / someone.site
    if (listed := ranked / "ranking.json").is_file():
        text = listed.read_text(errors="replace")
        if any(json.dumps(image) in text for image in someone.images):
            yield Held(ranked, "folder", "the masks to correct first; relay correct list makes them again")
    names = {file.name[:KEPT] for file in someone.files}
    for path in sorted(root.glob("results/images/*/*")):
        if (made := MADE.fullmatch(path.name)) and made[1] in names:
            yield Held(path, "file", "a predicted mask or its overlay")
        elif path.name.endswith("_answers.csv") and someone.in_text.search(path.read_text(errors="replace")):
            yield Held(path, "lines", "predicted answers")
    for model in sorted(root.glob("explained/*")):
        shown = [path for path in sorted(model.glob("*/")) if (made := MADE.fullmatch(path.name)) and made[1] in names]
        yield from (Held(path, "folder", "heat maps") for path in shown)
        if shown and (page := model / "explanations.html").exists():
            yield Held(page, "file", "the page of heat maps; relay explain writes it again")


def on_the_page(home: Path, someone: Person) -> Iterator[Held]:
    """Images that were dropped on the page of a home, if a copy of the patient's is among them, with all that was
    predicted for them; and jobs of the page that name the patient.

    Raises:
        UserError: a job's record is damaged.
    """
    sizes = defaultdict(list)
    for file in _own_files(someone):
        sizes[file.stat().st_size].append(file)
    drops = [
        drop
        for drop in sorted((home / "page" / "uploads").glob("*/"))
        if any(_is_copy(path, sizes[path.stat().st_size]) for path in drop.rglob("*") if path.is_file())
    ]
    yield from (Held(drop, "folder", "images dropped on the page, the patient's among them") for drop in drops)
    for record in sorted((home / "page" / "jobs").glob("*/job.json")):
        said = [path.read_text(errors="replace") for path in sorted(record.parent.iterdir()) if path.suffix in TEXTS]
        of_drop = any(drop.name in said_of for drop in drops for said_of in said)
        if of_drop or any(map(someone.in_text.search, said)):
            yield from _written(record) if of_drop else ()
            yield Held(record.parent, "job", "a job of the page")


TEXTS = (".json", ".txt", ".log")


def _written(record: Path) -> Iterator[Held]:
    """What a job has predicted, as its output says."""
    output, cwd = record.with_name("output.txt"), Path(str(read_json(record, AGAIN).get("cwd"))).resolve()
    text = output.read_text(errors="replace") if output.is_file() else ""
    for line in re.findall(r"^Written: (.+)$", text, re.MULTILINE):
        path = (cwd / line).resolve()
        if path.is_relative_to(cwd) and path.is_file():
            yield Held(path, "file", "predicted for dropped images")


def _own_files(someone: Person) -> Iterable[Path]:
    """The files of the patient's images, and of a DICOM series each of its files; synthetic images have none."""
    for path in someone.files:
        yield from series_files(path) if is_series(path) else [path] if path.is_file() else []


def _is_copy(path: Path, files: Iterable[Path]) -> bool:
    return any(filecmp.cmp(path, file, shallow=False) for file in files)
