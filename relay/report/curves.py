"""The learning curves of a run, from its event files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from relay.report.gather import Run

MOST = 300
"""Maximum number of points drawn for a curve."""
Points = list[tuple[float, float]]


@dataclass(frozen=True)
class Curve:
    """One leg: its loss in each phase and its validation score, over optimiser steps since the leg's start."""

    leg: int
    loss: Mapping[str, Points]
    score: Points
    steps: float


def read_curves(run: Run) -> list[Curve]:
    """A curve for each leg that has any."""
    folders = [(leg.number, run.root / "tensorboard" / leg.folder) for leg in run.legs]
    found = [curve_in(folder, number, run.task.primary.name) for number, folder in folders]
    return [curve for curve in found if curve.loss or curve.score]


def curve_in(folder: Path, leg: int = 0, score: str | None = None) -> Curve:
    """The curve of a leg, from the folder of its event files: the phases one after another. Each counts its steps from
    0; steps that a resumed fit repeated count once.

    Args:
        score: the name of the validation score; by default, the first that is there.
    """
    scalars = _scalars(folder)
    phases = {tag.removesuffix("/loss"): e for tag, e in scalars.items() if tag.endswith("/loss") and e}
    order = sorted(phases, key=lambda name: phases[name][0].wall_time)
    begins = [phases[name][0].wall_time for name in order]
    events: dict[int, list[Any]] = {}
    tag = f"val/{score}" if score else next((tag for tag in scalars if tag.startswith("val/")), "")
    for event in scalars.get(tag, []):
        events.setdefault(max(sum(begin <= event.wall_time for begin in begins) - 1, 0), []).append(event)
    loss: dict[str, Points] = {}
    scores: Points = []
    offset = 0.0
    for place, name in enumerate(order or [""]):
        loss |= {name: _points(phases[name], offset)} if name else {}
        scores += _points(events.get(place, []), offset)
        offset = max([x for x, _ in (*loss.get(name, []), *scores)], default=offset)
    return Curve(leg, loss, scores, offset)


def _points(events: Sequence[Any], offset: float) -> Points:
    once = {event.step: float(event.value) for event in events}
    points = [(offset + step, once[step]) for step in sorted(once)]
    return points if len(points) <= MOST else [points[round(k * (len(points) - 1) / (MOST - 1))] for k in range(MOST)]


def _scalars(folder: Path) -> dict[str, list[Any]]:
    if not any(folder.glob("events.out.tfevents.*")):
        return {}
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), size_guidance={"scalars": 0, "images": 1, "tensors": 1, "histograms": 1})
    events.Reload()
    return {tag: events.Scalars(tag) for tag in events.Tags()["scalars"]}
