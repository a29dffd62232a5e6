"""Images of patients on a page, each with its texts."""

from __future__ import annotations

import base64
import io
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from PIL.Image import Image

PANELS = 1536, 640
"""Maximum width and height in pixels: an image and two maps side by side, and what the colours mean below."""


@dataclass(frozen=True)
class Tile:
    """An image of a page: a ``data:`` address, what it shows for people who can't see it, and the text below it."""

    image: str
    alt: str
    said: str


@dataclass(frozen=True)
class ShownCase:
    """The ``best``, ``median`` or ``worst`` test image of a site, without its name; ``image``: a ``data:`` address."""

    which: str
    score: float
    image: str


@dataclass(frozen=True)
class MapsOfRun:
    """The heat maps of a run's legs.

    Attributes:
        tiles: by model.
        changed: models whose weights are others now.
    """

    tiles: dict[str, list[Tile]]
    changed: list[str]

    @property
    def any(self) -> bool:
        """Whether there is something to show or to say."""
        return bool(self.tiles or self.changed)


def address(image: Image, size: tuple[int, int] = PANELS) -> str:
    """An image as a ``data:`` address, in full colour and without metadata, no wider and no higher than ``size``."""
    shown = image.convert("RGB")
    shown.thumbnail(size)
    data = io.BytesIO()
    shown.save(data, "PNG")
    return "data:image/png;base64," + base64.b64encode(data.getvalue()).decode()
