"""Heat maps drawn over their image, and as files."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from relay.data import Pixels
from relay.explain.placing import Map
from relay.overlay import LARGEST, SIDE

COLOURS = "inferno"
"""A colour map whose brightness rises evenly, also for colour-blind eyes."""
OPACITY = 0.7
"""Of the hottest place; colder ones let more of the image through."""


def section(heat: Map) -> int | None:
    """The slice of a volume's map, along the first axis, that has most of its heat; None of a picture's."""
    return int(heat.sum((1, 2)).argmax()) if heat.ndim == 3 else None


def drawn(image: Pixels, heat: Map | None, at: int | None) -> Image.Image:
    """An image with a map on it, at the size of an overlay.

    Args:
        image: uint8 ``(*S, C)``; ``heat``: 0 to 1, ``(*S)``, or None for the image alone.
        at: the slice that is shown, along the first axis; None for a picture.
    """
    from matplotlib import colormaps

    flat = image if at is None else image[at]
    grey = flat if flat.shape[-1] == 3 else flat[..., :1]
    pixels: NDArray[np.float64] = np.broadcast_to(grey, (*grey.shape[:2], 3)) / 255.0
    if heat is not None:
        hot = heat if at is None else heat[at]
        share = OPACITY * hot[..., None]
        pixels = pixels * (1 - share) + colormaps[COLOURS](hot)[..., :3] * share
    found = Image.fromarray((pixels * 255).round().astype(np.uint8))
    factor = max(1, SIDE // max(found.size))
    found = found.resize((found.width * factor, found.height * factor), Image.Resampling.NEAREST)
    found.thumbnail((LARGEST, LARGEST))
    return found
