"""A data set in memory, whose pictures say who they are."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from relay.data import Case, Dataset, DatasetOptions, Record
from relay.errors import DataError


def number(image: np.ndarray) -> int:
    """Which of the data set's pictures an image (or a patch of it) is: its level in the first channel."""
    return int(np.unique(image[..., 0]).item())


class Made(Dataset):
    """Picture ``i`` is ``i`` everywhere; its mask counts the rows, modulo the classes."""

    def __init__(self, options: DatasetOptions, shapes: list[tuple[int, ...]], bad: tuple[int, ...] = ()) -> None:
        super().__init__(options)
        self.shapes, self.bad, self.reads = shapes, bad, 0

    def samples(self) -> list[Record]:
        return [Record(f"s{i}", f"p{i}", (Path(str(i)),), Path(str(i))) for i in range(len(self.shapes))]

    def read(self, sample: Record) -> Case:
        self.reads += 1
        i = int(sample.image.name)
        if i in self.bad:
            raise DataError(f"{i}.png: can't be read")
        shape = self.shapes[i]
        mask = np.arange(np.prod(shape), dtype=np.int64).reshape(shape) % self.options.num_classes
        return Case(np.full((*shape, 3), i, np.uint8), mask.astype(np.uint8), (1.0,) * len(shape))


@pytest.fixture
def made() -> Callable[..., Made]:
    def make(shapes: list[tuple[int, ...]], bad: tuple[int, ...] = (), **kwargs: Any) -> Made:
        options = DatasetOptions(task_id=0, task_name="made", num_classes=3, **kwargs)
        return Made(options, shapes, bad)

    return make
