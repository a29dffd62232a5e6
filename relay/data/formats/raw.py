"""One decoded image file: its values as stored, and its position in space."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data.dicom import decoding as dicom
from relay.data.formats import pictures, volumes
from relay.data.formats.files import DAMAGED, is_series, is_volume
from relay.data.formats.geometry import Geometry
from relay.errors import DataError


@dataclass(frozen=True, eq=False)
class Raw:
    """A file's content.

    Attributes:
        path: The file, or what names a DICOM series.
        values: ``(*S)``, with a last axis for the channels if there are several.
        channels: Their number.
        geometry: The position of a volume's voxels; None for 2D images, which have none.
        exif: The EXIF orientation with which a 2D image was turned upright; 1 if it was not turned.
        notes: A phrase for everything legal but suspicious.
    """

    path: Path
    values: NDArray[Any]
    channels: int
    geometry: Geometry | None = None
    exif: int = 1
    notes: tuple[str, ...] = ()

    @property
    def axes(self) -> int:
        """Number of spatial axes."""
        return self.values.ndim - (self.channels > 1)

    def onto(self, other: Raw) -> Raw:
        """The same voxels in the order of another file, if that has the same voxels in space; unchanged otherwise."""
        way = self.geometry.way_onto(other.geometry) if self.geometry and other.geometry else None
        if way is None:
            return self
        order, reversed_axes = way
        values = np.flip(self.values.transpose(*order, *range(self.axes, self.values.ndim)), reversed_axes)
        return replace(self, values=values, geometry=other.geometry)


def read_raw(path: Path, indices: bool = False) -> Raw:
    """Decode a file.

    Args:
        path: A 2D image, a volume, or a path that names a DICOM series (:mod:`relay.data.dicom.series`).
        indices: Whether to read a palette image as indices instead of colours, as for masks.

    Raises:
        DataError: it can't be read; the advice fits the cause.
    """
    if not is_series(path):
        _not_empty(path)
    if dicom.reads(path):
        values, geometry, channels, notes = dicom.decode(path, indices)
        return Raw(path, values, channels, geometry, notes=notes)
    if is_volume(path):
        values, geometry, channels, notes = volumes.decode(path)
        return Raw(path, values, channels, geometry, notes=notes)
    values, exif, notes = pictures.decode(path, indices)
    return Raw(path, values, values.shape[2] if values.ndim == 3 else 1, exif=exif, notes=notes)


def _not_empty(path: Path) -> None:
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise DataError(f"{path}: can't be read: it is empty", DAMAGED)
    except OSError as error:
        advice = "Check that it exists and that you have permission to read it."
        raise DataError(f"{path}: can't be read: {error.strerror or error}", advice) from error
