"""The parts of a data set: records (where the files are) and cases (what was read)."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from relay.data.steps.grid import Grid

Pixels: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class Record:
    """One sample, by names only: no file is opened.

    Attributes:
        id: Its name, unique within the data set. It never leaves the site.
        patient: Its patient; no patient is ever in two splits.
        images: The image's file; or several, whose channels are put together in this order.
        target: What is to be predicted: a mask's file, a class's index, a number, or None if it is not known.
        split: The publisher's split, if there is one.
        columns: Anything else a table says about it; it never leaves the site.
        slice: Which slice of the volume it is, from 0, counted from the feet, the front or the right hand; None for the
            whole image.
        corrected: Its mask as a person has corrected it, which is read in place of the target; None if nobody has.
    """

    id: str
    patient: str
    images: tuple[Path, ...]
    target: Path | int | float | tuple[int, ...] | None = None
    split: Literal["train", "val", "test"] | None = None
    columns: Mapping[str, str] = field(default_factory=dict, hash=False)
    slice: int | None = None
    corrected: Path | None = None

    @property
    def image(self) -> Path:
        """The first of its files, which stands for all in messages and gives its place in space."""
        return self.images[0]

    @property
    def mask(self) -> Path:
        """Its mask's file.

        Raises:
            TypeError: its target is no file.
        """
        if not isinstance(self.target, Path):
            raise TypeError(f"the target of {self.id} is {self.target!r}, not a file")
        return self.target


@dataclass(frozen=True, eq=False)
class Case:
    """An image and its target, in memory; two or three spatial axes ``S``.

    Volumes have the orientation of :mod:`relay.data.formats.geometry`, however they are stored.

    Attributes:
        image: ``(*S, C)``: uint8; with steps, values as in the file and, when they are done, float16 in -1 to 1.
        target: What the task reads: of segmentation, uint8 class indices ``(*S)``.
        spacing: Millimetres per voxel along each axis of ``S``, or None if the file does not give it.
        notes: A phrase for everything legal but suspicious about the files.
        grid: Where its voxels lie on the image as read, if the two differ.
    """

    image: NDArray[Any]
    target: NDArray[Any]
    spacing: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()
    grid: Grid | None = None

    @property
    def dense(self) -> bool:
        """Whether the target is a map, with a value for each voxel."""
        return self.target.ndim >= 2
