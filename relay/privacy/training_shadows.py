"""Shadow models: small copies of the leg's training, each on a random half of the patients, to learn what a model makes
of patients whom it has seen, and of those it has not.

They start from what arrived, as the leg did, with its net, loss, optimiser and augmentation, and learn the task alone.
Two at a time share the patients: whoever is not in one is in the other, so that everyone is in exactly half of them.
What a finished one made of every image is kept and read again.
"""

from __future__ import annotations

import json
import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from relay.data import scaled, train_loader
from relay.files import write_bytes
from relay.handover import load_model
from relay.leg import Progress
from relay.optim import warmed
from relay.plan import Leg
from relay.privacy.attacks import Shadows
from relay.privacy.evidence import Bools, Floats
from relay.privacy.signals import losses
from relay.privacy.subjects import Subjects
from relay.seeds import derive, generator

log = logging.getLogger(__name__)
LATE = 1.3
"""A model that takes this many times as long as planned ends there."""
WARM = 3
"""Steps that are timed before the number of steps is chosen."""


@dataclass(frozen=True)
class Effort:
    """How much an audit may cost.

    Attributes:
        shadows: how many models, an even number.
        minutes: for all of them together.
    """

    shadows: int = 4
    minutes: float = 0.6


def shadows_of(
    leg: Leg,
    subjects: Subjects,
    start: Mapping[str, Tensor] | None,
    steps: int,
    effort: Effort,
    folder: Path,
    about: Any,
    device: torch.device,
    progress: Progress,
) -> Shadows:
    """Train the shadow models, or read what is kept of them.

    Args:
        start: the weights that the leg started from; None for new ones.
        steps: optimiser steps of the leg's own training.
        folder: where results are kept.
        about: what else determines the results, as plain JSON: files with other content are not read.
    """
    half = max(1, round(steps * _share(subjects)))
    content = [about, half, effort.shadows, effort.minutes, subjects.member.tolist()]
    digest = sha256(json.dumps(content, sort_keys=True, default=str).encode()).hexdigest()[:16]
    made, seconds, took = [], 60 * effort.minutes, 0.0
    for number, inside in enumerate(halves(len(subjects.names), effort.shadows, leg.conf.random_seed)):
        path, title = folder / f"shadow_{digest}_{number + 1}.npz", f"shadow model {number + 1} of {effort.shadows}"
        with progress.stage(title):
            if (kept := _read(path, inside, len(subjects.whose))) is None:
                began = time.monotonic()
                share = (seconds - took) / (effort.shadows - number)
                model, done = trained(leg, subjects, inside, start, half, share, number, device, progress.note)
                kept = losses(model, subjects, leg, device)[0], done
                _write(path, inside, *kept)
                took += time.monotonic() - began
        made.append((inside, *kept))
    strength = min(1.0, float(np.mean([done for _, _, done in made])) / half)
    return Shadows(subjects.mean(np.stack([loss for _, loss, _ in made])), np.stack([i for i, _, _ in made]), strength)


def halves(patients: int, shadows: int, seed: int) -> list[Bools]:
    """Who is in each shadow model: pairs of a random half and the other one."""
    found = []
    for pair in range(shadows // 2):
        order = generator(seed, "shadow", pair).permutation(patients)
        inside = np.zeros(patients, bool)
        inside[order[: patients // 2 + pair % 2 * (patients % 2)]] = True  # of an odd number, the larger half in turn
        found += [inside, ~inside]
    return found


def trained(
    leg: Leg,
    subjects: Subjects,
    inside: Bools,
    start: Mapping[str, Tensor] | None,
    steps: int,
    seconds: float,
    number: int,
    device: torch.device,
    note: Callable[[str], None],
) -> tuple[nn.Module, int]:
    """One shadow model, and how many steps it made: as many as the time allows."""
    seed = derive(leg.conf.random_seed, "shadow", number)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = leg.net.build().to(device)
        if start is not None:
            load_model(model, start)
        chosen = np.flatnonzero(inside[subjects.whose]).tolist()
        done = _fit(leg, model, subjects, chosen, steps, seconds, seed, device, note)
    return model.eval(), done


def _fit(
    leg: Leg,
    model: nn.Module,
    subjects: Subjects,
    chosen: Sequence[int],
    steps: int,
    seconds: float,
    seed: int,
    device: torch.device,
    note: Callable[[str], None],
) -> int:
    criterion = leg.loss.build(leg.data.outputs).to(device)
    optimizer = leg.optimizer.build([p for p in model.parameters() if p.requires_grad])
    batch_size = min(leg.train.batch_size, len(chosen))
    loader: Any = train_loader(
        [subjects.images.some(chosen)],  # type: ignore[list-item]
        leg.data,
        batch_size=batch_size,
        seed=seed,
        site=leg.task_name,
    )
    schedule, done, epoch, began, planned = None, 0, 0, time.monotonic(), steps
    model.train()
    while done < planned:
        loader.sampler.set_epoch(epoch)
        for batch in loader:
            if done == WARM:  # the first steps are slow
                began = time.monotonic()
            if done == 2 * WARM:
                planned = max(done, min(steps, int(seconds * WARM / max(1e-6, time.monotonic() - began))))
            if schedule is None and done >= min(2 * WARM, planned - 1):
                schedule = warmed(leg.scheduler, optimizer, max(1, planned - done), 0)
            image = scaled(batch["image"].to(device), leg.data.intensity_range)
            loss = criterion(model(image), leg.data.does.label(batch["label"].to(device)))
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            if leg.train.gradient_clip:
                nn.utils.clip_grad_norm_(model.parameters(), leg.train.gradient_clip)
            optimizer.step()
            if schedule is not None:
                schedule.step()
            done += 1
            if done > 2 * WARM and time.monotonic() - began > LATE * seconds:  # something else takes the machine's time
                planned = done
            if done >= planned:
                break
            if done % 20 == 0:
                note(f"step {done} of {planned}")
        epoch += 1
    return done


def _share(subjects: Subjects) -> float:
    """Images of half the patients, as a share of the images that the leg was trained on."""
    trained_on = int(subjects.member[subjects.whose].sum())
    return len(subjects.whose) / 2 / max(1, trained_on)


def _read(path: Path, inside: Bools, images: int) -> tuple[Floats, int] | None:
    """What is kept of a shadow model; None if it is not there, or damaged: it is then trained again."""
    try:
        with np.load(path, allow_pickle=False) as kept:
            if kept["loss"].shape == (images,) and (kept["inside"] == inside).all():
                return kept["loss"].astype(float), int(kept["steps"])
            log.warning("%s is of other patients, and not used", path)
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError) as error:
        log.warning("%s can't be used, so this shadow model is trained again: %s", path, error)
    return None


def _write(path: Path, inside: Bools, loss: Floats, steps: int) -> None:
    import io

    data = io.BytesIO()
    np.savez_compressed(data, inside=inside, loss=loss, steps=np.array(steps))
    write_bytes(path, data.getvalue())
