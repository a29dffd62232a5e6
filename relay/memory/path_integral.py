"""The path integral of synaptic intelligence (imports torch and Lightning: import it late)."""

from __future__ import annotations

from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn

from relay.memory.weights import Anchor, as_vector, trained


class PathIntegral(nn.Module):
    """How much each weight has lowered the loss during training.

    Attributes:
        omega: ``-sum(gradient * step)`` over the steps so far, ``(W,)``.
    """

    omega: Tensor

    def __init__(self, weights: Tensor) -> None:
        super().__init__()
        self.register_buffer("omega", torch.zeros_like(weights))

    def add(self, gradient: Tensor, step: Tensor) -> None:
        """One step: the loss's gradient before it, and the change of the weights."""
        # in 16 bits, steps with infinite gradients are skipped
        self.omega -= torch.where(step == 0, 0, gradient * step)

    def importance(self, moved: Tensor, damping: float) -> Tensor:
        """``omega / (moved^2 + damping)``; weights on which the loss rose count as of no importance."""
        return self.omega.clamp(min=0) / (moved.square() + damping)


class IntegrateAlongPath(pl.Callback):  # type: ignore[misc]
    """Accumulates a :class:`PathIntegral` while a model is trained.

    The available gradient is that of all terms. The penalty's gradient is known and is subtracted, so that only the
    other terms count. It is taken before gradients are clipped; the step is the optimiser's actual step.

    Args:
        weight: weight of the anchor's penalty in the loss.
    """

    def __init__(self, model: nn.Module, path: PathIntegral, anchor: Anchor, weight: float) -> None:
        self.model, self.path, self.anchor, self.weight = model, path, anchor, weight
        self.stepped = False

    @torch.no_grad()
    def on_before_optimizer_step(self, *_: Any) -> None:
        """Record the weights and their gradients."""
        parameters = trained(self.model).values()
        self.weights = as_vector(parameters)
        gradient = as_vector(torch.zeros_like(p) if p.grad is None else p.grad for p in parameters)
        self.gradient = gradient - self.weight * self.anchor.gradient(self.weights)
        self.stepped = True

    @torch.no_grad()
    def on_train_batch_end(self, *_: Any) -> None:
        """Add the step that the optimiser has taken, if it has: gradients of several batches may be added up."""
        if not self.stepped:
            return
        self.stepped = False
        self.path.add(self.gradient, as_vector(trained(self.model).values()) - self.weights)
