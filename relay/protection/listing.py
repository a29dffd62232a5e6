"""JSON files of a run that list images by their ids; and the same files without a patient's images."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from relay.data import SPLITS
from relay.files import damaged, read_json, write_text
from relay.protection.patient import Person

AGAIN = "Restore it from a backup, or remove the run's folder."


def places_of(path: Path, someone: Person) -> list[str]:
    """Where a file lists a patient's images: parts of a split, or the site.

    Raises:
        UserError: it is damaged.
    """
    lists = _lists(path, read_json(path, AGAIN), someone.site)
    return [place for place, ids in lists.items() if someone.images & {*ids}]


def without_ids(path: Path, someone: Person) -> None:
    """Rewrite a file without a patient's images.

    Raises:
        UserError: it is damaged.
    """
    said = read_json(path, AGAIN)
    for ids in _lists(path, said, someone.site).values():
        for name in [name for name in ids if name in someone.images]:
            ids.pop(name) if isinstance(ids, dict) else ids.remove(name)
    write_text(path, json.dumps(said, indent=1) + "\n")


def _lists(path: Path, said: Mapping[str, Any], site: str) -> dict[str, Any]:
    """What lists images in a file's content, by its key: lists of ids, or objects with an id as each key.

    Raises:
        UserError: it is damaged.
    """
    if path.name == "adopted.json":  # a model that has learned from corrected masks says so here, too
        said = said.get("learned") or {}
    if path.name in ("adopted.json", "learned.json"):
        said = said.get("versions") or {}
    keys = (site,) if path.name == "data.json" else SPLITS
    found = {key: said[key] for key in keys if key in said}
    if odd := [key for key, ids in found.items() if not isinstance(ids, list | dict)]:
        raise damaged(path, f"'{odd[0]}' does not list images", AGAIN)
    return found
