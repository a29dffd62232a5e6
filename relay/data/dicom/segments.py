"""Masks in DICOM-SEG files: one frame for each segment and plane, laid on the grid of the image.

Frames without a voxel of a segment are usually left out, so a file has no grid of its own. The value of a voxel is the
number of its segment; 0 is the background (DICOM PS3.3, A.51 and C.8.20).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data.dicom.pixels import real_values
from relay.data.dicom.planes import Plane, planes_of
from relay.data.dicom.series import SEGMENTATIONS, series_files
from relay.data.dicom.tags import HEADER, items, numbers, read_header, text
from relay.data.formats.files import is_dicom, is_series
from relay.data.formats.geometry import CLOSE, Geometry
from relay.data.formats.raw import Raw, read_raw
from relay.errors import DataError

NEAR = 0.1
"""How far a frame may lie from a slice of the image, in voxels."""
TAGS = ("SOPClassUID", "SegmentationType", "MaximumFractionalValue", "ReferencedSeriesSequence")
OTHER_IMAGE = "Pair the segmentation with the series that it was drawn on, or export it again from there."
OTHER_GRID = "Export the segmentation on the grid of its series; 3D Slicer does so with the series as reference."
OVERLAP = "A voxel has one class. Export the segments without overlap, or each to a file of its own and choose one."
FRACTIONS = "It contains probabilities. Export it as a binary segmentation."


def is_segmentation(path: Path) -> bool:
    """Whether a path is a DICOM-SEG file, or names a series with one."""
    files = series_files(path) if is_series(path) and not path.is_dir() else [path]
    if len(files) != 1 or not (is_dicom(files[0]) or path.suffix.lower() == ".dcm"):
        return False
    return text(read_header(files[0], TAGS), "SOPClassUID", path) in SEGMENTATIONS


def read_drawn(mask: Path, image: Raw) -> Raw:
    """A mask that was drawn on an image; of a DICOM-SEG, on the image's grid.

    Raises:
        DataError: it can't be read, or is a DICOM-SEG of another series or on another grid.
    """
    if image.geometry is None or not is_segmentation(mask):
        return read_raw(mask, indices=True)
    file = series_files(mask)[0] if is_series(mask) else mask
    header = read_header(file, TAGS)
    _about(header, file, image.path)
    values = _laid(file, header, image.geometry)
    return Raw(mask, values, 1, image.geometry)


def _about(header: Any, file: Path, image: Path) -> None:
    """Refuse a segmentation of another series."""
    uids = {text(item, "SeriesInstanceUID", file) for item in items(header, "ReferencedSeriesSequence", file)}
    scan = series_files(image)[0] if is_series(image) else image
    if not uids or not (is_dicom(scan) or scan.suffix.lower() == ".dcm"):
        return
    uid = text(read_header(scan, ("SeriesInstanceUID",)), "SeriesInstanceUID", scan)
    if uid and uid not in uids:
        raise DataError(f"{file}: refers to the series {', '.join(sorted(uids))}, but its image is {uid}", OTHER_IMAGE)


def _laid(file: Path, header: Any, grid: Geometry) -> NDArray[Any]:
    """The segments' numbers, ``(z, y, x)``."""
    planes = planes_of(file)
    frames = _binary(real_values(planes, indices=True), header, file)
    labelmap = text(header, "SegmentationType", file) == "LABELMAP"
    whole: NDArray[np.uint16] = np.zeros((*grid.size, 1)[2::-1], np.uint16)
    for plane, frame in zip(planes, frames, strict=True):
        number = 1 if labelmap else _number(plane)
        part, inside = _window(plane, frame.shape, grid)
        if frame.astype(bool).sum() != frame[inside].astype(bool).sum():
            raise DataError(f"{plane}: has voxels outside its image", OTHER_GRID)
        drawn = frame[inside].astype(np.uint16) * np.uint16(number)
        there = whole[part]
        if ((there > 0) & (drawn > 0) & (there != drawn)).any():
            raise DataError(f"{plane}: overlaps another segment", OVERLAP)
        np.maximum(there, drawn, out=there)
    return whole.reshape(grid.size[::-1])


def _binary(frames: NDArray[Any], header: Any, file: Path) -> NDArray[Any]:
    """Frames of 0 and 1, or of segments' numbers."""
    if text(header, "SegmentationType", file) != "FRACTIONAL":
        return frames
    most = (numbers(header, "MaximumFractionalValue", 1, file) or (255.0,))[0]
    if not np.isin(frames, (0, most)).all():
        raise DataError(f"{file}: a segmentation with fractions of voxels, not a mask of classes", FRACTIONS)
    return (frames > 0).astype(np.uint8)


def _number(plane: Plane) -> int:
    """The number of a frame's segment."""
    each = items(plane.header, "PerFrameFunctionalGroupsSequence", plane.path)
    shared = items(plane.header, "SharedFunctionalGroupsSequence", plane.path)
    for group in [*each[plane.frame or 0 :][:1], *shared[:1]]:
        for item in items(group, "SegmentIdentificationSequence", plane.path):
            if found := numbers(item, "ReferencedSegmentNumber", 1, plane.path):
                return int(found[0])
    raise DataError(f"{plane}: no ReferencedSegmentNumber in its header", HEADER)


def _window(plane: Plane, shape: tuple[int, ...], grid: Geometry) -> tuple[Any, Any]:
    """Where a frame lies in the volume, and which part of it lies there, as indices of arrays."""
    axes = np.reshape(grid.direction, (len(grid.size),) * 2)
    if len(grid.size) != 3 or plane.position is None or plane.orientation is None or plane.spacing is None:
        raise DataError(f"{plane}: no position in its header, or its image has none", OTHER_GRID)
    spacing = np.array(grid.spacing)
    turned = np.abs(plane.orientation - axes[:, :2].T).max() > CLOSE
    if turned or (np.abs(np.array(plane.spacing) - spacing[:2]) > CLOSE * spacing[:2]).any():
        raise DataError(f"{plane}: has another orientation or pixel size than its image", OTHER_GRID)
    at = axes.T @ (plane.position - np.array(grid.origin)) / spacing
    x, y, z = (int(number) for number in np.rint(at))
    if np.abs(at - (x, y, z)).max() > NEAR or not 0 <= z < grid.size[2]:
        raise DataError(f"{plane}: lies between the voxels of its image, or outside of it", OTHER_GRID)
    rows, columns = shape
    part = (z, slice(max(y, 0), max(y + rows, 0)), slice(max(x, 0), max(x + columns, 0)))
    top, left = max(-y, 0), max(-x, 0)
    inside = (slice(top, top + max(grid.size[1] - max(y, 0), 0)), slice(left, left + max(grid.size[0] - max(x, 0), 0)))
    return part, inside
