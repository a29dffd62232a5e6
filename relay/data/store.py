"""The decode-once cache: every image of a split, in one flat buffer of bytes; or where the cache on disk has it.

An image takes only the bytes of its pixels. Forked worker processes share the buffer.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from functools import cached_property
from itertools import groupby
from math import prod
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from relay.data.cache import Cache, spoilt
from relay.data.dataset import Dataset
from relay.data.kept import Kept, keys_of
from relay.data.packs import Packed
from relay.data.patches import places_of_classes
from relay.data.problems import refuse
from relay.data.record import Case, Pixels, Record
from relay.data.spool import Buffer, Spool
from relay.data.steps.grid import Grid
from relay.errors import DataError

AHEAD = 512 << 20
"""Bytes of images that are read or wait while another one is stored: of volumes few, of small pictures many."""
Step = Callable[[], object]


class BadImages(DataError):
    """Images can't be used; ``refused`` has an error for each of them."""

    def __init__(self, problems: Sequence[DataError]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.refused = tuple(problems)


def refuse_images(dataset: Dataset, problems: Sequence[DataError]) -> None:
    """Raise one error for all images of a data set that can't be used.

    Raises:
        DataError: there are some.
    """
    refuse(sorted(problems, key=str), f"{dataset}: images that can't be used", "Fix or remove the files named above.")


class _Array(NamedTuple):
    """An array's place in a buffer, in bytes."""

    begin: int
    shape: tuple[int, ...]
    kind: np.dtype[Any]

    def of(self, flat: Pixels) -> NDArray[Any]:
        end = self.begin + prod(self.shape) * self.kind.itemsize
        return flat[self.begin : end].view(self.kind).reshape(self.shape)


def _put(buffer: Buffer, values: NDArray[Any]) -> _Array:
    return _Array(buffer.append(values), values.shape, values.dtype)


class Store:
    """The images of some samples, decoded once, in order.

    ``store[i]`` is ``(image, target)``, read-only views: the image ``(*S, C)``, uint8 or, after ``Normalise``, float16
    in -1 to 1; a mask uint8 ``(*S)``, or what else the data set reads.

    Args:
        dataset: Reads the samples.
        samples: The samples.
        spool: Where pixels go that are not to stay in RAM; None keeps all of them there.
        step: Called after each image.

    Attributes:
        samples: The samples, as given.
        shapes: Each image's spatial shape ``S``.
        spacings: Each image's spacing in mm, None if unknown.
        notes: What people should know about the processing of each image.
        grids: Where each image's voxels lie on the image as read; None if they are the same.

    Raises:
        BadImages: images can't be read or don't match the options.
    """

    def __init__(
        self, dataset: Dataset, samples: Sequence[Record], spool: Spool | None = None, step: Step | None = None
    ) -> None:
        self.samples, self._dataset = list(samples), dataset
        self.channels = dataset.options.channels
        self.shapes: list[tuple[int, ...]] = []
        self.spacings: list[tuple[float, ...] | None] = []
        self.notes: list[tuple[str, ...]] = []
        self.grids: list[Grid | None] = []
        self._where: list[tuple[_Array, _Array] | Case] = []
        self._checked: set[int] = set()
        self._buffer = buffer = Buffer(spool)
        for case in _decoded(dataset, self.samples):
            in_pack = isinstance(case, Packed)
            self._where.append(case if in_pack else (_put(buffer, case.image), _put(buffer, case.target)))
            self.shapes.append(case.image.shape[:-1])
            self.spacings.append(case.spacing)
            self.notes.append(case.notes)
            self.grids.append(case.grid)
            if step is not None:
                step()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[NDArray[Any], NDArray[Any]]:
        where = self._where[index]
        if isinstance(where, Case):
            return self._sound(index, where)
        image, target = where
        pixels = self._buffer.pixels()
        return image.of(pixels), target.of(pixels)

    def rest(self) -> None:
        """Leave RAM until the images are used again, as far as they are in a file."""
        self._buffer.rest()

    def _sound(self, index: int, case: Case) -> tuple[NDArray[Any], NDArray[Any]]:
        """An image from the cache on disk; checked on first use, and read again if it is damaged there."""
        if isinstance(case, Packed) and index not in self._checked:
            self._checked.add(index)
            if not case.sound():
                spoilt(case.pack, "an image has another checksum")
                case = self._where[index] = self._dataset.load(self.samples[index])
                case.image.flags.writeable = case.target.flags.writeable = False
        return case.image, case.target

    @cached_property
    def places(self) -> list[list[NDArray[np.int32]]]:
        """For each image, some voxels of each class present (:func:`.places_of_classes`); found on first use."""
        return [places_of_classes(self[i][1]) if self[i][1].ndim >= 2 else [] for i in range(len(self))]

    @property
    def nbytes(self) -> int:
        """Size of all images and masks, in bytes."""
        packed = (where.image.nbytes + where.target.nbytes for where in self._where if isinstance(where, Case))
        return self._buffer.nbytes + sum(packed)


def _volume(sample: Record) -> object:
    """Equal for slices of one volume."""
    return sample.id if sample.slice is None else (sample.images, sample.target, sample.corrected)


def _decoded(dataset: Dataset, samples: Sequence[Record]) -> Iterator[Case]:
    """The images in order, from the cache on disk or read by a few threads, a few at a time: memory is limited."""
    problems: list[DataError] = []
    threads = min(8, os.cpu_count() or 1)
    ahead, largest = 1, 1  # the first image, or volume with its slices, shows how large they are
    waiting: deque[Callable[[], list[Case]]] = deque()
    cache = Cache.of_environment()
    with ThreadPoolExecutor(threads) as pool, ExitStack() as held:
        kept = held.enter_context(Kept(cache, dataset)) if cache else None
        for _, group in groupby(samples, _volume):
            waiting.append(_begun(pool, dataset, list(group), kept, problems))
            while len(waiting) >= ahead:  # fewer, once a larger one was seen
                yield from (cases := waiting.popleft()())
                largest = max(largest, sum(case.image.nbytes + case.target.nbytes for case in cases))
                ahead = min(max(AHEAD // largest, 1), 4 * threads)
        while waiting:
            yield from waiting.popleft()()
    if problems:
        raise BadImages(problems)


def _begun(
    pool: ThreadPoolExecutor, dataset: Dataset, volume: list[Record], kept: Kept | None, problems: list[DataError]
) -> Callable[[], list[Case]]:
    """Begin to read an image, or slices of a volume, unless the cache has them.

    Returns:
        Waits for them, and keeps them in the cache; those that can't be read go to ``problems``.
    """
    keys = keys_of(volume) if kept else []
    found = kept.find(keys) if kept else None
    if found is not None:
        return lambda: list(found)
    reading = pool.submit(dataset.load_slices, volume)

    def read() -> list[Case]:
        try:
            cases = reading.result()
        except DataError as error:
            problems.append(error)
            return []
        if kept:
            kept.keep(keys, cases)
        return cases

    return read
