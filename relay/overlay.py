"""Predictions drawn over the image, for viewing, not for measuring."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from relay import palette
from relay.data import Pixels
from relay.files import write_bytes

TRUTH, PREDICTION = palette.GREEN, palette.ORANGE
MISSED, ADDED, CONFUSED = palette.BLUE, palette.VERMILION, palette.PURPLE
SIDE = 384
"""Size to which a smaller image is enlarged, by an integer factor, so that contours are visible; in pixels."""
LARGEST = 4096
"""Size to which a larger image is subsampled, by an integer factor: no page shows more; in pixels."""
GAP = 6
"""Gap between panels, in pixels."""

Mask: TypeAlias = NDArray[np.bool_]
Legend: TypeAlias = list[tuple[tuple[int, int, int], str]]


def overlay(image: Pixels, prediction: Pixels, truth: Pixels | None = None) -> Image.Image:
    """Panels side by side: the image; with the contours of truth and prediction; where the two disagree.

    Args:
        image: uint8 ``(*S, C)``, in two axes; or in three, of which the slice with the most foreground is
            shown. Three channels are red, green and blue; for any other number, the first is shown in grey.
        prediction: uint8 class indices ``(*S)``.
        truth: likewise; without it there is no third panel.
    """
    if prediction.ndim == 3:
        found = prediction > 0 if truth is None else (prediction > 0) | (truth > 0)
        at = int(found.sum(axis=(1, 2)).argmax())
        image, prediction, truth = image[at], prediction[at], None if truth is None else truth[at]
    image = image if image.shape[-1] == 3 else image[..., :1]
    grey_or_rgb, p = enlarged(image), enlarged(prediction)
    plain = np.broadcast_to(grey_or_rgb, (*grey_or_rgb.shape[:2], 3))
    drawn = _paint(plain, contours(p), PREDICTION)
    legend: Legend = [(PREDICTION, "predicted")]
    panels = [plain, drawn]
    if truth is not None:
        t = enlarged(truth)
        panels[1] = _paint(_paint(plain, contours(t), TRUTH), contours(p), PREDICTION)
        panels.append(disagreement(plain, p, t))
        legend = [(TRUTH, "truth"), *legend, (MISSED, "missed"), (ADDED, "added")]
        legend += [(CONFUSED, "another class")] if ((p != t) & (p > 0) & (t > 0)).any() else []
    return _sheet(panels, legend)


def contours(mask: Pixels) -> Mask:
    """Voxels of a class whose neighbour, up, down, left or right, is of another; ``(H, W)``."""
    padded = np.pad(mask, 1, mode="edge")
    inner = padded[1:-1, 1:-1]
    around = (padded[:-2, 1:-1], padded[2:, 1:-1], padded[1:-1, :-2], padded[1:-1, 2:])
    other: Mask = np.logical_or.reduce([inner != beside for beside in around])
    return other & (inner > 0)


def disagreement(image: Pixels, prediction: Pixels, truth: Pixels) -> Pixels:
    """The darkened image, marking what was missed, added, or given another class; uint8 ``(H, W, 3)``."""
    shown: Pixels = (image * 0.5).astype(np.uint8)
    for where, colour in (
        ((truth > 0) & (prediction == 0), MISSED),
        ((truth == 0) & (prediction > 0), ADDED),
        ((truth > 0) & (prediction > 0) & (truth != prediction), CONFUSED),
    ):
        shown = _paint(shown, where, colour)
    return shown


def save_overlay(image: Pixels, prediction: Pixels, truth: Pixels | None, place: Path) -> Path:
    """Save :func:`overlay` as a PNG; ``place`` has no extension."""
    path = place.with_name(place.name + ".png")
    data = io.BytesIO()
    overlay(image, prediction, truth).save(data, "PNG")
    write_bytes(path, data.getvalue())
    return path


def enlarged(array: Pixels) -> Pixels:
    """Enlarged or thinned out, so that contours are visible and no page is too large."""
    factor, step = max(1, SIDE // max(array.shape[:2])), -(-max(array.shape[:2]) // LARGEST)
    large: Pixels = np.ascontiguousarray(array[::step, ::step].repeat(factor, axis=0).repeat(factor, axis=1))
    return large


def _paint(image: Pixels, where: Mask, colour: tuple[int, int, int]) -> Pixels:
    painted: Pixels = image.copy()
    painted[where] = colour
    return painted


def _sheet(panels: list[Pixels], legend: Legend) -> Image.Image:
    """Panels in a row on white, with the legend below in letters that stay legible on a printed page."""
    height, width = panels[0].shape[:2]
    whole = (width + GAP) * len(panels) - GAP
    letter = max(10, whole // 70)
    font = ImageFont.load_default(letter)
    widths = [letter * 2 + int(font.getlength(text)) + 2 * GAP for _, text in legend]
    rows = _rows(widths, whole)
    line = letter + GAP
    sheet = Image.new("RGB", (whole, height + GAP + line * len(rows)), "white")
    for number, panel in enumerate(panels):
        sheet.paste(Image.fromarray(np.ascontiguousarray(panel)), ((width + GAP) * number, 0))
    draw = ImageDraw.Draw(sheet)
    for number, row in enumerate(rows):
        x, y = GAP, height + GAP + line * number
        for entry in row:
            colour, text = legend[entry]
            draw.rectangle((x, y + 2, x + letter, y + 2 + letter), fill=colour, outline="black")
            draw.text((x + letter + GAP, y), text, fill="black", font=font)
            x += widths[entry]
    return sheet


def _rows(widths: list[int], whole: int) -> list[list[int]]:
    """Numbers of the entries, divided into as many lines as they need."""
    rows: list[list[int]] = [[]]
    for entry, width in enumerate(widths):
        if rows[-1] and sum(widths[there] for there in rows[-1]) + width > whole:
            rows.append([])
        rows[-1].append(entry)
    return rows
