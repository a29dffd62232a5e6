"""Put the planes of a DICOM series together: their order, and the geometry of the volume.

The order is that of their positions along the normal of the planes; names and numbers of the files don't count.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from relay.data.dicom.planes import DIFFERING, SAME, Plane
from relay.data.dicom.tags import text, whole
from relay.data.formats.geometry import CLOSE, Geometry
from relay.errors import DataError

APART = 0.005
"""Planes nearer than this, in mm, are at one position."""
REGULAR = 0.01
"""How far a gap may be from the usual one, as a share of it and, in addition, in mm: files round positions."""
SHEAR = 0.1
"""How far a plane may be displaced sideways, in voxels."""
MIXED = (
    "Keep the images that belong to one volume, and remove or separate the others: a localiser or a reformatted "
    "view was often stored in the same series."
)
LOCALISER = "Remove the localisers from the series: they show where the scan was made, and are no part of it."
COPIES = "Remove the copies: each image of a series must be there once."
SEVERAL = (
    "The series has several volumes, such as times, echoes or b-values. Keep the one that you need in its own folder."
)
MISSING = "Copy or export the series again, completely. relay does not fill in slices."
IRREGULAR = (
    "Slices may be missing: export the series again, completely. If it was scanned like this, resample it to one "
    "spacing, for example with dcm2niix or 3D Slicer."
)
TILTED = (
    "The gantry was tilted, and the volume is sheared. Resample it to right angles, for example with dcm2niix or "
    "3D Slicer, together with its mask."
)
ALONE = "Name each file as an image of its own; or export the series with its positions."


def stack(planes: Sequence[Plane]) -> tuple[list[Plane], Geometry]:
    """The planes from the first to the last, and the geometry of their volume.

    Args:
        planes: All planes of a series; at least one.

    Raises:
        DataError: they form no volume with one size, one orientation and one spacing; or not exactly one.
    """
    _alike(planes)
    if len(planes) == 1:
        return list(planes), _geometry(planes, (planes[0].depth or 1.0))
    _placed(planes)
    _parallel(planes)
    positions = np.array([plane.position for plane in planes])
    normal = np.cross(*planes[0].orientation)  # type: ignore[misc]
    along = positions @ normal
    order = np.argsort(along, kind="stable")
    planes, along, positions = [planes[k] for k in order], along[order], positions[order]
    gaps = np.diff(along)
    _once(planes, gaps)
    _regular(planes, gaps)
    step = float((along[-1] - along[0]) / (len(along) - 1))
    _straight(planes, positions, normal)
    return planes, _geometry(planes, step)


def _geometry(planes: Sequence[Plane], step: float) -> Geometry:
    first = planes[0]
    size = (whole(first.header, "Columns", first.path), whole(first.header, "Rows", first.path), len(planes))
    axes = np.eye(3)
    if first.orientation is not None:
        axes = np.stack([*first.orientation, np.cross(*first.orientation)], axis=1)
    origin = np.zeros(3) if first.position is None else first.position
    spacing = first.spacing or (1.0, 1.0)
    return Geometry(size, (*spacing, step), tuple(origin.tolist()), tuple(axes.ravel().tolist()))


def _alike(planes: Sequence[Plane]) -> None:
    """Refuse planes that differ in what a volume has only once."""
    first = planes[0]
    for tag in ("SeriesInstanceUID", *SAME):
        mine = text(first.header, tag, first.path)
        for plane in planes:
            if text(plane.header, tag, plane.path) != mine:
                raise DataError(f"{first} and {plane} are in one series, but differ in {tag}", MIXED)
    localisers = [plane for plane in planes if "LOCALIZER" in plane.differing("ImageType").upper().split("\\")]
    if localisers and len(localisers) < len(planes):
        raise DataError(f"{localisers[0]}: a localiser in a series of {len(planes)} images", LOCALISER)
    sizes = {
        (whole(plane.header, "Columns", plane.path), whole(plane.header, "Rows", plane.path)): plane
        for plane in reversed(planes)
    }
    if len(sizes) > 1:
        told = "; ".join(f"{width}×{height} in {plane}" for (width, height), plane in list(sizes.items())[:2])
        raise DataError(f"{first.path.parent}: images of {len(sizes)} sizes in one series: {told}", MIXED)


def _placed(planes: Sequence[Plane]) -> None:
    for plane in planes:
        missing = [
            tag
            for tag, given in (
                ("ImagePositionPatient", plane.position),
                ("ImageOrientationPatient", plane.orientation),
                ("PixelSpacing", plane.spacing),
            )
            if given is None
        ]
        if missing:
            what = f"one of {len(planes)} images of a series"
            raise DataError(f"{plane}: {what}, but no {' and no '.join(missing)} in its header", ALONE)


def _parallel(planes: Sequence[Plane]) -> None:
    first = planes[0]
    for plane in planes[1:]:
        for what, mine, theirs, tolerance in (
            ("orientation", first.orientation, plane.orientation, CLOSE),
            ("pixel size", first.spacing, plane.spacing, CLOSE * min(first.spacing or (1.0,))),
        ):
            one, other = np.asarray(mine, float).ravel(), np.asarray(theirs, float).ravel()
            if (np.abs(one - other) > tolerance).any():
                raise DataError(
                    f"{first} and {plane} are in one series, but differ in {what}: {_numbers(one)} and "
                    f"{_numbers(other)}",
                    MIXED,
                )


def _once(planes: Sequence[Plane], gaps: NDArray[np.float64]) -> None:
    """Refuse several planes at one position."""
    same = np.flatnonzero(gaps < APART)
    if not len(same):
        return
    one, other = planes[same[0]], planes[same[0] + 1]
    uids = [text(plane.header, "SOPInstanceUID", plane.path) for plane in (one, other)]
    if uids[0] and uids[0] == uids[1] and one.path != other.path:
        raise DataError(f"{one} and {other} are copies of one image; {len(same)} too many", COPIES)
    tags = [tag for tag in DIFFERING if one.differing(tag) != other.differing(tag)]
    said = f"; they differ in {', '.join(tags)}" if tags else ""
    where = f"{one} and {other} are at the same position"
    raise DataError(f"{where}: {len(planes)} images at {len(planes) - len(same)} positions{said}", SEVERAL)


def _regular(planes: Sequence[Plane], gaps: NDArray[np.float64]) -> None:
    usual = float(np.median(gaps))
    wrong = np.flatnonzero(np.abs(gaps - usual) > REGULAR * usual + REGULAR)
    if not len(wrong):
        return
    worst = int(wrong[np.argmax(np.abs(gaps[wrong] - usual))])
    where = f"{gaps[worst]:.5g} mm between {planes[worst]} and {planes[worst + 1]}, but usually {usual:.5g} mm"
    times = gaps[wrong] / usual
    if (times > 1.5).all() and (np.abs(times - np.rint(times)) < 0.1).all():
        count = int(np.rint(times).sum()) - len(wrong)
        slices = "1 missing slice" if count == 1 else f"{count} missing slices"
        raise DataError(f"{planes[0].path.parent}: {slices}: {where}", MISSING)
    raise DataError(f"{planes[0].path.parent}: irregular distances between slices: {where}", IRREGULAR)


def _straight(planes: Sequence[Plane], positions: NDArray[np.float64], normal: NDArray[np.float64]) -> None:
    """Refuse planes that are displaced sideways."""
    moved = positions - positions[0]
    aside = np.linalg.norm(moved - np.outer(moved @ normal, normal), axis=1)
    if aside.max() > SHEAR * min(planes[0].spacing or (1.0,)):
        worst = int(np.argmax(aside))
        raise DataError(
            f"{planes[0].path.parent}: slices are not at right angles to their normal: {planes[worst]} lies "
            f"{aside[worst]:.4g} mm aside of {planes[0]}",
            TILTED,
        )


def _numbers(given: NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{number + 0.0:.5g}" for number in given) + ")"
