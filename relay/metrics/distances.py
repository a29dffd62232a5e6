"""Distances between the surfaces of two label maps, class by class. Imports no torch.

A surface is the voxels of a class with a face neighbour that is not of it; outside the image nothing is. Distances
are from each surface voxel of the one map to the nearest of the other, centre to centre:

- ``hd95``: the larger of the two directions' 95th percentiles (robust Hausdorff distance; Huttenlocher et al. 1993,
  10.1109/34.232073), linear between ranks;
- ``asd``: the mean over both directions' distances together (average symmetric surface distance; Heimann et al. 2009,
  10.1109/TMI.2009.2013851);
- ``nsd``: the share of both surfaces that is within the tolerance of the other (normalised surface Dice; Nikolov et
  al. 2021, 10.2196/26151), by voxels and not by area.

These are the numbers of monai's ``compute_hausdorff_distance(percentile=95)``,
``compute_average_surface_distance(symmetric=True)`` and ``compute_surface_dice``. Those three each crop, erode and
measure both directions separately; here all this is done once per class.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy.ndimage import find_objects
from scipy.spatial import KDTree

Map: TypeAlias = NDArray[Any]
Box: TypeAlias = tuple[slice, ...]
NAMES = ("hd95", "asd", "nsd")
LEAF = 32
"""Points in a leaf of the tree: with one question a tree, larger ones than usual are faster."""


def surfaces(
    pred: Map, truth: Map, num_classes: int, spacing: Sequence[float] | None = None, tolerance: float = 2.0
) -> dict[str, list[float]]:
    """``hd95``, ``asd`` and ``nsd`` of each class of one sample.

    Args:
        pred: ``(*S)`` labels of any integer type; a label outside 0..C-1 is of no class.
        truth: ``(*S)``, likewise.
        num_classes: C, background included; the background's values are NaN.
        spacing: millimetres per voxel along each axis; None: distances are in voxels.
        tolerance: of ``nsd``, in the same unit.

    Returns:
        (C,) numbers each: distances from 0, ``nsd`` in 0..1. Of a class in neither map all are NaN; of one in only one
        of them ``nsd`` is 0 and the distances are NaN.
    """
    scale = np.ones(truth.ndim) if spacing is None else np.asarray(spacing, float)
    found: dict[str, list[float]] = {name: [np.nan] for name in NAMES}
    boxes = (_boxes(labels, num_classes) for labels in (pred, truth))
    for label, (one, other) in enumerate(zip(*boxes, strict=True), 1):
        values = (np.nan, np.nan, np.nan if one is None and other is None else 0.0)
        if one is not None and other is not None:
            box = _union(one, other)
            values = _compare(_points(pred[box] == label, scale), _points(truth[box] == label, scale), tolerance)
        for name, value in zip(NAMES, values, strict=True):
            found[name].append(value)
    return found


def _boxes(labels: Map, num_classes: int) -> list[Box | None]:
    """The box around each class but background; None around one that is not there."""
    if not labels.size:
        return [None] * (num_classes - 1)
    return list(find_objects(labels.astype(np.uint8) if labels.dtype == bool else labels, num_classes - 1))


def _union(one: Box, other: Box) -> Box:
    return tuple(slice(min(a.start, b.start), max(a.stop, b.stop)) for a, b in zip(one, other, strict=True))


def _points(mask: NDArray[np.bool_], scale: NDArray[np.float64]) -> NDArray[np.float64]:
    """The surface's voxels, (N, dimensions), in the unit of ``scale``. The crop's edge counts as the image's does:
    nothing of the class is beyond either."""
    points: NDArray[np.float64] = np.argwhere(edges(mask)) * scale
    return points


def edges(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """The voxels ``(*S)`` of a mask with a face neighbour outside it: mask and not its erosion by a cross."""
    inner: NDArray[np.bool_] = mask.copy()
    for axis in range(mask.ndim):
        here, left = np.moveaxis(mask, axis, 0), np.moveaxis(inner, axis, 0)
        left[1:] &= here[:-1]
        left[:-1] &= here[1:]
        left[[0, -1]] = False
    surface: NDArray[np.bool_] = mask & ~inner
    return surface


def _compare(pred: NDArray[np.float64], truth: NDArray[np.float64], tolerance: float) -> tuple[float, float, float]:
    """Of two surfaces, neither empty. A tree of one asks for the nearest points of the other: a distance map of the
    whole box takes several times as long."""
    ways = [KDTree(b, LEAF).query(a)[0] for a, b in ((pred, truth), (truth, pred))]
    both = np.concatenate(ways)
    hd95 = max(float(np.quantile(way, 0.95)) for way in ways)
    within = both.astype(np.float32) <= np.float32(tolerance)  # 3 voxels of 0.1 mm are not beyond 0.3 mm
    return hd95, float(both.mean()), float(within.mean())
