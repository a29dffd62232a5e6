"""Shared by the memories of weights: a net's weights as one vector, and how such vectors travel.

A travelling memory has a tensor for each of the model's parameters, by name (imports torch: import it late).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Mapping, Sequence

import torch
from torch import Tensor, nn

from relay.errors import HandoverError, TrainingError, UserError, some
from relay.handover import Handover, MemoryState, Privacy
from relay.phase import Phase

ADVICE = "Every site of a study must use the same strategy with the same net. Compare the configs of both sites."


def trained(model: nn.Module) -> dict[str, nn.Parameter]:
    """The trainable parameters, by name."""
    return {name: parameter for name, parameter in model.named_parameters() if parameter.requires_grad}


def as_vector(tensors: Iterable[Tensor]) -> Tensor:
    """Tensors concatenated into one vector, whatever their layout in memory."""
    return torch.cat([tensor.reshape(-1) for tensor in tensors])


def named(vector: Tensor, like: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Split a vector of :func:`as_vector` into its tensors again."""
    pieces = torch.split(vector, [tensor.numel() for tensor in like.values()])
    return {name: piece.view(like[name].shape) for name, piece in zip(like, pieces, strict=True)}


class Anchor(nn.Module):
    """The incoming weights, and their importance for earlier sites.

    Called with a model, it gives ``sum(importance * (w - weights)^2)``, a scalar.

    Attributes:
        weights: of the trainable parameters, concatenated, ``(W,)``.
        importance: of each, at least 0; all 0 in the first leg.
    """

    weights: Tensor
    importance: Tensor

    def __init__(self, weights: Tensor, importance: Tensor) -> None:
        super().__init__()
        self.register_buffer("weights", weights)
        self.register_buffer("importance", importance)

    @classmethod
    def of(cls, model: nn.Module, handover: Handover | None, kind: str) -> Anchor:
        """From a model with its incoming weights, and the memory that came with them.

        Raises:
            HandoverError: the memory has another kind, does not match the model, or has a negative importance.
        """
        here = trained(model)
        weights = as_vector(here.values()).detach().clone()
        if handover is None:
            return cls(weights, torch.zeros_like(weights))
        importance = as_vector(read(handover, kind, {name: tuple(p.shape) for name, p in here.items()}).values())
        if bool((importance < 0).any()):
            raise HandoverError(f"the incoming memory '{kind}' has negative importances", ADVICE)
        return cls(weights, importance.to(weights))

    def forward(self, model: nn.Module) -> Tensor:
        """The penalty for moving away from the anchor."""
        moved = as_vector(trained(model).values()) - self.weights
        return (self.importance * moved.square()).sum()

    def gradient(self, weights: Tensor) -> Tensor:
        """The gradient of the penalty at these weights, ``(W,)``."""
        return 2 * self.importance * (weights - self.weights)


def read(handover: Handover, kind: str, shapes: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The cumulative memory of the earlier legs, in the order of ``shapes``.

    Raises:
        HandoverError: there is none, or it is another strategy's; or names, shapes, types or values don't match.
    """
    state = handover.cumulative
    if state is None or state.kind != kind:
        came = f"one of kind '{state.kind}'" if state else "none"
        raise HandoverError(
            f"strategy '{kind}' needs the cumulative memory '{kind}' of earlier legs, but received {came}", ADVICE
        )
    wrong = [f"{name}: missing" for name in shapes.keys() - state.tensors.keys()]
    wrong += [f"{name}: not in the net" for name in state.tensors.keys() - shapes.keys()]
    for name in shapes.keys() & state.tensors.keys():
        tensor = state.tensors[name]
        if tuple(tensor.shape) != shapes[name] or tensor.dtype != torch.float32:
            wrong.append(f"{name}: {tuple(tensor.shape)} {tensor.dtype}, but must be {shapes[name]} torch.float32")
        elif not tensor.isfinite().all():
            wrong.append(f"{name}: not finite")
    if wrong:
        shown = some(sorted(wrong), between="; ")
        raise HandoverError(f"the incoming memory '{kind}' does not match the net of this config: {shown}", ADVICE)
    return {name: state.tensors[name] for name in shapes}


def state(kind: str, tensors: Mapping[str, Tensor], other: MemoryState | None) -> MemoryState:
    """A cumulative memory to hand over, in float32.

    Args:
        other: the cumulative memory of a strategy combined with this one.

    Raises:
        UserError: there is another one; a handover can have only one.
        TrainingError: a value is not finite.
    """
    if other is not None:
        raise UserError(
            f"a leg hands over only one cumulative memory, but there are two: '{kind}' and '{other.kind}'",
            "Combine it with a strategy or memory without one: 'style' has none, 'flow' has one.",
        )
    kept = {name: tensor.detach().to("cpu", torch.float32).clone() for name, tensor in tensors.items()}
    if wrong := [name for name, tensor in kept.items() if not tensor.isfinite().all()]:
        raise TrainingError(f"the memory '{kind}' is not finite: {some(wrong)}", "Lower the learning rate.")
    return MemoryState(kept, kind, Privacy(derived="weights"))


def beside(
    phases: Iterable[Phase],
    model: nn.Module,
    frozen: Sequence[nn.Module] = (),
    extra_state: Sequence[nn.Module] = (),
    callbacks: Sequence[object] = (),
) -> list[Phase]:
    """The phases, with extra state beside the model in those that train it."""
    return [
        dataclasses.replace(
            phase,
            frozen=(*phase.frozen, *frozen),
            extra_state=(*phase.extra_state, *extra_state),
            callbacks=(*phase.callbacks, *callbacks),
        )
        if phase.module is model
        else phase
        for phase in phases
    ]
