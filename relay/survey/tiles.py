"""The contact sheet of a site's page: some images of each split, with the contours of their masks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from relay.data import Pixels, SplitName
from relay.overlay import contours
from relay.palette import PALETTE
from relay.report import Tile, address
from relay.survey.looking import Look, Seen, shown

EACH = 12
"""Images of each split on the sheet."""
SIDE = 192
"""The longer side of an image on the sheet, in pixels."""


def tiles(look: Look) -> list[Tile]:
    """The sheet: images spread evenly over each split."""
    found = []
    for part in look.splits:
        images = [seen for seen in look.images if seen.split == part]
        places = np.unique(np.linspace(0, len(images) - 1, min(EACH, len(images))).astype(int))
        found += [_tile(look, part, int(k), images[k]) for k in places]
    return found


def _tile(look: Look, part: SplitName, k: int, seen: Seen) -> Tile:
    options = look.site.dataset.options
    image, target = look.site.store(part)[k]
    pixels, said = shown(image), f"{seen.record.id} ({part})"
    if options.does.dense:
        pixels = _with_mask(pixels, target[len(target) // 2] if target.ndim == 3 else target)
    else:
        said += f": {label(seen.target, options.names)}"
    return Tile(address(Image.fromarray(pixels), (SIDE, SIDE)), f"Image {seen.record.id}", said)


def label(target: object, names: list[str]) -> str:
    """A target in words."""
    if isinstance(target, list):
        return ", ".join(name for name, has in zip(names, target, strict=True) if has) or "none"
    return names[target] if isinstance(target, int) else f"{target:.4g}"


def _with_mask(pixels: Pixels, mask: NDArray[np.uint8]) -> Pixels:
    """Contours of the classes, drawn at the size on the sheet so that they stay visible."""
    factor = max(1, -(-SIDE // max(mask.shape)))
    step = max(1, max(mask.shape) // (2 * SIDE))
    large: Pixels = pixels[::step, ::step].repeat(factor, 0).repeat(factor, 1).copy()
    drawn = mask[::step, ::step].repeat(factor, 0).repeat(factor, 1)
    edge = contours(drawn)
    colours = np.array([PALETTE[(k % (len(PALETTE) - 1)) + 1] for k in range(256)], np.uint8)
    large[edge] = colours[drawn[edge] - 1]
    return large
