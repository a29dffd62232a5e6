"""Read a DICOM series as one volume, in real units.

A file is read likewise: an X-ray, or an enhanced file with many frames.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from relay.data.dicom.doubts import doubts
from relay.data.dicom.pixels import real_values
from relay.data.dicom.planes import Plane, planes_of
from relay.data.dicom.series import series_files
from relay.data.dicom.stack import stack
from relay.data.formats.files import is_dicom, is_series
from relay.data.formats.geometry import Geometry


def reads(path: Path) -> bool:
    """Whether a path is DICOM's: a series, or a file with its ending or content."""
    return path.suffix.lower() == ".dcm" or is_series(path) or is_dicom(path)


def decode(path: Path, indices: bool = False) -> tuple[NDArray[Any], Geometry, int, tuple[str, ...]]:
    """Values in real units, ``(z, y, x)`` and perhaps three colours; geometry; channels; notes.

    Args:
        path: A file, or a path that names a series (:mod:`relay.data.dicom.series`).
        indices: Whether to keep the indices of a palette image instead of its colours.

    Raises:
        DataError: it can't be read, or is not exactly one volume with slices at equal distances.
    """
    planes, geometry = _stacked(path)
    values = real_values(planes, indices)
    channels = values.shape[3] if values.ndim == 4 else 1
    return values, geometry, channels, tuple(doubts(planes, geometry, values))


def geometry_of(path: Path) -> Geometry:
    """The geometry that :func:`decode` gives, from the headers only.

    Raises:
        DataError: as :func:`decode`, but for what the pixels show.
    """
    return _stacked(path)[1]


def planes_in_order(path: Path) -> list[Plane]:
    """The planes of a series, or of a file, in the order of the slices of the volume that :func:`decode` gives.

    Raises:
        DataError: as :func:`geometry_of`.
    """
    return _stacked(path)[0]


def _stacked(path: Path) -> tuple[list[Plane], Geometry]:
    files: Sequence[Path] = series_files(path) if is_series(path) else [path]
    return stack([plane for file in files for plane in planes_of(file)])
