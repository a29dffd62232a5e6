"""The metrics of surfaces. How they are measured: :mod:`relay.metrics.distances`. Imports no torch."""

from __future__ import annotations

from math import inf

from relay.metrics.base import MaskMetric, MaskPair


class SurfaceMetric(MaskMetric):
    """One of the three distances between surfaces, which are measured together."""

    background = False

    def measure(self, masks: MaskPair) -> list[float]:
        """See :meth:`MaskMetric.measure`; the background's surface is not measured."""
        return masks.surfaces[self.name]


class HD95(SurfaceMetric):
    """The robust Hausdorff distance."""

    name = "hd95"
    title = "HD95"
    meaning = "distance between the contours that 95 % of their points keep within; smaller is better"
    bounds = (0.0, inf)
    higher_is_better = False
    in_unit = True


class ASD(SurfaceMetric):
    """The average symmetric surface distance."""

    name = "asd"
    title = "ASD"
    meaning = "average distance between the contours; smaller is better"
    bounds = (0.0, inf)
    higher_is_better = False
    in_unit = True


class NSD(SurfaceMetric):
    """The normalised surface Dice."""

    name = "nsd"
    title = "NSD"
    meaning = "share of the contours that lie within the tolerance of each other; 1 is all"
