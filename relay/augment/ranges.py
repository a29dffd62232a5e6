"""How much an augmentation changes a batch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Ranges:
    """How much is changed, at most. Each change but the geometry is made with its probability.

    Attributes:
        quarters: whether samples are also turned by quarters, within the last two axes.
        turn: in degrees; a volume is turned by as much within its slices, by a third of it out of them.
        scale, shear, shift: as shares of the image's size.
        bend: how far a smooth deformation moves voxels, as a share of the size.
        contrast, brightness: of the whole range of intensities.
        gamma: the exponent, from one over it to itself.
        noise: standard deviation, of the whole range.
        blur: standard deviation in voxels.
        often: the probability of a change.
    """

    quarters: bool
    turn: float
    scale: float
    shear: float
    shift: float
    bend: float
    contrast: float
    brightness: float
    gamma: float
    noise: float
    blur: float
    often: float
