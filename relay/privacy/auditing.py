"""Audit a finished leg: attack every part of what it would hand over, as somebody could who gets the bundle."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from relay.bundle import AuditRecord, audits, read_facts
from relay.files import write_bytes, write_text
from relay.leg import Progress
from relay.plan import Leg
from relay.privacy.attacks import Shadows
from relay.privacy.carding import Scores, card_of
from relay.privacy.leaving import Leaving, parts_of, promised
from relay.privacy.on_memories import Memories, on_memories
from relay.privacy.on_models import on_models
from relay.privacy.subjects import Subjects
from relay.privacy.training_shadows import Effort, shadows_of
from relay.trust import canonical


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        record: what is written beside the handover; its card may leave.
        scores: of each attack. They stay at the site.
        subjects: the patients.
        memories: what else was found of the memories. It stays at the site, too: it tells how many patients there are.
        notes: what a reader should know, in sentences.
    """

    record: AuditRecord
    scores: Scores
    subjects: Subjects
    memories: Memories
    notes: tuple[str, ...]

    def exposed(self, most: int = 5) -> list[tuple[str, float]]:
        """The members whom the strongest attack is surest of, by name, and the share of the others whom they outscore.
        Only for the site."""
        best = self.record.card.strongest
        if best is None:
            return []
        score, member = self.scores[best.part, best.name], self.subjects.member
        order = [k for k in np.argsort(-score) if member[k]][:most]
        return [(self.subjects.names[k], float((score[~member] < score[k]).mean())) for k in order]


def run_audit(
    leg: Leg,
    subjects: Subjects,
    left: Leaving,
    effort: Effort,
    folder: Path,
    device: torch.device,
    progress: Progress,
) -> Audit:
    """Attack every part of a handover, and weigh what the attacks find.

    Args:
        folder: where the results of shadow models are kept.
    """
    shadows: Shadows | None = None
    if effort.shadows:
        about = _about(leg, left)
        shadows = shadows_of(leg, subjects, _start(left), left.steps, effort, folder, about, device, progress)
    found = {(part, name): score for part, name, score in on_models(leg, subjects, left, shadows, device, progress)}
    memories = on_memories(leg, subjects, left, device, progress)
    scores = {**found, **memories.scores}
    card = card_of(
        scores,
        memories.copies,
        subjects.member,
        shadows=0 if shadows is None else effort.shadows,
        strength=0.0 if shadows is None else shadows.strength,
        seed=leg.conf.random_seed,
        promise=promised(left.folder),
    )
    record = AuditRecord(parts=parts_of(left.folder), card=card)
    return Audit(record, scores, subjects, memories, tuple(_notes(subjects, shadows)))


def _start(left: Leaving) -> Mapping[str, Tensor] | None:
    """The weights that the leg's training started from: those that arrived or, in a round of ``fedavg``, those that the
    round began with, which its cumulative memory keeps."""
    if left.arrived is None:
        return None
    now = left.handover.cumulative
    return now.tensors if now is not None and now.kind == "fedavg" else left.arrived.model


def _notes(subjects: Subjects, shadows: Shadows | None) -> Iterator[str]:
    yield f"Compared with {subjects.note}."
    if shadows is None:
        yield "No shadow models were trained: the strongest attacks, LiRA and RMIA, were left out."
    elif shadows.strength < 0.95:
        yield (
            f"The time sufficed for {shadows.strength:.0%} of the shadow models' training steps: real attackers can do "
            "more. Give a larger --budget for a stronger audit."
        )


def _about(leg: Leg, left: Leaving) -> Any:
    """What else determines what shadow models learn."""
    start = None if left.arrived is None else read_facts(left.folder).start
    return {"config": leg.scientific(), "start": start, "steps": left.steps, "torch": torch.__version__}


def write_record(audit: Audit, handover: Path) -> Path:
    """Write ``audit.json`` beside a handover; returns its path."""
    path = handover / audits.RECORD
    write_bytes(path, canonical(audit.record))
    return path


def write_scores(audit: Audit, folder: Path) -> Path:
    """Every patient's scores as JSON, only for the site; returns the file."""
    path, subjects = folder / "patients.json", audit.subjects
    rows = {
        name: {"member": bool(subjects.member[k]), **{f"{p}: {a}": float(s[k]) for (p, a), s in audit.scores.items()}}
        for k, name in enumerate(subjects.names)
    }
    write_text(path, json.dumps(rows, indent=1) + "\n")
    return path
