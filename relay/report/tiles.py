"""Images of patients on a page, each with its texts."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image


@dataclass(frozen=True)
class Tile:
    """An image of a page: a ``data:`` address, what it shows for people who can't see it, and the text below it."""

    image: str
    alt: str
    said: str


def address(image: Image, size: tuple[int, int]) -> str:
    """An image as a ``data:`` address, in full colour and without metadata, no wider and no higher than ``size``."""
    shown = image.convert("RGB")
    shown.thumbnail(size)
    data = io.BytesIO()
    shown.save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
