"""What each part of a relay leg costs: processor time of the demo's second leg with it, over a sequential leg.

Both learn from as many images of the site. ``replay`` is the memory's images and the frozen teacher's answers to them;
an expert is the site's own model, a fit of its own.
"""

from __future__ import annotations

from setting import report
from style import PAIRS, incoming, run

PARTS = {
    "replay and teacher": ("{owm_alpha: null, experts: false}", "at most 1.35"),
    "and projection": ("{experts: false}", "at most 1.35"),
    "and the expert's own fit": ("{}", "none"),
}

if __name__ == "__main__":
    for part, (kwargs, target) in PARTS.items():
        settings = ("common.strategy.name=relay", f"common.strategy.kwargs={kwargs}")
        handover = incoming(*settings)
        ratios = [run(handover, *settings) / run(handover, "common.strategy.name=sequential") for _ in range(PAIRS)]
        report(f"{part} : sequential leg, time", ratios, target)
