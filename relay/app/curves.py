"""The learning curves of a run that still trains, or has trained."""

from __future__ import annotations

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
            loss = [{"phase": phase, "points": points} for phase, points in curve.loss.items()]
            found.append({"leg": folder.name, "loss": loss, "score": curve.score})
    return found
