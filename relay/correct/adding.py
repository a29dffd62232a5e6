"""A corrected mask becomes a new version of its image's mask."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime, timezone
from hashlib import sha256
from pathlib import Path

import numpy as np

from relay.correct.target import Target
from relay.data import Correction, Pixels, Record, UnknownValues, class_indices, read_mask, read_pair
from relay.errors import DataError, UserError
from relay.files import make_folder, read_bytes, write_text
from relay.locks import locked
from relay.predict import save_mask

STORED = "stored"
LONGEST = 100
PATIENCE = 30.0
"""Seconds to wait while another command adds a version."""


def mask_from(target: Target, sample: Record, path: Path, indices: bool) -> Pixels:
    """A mask that was drawn on an image with any tool, as class indices ``(*S)``, checked as the data set's masks are.

    Args:
        indices: whether its values are class indices, as relay predict writes them, and not those of the data set.

    Raises:
        DataError: it can't be read, is at another place than the image or of another size, or has values that are no
            classes.
    """
    values = range(target.leg.data.outputs) if indices else target.stored.mask_values()
    try:
        if target.stored.folders():
            drawn = read_pair(sample.images, path, values, eight_bits=target.leg.data.steps is None).target
        else:  # synthetic images have no files, and no place in space
            drawn = class_indices(read_mask(path), values, path)
    except UnknownValues as error:
        if indices:
            raise
        raise DataError(
            str(error), f"If relay predict wrote it, its values are class indices: add --indices. {error.advice()}"
        ) from error
    return _of_size(target, sample, drawn, path)


def start_of(target: Target, sample: Record) -> tuple[Pixels, str]:
    """What a correction starts from, and what it is called: the newest version of the mask, else the stored one.

    Raises:
        DataError, UserError: a file is damaged.
    """
    newest = target.store.newest(sample.id)
    if newest is not None:
        return target.store.mask(newest, target.leg.data.outputs), f"version {newest.version}"
    return np.asarray(target.stored.original(sample).target), STORED


def add(target: Target, sample: Record, mask: Pixels, by: str, source: str, before: Pixels) -> Correction:
    """Keep a corrected mask as a new version.

    Args:
        mask: class indices, uint8 ``(*S)``, of the size of the image as read.
        by: who corrected it.
        source: what was corrected, as in :class:`relay.data.Correction`.
        before: that mask.

    Raises:
        UserError: the name can't be used; or nothing was changed, and a version or the stored mask says the same.
        DataError: the mask has another size, or values that are no classes.
    """
    name, names = by.strip(), target.leg.data.names
    if not name or len(name) > LONGEST or not name.isprintable():
        raise UserError(f"{by!r} can't be the name of a person", f"Give 1 to {LONGEST} printable characters.")
    if mask.size and int(mask.max()) >= len(names):
        raise DataError(f"{sample.id}: class {mask.max()} does not exist; the last is {len(names) - 1}")
    mask = _of_size(target, sample, mask, Path(sample.id))
    with locked(target.folder.parent / f".{target.folder.name}.lock", str(target.folder), patience=PATIENCE):
        make_folder(target.folder)
        newest = target.store.newest(sample.id)
        same, called = start_of(target, sample)
        if np.array_equal(mask, same) and (newest is not None or source == STORED):
            raise UserError(
                f"the mask of {sample.id} is the same as before ({called}): no version was added",
                "Change it first. A mask that is right needs no correction.",
            )
        number = newest.version + 1 if newest else 1
        place = target.store.of(sample.id)
        path = save_mask(mask.astype(np.uint8), sample.image, place / str(number))
        made = Correction(
            image=sample.id,
            version=number,
            by=name,
            when=datetime.now(timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ"),
            source=source,
            mask=path.name,
            sha256=sha256(read_bytes(path)).hexdigest(),
            changed=changes(before, mask, names),
        )
        write_text(place / f"{number}.json", json.dumps(made.to_json(), indent=1) + "\n")  # last: it is a version now
    return made


def changes(before: Pixels, after: Pixels, names: list[str]) -> dict[str, dict[str, int]]:
    """For each class that differs between two masks, how many of its voxels were added and removed."""
    moved = np.flatnonzero(before != after)
    was, now = (np.bincount(mask.ravel()[moved], minlength=len(names)) for mask in (before, after))
    return {name: {"added": int(now[k]), "removed": int(was[k])} for k, name in enumerate(names) if now[k] or was[k]}


def _of_size(target: Target, sample: Record, mask: Pixels, path: Path) -> Pixels:
    """Refuse a mask of another size than its image.

    Raises:
        DataError: it is.
    """
    wanted = target.stored.original(replace(sample, slice=None)).image.shape[:-1]
    if mask.shape != wanted:
        mine, its = ("×".join(map(str, shape)) for shape in (mask.shape, wanted))
        raise DataError(
            f"{path}: size {mine}, but its image {sample.image} has {its}",
            "Save the mask at the size of its image, or name the image it was drawn on.",
        )
    return mask
