"""The images of one data set in the cache on disk: found, and kept for the next run.

An image is found by a hash of everything that it depends on: its files (path, size, times of change), options, steps,
the code of plug-ins and the version of relay. So what is found is never wrong.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import stat
import struct
import sys
import time
from collections.abc import Sequence
from contextlib import suppress
from hashlib import sha256
from pathlib import Path

import relay
from relay.data.cache import Cache, spoilt
from relay.data.dataset import Dataset
from relay.data.dicom.series import parts_of
from relay.data.formats.metaimage import DATA_FILE
from relay.data.packs import Pack, Packed, PackWriter
from relay.data.record import Case, Record

FULL_PACK = 256 << 20
"""Bytes of a pack after which the next one begins: a process that is killed loses no more than this."""
SETTLED = 2.0
"""Seconds since a file's last change before its image is kept. Within them, it could change again at what is, to a
coarse clock (that of FAT has steps of two seconds), the same time."""
IRRELEVANT = (
    *("task_id", "task_name", "class_names", "intensity_range", "patch_size", "foreground", "repeats", "augment"),
    *("split", "val_fraction", "test_fraction", "fold", "inner_fold", "corrections"),
)
"""Options that don't change a prepared image."""
log = logging.getLogger(__name__)


class Kept:
    """The images of one data set in a cache; in a ``with`` block, at whose end new ones are complete.

    A cache that fails stops no run: the images are read from their own files, and a warning says why.
    """

    def __init__(self, cache: Cache, dataset: Dataset) -> None:
        self._cache, self._family = cache, family_of(dataset)
        self._packs = [
            pack for path in cache.entries() if path.name.startswith(f"{self._family}-") and (pack := _opened(path))
        ]
        self._used: set[Path] = set()
        self._writer: PackWriter | None = None
        self._failed = False

    def find(self, keys: Sequence[str]) -> list[Packed] | None:
        """The images with these keys, not yet checked; None unless all are here, or without keys."""
        found = [next((pack for pack in self._packs if key in pack), None) for key in keys]
        packs = [pack for pack in found if pack is not None]
        if not keys or len(packs) < len(keys):
            return None
        self._used.update(pack.path for pack in packs)
        return [pack.case(key) for pack, key in zip(packs, keys, strict=True)]

    def keep(self, keys: Sequence[str], cases: Sequence[Case]) -> None:
        """Keep images for the next run; none, if there are no keys."""
        if self._failed or not keys:
            return
        try:
            self._writer = self._writer or PackWriter(self._cache.folder)
            for key, case in zip(keys, cases, strict=True):
                self._writer.add(key, case)
            if self._writer.size >= FULL_PACK:
                self._finish()
        except OSError as error:
            self._fail(error)

    def __enter__(self) -> Kept:
        return self

    def __exit__(self, *_: object) -> None:
        """Also after an error: what was read until then need not be read again."""
        try:
            self._finish()
        except OSError as error:
            self._fail(error)
        for path in self._used:
            with suppress(OSError):  # others' packs can be read, but not marked as used
                os.utime(path)
        self._cache.trim()

    def _finish(self) -> None:
        if self._writer is not None:
            self._writer.close(self._family)
            self._writer = None

    def _fail(self, error: OSError) -> None:
        log.warning("%s: images can't be cached: %s", self._cache.folder, error.strerror or error)
        self._failed = True
        if self._writer is not None:
            with suppress(OSError):
                self._writer.drop()
            self._writer = None


def family_of(dataset: Dataset) -> str:
    """A hash of what all images of a data set depend on; begins the names of its packs."""
    options = {k: v for k, v in dataclasses.asdict(dataset.options).items() if k not in IRRELEVANT}
    makers = [type(dataset), *(type(step) for step in dataset.options.made_steps)]
    code = [path for each in makers if (path := _source(each))]
    told = {
        "relay": (relay.__version__, f"{type(dataset).__module__}:{type(dataset).__qualname__}"),
        "options": options,
        "code": [_stamp(path, path.stat()) for path in code],
    }
    return _hash(json.dumps(told, sort_keys=True, default=str))


def keys_of(samples: Sequence[Record]) -> list[str]:
    """What tells an image, or slices of a volume, from all others of its data set, and from the same with files that
    have changed.

    Returns:
        A hash for each sample; none if the samples have no files, or have changed only just now.
    """
    first = samples[0]
    paths = (*first.images, *(path for path in (first.target, first.corrected) if isinstance(path, Path)))
    try:
        stamps = [stamp for path in paths for stamp in _stamps(path)]
    except FileNotFoundError:  # who reads it says so
        return []
    if not stamps or time.time_ns() - max(when for *_, when in stamps) < SETTLED * 1e9:
        return []
    files = (stamps, str(first.target), str(first.corrected))
    return [_hash(repr((files, sorted(sample.columns.items()), sample.slice))) for sample in samples]


def _hash(text: str) -> str:
    return sha256(text.encode(errors="surrogateescape")).hexdigest()[:32]


def _stamps(path: Path) -> list[tuple[str, int, int, int]]:
    """Of all files of an image."""
    about = path.stat()
    if stat.S_ISREG(about.st_mode) and path.suffix.lower() not in DATA_FILE:
        return [_stamp(path, about)]
    return [_stamp(part, part.stat()) for part in parts_of(path)]


def _stamp(path: Path, about: os.stat_result) -> tuple[str, int, int, int]:
    """What tells whether a file was changed; at the end, when that was. ``st_ctime`` notices a file that was replaced
    by one of the same size and time (on Windows, it is the time of creation). The inode would, too, but some network
    file systems number them anew each time."""
    return str(path.absolute()), about.st_size, about.st_mtime_ns, about.st_ctime_ns


def _source(maker: type) -> Path | None:
    """The file of a plug-in's code; None if it has none. Of the toolkit's own, the version tells as much."""
    path = Path(getattr(sys.modules.get(maker.__module__), "__file__", None) or "")
    return path if path.is_file() and not maker.__module__.startswith("relay.") else None


def _opened(path: Path) -> Pack | None:
    """A pack; None if it was removed meanwhile, or is damaged, in which case it is removed now."""
    try:
        return Pack(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s: can't be read, so its images are read again: %s", path, error.strerror or error)
        return None
    except (ValueError, struct.error) as error:
        spoilt(path, str(error))
        return None
