"""The parts of a data set: samples (where the files are) and cases (what was read)."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

Pixels: TypeAlias = NDArray[np.uint8]


@dataclass(frozen=True)
class Sample:
    """One image with its mask.

    Attributes:
        id: Its name, unique within the data set. It never leaves the site.
        patient: Its patient; no patient is ever in two splits.
        image: The image's file.
        mask: The mask's file.
        split: The publisher's split, if there is one.
    """

    id: str
    patient: str
    image: Path
    mask: Path
    split: Literal["train", "test"] | None = None


@dataclass(frozen=True, eq=False)
class Case:
    """An image and its mask, in memory; two or three spatial axes ``S``.

    Volumes have the orientation of :mod:`relay.data.geometry`, however they are stored.

    Attributes:
        image: uint8 ``(*S, C)``.
        mask: uint8 class indices ``(*S)``.
        spacing: Millimetres per voxel along each axis of ``S``, or None if the file does not give it.
        notes: A phrase for everything legal but suspicious about the files.
    """

    image: Pixels
    mask: Pixels
    spacing: tuple[float, ...] | None = None
    notes: tuple[str, ...] = ()
