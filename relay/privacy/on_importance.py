"""An attack on memories that say how much each weight matters: gradients of members have left their mark on them."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from relay.handover import MemoryState
from relay.memory import as_vector, trained
from relay.plan import Leg
from relay.privacy.evidence import Floats
from relay.privacy.signals import gradients_of
from relay.privacy.subjects import Subjects

IMPORTANCES = ("ewc", "si")
"""Kinds of such memories."""


def of_importance(
    leg: Leg,
    subjects: Subjects,
    state: MemoryState,
    before: MemoryState | None,
    model: nn.Module,
    device: torch.device,
) -> Mapping[tuple[str, str], Floats]:
    """How alike the squared gradient of each patient is to the importance of the weights, as a cosine.

    An importance is a sum of squared gradients over members (``ewc``), or of gradients times steps (``si``): that of a
    member is in it. What was there before is taken off for a second attack, since it is of other sites.
    """
    names = list(trained(model))

    def flat(memory: MemoryState) -> Tensor:
        return as_vector([memory.tensors[name] for name in names]).double().clamp(min=0)

    weighed = {"cumulative": flat(state)}
    weighed |= {"difference": (flat(state) - flat(before)).clamp(min=0)} if before else {}
    found: dict[str, list[float]] = {part: [] for part in weighed}
    for gradient in gradients_of(model, subjects, leg, device):
        square = gradient.square()
        for part, weight in weighed.items():
            size = float(square.norm() * weight.norm())
            found[part].append(float(square @ weight) / size if size > 0 else 0.0)
    return {(part, f"gradient along {state.kind}"): subjects.mean(np.array(each)) for part, each in found.items()}
