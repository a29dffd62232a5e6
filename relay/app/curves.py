"""The learning curves of a run that still trains, or has trained."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from relay.report import curve_in


def curves_of(run: Path) -> list[dict[str, Any]]:
    """The legs of a run that have curves, oldest first: ``leg`` (its folder's name), ``loss`` (a list of ``phase`` and
    ``points``) and ``score`` (points); a point is a step and a value."""
    found = []
    for folder in sorted((run / "tensorboard").glob("*/")):
        curve = curve_in(folder)
        if curve.loss or curve.score:
            loss = [{"phase": phase, "points": _drawn(points)} for phase, points in curve.loss.items()]
            found.append({"leg": folder.name, "loss": loss, "score": _drawn(curve.score)})
    return found


def _drawn(points: Iterable[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points that can be drawn: a loss that ran away has others."""
    return [point for point in points if math.isfinite(point[1])]
