"""Whether images and masks are still those that a leg was trained and tested on: by the digests of their files."""

from __future__ import annotations

import glob
import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeAlias

from relay.data import Sample, refuse
from relay.errors import DataError
from relay.files import damaged, read_json, write_text
from relay.leg.paths import LegPaths

Files: TypeAlias = Mapping[str, Mapping[str, Mapping[str, str]]]
"""Site → sample → ``image``, ``mask`` → SHA-256. Images that are drawn have no files: their options say it all."""
KINDS = ("image", "mask")
THREADS, BLOCK = 4, 1 << 20


def digests(samples: Sequence[Sample]) -> dict[str, dict[str, str]]:
    """The digests of the samples' files, by sample; of those that have files.

    Raises:
        DataError: files can't be read; the message names them.
    """
    problems: list[DataError] = []

    def of(sample: Sample) -> dict[str, str]:
        try:
            return {kind: found for kind in KINDS if (found := digest(getattr(sample, kind)))}
        except DataError as error:
            problems.append(error)
            return {}

    with ThreadPoolExecutor(THREADS) as pool:
        made = list(pool.map(of, samples))
    refuse(sorted(problems, key=str), "files that can't be read")
    return {sample.id: found for sample, found in zip(samples, made, strict=True) if found}


def digest(path: Path) -> str:
    """SHA-256 of all that belongs to an image; empty where there is no file.

    Raises:
        DataError: it can't be read.
    """
    parts = list(_parts(path))
    whole = hashlib.sha256()
    for part in parts:
        try:
            with part.open("rb") as file:
                for block in iter(lambda: file.read(BLOCK), b""):
                    whole.update(block)
        except OSError as error:
            advice = "Check that you may read it and that the disk is in order."
            raise DataError(f"{part}: can't be read: {error.strerror}", advice) from error
    return whole.hexdigest() if parts else ""


def _parts(path: Path) -> Iterator[Path]:
    """The file; with the voxels of a ``.mhd``, which lie beside it; of a folder, all in it."""
    if path.is_dir():
        yield from sorted(inner for inner in path.rglob("*") if inner.is_file())
    elif path.is_file():
        yield path
        if path.suffix.lower() == ".mhd":
            yield from (raw for raw in sorted(path.parent.glob(f"{glob.escape(path.stem)}.*")) if raw != path)


def keep(paths: LegPaths, now: Files, write: bool) -> None:
    """Record what a leg is about to use; or, once it has begun, hold that against the record.

    Raises:
        DataError: something was changed since.
    """
    if paths.begun:
        check(paths, now)
    elif write:
        write_text(paths.files, json.dumps(now, indent=1) + "\n")


def check(paths: LegPaths, now: Files) -> None:
    """Refuse files that were changed since a leg used them. What it did not use, or did not record, is not compared.

    Raises:
        DataError: these were.
        UserError: the record is damaged.
    """
    then = _recorded(paths)
    changed = [
        f"{site}: {' and '.join(kinds)} of {name}"
        for site, samples in now.items()
        for name, found in samples.items()
        if (kinds := _differing(then.get(site, {}).get(name, {}), found))
    ]
    refuse(
        changed,
        f"{paths.root}: files that were changed since this leg was trained or tested on them",
        f"Restore them; or use a new note (-n), or remove {paths.root} and those of the legs after it, to train again. "
        "To test its model on the files as they are now, copy its last.ckpt to the same place under a new note, and "
        "run predict_test.py with that.",
    )


def _recorded(paths: LegPaths) -> Files:
    """What :func:`keep` wrote; nothing where a leg has no such file, as those of older versions."""
    again = f"Remove it if no image was changed since the leg was begun; else remove {paths.root} to train it again."
    if not paths.files.is_file():
        return {}
    then = read_json(paths.files, again)
    if not all(isinstance(found, dict) for site in then.values() for found in [site, *_values(site)]):
        raise damaged(paths.files, "it is no list of sites, samples and digests", again)
    return then


def _values(block: object) -> list[object]:
    return list(block.values()) if isinstance(block, dict) else []


def _differing(then: Mapping[str, str], now: Mapping[str, str]) -> list[str]:
    return [kind for kind in KINDS if kind in then and then[kind] != now.get(kind)]
