"""The chain of custody, drawn from top to bottom: a site, the bundle it sealed, the next site."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from relay.report.custody import Hop
from relay.report.figures import short
from relay.report.plot_style import COLOURS, INK, WIDTH, Picture, figure

STEP, BOX = 1.0, 0.5
"""Distance between sites, and size of a site's box, in inches."""


def custody(chain: Sequence[Hop], name: str = "custody") -> Picture:
    """A chain's legs, oldest first."""
    from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

    last = bool(chain[-1].digest)
    height = STEP * (len(chain) - 1 + last) + BOX + 0.5
    drawn = figure(height)
    axes = drawn.subplots()
    axes.set(xlim=(0, WIDTH), ylim=(height, 0))
    axes.axis("off")
    for place, hop in enumerate(chain):
        y = 0.25 + STEP * place
        _box(axes, FancyBboxPatch, y, f"leg {hop.leg}", short(hop.site, 26), COLOURS[0])
        if hop.digest:
            start, end = (1.25, y + BOX), (1.25, y + STEP)
            axes.add_patch(FancyArrowPatch(start, end, arrowstyle="-|>", mutation_scale=12, color=INK, lw=1.4))
            for line, (text, weight) in enumerate(_bundle(hop)):
                axes.text(2.65, y + 0.05 + 0.21 * line, text, va="top", size=8.5, color=INK, weight=weight)
    if last:
        to = ", ".join(chain[-1].to)
        _box(axes, FancyBboxPatch, 0.25 + STEP * len(chain), "sealed for", short(to, 26), COLOURS[2])
    sites = " to ".join(short(hop.site, 26) for hop in chain)
    return Picture(
        name,
        "Chain of custody",
        f"The model went from {sites}. The table below has every digest in full.",
        "Read from top to bottom. A box is one leg at its site; beside the arrow is what it handed over: the first "
        "digits of the digest that names the hand-over, its size, who signed it, and when it was signed and taken in. "
        "A changed file would have another digest, and would not have been accepted.",
        drawn,
    )


def _box(axes: Any, shape: Any, y: float, head: str, name: str, colour: str) -> None:
    frame = {"facecolor": colour, "alpha": 0.18, "edgecolor": "none"}
    axes.add_patch(shape((0.1, y), 2.3, BOX, boxstyle="round,pad=0,rounding_size=0.08", **frame))
    axes.text(1.25, y + 0.14, head, ha="center", va="center", size=7.5, color=INK)
    axes.text(1.25, y + 0.34, name, ha="center", va="center", size=9.5, color=INK, weight="bold")


def _bundle(hop: Hop) -> list[tuple[str, str]]:
    """Up to four lines beside an arrow, and their weights."""
    if not hop.signer:
        return [(f"weights {hop.digest[:12]}…", "bold"), ("not signed: handed over within one run", "normal")]
    signed = f"signed {moment(hop.signed)}; " if hop.signed else ""
    taken = f"taken in {moment(hop.received)}" if hop.received else "not known here whether it was taken in"
    key = " ".join(hop.signer.split()[:3])
    mark = f"signature fits the key “{key} …”" if hop.fits else f"SIGNATURE DOES NOT FIT the key “{key} …”"
    return [
        (f"bundle {hop.digest[:12]}…, {size(hop.size)}", "bold"),
        (mark, "normal" if hop.fits else "bold"),
        (signed + taken, "normal"),
    ]


def moment(time: str) -> str:
    """A time in UTC for people."""
    return f"{time[:10]} {time[11:16]} UTC"


def size(count: float) -> str:
    """Bytes for people."""
    for unit in ("B", "KiB", "MiB"):
        if count < 1024:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1024
    return f"{count:.1f} GiB"
