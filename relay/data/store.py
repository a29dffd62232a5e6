"""The decode-once cache: every image of a split, in one flat buffer of bytes.

An image takes only the bytes of its pixels. Forked worker processes share the buffer,
and the system can page it out when it is a file.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from math import prod
from pathlib import Path
from tempfile import TemporaryFile
from typing import IO

import numpy as np

from relay.data.dataset import Dataset
from relay.data.problems import refuse
from relay.data.record import Case, Pixels, Record
from relay.errors import DataError

MAX_RAM = 4 << 30
Step = Callable[[], object]


class BadImages(DataError):
    """Images can't be used; ``problems`` has an error for each of them."""

    def __init__(self, problems: Sequence[DataError]) -> None:
        super().__init__("\n".join(map(str, problems)))
        self.problems = tuple(problems)


def refuse_images(dataset: Dataset, problems: Sequence[DataError]) -> None:
    """Raise one error for all images of a data set that can't be used.

    Raises:
        DataError: there are some.
    """
    refuse(sorted(problems, key=str), f"{dataset}: images that can't be used", "Fix or remove the files named above.")


class _Buffer:
    """An append-only buffer, in RAM or, beyond ``max_ram``, in an unnamed file."""

    def __init__(self, spool: Path | None, max_ram: int) -> None:
        self._spool, self._max_ram = spool, max_ram
        self._ram, self._size = bytearray(), 0
        self._file: IO[bytes] | None = None

    def append(self, pixels: Pixels) -> int:
        """Append pixels; return their position in the buffer."""
        begin, self._size = self._size, self._size + pixels.size
        if self._file is None and self._spool is not None and self._size > self._max_ram:
            self._spool.mkdir(parents=True, exist_ok=True)
            self._file = TemporaryFile(dir=self._spool)  # noqa: SIM115  lives as long as its map
            self._file.write(self._ram)
            self._ram = bytearray()
        if self._file is None:
            self._ram += np.ascontiguousarray(pixels).data
        else:
            self._file.write(np.ascontiguousarray(pixels).data)
        return begin

    def array(self) -> Pixels:
        """All bytes, as one read-only array."""
        if self._file is None:
            flat = np.frombuffer(self._ram, np.uint8)
            flat.flags.writeable = False
            return flat
        self._file.flush()
        return np.memmap(self._file, np.uint8, mode="r")


class Store:
    """The images of some samples, decoded once, in order.

    ``store[i]`` is ``(image, mask)``, uint8 ``(*S, C)`` and ``(*S)``: read-only views.

    Args:
        dataset: Reads the samples.
        samples: The samples.
        spool: One of the site's own folders, for buffers larger than ``max_ram``; the file in it is unnamed and
            disappears with the process. None keeps everything in RAM.
        max_ram: Maximum size of pixels in RAM, in bytes.
        step: Called after each image.

    Attributes:
        samples: The samples, as given.
        shapes: Each image's spatial shape ``S``.
        spacings: Each image's spacing in mm, None if unknown.
        notes: What people should know about the processing of each image.

    Raises:
        BadImages: images can't be read or don't match the options.
    """

    def __init__(
        self,
        dataset: Dataset,
        samples: Sequence[Record],
        spool: Path | None = None,
        max_ram: int = MAX_RAM,
        step: Step | None = None,
    ) -> None:
        self.samples = list(samples)
        self.channels = dataset.options.channels
        self.shapes: list[tuple[int, ...]] = []
        self.spacings: list[tuple[float, ...] | None] = []
        self.notes: list[tuple[str, ...]] = []
        self._begins: list[int] = []
        images, masks = _Buffer(spool, max_ram), _Buffer(spool, max_ram // self.channels)
        for picture in _decoded(dataset, self.samples):
            images.append(picture.image)
            self._begins.append(masks.append(picture.target))
            self.shapes.append(picture.target.shape)
            self.spacings.append(picture.spacing)
            self.notes.append(picture.notes)
            if step is not None:
                step()
        self._images, self._masks = images.array(), masks.array()

    def __len__(self) -> int:
        return len(self.samples)

    def __getitem__(self, index: int) -> tuple[Pixels, Pixels]:
        shape, begin = self.shapes[index], self._begins[index]
        end, channels = begin + prod(shape), self.channels
        image = self._images[begin * channels : end * channels].reshape(*shape, channels)
        return image, self._masks[begin:end].reshape(shape)

    @property
    def nbytes(self) -> int:
        """Size of all images and masks, in bytes."""
        return self._images.nbytes + self._masks.nbytes


def _decoded(dataset: Dataset, samples: Sequence[Record]) -> Iterator[Case]:
    """The images in order, read by a few threads, a few at a time to limit memory."""
    problems: list[DataError] = []
    threads = min(8, os.cpu_count() or 1)

    def load(sample: Record) -> Case | None:
        try:
            return dataset.load(sample)
        except DataError as error:
            problems.append(error)
            return None

    with ThreadPoolExecutor(threads) as pool:
        waiting = iter(samples)
        while some := list(islice(waiting, 4 * threads)):
            yield from (picture for picture in pool.map(load, some) if picture is not None)
    if problems:
        raise BadImages(problems)
