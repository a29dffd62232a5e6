"""Audit a finished leg: attack every part of what it would hand over, as somebody could who gets the bundle."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from relay import tensorfile
from relay.bundle import (
    Attack,
    AuditRecord,
    Copy,
    PrivacyAudit,
    audits,
    handover_files,
    manifest,
    measure,
    read_facts,
    schemas,
)
from relay.errors import UserError
from relay.files import read_json, write_bytes, write_text
from relay.handover import Handover, load_expert
from relay.leg import LegPaths, Progress, task_of
from relay.memory import distances
from relay.plan import Leg
from relay.privacy import evidence
from relay.privacy.attacks import Shadows, cheap, with_shadows
from relay.privacy.evidence import Bools, Floats
from relay.privacy.signals import features, gradients, losses
from relay.privacy.subjects import Subjects
from relay.privacy.training_shadows import Effort, shadows_of
from relay.trust import canonical, shaped

AGAIN = "Train the leg again, or restore the file."
WEIGHTS = (manifest.MODEL, *manifest.OWN, manifest.EXPERT)


@dataclass(frozen=True)
class Audit:
    """What an audit found.

    Attributes:
        record: what is written beside the handover; its card may leave.
        scores: of each attack, by part and name, for every patient: ``(patients,)``. They stay at the site.
        subjects: the patients.
        notes: what a reader should know, in sentences.
    """

    record: AuditRecord
    scores: Mapping[tuple[str, str], Floats]
    subjects: Subjects
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


@dataclass(frozen=True)
class Leaving:
    """What a leg hands over, and what it started from.

    Attributes:
        folder: of the handover.
        handover: read from it.
        arrived: the weights of the model that the leg started from; None for new ones.
        steps: optimiser steps of the leg's own training.
    """

    folder: Path
    handover: Handover
    arrived: Mapping[str, Tensor] | None
    steps: int


def leaving(leg: Leg, paths: LegPaths, arrived: Callable[[str], Path | None], steps: int) -> Leaving:
    """What a finished leg hands over.

    Args:
        arrived: finds the model's file of a handover by the digest of its weights.

    Raises:
        HandoverError: it is damaged.
        UserError: the leg has not finished, or what it started from is no longer here.
    """
    folder = paths.handover
    if not paths.finished:
        raise UserError(f"{paths.root} is not a finished leg", "Train it first: relay train, with the same -c and -n.")
    if code := paths.record().get("own_code"):
        raise UserError(
            f"the site's own code ({code}) trained {paths.root}, so the audit can't train its shadow models likewise",
            "Audit a leg that relay train has made. A study that requires an audit allows no other.",
        )
    handover_files.check_whole(folder)
    facts = read_facts(folder)
    own = {"leg": facts.leg, "site": facts.site, "strategy": facts.strategy, "train_samples": facts.samples}
    start = None
    if facts.start is not None and leg.strategy.uses_incoming:
        path = arrived(facts.start)
        if path is None:
            raise UserError(
                f"what leg {facts.leg} started from is no longer here: its weights have the digest {facts.start[:12]}…",
                "Receive the previous bundle again, or restore it from a backup, and repeat the audit.",
            )
        start = tensorfile.load(path)
    return Leaving(folder, handover_files.load(folder, [own]), start, steps)


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
    steps, about = left.steps, _about(leg, left)
    shadows: Shadows | None = None
    if effort.shadows:
        shadows = shadows_of(leg, subjects, left.arrived, steps, effort, folder, about, device, progress)
    scores: dict[tuple[str, str], Floats] = {}
    for part, name, score in _attacks(leg, subjects, left, shadows, device, progress):
        scores[part, name] = score
    copies: dict[tuple[str, str], Floats] = {}
    model = _net(leg, left.handover.model)
    for part, state in _memories(left.handover):
        with progress.stage(f"attacking {audits.PARTS[part]}"):
            for name, distance, held in _near(leg, subjects, state, model, device):
                scores[part, name] = -distance
                copies |= {(part, name): distance} if held else {}
    card = _card(scores, copies, subjects, shadows, leg, effort, _promised(left.folder))
    record = AuditRecord(parts=parts_of(left.folder), card=card)
    return Audit(record, scores, subjects, tuple(_notes(subjects, shadows)))


def _attacks(
    leg: Leg, subjects: Subjects, left: Leaving, shadows: Shadows | None, device: torch.device, progress: Progress
) -> Iterator[tuple[str, str, Floats]]:
    """The scores of every attack on models."""
    whole = {"model": left.handover.model}
    whole |= dict.fromkeys(["expert"], *left.handover.experts.values()) if left.handover.experts else {}
    found: dict[str, Floats] = {}
    for part, weights in whole.items():
        with progress.stage(f"attacking {audits.PARTS[part]}"):
            signals = _signals(leg, subjects, _net(leg, weights), device)
        yield from ((part, name, score) for name, score in cheap(signals))
        if shadows is not None:
            yield from ((part, name, score) for name, score in with_shadows(signals["loss"], shadows))
        found[part] = signals["loss"]
    if left.arrived is not None:
        with progress.stage(f"attacking {audits.PARTS['difference']}"):
            before = subjects.mean(losses(_net(leg, left.arrived), subjects, leg, device)[0])
        yield from (("difference", f"loss of {part} against arrived", before - loss) for part, loss in found.items())
    elif len(found) == 2:
        yield "difference", "loss of model against expert", found["model"] - found["expert"]


def _signals(leg: Leg, subjects: Subjects, model: nn.Module, device: torch.device) -> dict[str, Floats]:
    loss, entropy = losses(model, subjects, leg, device)
    found = {"loss": loss, "gradient": gradients(model, subjects, leg, device)}
    found |= {"entropy": entropy} if np.isfinite(entropy).all() else {}
    return {name: subjects.mean(values) for name, values in found.items()}


def _net(leg: Leg, weights: Mapping[str, Tensor]) -> nn.Module:
    """A net with these weights, on the CPU; an expert's may be float16."""
    net = leg.net.build()
    load_expert(net, weights)
    return net


