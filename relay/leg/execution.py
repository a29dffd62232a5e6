"""How a net is executed during a fit: compiled, or with activations computed a second time instead of kept."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytorch_lightning as pl
import torch
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from relay.config import Train
from relay.errors import UserError, first_line
from relay.phase import Phase

log = logging.getLogger(__name__)


class Compile(pl.Callback):
    """Compiles the net of a phase (``train.compile``) at its first batch, if that works here; else ``say`` says why."""

    def __init__(self, say: Callable[[str], None]) -> None:
        self.say, self.tried = say, False

    def on_train_batch_start(self, trainer: pl.Trainer, pl_module: Any, batch: Any, batch_idx: int) -> None:
        """Try it, once."""
        if not self.tried and compiles(pl_module.module, pl_module.image_of(batch), self.say):
            pl_module.module.compile()
        self.tried = True


@contextmanager
def executed(phase: Phase, train: Train, say: Callable[[str], None] = log.warning) -> Iterator[list[pl.Callback]]:
    """During a fit, execute the net of a phase as ``train`` says; yields the callbacks of that fit.

    Neither the net's weights nor their names change. A phase's other modules, such as a generator, run as they are.

    Raises:
        UserError: the net can't be executed so.
    """
    chosen = blocks(phase.module) if train.activation_checkpointing and phase.validate else []
    kinds = [type(block) for block in chosen]
    for block in chosen:
        block.__class__ = _recomputing(type(block))
    try:
        yield [Compile(say)] if train.compile and phase.validate else []
    finally:
        for block, kind in zip(chosen, kinds, strict=True):
            block.__class__ = kind
        phase.module._compiled_call_impl = None  # torch has no public way back; tests have images of many sizes


def blocks(module: nn.Module) -> list[nn.Module]:
    """The parts of a net that keep only their inputs: its outermost sequences of layers.

    Raises:
        UserError: there are none; or a part has batch normalisation, whose statistics would count each batch twice.
    """
    odd = [name for name, part in module.named_modules() if isinstance(part, nn.modules.batchnorm._BatchNorm)]
    if odd:
        raise UserError(
            f"train.activation_checkpointing: the net has batch normalisation ({odd[0]}), which would count each batch "
            "twice in its statistics",
            "Use group or instance normalisation (model.kwargs.norm), or set "
            "common.train.activation_checkpointing=false.",
        )
    if not (found := _sequences(module)):
        raise UserError(
            "train.activation_checkpointing saves nothing here: the net has no torch.nn.Sequential to compute again",
            "Set common.train.activation_checkpointing=false, or put the net's blocks into torch.nn.Sequential.",
        )
    return found


def _sequences(module: nn.Module) -> list[nn.Module]:
    """The outermost sequences of layers below a module; one of another kind may call its parts in any way."""
    parts = list(module.children())
    while len(parts) == 1:
        parts = list(parts[0].children())
    return [found for part in parts for found in ([part] if isinstance(part, nn.Sequential) else _sequences(part))]


def _recomputing(kind: type[nn.Module]) -> type[nn.Module]:
    """A class of modules whose activations are computed again in the backward pass.

    A class, not another ``forward`` of the one module: a copy of the net must compute with its own weights.
    """

    def forward(self: nn.Module, *inputs: Any, **named: Any) -> Any:
        if not torch.is_grad_enabled():
            return kind.forward(self, *inputs, **named)
        return checkpoint(kind.forward, self, *inputs, use_reentrant=False, **named)

    return type(kind.__name__, (kind,), {"forward": forward})


def compiles(module: nn.Module, example: Tensor, say: Callable[[str], None]) -> bool:
    """Whether ``torch.compile`` works for a net here, both ways; if not, ``say`` gets one line with the reason."""
    trial = copy.deepcopy(module).train()  # the net itself may keep statistics of what it sees
    weights = [weight for weight in trial.parameters() if weight.requires_grad]
    try:
        trial.compile()
        torch.autograd.grad(trial(example).sum(), weights, allow_unused=True)
    except Exception as error:  # whatever a compiler or its absence raises
        say(f"train.compile: the net is not compiled here, so it trains as without: {_short(error)}")
        return False
    return True


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {first_line(error)[:200]}"
