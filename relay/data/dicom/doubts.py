"""What is legal in a DICOM series, but suspicious: phrases for a warning before time is spent."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from relay.data.dicom.pixels import inverted, is_inverted
from relay.data.dicom.planes import Plane
from relay.data.dicom.stack import REGULAR
from relay.data.dicom.tags import numbers, text
from relay.data.formats.geometry import Geometry

CAPTURE = "1.2.840.10008.5.1.4.1.1.7"
"""SOP class of secondary captures, and the beginning of those with many frames."""
FAR = 0.1
"""How far padding must be from all other values, as a share of their range, to be worth a word."""


def doubts(planes: Sequence[Plane], geometry: Geometry, values: NDArray[Any]) -> list[str]:
    """What is suspicious about a series.

    Args:
        planes: Its planes, in their order.
        geometry: Of its volume.
        values: In real units, ``(z, y, x)`` and perhaps colours.
    """
    return [*_of_headers(planes), *_of_distance(planes, geometry), *_of_padding(planes, values)]


def _of_headers(planes: Sequence[Plane]) -> Iterator[str]:
    first = planes[0]
    if first.spacing is None:
        yield "its header gives no pixel size; assumed 1 mm"
    headers = {plane.path: plane.header for plane in planes}
    if any("MOSAIC" in text(header, "ImageType", path).upper().split("\\") for path, header in headers.items()):
        yield (
            "a Siemens mosaic (ImageType): all slices of a volume are tiles of one image, and are not neighbours; "
            "convert it to a volume, for example with dcm2niix"
        )
    if any(text(header, "BurnedInAnnotation", path).upper() == "YES" for path, header in headers.items()):
        yield "text is burned into its pixels (BurnedInAnnotation), which may name the patient"
    elif text(first.header, "SOPClassUID", first.path).startswith(CAPTURE):
        yield "a secondary capture, such as a screenshot: text may be burned into its pixels"


def _of_distance(planes: Sequence[Plane], geometry: Geometry) -> Iterator[str]:
    """The header's distance between slices, where the positions have another."""
    said, found = planes[0].between, geometry.spacing[-1]
    if len(planes) > 1 and said is not None and abs(said - found) > REGULAR * found + REGULAR:
        yield (
            f"SpacingBetweenSlices in its header is {said:.5g} mm, but its slices lie {found:.5g} mm apart by their "
            "positions, which is used; slices may be missing, or exported twice"
        )


def _of_padding(planes: Sequence[Plane], values: NDArray[Any]) -> Iterator[str]:
    """Padding, the voxels outside of what was scanned (DICOM PS3.3, C.7.5.1.1.2), where its value is far from all
    others: it would stretch a window that is measured in the image."""
    found = {number: ends for number, plane in enumerate(planes) if (ends := _padding(plane))}
    there = np.zeros(values.shape if found else (0,), bool)
    for number, (least, most) in found.items():
        there[number] = (values[number] >= least) & (values[number] <= most)
    if not there.any() or there.all():
        return
    padding, others = values[there], values[~there]
    low, high = float(others.min()), float(others.max())
    away = max(low - float(padding.max()), float(padding.min()) - high)
    if away > FAR * (high - low):
        yield (
            f"{100 * there.mean():.2g} % of its voxels are padding (PixelPaddingValue), read as {padding[0]:g}, while "
            f"all others are {low:g} to {high:g}; set Normalise to a window of the latter, or crop the padding"
        )


def _padding(plane: Plane) -> tuple[float, float] | None:
    """The lowest and the highest value of padding, in real units."""
    given = [numbers(plane.header, tag, 1, plane.path) for tag in ("PixelPaddingValue", "PixelPaddingRangeLimit")]
    ends = [found[0] for found in given if found is not None]
    if given[0] is None:
        return None
    signed = numbers(plane.header, "PixelRepresentation", 1, plane.path) == (1.0,)
    bits = int((numbers(plane.header, "BitsAllocated", 1, plane.path) or (16.0,))[0])
    kind = np.dtype(f"{'i' if signed else 'u'}{1 if bits <= 8 else 2 if bits <= 16 else 4}")
    with np.errstate(invalid="ignore"):
        stored = np.array(ends).astype(np.int64).astype(kind)  # some files write -2000 as 63536
    if is_inverted(plane):
        stored = inverted(stored, plane)
    real = np.float32(1) * (stored * plane.slope + plane.intercept)
    return float(real.min()), float(real.max())
