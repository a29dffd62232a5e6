"""Heat maps drawn over their image, with what the colours mean."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from relay.explain.explaining import Explained, Heat
from relay.overlay import GAP, Mask, contours, enlarged
from relay.palette import GREEN, SKY, Colour

COLOURS = "inferno"
"""A colour map whose brightness rises evenly, also for colour-blind eyes."""
OPACITY = 0.7
"""Of the hottest place; colder ones let more of the image through."""
FOUND, WINDOW = SKY, GREEN
"""Of the outlines: no colour of the maps is like them."""
BAR = 8
"""Length of the colour bar, in heights of a letter."""


def sheet(one: Explained, heat: Heat) -> Image.Image:
    """Side by side: the image, the model's map on it, and the untrained net's; below, what the colours mean."""
    at = one.shown
    panels = [_drawn(one, shown, at) for shown in (None, heat.map, heat.untrained)]
    width, height = panels[0].size
    whole = (width + GAP) * len(panels) - GAP
    letter = max(10, whole // 80)
    font, line = ImageFont.load_default(letter), letter + GAP
    where = "" if at is None else f", slice {at} (of 0 to {one.image.shape[one.axis] - 1})"
    told = f"{heat.method}, {one.output}{where}. Influence on the answer:"
    room = max(whole, int(font.getlength(told)) + GAP)
    made = Image.new("RGB", (room, height + 5 * line + 2 * GAP), "white")
    draw = ImageDraw.Draw(made)
    for k, (panel, title) in enumerate(zip(panels, ("image", "model", "untrained net"), strict=True)):
        made.paste(panel, ((width + GAP) * k, line))
        draw.text(((width + GAP) * k, 0), title, fill="black", font=font)
    top = height + line + GAP
    draw.text((0, top), told, fill="black", font=font)
    _bar(made, top + line, letter)
    top += 2 * line
    for mask, colour, meaning in _outlines(one):
        if mask is not None:
            draw.rectangle((0, top + 2, letter, top + 2 + letter), fill=colour, outline="black")
            draw.text((letter + GAP, top), meaning, fill="black", font=font)
            top += line
    return made


def _outlines(one: Explained) -> Sequence[tuple[Mask | None, Colour, str]]:
    """What is outlined, in which colour, and what that means; Pillow's own font has no ×."""
    return (
        (one.window, WINDOW, f"{one.part.replace('×', 'x')}: only this was explained"),
        (one.found, FOUND, "what the model finds"),
    )


def _bar(made: Image.Image, top: int, letter: int) -> None:
    """The colours on a grey image, from little to most."""
    font, draw = ImageFont.load_default(letter), ImageDraw.Draw(made)
    ramp = np.linspace(0, 1, BAR * letter)[None]
    colours = (_heated(np.full((*ramp.shape, 3), 0.5), ramp) * 255).round().astype(np.uint8)
    left = int(font.getlength("little")) + GAP
    draw.text((0, top), "little", fill="black", font=font)
    made.paste(Image.fromarray(colours.repeat(letter, 0)), (left, top + 2))
    draw.text((left + colours.shape[1] + GAP, top), "most", fill="black", font=font)


def _drawn(one: Explained, heat: NDArray[np.float32] | None, at: int | None) -> Image.Image:
    """A panel, at the size of an overlay.

    Args:
        heat: 0 to 1, ``(*S)``, or None for the image alone.
        at: the slice that is shown; None for a picture.
    """
    flat = _plane(one.image, one.axis, at)
    grey = flat if flat.shape[-1] == 3 else flat[..., :1]
    pixels: NDArray[np.float64] = np.broadcast_to(grey, (*grey.shape[:2], 3)) / 255.0
    if heat is not None:
        pixels = _heated(pixels, _plane(heat, one.axis, at))
    large = enlarged((pixels * 255).round().astype(np.uint8))
    for mask, colour, _ in _outlines(one):
        if mask is not None:
            large[contours(enlarged(_plane(mask, one.axis, at).astype(np.uint8)))] = colour
    return Image.fromarray(large)


def _heated(pixels: NDArray[np.float64], hot: NDArray[Any]) -> NDArray[np.float64]:
    """Colours from 0 to 1 with a map on them: without heat, they show unchanged."""
    from matplotlib import colormaps

    share = OPACITY * hot[..., None]
    found: NDArray[np.float64] = pixels * (1 - share) + colormaps[COLOURS](hot)[..., :3] * share
    return found


def _plane(array: NDArray[Any], axis: int, at: int | None) -> NDArray[Any]:
    """A picture, or a slice of a volume with the head up."""
    if at is None:
        return array
    plane: NDArray[Any] = array.take(at, axis)
    return plane[::-1] if axis else plane