def _memories(handover: Handover) -> Iterator[tuple[Any, Any]]:
    yield from (("memory", state) for state in handover.memories.values())
    if handover.cumulative is not None:
        yield "cumulative", handover.cumulative


def _near(
    leg: Leg, subjects: Subjects, state: Any, model: nn.Module, device: torch.device
) -> Iterator[tuple[str, Floats, bool]]:
    """Each patient's smallest distance to a memory (of a mean over images: the mean)."""
    model = model.to(device).eval()
    low, high = leg.data.intensity_range

    def seen(images: Tensor) -> Tensor:
        return features(model, (images + 1) / 2 * (high - low) + low)

    one_size = len(set(subjects.images.shapes)) == 1
    for name, distance, held in distances(
        state, lambda: subjects.batches(leg, device), task_of(leg), model, seen if one_size else None
    ):
        values = distance.numpy().astype(float)
        yield name, subjects.least(values) if held else subjects.mean(values), held


def parts_of(folder: Path) -> dict[str, str]:
    """SHA-256 of each file of weights in a handover's folder, by name."""
    return {name: measure(folder / name).sha256 for name in WEIGHTS if (folder / name).is_file()}


def _card(
    scores: Mapping[tuple[str, str], Floats],
    copies: Mapping[tuple[str, str], Floats],
    subjects: Subjects,
    shadows: Shadows | None,
    leg: Leg,
    effort: Effort,
    promise: schemas.Stated | None,
) -> PrivacyAudit:
    return card_of(
        scores,
        copies,
        subjects.member,
        shadows=0 if shadows is None else effort.shadows,
        strength=0.0 if shadows is None else shadows.strength,
        seed=leg.conf.random_seed,
        promise=promise,
    )


def _promised(folder: Path) -> schemas.Stated | None:
    """What the training of the handover in a folder guarantees; None for nothing, or if its noise is no secret."""
    said = read_json(folder / manifest.DATA_CARD, AGAIN).get("privacy")
    if said is None:
        return None
    stated = shaped(schemas.Stated, said, manifest.DATA_CARD)
    return stated if stated.private else None


def card_of(
    scores: Mapping[tuple[str, str], Floats],
    copies: Mapping[tuple[str, str], Floats],
    member: Bools,
    shadows: int = 0,
    strength: float = 0.0,
    seed: int = 0,
    promise: schemas.Stated | None = None,
) -> PrivacyAudit:
    """What the scores of all attacks say together.

    Where there are tests for copies, too, the permutation test has one half of what may go wrong, and they share the
    other (weighted Bonferroni).

    Args:
        scores, copies: by part and name: scores of attacks, and distances to what a memory holds; ``(patients,)`` each.
        member: who was trained on.
        promise: what the leg's training guarantees; None for nothing.
    """
    inside, others = int(member.sum()), int((~member).sum())
    half = 2 if scores and copies else 1
    ps = evidence.adjusted(scores, member, seed) if scores else {}
    attacks = [
        _attack(part, name, score, member, min(1.0, ps[part, name] * half)) for (part, name), score in scores.items()
    ]
    copied = []
    for (part, name), distance in copies.items():
        if others > 2:
            nearest, p = evidence.copied(distance, member)
            p = min(1.0, p * half * len(copies))
            copied.append(Copy(part=part, by=name, nearest=round(nearest, 3), p=_rounded(p)))  # type: ignore[arg-type]
    return PrivacyAudit(
        members=inside,
        others=others,
        shadows=shadows,
        strength=round(strength, 2),
        attacks=attacks,
        copies=copied,
        measurable=evidence.reachable(inside, others, audits.LEVEL),
        detectable=round(evidence.detectable(inside, others, audits.LEVEL), 2),
        p=min([1.0, *(one.p for one in attacks), *(one.p for one in copied)]),
        epsilon=promise.epsilon if promise else None,
        delta=promise.delta if promise else None,
    )


def _attack(part: str, name: str, score: Floats, member: Bools, p: float) -> Attack:
    """Rounded: with few patients, more digits would give their exact number away."""
    inside, others = int(member.sum()), int((~member).sum())
    value = evidence.auc(score, member)
    low, high = evidence.auc_interval(value, inside, others)
    rates = [evidence.tpr(score, member, rate) for rate in (0.01, 0.001)]
    return Attack(
        part=part,  # type: ignore[arg-type]
        name=name,
        auc=round(value, 2),
        low=round(low, 2),
        high=round(high, 2),
        right=round(evidence.right(score, member), 2),
        tpr_1=None if rates[0] is None else round(rates[0], 2),
        tpr_01=None if rates[1] is None else round(rates[1], 3),
        p=_rounded(p),
    )


def _rounded(p: float) -> float:
    """Two significant digits, and nothing so small that documents would write it in another way."""
    return max(1e-4, float(f"{p:.2g}"))


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
