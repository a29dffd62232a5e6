"""Check, by file digests, that images and masks are still those that a leg was trained and tested on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from relay.data import Record, parts_of, refuse
from relay.errors import DataError
from relay.files import damaged, read_json, write_text
from relay.leg.paths import LegPaths

Files: TypeAlias = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Site → sample → ``image``, ``image 2``, …, ``mask`` or ``target`` → SHA-256. Synthetic images have no files; their
options identify them."""
CORRECTED = "corrected mask"
THREADS, BLOCK = 4, 1 << 20


def digests(samples: Sequence[Record]) -> dict[str, dict[str, str]]:
    """The digests of the samples' files, and of targets that are no files, by sample; of samples with image files.

    Raises:
        DataError: files can't be read; the message names them.
    """
    problems: list[DataError] = []

    def of(path: Path) -> str:
        try:
            return digest(path)
        except DataError as error:
            problems.append(error)
            return ""

    paths = list(dict.fromkeys(path for sample in samples for path in _files(sample).values()))
    with ThreadPoolExecutor(THREADS) as pool:  # slices of one volume share its file
        known = dict(zip(paths, pool.map(of, paths), strict=True))
    refuse(sorted(problems, key=str), "files that can't be read")
    made = {
        sample.id: {kind: found for kind, path in _files(sample).items() if (found := known[path])}
        for sample in samples
    }
    for sample in samples:
        if made[sample.id] and not isinstance(sample.target, Path):
            made[sample.id]["target"] = hashlib.sha256(repr(_plain(sample.target)).encode()).hexdigest()
    return {name: found for name, found in made.items() if found}


def _plain(target: Any) -> Any:
    """A target with Python's own numbers: numpy writes its own in another way, from version to version."""
    if isinstance(target, tuple | list):
        return tuple(map(_plain, target))
    return target.item() if isinstance(target, np.generic) else target


def _files(sample: Record) -> dict[str, Path]:
    """A sample's files by kind: ``image``, ``image 2``, …, ``mask``, :data:`CORRECTED`."""
    names = ["image", *(f"image {number}" for number in range(2, len(sample.images) + 1))]
    files = dict(zip(names, sample.images, strict=True))
    files |= {"mask": sample.target} if isinstance(sample.target, Path) else {}
    return files | ({CORRECTED: sample.corrected} if sample.corrected else {})


def digest(path: Path) -> str:
    """SHA-256 of everything that belongs to an image; empty if there is no file.

    Raises:
        DataError: it can't be read.
    """
    parts = list(parts_of(path))
    whole = hashlib.sha256()
    for part in parts:
        try:
            with part.open("rb") as file:
                for block in iter(lambda: file.read(BLOCK), b""):
                    whole.update(block)
        except OSError as error:
            advice = "Check that you have permission to read it and that the disk is not faulty."
            raise DataError(f"{part}: can't be read: {error.strerror}", advice) from error
    return whole.hexdigest() if parts else ""


def keep(paths: LegPaths, now: Files, write: bool) -> None:
    """Record what a leg is about to use; or, once it has started, compare that with the record.

    Raises:
        DataError: something has changed since.
    """
    if paths.begun:
        check(paths, now)
    elif write:
        write_text(paths.files, json.dumps(now, indent=1) + "\n")


def check(paths: LegPaths, now: Files) -> None:
    """Refuse files that have changed since a leg used them. Files that it did not use or record are not compared.

    Once the leg is finished, masks may be corrected: it has learned from those that it found.

    Raises:
        DataError: some have changed.
        UserError: the record is damaged.
    """
    then = _recorded(paths)
    changed = [
        f"{site}: {' and '.join(kinds)} of {name}"
        for site, samples in now.items()
        for name, found in samples.items()
        if (kinds := _differing(then.get(site, {}).get(name, {}), found, not paths.finished))
    ]
    refuse(
        changed,
        f"{paths.root}: files have changed since this leg was trained or tested on them",
        f"Restore them. Or train again: use a new note (-n), or remove {paths.root} and the folders of all later legs. "
        "To test its model on the present files, copy its last.ckpt to the same place under a new note, and "
        "run predict_test.py with that note.",
    )


def _recorded(paths: LegPaths) -> Files:
    """What :func:`keep` wrote; nothing for a leg without such a file, as from older versions."""
    again = (
        f"Remove it if no image has changed since the leg started. Otherwise, remove {paths.root} to train it again."
    )
    if not paths.files.is_file():
        return {}
    then = read_json(paths.files, again)
    if not all(isinstance(found, dict) for site in then.values() for found in [site, *_values(site)]):
        raise damaged(paths.files, "it is not a list of sites, samples and digests", again)
    return then


def _values(block: object) -> list[object]:
    return list(block.values()) if isinstance(block, dict) else []


def _differing(then: Mapping[str, str], now: Mapping[str, str], by_hand: bool = False) -> list[str]:
    kinds = [kind for kind in then if kind != CORRECTED]
    kinds += [CORRECTED] if then and by_hand else []
    return [kind for kind in kinds if then.get(kind) != now.get(kind)]
