"""Fine-tune a received model on a site's own images, with early stopping: keep the weights that validate best."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytorch_lightning as pl
import torch
from torch import nn

from relay.config import Devices
from relay.data import SiteData
from relay.leg.callbacks import KeepState, ShowProgress, StopAtOnce, StopOnNonFinite, wind_back
from relay.leg.device import device_of, memory_format
from relay.leg.fitting import epoch_steps, fit, steps_of
from relay.leg.learner import Learner
from relay.leg.processes import is_first
from relay.leg.progress import Progress
from relay.leg.training import validation_score
from relay.phase import Phase
from relay.plan import Leg
from relay.tasks import Task

SHARE = 0.5
"""How much of a leg's budget a fine-tuning takes."""
SLOWER = 0.3
"""Its learning rate, relative to a leg's."""
CHECKS = 8
"""How many times it is validated, at most."""


class KeepBest(pl.Callback):
    """Keeps the weights with the best validation score, beginning with those before training.

    Args:
        score: of the weights before training.
        task: compares scores.
    """

    def __init__(self, score: float, net: nn.Module, task: type[Task]) -> None:
        self.task = task
        self.best, self.weights, self.step = score, _copy(net), 0

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Compare with the best so far."""
        score = float(trainer.callback_metrics[f"val/{self.task.primary.name}"])
        if self.task.gain(score, self.best) > 0 or (math.isnan(self.best) and not math.isnan(score)):
            self.best, self.weights, self.step = score, _copy(pl_module.module), trainer.global_step

    def state_dict(self) -> dict[str, Any]:
        """Saved with the state, so that a resumed fit remembers its best."""
        return {"best": self.best, "weights": self.weights, "step": self.step}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was saved."""
        self.best, self.weights, self.step = state_dict["best"], state_dict["weights"], state_dict["step"]


def tune(
    leg: Leg,
    net: nn.Module,
    site: SiteData,
    state: Path,
    curves: Path,
    devices: Devices,
    progress: Progress,
    better: bool = True,
) -> int:
    """Fine-tune a net in place; return the step whose weights it has: 0 for those that it came with.

    Args:
        site: with validation images.
        state: where the fit saves what it resumes from.
        curves: a TensorBoard folder.
        better: whether the weights it came with are kept if none is better; otherwise, the best of the fit are.

    Raises:
        RelayError: as :func:`relay.leg.fit`.
    """
    criterion, device = leg.loss.build(leg.data.outputs), device_of(devices)
    net.to(device, memory_format=memory_format(leg))  # type: ignore[call-overload]

    def loss(batch: Any) -> dict[str, torch.Tensor]:
        return {"task": criterion(net(batch.image), batch.label)}

    steps = tuning_steps(leg, len(site.train), devices)
    epoch = epoch_steps(leg, len(site.train), devices.world_size)
    tuned = leg.with_train(check_val_every_n_epoch=max(1, steps // epoch // CHECKS))
    phase = Phase("adopt", net, loss, rate=SLOWER)
    learner = Learner(tuned, phase, [site], steps, companions=(criterion,))
    start = validation_score(net, [site], device) if better else math.nan
    best = KeepBest(start, net, type(leg.data.does))
    acting = [
        StopAtOnce(),
        ShowProgress(progress),
        StopOnNonFinite(leg.train.log_every_n_steps, state),
        best,
        KeepState(state, leg.train.save_every_n_seconds),
    ]
    if is_first():
        wind_back(curves, [state])
    fit(learner, state, curves, devices, acting, progress.say)
    net.load_state_dict(best.weights)
    net.to(device, torch.float32).eval()
    return best.step


def tuning_steps(leg: Leg, samples: int, devices: Devices) -> int:
    """Optimiser steps of a fine-tuning."""
    return steps_of(leg, samples, devices.world_size, SHARE)


def _copy(net: nn.Module) -> dict[str, torch.Tensor]:
    return {name: tensor.detach().clone() for name, tensor in net.state_dict().items()}
