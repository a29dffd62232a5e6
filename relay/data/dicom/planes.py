"""The planes of DICOM files: one for each frame, with its place in space and the scale of its values.

Ordinary files have one frame, described by the header. Enhanced files describe each frame in functional groups (DICOM
PS3.3, C.7.6.16).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data.dicom.tags import HEADER, items, numbers, read_header, text, whole
from relay.errors import DataError

Numbers = tuple[float, ...]
SPACINGS = ("PixelSpacing", "ImagerPixelSpacing", "NominalScannedPixelSpacing")
"""Millimetres between rows and between columns, from the most to the least exact."""
DIFFERING = (
    "AcquisitionNumber",
    "TemporalPositionIdentifier",
    "EchoTime",
    "DiffusionBValue",
    "TriggerTime",
    "ImageType",
    "AcquisitionTime",
    "ContentTime",
)
"""What may tell images at one position apart; none of it names a person."""
SAME = (
    "PatientID",
    "Modality",
    "SamplesPerPixel",
    "PhotometricInterpretation",
    "RescaleType",
    "Units",
    "FrameOfReferenceUID",
)
"""What all images of a series must have in common, besides size, spacing and orientation."""
TAGS = (
    *SPACINGS,
    *DIFFERING,
    *SAME,
    "SOPClassUID",
    "SOPInstanceUID",
    "SeriesInstanceUID",
    "Rows",
    "Columns",
    "NumberOfFrames",
    "ImagePositionPatient",
    "ImageOrientationPatient",
    "SliceThickness",
    "SpacingBetweenSlices",
    "PixelPaddingValue",
    "PixelPaddingRangeLimit",
    "RescaleSlope",
    "RescaleIntercept",
    "ModalityLUTSequence",
    "DoseGridScaling",
    "PixelRepresentation",
    "BitsStored",
    "BitsAllocated",
    "BurnedInAnnotation",
    "PerFrameFunctionalGroupsSequence",
    "SharedFunctionalGroupsSequence",
)
FUNCTION = {
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "SpacingBetweenSlices": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
}
"""The sequence of an enhanced file that contains each tag."""
FILM = "They are a film, or projections, and no volume. Save the frame that you need as an image of its own."
LUT = (
    "Its values go through a table (Modality LUT), and relay only applies a slope and an intercept. Export it as a "
    "volume with real values, for example with 3D Slicer."
)
DOSE = (
    "Its values have a scale of their own, which relay doesn't apply. Save it as a volume in gray, for example with 3D "
    "Slicer."
)


@dataclass(frozen=True, eq=False)
class Plane:
    """One frame.

    Attributes:
        path: Its file.
        header: The file's header.
        frame: Its number in the file, from 0; None if the file has no other.
        position: The centre of its first voxel, in mm towards the left, the back and the head; None if not given.
        orientation: The directions of a row (x) and of a column (y), ``(2, 3)``; None if not given.
        spacing: Millimetres between columns (x) and between rows (y); None if not given.
        depth: Millimetres to the next plane, by the header, which may be wrong; None if not given.
        between: Millimetres between slices, as the header says (SpacingBetweenSlices); None if it does not.
        slope, intercept: A value is ``slope * stored + intercept``.
    """

    path: Path
    header: Any
    frame: int | None
    position: NDArray[np.float64] | None
    orientation: NDArray[np.float64] | None
    spacing: tuple[float, float] | None
    depth: float | None
    between: float | None
    slope: float
    intercept: float

    def __str__(self) -> str:
        return str(self.path) if self.frame is None else f"{self.path}, frame {self.frame + 1}"

    def differing(self, tag: str) -> str:
        """One of ``DIFFERING`` as text, to compare."""
        return text(self.header, tag, self.path)


def planes_of(path: Path) -> list[Plane]:
    """The planes of a file, in its order.

    Raises:
        DataError: it can't be read, contains no image, or its header makes no sense.
    """
    header = read_header(path, TAGS)
    whole(header, "Rows", path)
    whole(header, "Columns", path)
    if items(header, "ModalityLUTSequence", path):
        raise DataError(f"{path}: a table of values instead of a scale", LUT)
    if numbers(header, "DoseGridScaling", 1, path) is not None:
        raise DataError(f"{path}: a dose (RTDOSE), not an image", DOSE)
    frames = whole(header, "NumberOfFrames", path, default=1)
    each = items(header, "PerFrameFunctionalGroupsSequence", path)
    if frames > 1 and not each:
        raise DataError(f"{path}: {frames:.7g} frames without a position for each (ImagePositionPatient)", FILM)
    if each and len(each) != frames:
        raise DataError(f"{path}: {frames} frames, but {len(each)} descriptions of frames in its header", HEADER)
    shared = items(header, "SharedFunctionalGroupsSequence", path)[:1]
    enhanced = bool(each or shared)
    return [
        _plane(path, header, None if frames == 1 else k, [*each[k : k + 1], *shared] if enhanced else None)
        for k in range(frames)
    ]


def _plane(path: Path, header: Any, frame: int | None, groups: Sequence[Any] | None) -> Plane:
    def found(tag: str, count: int) -> Numbers | None:
        for place in _places(header, tag, groups, path):
            if (given := numbers(place, tag, count, path)) is not None:
                return given
        return None

    position = found("ImagePositionPatient", 3)
    between = found("SpacingBetweenSlices", 1)
    depth = between or found("SliceThickness", 1)
    slope, intercept = found("RescaleSlope", 1) or (1.0,), found("RescaleIntercept", 1) or (0.0,)
    if slope[0] == 0:
        raise DataError(f"{path}: RescaleSlope 0 in its header: all values would be the same", HEADER)
    return Plane(
        path,
        header,
        frame,
        None if position is None else np.array(position),
        _orientation(found("ImageOrientationPatient", 6), path),
        _spacing([found(tag, 2) for tag in SPACINGS], path),
        abs(depth[0]) or None if depth else None,
        abs(between[0]) or None if between else None,
        slope[0],
        intercept[0],
    )


def _places(header: Any, tag: str, groups: Sequence[Any] | None, path: Path) -> Iterator[Any]:
    """The headers that may contain a tag: of an enhanced file, the frame's own group, then the one for all."""
    for group in groups or ():
        yield from items(group, FUNCTION.get(tag, "FrameContentSequence"), path)
    yield header


def _orientation(given: Numbers | None, path: Path) -> NDArray[np.float64] | None:
    """Two directions at right angles, of length 1; files round them to a few digits."""
    if given is None:
        return None
    row, column = np.array(given).reshape(2, 3)
    lengths = np.linalg.norm(row), np.linalg.norm(column)
    if max(abs(length - 1) for length in lengths) > 0.01 or abs(row @ column) > 0.01:
        shown = ", ".join(f"{number:.5g}" for number in given)
        message = f"{path}: ImageOrientationPatient ({shown}) in its header is not two directions at right angles"
        raise DataError(message, HEADER)
    row = row / lengths[0]
    column = column - (row @ column) * row
    return np.stack([row, column / np.linalg.norm(column)])


def _spacing(given: Sequence[Numbers | None], path: Path) -> tuple[float, float] | None:
    found = next((mm for mm in given if mm is not None), None)
    if found is None:
        return None
    if min(found) <= 0:
        raise DataError(f"{path}: PixelSpacing ({found[0]:g}, {found[1]:g}) in its header is not possible", HEADER)
    return found[1], found[0]  # DICOM gives the distance of the rows first
