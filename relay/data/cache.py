"""Prepared images on disk: with a cache, the second run of a study decodes nothing.

It is off unless the environment variable ``RELAY_CACHE`` names a folder. An entry's name is a hash of everything that
its images depend on: files (path, size and time of change), options, steps, the code of plug-ins and the version of
relay. So entries are never wrong, only unused; the least recently used ones are removed when all together exceed
``RELAY_CACHE_GB``. Entries hold a site's images, so only their owner can read them.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import os
import struct
import sys
import threading
import time
import zlib
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from hashlib import sha256
from math import prod
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

import relay
from relay.data.dataset import Dataset
from relay.data.dicom.series import parts_of
from relay.data.record import Case, Pixels, Record
from relay.data.steps.grid import Grid
from relay.errors import UserError
from relay.files import expanded
from relay.locks import locked

FOLDER, LIMIT = "RELAY_CACHE", "RELAY_CACHE_GB"
"""Environment variables: the folder, and the maximum size of all entries in gigabytes."""
USUAL_LIMIT = 50.0
FORMAT = 2
ENDING, PART = ".cases", ".part"
START = struct.Struct("<QI")
"""The beginning of an entry: the length of its header, and the checksum of everything after this."""
STALE = 86400.0
"""Age in seconds after which an unfinished file was certainly left by a process that was killed."""
IRRELEVANT = (
    *("task_id", "task_name", "class_names", "intensity_range", "patch_size", "foreground", "repeats", "augment"),
    *("split", "val_fraction", "test_fraction", "fold", "inner_fold", "corrections"),
)
"""Options that don't change a prepared image."""
log = logging.getLogger(__name__)


