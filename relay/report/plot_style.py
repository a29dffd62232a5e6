"""The style of the figures, and saving them to a page, a PDF and PNGs. matplotlib is imported for the first figure.

Text and lines have the colour :data:`INK`, which a page replaces with its own text colour, and the first colour becomes
the page's ``--blue``, so they are legible on a light page, a dark page and paper. Data have the colours of
:mod:`relay.palette`, or of the map cividis, which suit colour-blind people, too.
"""

from __future__ import annotations

import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from xml.etree import ElementTree

from relay.palette import BLUE, GREEN, ORANGE, PURPLE, SKY, VERMILION, css

if TYPE_CHECKING:
    from matplotlib.figure import Figure

INK = "#010203"
COLOURS = tuple(map(css, (BLUE, VERMILION, GREEN, PURPLE, ORANGE, SKY)))
WIDTH = 8.0
"""Width of a page, in inches."""
STYLE = {
    "font.family": "DejaVu Sans",  # comes with matplotlib: texts are measured the same on every machine
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.grid.axis": "y",
    "axes.axisbelow": True,
    "grid.alpha": 0.15,
    "grid.linewidth": 0.8,
    "legend.frameon": False,
    "hatch.linewidth": 0.6,
    "text.parse_math": False,  # a name may have a $
    "svg.fonttype": "none",
    "svg.hashsalt": "relay",
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), INK
    ),
}
_BLANK = {"svg": ("Date", "Creator", "Format", "Type"), "pdf": ("CreationDate", "Creator", "Producer")}
_SVG, _LINK = "{http://www.w3.org/2000/svg}", "{http://www.w3.org/1999/xlink}href"


@dataclass(frozen=True)
class Picture:
    """A figure with its texts.

    Attributes:
        name: of its file.
        alt: a description for people who can't see it.
        caption: how to read it.
    """

    name: str
    title: str
    alt: str
    caption: str
    figure: Figure

    def svg(self) -> str:
        """As an ``<svg>`` for a page, without namespaces; its ids are unique on that page."""
        return _inline(_saved(self.figure, "svg", transparent=True), self.name)

    def png(self) -> bytes:
        """As PNG, on white."""
        return _saved(self.figure, "png", dpi=150, facecolor="white")


def pdf(pictures: Sequence[Picture]) -> bytes:
    """All figures as a PDF, one page each."""
    from matplotlib.backends.backend_pdf import PdfPages

    data = io.BytesIO()
    with _quietly(), PdfPages(data, metadata=dict.fromkeys(_BLANK["pdf"])) as pages:
        for picture in pictures:
            pages.savefig(picture.figure, facecolor="white")
    return data.getvalue()


def figure(height: float, width: float = WIDTH) -> Figure:
    """An empty figure; sizes in inches."""
    from matplotlib.figure import Figure

    return Figure(figsize=(width, height), layout="constrained")


@contextmanager
def styled() -> Iterator[None]:
    """Draw and save inside this."""
    from matplotlib import style

    with style.context(STYLE, after_reset=True):  # whatever the user's own matplotlibrc says
        yield


@contextmanager
def _quietly() -> Iterator[None]:
    """Suppress warnings about letters that the font lacks; they become boxes in a PNG."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing from font")
        yield


def _saved(drawn: Figure, kind: str, **how: Any) -> bytes:
    data = io.BytesIO()
    blank = dict.fromkeys(_BLANK.get(kind, ("Software",)))
    with _quietly():
        if drawn.get_layout_engine() is not None:
            drawn.draw_without_rendering()
            drawn.set_layout_engine("none")  # the places stay as they were found, for the next format too
        drawn.savefig(data, format=kind, metadata=blank, **how)
    return data.getvalue()


def _inline(data: bytes, name: str) -> str:
    root = ElementTree.fromstring(data)
    root.set("width", f"{_inches(root) / WIDTH:.1%}")
    root.attrib.pop("height", None)
    for parent in list(root.iter()):
        for child in [c for c in parent if c.tag.removeprefix(_SVG) in ("style", "metadata")]:
            parent.remove(child)  # a style here would be the whole page's
    used = {link[1:] for e in root.iter() if (link := e.get(_LINK, "")).startswith("#")}
    for element in root.iter():
        element.tag = element.tag.removeprefix(_SVG)
        _own_ids(element, name, used)
    return (
        ElementTree.tostring(root, encoding="unicode")
        .replace(INK, "currentColor")
        .replace(COLOURS[0], f"var(--blue, {COLOURS[0]})")
    )


def _inches(root: ElementTree.Element) -> float:
    """Its width; matplotlib writes points."""
    return float(root.get("width", "576pt").removesuffix("pt")) / 72


def _own_ids(element: ElementTree.Element, name: str, used: set[str]) -> None:
    """Make ids unique to this figure on the page; unreferenced ones are dropped."""
    link, ident = element.attrib.pop(_LINK, None), element.attrib.pop("id", None)
    if link is not None:
        element.set("href", f"#{name}-{link[1:]}" if link.startswith("#") else link)
    if ident is not None and (ident in used or element.tag in ("clipPath", "pattern")):
        element.set("id", f"{name}-{ident}")
    for key, value in element.attrib.items():
        if "url(#" in value:
            element.set(key, value.replace("url(#", f"url(#{name}-"))
