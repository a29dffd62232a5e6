"""Attacks on the memories of a handover: what is near to them, now and before, and what they hold of patients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from relay.bundle import audits
from relay.handover import MemoryState
from relay.leg import Progress, task_of
from relay.memory import Duplicates, Influence, by_class, distances, duplicates, influence
from relay.plan import Leg
from relay.privacy.evidence import Floats
from relay.privacy.leaving import Leaving
from relay.privacy.on_importance import IMPORTANCES, of_importance
from relay.privacy.on_models import net_of
from relay.privacy.signals import features
from relay.privacy.subjects import Subjects

Key = tuple[str, str]


@dataclass(frozen=True)
class Small:
    """What a memory holds of a class.

    Attributes:
        patients: members who have it; ``others``: those who were not trained on.
        nearest: distance of the nearest member, in units of the others' median; None without others.
    """

    part: audits.Part
    by: str
    name: str
    patients: int
    others: int
    nearest: float | None

    @property
    def suspicious(self) -> bool:
        """Whether few patients have it, and one is far nearer than others, or nobody is there to compare with."""
        return self.patients <= audits.FEW and (self.nearest is None or self.nearest < audits.NEAR)


@dataclass
class Memories:
    """What was found of all memories.

    Attributes:
        scores: of attacks, ``(patients,)`` each, by part and name.
        copies: distances to what a memory holds; NaN for patients whom a test is not about.
        classes: what memories hold of single classes.
        influences: what one patient changes, with the part.
        repeats: samples that are alike, with the part.
    """

    scores: dict[Key, Floats] = field(default_factory=dict)
    copies: dict[Key, Floats] = field(default_factory=dict)
    classes: list[Small] = field(default_factory=list)
    influences: list[tuple[audits.Part, Influence]] = field(default_factory=list)
    repeats: list[tuple[audits.Part, Duplicates]] = field(default_factory=list)


def on_memories(leg: Leg, subjects: Subjects, left: Leaving, device: torch.device, progress: Progress) -> Memories:
    """Attack every memory that this site's patients are behind."""
    found, model = Memories(), net_of(leg, left.handover.model).to(device)
    for part, which, state, before in _states(left):
        with progress.stage(f"attacking {audits.PARTS[part]}{which}"):
            _look(found, leg, subjects, (part, which, state, before), model, device)
    return found


def _states(left: Leaving) -> Iterator[tuple[audits.Part, str, MemoryState, MemoryState | None]]:
    """Part, what tells it from others of that part, memory, and what was there before it, of the same kind."""
    earlier = left.arrived.memories if left.arrived else {}
    last = None
    for number in left.earlier:
        if number in earlier:
            last = earlier[number]
            yield "memory", f" of leg {number}", last, None
    for state in left.handover.memories.values():
        yield "memory", "", state, last if last and last.kind == state.kind else None
    if (cumulative := left.handover.cumulative) is not None:
        before = left.arrived.cumulative if left.arrived else None
        yield "cumulative", "", cumulative, before if before and before.kind == cumulative.kind else None


def _look(found: Memories, leg: Leg, subjects: Subjects, what: Any, model: nn.Module, device: torch.device) -> None:
    part, which, state, before = what
    task, batches = task_of(leg), partial(subjects.batches, leg, device)
    images = {name: (distance, held) for name, distance, held in _near(leg, subjects, state, model, device)}
    now = {name: _of_patients(subjects, distance, held) for name, (distance, held) in images.items()}
    for name, distance in now.items():
        found.scores[part, name + which] = -distance
        found.copies |= {(part, name + which): distance} if images[name][1] else {}
    if before is not None:
        then = {
            name: _of_patients(subjects, distance, held)
            for name, distance, held in _near(leg, subjects, before, model, device)
        }
        found.scores |= {
            ("difference", f"change of {name}"): then[name] - distance for name, distance in now.items() if name in then
        }
    if state.kind in IMPORTANCES:
        found.scores |= of_importance(leg, subjects, state, before, model, device)
    members = subjects.members()
    patients = [members.names[k] for k in members.whose]
    found.influences += [
        (part, each) for each in influence(state, partial(members.batches, leg, device), patients, task)
    ]
    whose = [subjects.names[k] for k in subjects.whose]
    repeated = duplicates(state, batches, whose, task)
    found.repeats += [(part, repeated)] if repeated else []
    for name, away in by_class(state, batches, task, {name: distance for name, (distance, _) in images.items()}):
        _classes(found, leg, subjects, (part, name + which), away.numpy())


def _near(
    leg: Leg, subjects: Subjects, state: MemoryState, model: nn.Module, device: torch.device
) -> Iterator[tuple[str, Tensor, bool]]:
    """Each image's distance to a memory, as :func:`relay.memory.distances` has it."""
    model = model.eval()
    low, high = leg.data.intensity_range

    def seen(images: Tensor) -> Tensor:
        return features(model, (images + 1) / 2 * (high - low) + low)

    one_size = len(set(subjects.images.shapes)) == 1
    return distances(state, lambda: subjects.batches(leg, device), task_of(leg), model, seen if one_size else None)


def _of_patients(subjects: Subjects, distance: Tensor, held: bool) -> Floats:
    """The smallest distance of each patient if it is that to an image that may be held, else the mean."""
    values = distance.numpy().astype(float)
    return subjects.least(values) if held else subjects.mean(values)


def _classes(found: Memories, leg: Leg, subjects: Subjects, what: tuple[audits.Part, str], distance: Floats) -> None:
    """What a memory holds of each class. The smallest, and all of few patients, are together tested for a copy: a test
    that is always there, so that it does not tell whether there are such classes."""
    part, by = what
    small: list[tuple[int, Floats]] = []
    for name, row in zip(leg.data.names, distance, strict=True):
        mine = subjects.least(np.where(np.isfinite(row), row, np.inf))
        there = np.isfinite(mine)
        inside, others = there & subjects.member, there & ~subjects.member
        if not inside.any():
            continue
        ratio = float(mine[inside].min() / max(np.median(mine[others]), 1e-12)) if others.any() else None
        found.classes.append(Small(part, by, name, int(inside.sum()), int(others.sum()), ratio))
        typical = max(np.median(mine[others]), 1e-12) if others.any() else 1.0
        small.append((int(inside.sum()), np.where(there, mine / typical, np.inf)))
    few = max(audits.FEW, min((many for many, _ in small), default=0))
    if rare := [distance for many, distance in small if many <= few]:
        least = np.min(rare, axis=0)
        found.copies[part, f"{by} {audits.OF_SMALL}"] = np.where(np.isfinite(least), least, np.nan)