class Cache:
    """The entries in a folder.

    Args:
        folder: Made if it does not exist.
        most: Maximum size of all entries, in bytes.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self.folder, self.most = folder, most
        self._failed = False

    @classmethod
    def of_environment(cls) -> Cache | None:
        """The cache that the environment asks for; None if it asks for none.

        Raises:
            UserError: its maximum size is not a number above 0.
        """
        folder, limit = os.environ.get(FOLDER, ""), os.environ.get(LIMIT, str(USUAL_LIMIT))
        if not folder:
            return None
        try:
            gigabytes = float(limit)
        except ValueError:
            gigabytes = 0.0
        if not 0 < gigabytes < float("inf"):
            raise UserError(
                f"{LIMIT} is {limit!r}, but must be a number of gigabytes above 0", f"Set it to {USUAL_LIMIT:g}."
            )
        return cls(expanded(folder), int(gigabytes * 1e9))

    def cases(self, dataset: Dataset, samples: Sequence[Record]) -> list[Case]:
        """:meth:`.Dataset.load_slices`, from the cache if it is there, else kept for the next time.

        Raises:
            DataError: as there.
        """
        name = key_of(dataset, samples)
        path = None if name is None else self.folder / f"{name}{ENDING}"
        found = path and _read(path)
        if not found:
            found = dataset.load_slices(samples)
            if path is not None:
                self._write(path, found)
        return found

    def entries(self) -> list[Path]:
        """All entries, the least recently used first."""
        dated = [(when, path) for path in self._files(ENDING) if (when := _changed(path)) is not None]
        return [path for _, path in sorted(dated)]

    def size(self) -> int:
        """Size of all entries, in bytes."""
        return sum(_bytes(path) for path in self._files(ENDING))

    def clear(self) -> int:
        """Remove all entries; return how many there were."""
        found = list(self._files(ENDING, PART))
        for path in found:
            _remove(path)
        return len(found)

    def trim(self) -> None:
        """Remove the least recently used entries until the rest are small enough, and what killed processes left."""
        if not self.folder.is_dir():
            return
        for path in self._files(PART):
            if (_changed(path) or time.time()) < time.time() - STALE:
                _remove(path)
        if (size := self.size()) <= self.most:
            return
        with suppress(UserError), locked(self.folder / "lock", "the image cache"):  # another process is at it
            for path in self.entries():
                if size <= self.most:
                    break
                size -= _bytes(path)
                _remove(path)

    def _files(self, *endings: str) -> Iterator[Path]:
        if self.folder.is_dir():
            yield from (path for path in self.folder.iterdir() if path.suffix in endings)

    def _write(self, path: Path, cases: Sequence[Case]) -> None:
        """A reader sees the whole entry or none; of two processes that write the same, one wins."""
        beside = path.with_name(f"{path.stem}.{os.getpid()}.{threading.get_ident()}{PART}")
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                _write_to(file, cases)
            beside.replace(path)
        except OSError as error:  # the run goes on without
            _remove(beside)
            if not self._failed:  # once is enough
                log.warning("%s: images can't be cached: %s", self.folder, error.strerror or error)
            self._failed = True


def key_of(dataset: Dataset, samples: Sequence[Record]) -> str | None:
    """The name of the entry of an image, or of slices of a volume; None for images without files."""
    first = samples[0]
    targets = [path for path in (first.target, first.corrected) if isinstance(path, Path)]
    parts = [part for path in (*first.images, *targets) for part in parts_of(path)]
    if not parts:
        return None
    options = {k: v for k, v in dataclasses.asdict(dataset.options).items() if k not in IRRELEVANT}
    makers = [type(dataset), *(type(step) for step in dataset.options.made_steps)]
    code = [path for each in makers if (path := _source(each))]
    told = {
        "format": (FORMAT, relay.__version__, f"{type(dataset).__module__}:{type(dataset).__qualname__}"),
        "options": options,
        "files": [_stamp(part) for part in parts],
        "code": [_stamp(path) for path in code],
        "target": (str(first.target), str(first.corrected)),
        "columns": dict(first.columns),
        "slices": [sample.slice for sample in samples],
    }
    return sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()


def _stamp(path: Path) -> tuple[str, int, int]:
    """What tells whether a file was changed."""
    about = path.stat()
    return str(path.absolute()), about.st_size, about.st_mtime_ns


def _source(maker: type) -> Path | None:
    """The file of a plug-in's code; None if it has none. Of the toolkit's own, the version tells as much."""
    path = Path(getattr(sys.modules.get(maker.__module__), "__file__", None) or "")
    return path if path.is_file() and not maker.__module__.startswith("relay.") else None


def _write_to(file: BinaryIO, cases: Sequence[Case]) -> None:
    """The start, the header in JSON, and all arrays, one after another."""
    arrays = [np.ascontiguousarray(values) for case in cases for values in (case.image, case.target)]
    head = {
        "arrays": [(values.dtype.str, values.shape) for values in arrays],
        "cases": [(case.spacing, case.notes, case.grid and dataclasses.astuple(case.grid)) for case in cases],
    }
    text = json.dumps(head).encode()
    file.write(START.pack(len(text), _check(text, arrays)) + text)
    for values in arrays:
        file.write(values.data)


def _check(text: bytes, arrays: Iterable[NDArray[Any]]) -> int:
    check = zlib.crc32(text)
    for values in arrays:
        check = zlib.crc32(values.data, check)
    return check


def _read(path: Path) -> list[Case] | None:
    """An entry, mapped into memory; None if there is none, or it is damaged, in which case it is removed."""
    try:
        found = _mapped(np.memmap(path, np.uint8, "r"))
        with suppress(OSError):  # others' entries can be read, but not marked as used
            os.utime(path)
    except FileNotFoundError:
        return None
    except OSError as error:
        log.warning("%s: can't be read, so its images are read again: %s", path, error.strerror or error)
        return None
    except (ValueError, KeyError, TypeError, struct.error) as error:
        log.warning("%s: damaged, so its images are read again: %s", path, error)
        _remove(path)
        return None
    return found


def _mapped(data: Pixels) -> list[Case]:
    """Raises ValueError and others of :func:`_read` for content that was not written by :func:`_write_to`."""
    length, check = START.unpack_from(data.data)
    at = START.size + length
    text = data[START.size : at].tobytes()
    head, arrays = json.loads(text), []
    for kind, shape in head["arrays"]:
        arrays.append(np.frombuffer(data, np.dtype(kind), prod(shape), at).reshape(shape))
        at += arrays[-1].nbytes
    if _check(text, arrays) != check:
        raise ValueError("its checksum differs")
    return [
        Case(image, target, spacing and tuple(spacing), tuple(notes), grid and Grid(*map(tuple, grid)))
        for image, target, (spacing, notes, grid) in zip(arrays[::2], arrays[1::2], head["cases"], strict=True)
    ]


def _changed(path: Path) -> float | None:
    with suppress(OSError):  # another process has removed it
        return path.stat().st_mtime
    return None


def _bytes(path: Path) -> int:
    with suppress(OSError):
        return path.stat().st_size
    return 0


def _remove(path: Path) -> None:
    with suppress(OSError):  # another process has removed it, or on Windows, reads it
        path.unlink()
