"""``light`` and ``strong``: for images and volumes, any number of channels, any stored type, a whole batch at once.

The ranges are chosen by what scanners and patients do and by common practice (Isensee et al. 2021,
10.1038/s41592-020-01008-z), not by a search.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from relay.augment.base import Augmentation, Images, Pixels
from relay.augment.classic import flipped


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


class Light(Augmentation):
    """Mirrors, turns, scales and shifts a little; changes brightness and contrast a little; some noise."""

    axes, takes = (2, 3), "unit"
    ranges: ClassVar[Ranges] = Ranges(False, 10, 0.1, 0, 0.05, 0, 0.1, 0.05, 1.0, 0.02, 0, 0.5)

    def apply(self, images: Images, masks: Pixels, seed: int) -> tuple[Images, Pixels]:
        """See :meth:`Augmentation.apply`."""
        from relay.augment.batched import changed, moved

        rng = np.random.default_rng(seed)
        images, masks = flipped(images, masks, rng, turn=self.ranges.quarters)
        images, masks = moved(images, masks, self.ranges, rng)
        return changed(images, self.ranges, rng), masks


class Strong(Light):
    """Mirrors, turns (also by quarters), scales, shears, shifts and deforms; changes brightness, contrast and gamma;
    blur and noise."""

    ranges = Ranges(True, 25, 0.25, 0.1, 0.08, 0.03, 0.25, 0.12, 1.5, 0.05, 1.0, 0.5)
