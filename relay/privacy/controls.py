"""Controls: handovers of which it is known whether they tell of patients. The audit must say so.

A positive control is a model overfitted on ten patients, or a memory that holds an image; a negative one is a model
trained on other patients, or a memory of others. All are small and synthetic, so that a hundred take a minute.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import torch
from torch import Tensor, nn

from relay.privacy.attacks import Shadows, cheap, with_shadows
from relay.privacy.carding import card_of
from relay.privacy.evidence import Floats
from relay.privacy.overfitting import LEARNED, fitted
from relay.privacy.signals import each
from relay.privacy.training_shadows import halves
from relay.seeds import derive, generator

MEMBERS, OTHERS, SIDE, SHADOWS, CLASSES = 10, 10, 12, 4, 4
Scores: TypeAlias = dict[tuple[str, str], Floats]
LIMIT = 0.6


@dataclass(frozen=True)
class Control:
    """A control and how often the audit was right about it.

    Attributes:
        name: what it is, in words.
        leaks: whether the audit must say so.
        right, tried: how often it did what it must, and of how many.
    """

    name: str
    leaks: bool
    right: int
    tried: int


def selftest(seeds: int, step: Callable[[], object] = lambda: None) -> list[Control]:
    """Every control, with so many seeds."""
    found = []
    for name, (leaks, flagged) in CONTROLS.items():
        right = 0
        for seed in range(seeds):
            right += flagged(seed) == leaks
            step()
        found.append(Control(name, leaks, right, seeds))
    return found


def _model(seed: int, dense: bool, trained_on_them: bool) -> bool:
    """Whether the audit flags a model that was fitted to ten patients, or to ten others."""
    image, label = drawn(seed, dense, MEMBERS + OTHERS + MEMBERS)
    chosen = np.arange(MEMBERS) + (0 if trained_on_them else MEMBERS + OTHERS)
    target = fitted(image[chosen], label[chosen], CLASSES, derive(seed, "target"))
    there = image[: MEMBERS + OTHERS], label[: MEMBERS + OTHERS]
    scores = attacked(target, *there, shadowed(*there, seed))
    return _leaks(scores, {}, seed)


def shadowed(image: Tensor, label: Tensor, seed: int, until: float = LEARNED) -> Shadows:
    """Shadow models of the controls' kind.

    Args:
        image, label: of all patients, one each, ``(N, C, S, S)`` and ``(N, …)``.
        until: the loss at which their training ends.
    """
    inside = np.stack(halves(len(image), SHADOWS, seed))
    models = [
        fitted(image[mask], label[mask], CLASSES, derive(seed, "shadow", k), until)
        for k, mask in enumerate(torch.from_numpy(inside))
    ]
    return Shadows(np.stack([seen(model, image, label)[0] for model in models]), inside, 1.0)


def attacked(target: nn.Module, image: Tensor, label: Tensor, shadows: Shadows) -> Scores:
    """The scores of the attacks on a model."""
    loss, entropy = seen(target, image, label)
    found = [*cheap({"loss": loss, "entropy": entropy}), *with_shadows(loss, shadows)]
    return {("model", name): score for name, score in found}


def _leaks(scores: Scores, copies: Scores, seed: int) -> bool:
    member = np.arange(MEMBERS + OTHERS) < MEMBERS
    return card_of(scores, copies, member, SHADOWS, 1.0, seed).verdict(LIMIT) == "leaks"


def _memory(seed: int, holds_one: bool) -> bool:
    """Whether the audit flags a memory of samples, one of which is a member's image, or none."""
    image, _ = drawn(seed, True, MEMBERS + OTHERS + 64)
    samples = image[MEMBERS + OTHERS :].flatten(1).clone()
    if holds_one:
        noise = torch.randn(samples.shape[1], generator=torch.Generator().manual_seed(seed))
        samples[0] = image[seed % MEMBERS].flatten() + 0.02 * noise
    apart = torch.cdist(image[: MEMBERS + OTHERS].flatten(1).double(), samples.double())
    near = apart.topk(11, largest=False).values
    distance = (near[:, 0] / near[:, 1:].mean(1)).numpy()
    part = ("cumulative", "nearest sample")
    return _leaks({part: -distance}, {part: distance}, seed)


def drawn(seed: int, dense: bool, patients: int) -> tuple[Tensor, Tensor]:
    """Noisy discs ``(N, 1, S, S)``, and their masks, or whether they are large.

    Half of the classes are wrong, so that they can only be learned by heart.
    """
    rng = generator(seed, "controls", dense)
    grid = np.stack(np.meshgrid(np.arange(SIDE), np.arange(SIDE), indexing="ij"))
    middle, radius = rng.uniform(4, SIDE - 5, (patients, 2, 1, 1)), rng.uniform(2, 4, (patients, 1, 1))
    mask = np.hypot(*(grid[:, None] - middle.transpose(1, 0, 2, 3))) < radius
    image = mask + rng.normal(0, 0.8, mask.shape)
    label = mask if dense else (radius.ravel() > 3) ^ (rng.random(patients) < 0.5)
    return torch.from_numpy(image).float()[:, None], torch.from_numpy(label).long()


@torch.no_grad()
def seen(model: nn.Module, image: Tensor, label: Tensor) -> tuple[Floats, Floats]:
    """Loss and entropy of each image."""
    logits = model(image)
    log = logits.log_softmax(1)
    entropy = -(log.exp() * log).sum(1).reshape(len(image), -1).mean(1)
    return each(logits, label, "categorical").double().numpy(), entropy.double().numpy()


CONTROLS: dict[str, tuple[bool, Callable[[int], bool]]] = {
    "a segmentation model overfitted on ten patients": (True, lambda seed: _model(seed, True, True)),
    "a segmentation model trained on other patients": (False, lambda seed: _model(seed, True, False)),
    "a classification model overfitted on ten patients": (True, lambda seed: _model(seed, False, True)),
    "a classification model trained on other patients": (False, lambda seed: _model(seed, False, False)),
    "a memory that holds a patient's image": (True, lambda seed: _memory(seed, True)),
    "a memory of other patients": (False, lambda seed: _memory(seed, False)),
}
"""By name: whether it leaks, and whether the audit says so for a seed."""
