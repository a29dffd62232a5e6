"""A phase: one fit of a leg. A strategy says which phases a leg has; Lightning runs each of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import Tensor, nn


@dataclass(frozen=True)
class Batch:
    """What a phase learns from, on the device.

    Attributes:
        image: float, ``(B, C, *spatial)``, scaled to the data set's ``out_range``.
        label: int64 class indices, ``(B, *spatial)``.
        index: int64, ``(B,)``: which training samples these are.
    """

    image: Tensor
    label: Tensor
    index: Tensor


@dataclass(frozen=True)
class Phase:
    """One Lightning fit.

    Attributes:
        name: names the phase's checkpoint and its curves (``learn``).
        module: what is trained, and all that is checkpointed.
        loss: a batch's loss as named terms; what is minimised is their sum.
        share: of the leg's budget (``num_epochs`` or ``num_mimgs``).
        frozen: modules the loss needs beside ``module``: moved to its device, never trained nor checkpointed.
        callbacks: Lightning callbacks, for methods that act between steps.
    """

    name: str
    module: nn.Module
    loss: Callable[[Batch], Mapping[str, Tensor]]
    share: float = 1.0
    frozen: tuple[nn.Module, ...] = ()
    callbacks: tuple[Any, ...] = ()
