"""Volumes as 2D slices: ``dataset.kwargs.slices``.

Axial slices are ordered from the feet to the head, coronal ones from front to back, sagittal ones from the right hand
to the left; coronal and sagittal slices have the head up, as single slices have (:mod:`relay.data.formats.geometry`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, Literal, TypeVar

import numpy as np
from numpy.typing import NDArray

from relay.data.formats.geometry import Geometry
from relay.data.formats.volumes import read_geometry
from relay.data.record import Case, Record
from relay.errors import DataError

Plane = Literal["axial", "coronal", "sagittal"]
AXES: dict[Plane, int] = {"axial": 0, "coronal": 1, "sagittal": 2}
"""The axis across the slices, of a volume as read: towards the head, the back, the left hand."""
T = TypeVar("T", bound=np.generic)


def sliced(record: Record, axis: int) -> Iterator[Record]:
    """A record for each slice of a volume: only its header is read. A volume of one slice stays as it is.

    Raises:
        DataError: it is no volume, or its header can't be read.
    """
    geometry = read_geometry(record.image)
    if geometry is None:
        raise DataError(f"{record.image}: a 2D picture has no slices", "Leave out slices, or give volumes.")
    many = count(geometry, axis)
    if many is None:
        yield record
        return
    digits = max(3, len(str(many - 1)))  # sorted by name, they are in order
    for i in range(many):
        yield replace(record, id=f"{record.id}#{i:0{digits}d}", slice=i)


def count(geometry: Geometry, axis: int) -> int | None:
    """How many slices a volume has across an axis; None if it is a single slice."""
    return None if geometry.is_slice else geometry.size[2 - geometry.way[0][axis]]


def cut(case: Case, axis: int, number: int) -> Case:
    """A slice of a volume."""
    return replace(
        case,
        image=_up(np.take(case.image, number, axis), axis),
        target=_up(np.take(case.target, number, axis), axis) if case.dense else case.target,
        spacing=case.spacing and (*case.spacing[:axis], *case.spacing[axis + 1 :]),
        grid=case.grid and _grid(case, axis),
    )


def stacked(slices: Sequence[NDArray[T]], axis: int) -> NDArray[T]:
    """The volume of which these are all the slices: the inverse of :func:`cut` for arrays ``(*S)``."""
    return np.stack([_up(each, axis) for each in slices], axis)


def _up(array: NDArray[Any], axis: int) -> NDArray[Any]:
    """Rows of coronal and sagittal slices run from the head to the feet."""
    return array if axis == 0 else np.ascontiguousarray(array[::-1])


def _grid(case: Case, axis: int) -> Any:
    grid = case.grid
    assert grid is not None
    rows = case.image.shape[1 if axis == 0 else 0]
    flat = grid.without(axis)
    return flat if axis == 0 else flat.flipped(0, rows)
