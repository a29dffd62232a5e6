"""Draws the README's figure: ``python docs/figures/way_of_a_leg.py`` writes way_of_a_leg.svg beside itself."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib as mpl
import matplotlib.pyplot as plt
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

INK, PALE, SITE, STICK = "#1b2733", "#5b6b7a", "#e8f0f7", "#f6c85f"
STEPS = (
    ("receive", "open, verify, check"),
    ("train", "on its own images"),
    ("test", "on every local set"),
    ("hand over", "sign and seal"),
)
SITES = ("Hospital 1", "Hospital 2", "Hospital 3")


def box(ax: Any, x: float, y: float, w: float, h: float, colour: str, edge: str = "none", size: float = 0.08) -> None:
    """A rounded box with its lower left corner at (x, y)."""
    shape = f"round,pad=0,rounding_size={size}"
    ax.add_patch(FancyBboxPatch((x, y), w, h, boxstyle=shape, facecolor=colour, edgecolor=edge, linewidth=1))


def arrow(ax: Any, start: tuple[float, float], end: tuple[float, float], colour: str = INK) -> None:
    """A straight arrow."""
    ax.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=11, color=colour, linewidth=1.3))


def site(ax: Any, x: float, name: str) -> None:
    """One hospital: its four steps, and the images that stay."""
    box(ax, x, 0.2, 2.5, 4.3, SITE, size=0.15)
    ax.text(x + 1.25, 4.2, name, ha="center", va="center", fontsize=11, weight="bold", color=INK)
    for place, (title, words) in enumerate(STEPS):
        y = 3.3 - place * 0.78
        box(ax, x + 0.25, y, 2.0, 0.58, "white", edge="#c4d3e0")
        ax.text(x + 1.25, y + 0.40, title, ha="center", va="center", fontsize=9, weight="bold", color=INK)
        ax.text(x + 1.25, y + 0.16, words, ha="center", va="center", fontsize=7.5, color=PALE)
        if place:
            arrow(ax, (x + 1.25, y + 0.78), (x + 1.25, y + 0.58))
    ax.text(x + 1.25, 0.58, "images and masks", ha="center", fontsize=8, color=INK, style="italic")
    ax.text(x + 1.25, 0.34, "never leave", ha="center", fontsize=8, color=INK, style="italic")


def stick(ax: Any, x: float) -> None:
    """What travels from one hospital to the next."""
    arrow(ax, (x - 0.3, 1.25), (x + 1.3, 3.58))
    box(ax, x + 0.15, 2.22, 0.7, 0.4, STICK)
    ax.text(x + 0.5, 2.42, "USB", ha="center", va="center", fontsize=8, weight="bold", color=INK)
    ax.text(x + 0.66, 2.02, "bundle", ha="center", va="center", fontsize=7.5, color=PALE)


def draw() -> Any:
    """The whole figure."""
    mpl.rcParams.update({"font.family": "DejaVu Sans", "svg.hashsalt": "relay", "svg.fonttype": "path"})
    figure, ax = plt.subplots(figsize=(9.6, 4.4))
    for place, name in enumerate(SITES):
        site(ax, place * 3.6, name)
        if place:
            stick(ax, place * 3.6 - 1.05)
    ax.text(4.85, -0.15, "no network between them", ha="center", fontsize=9, color=PALE)
    ax.set(xlim=(-0.15, 9.85), ylim=(-0.4, 4.65))
    ax.set_aspect("equal")
    ax.axis("off")
    return figure


if __name__ == "__main__":
    path = Path(__file__).with_suffix(".svg")
    draw().savefig(path, bbox_inches="tight", metadata={"Date": None}, facecolor="white")
    print(path)
