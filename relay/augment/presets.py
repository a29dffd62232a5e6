"""``light`` and ``strong``: for images and volumes, any number of channels, any stored type, a whole batch at once.

The ranges are chosen by what scanners and patients do and by common practice (Isensee et al. 2021,
10.1038/s41592-020-01008-z), not by a search.
"""

from __future__ import annotations

from typing import ClassVar

import numpy as np

from relay.augment.base import Augmentation, Images, Pixels
from relay.augment.classic import flipped
from relay.augment.ranges import Ranges


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
