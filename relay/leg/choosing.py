"""Which of a phase's weights are kept, and when it stops: by the scores of the validation images."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import pytorch_lightning as pl
import torch

from relay.config import Train
from relay.data import SiteData
from relay.leg.fitting import epoch_steps, steps_of
from relay.phase import Phase
from relay.plan import Leg


class Choose(pl.Callback):
    """Keeps the weights that validate best, and ends a fit that no longer gets better.

    Args:
        train: ``keep`` and ``early_stopping`` of the config.
    """

    def __init__(self, train: Train) -> None:
        self.train = train
        self.best, self.compared, self.waited, self.stopped = -math.inf, -math.inf, 0, False
        self.weights: dict[str, torch.Tensor] | None = None

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Don't go on with a fit that had ended early when a later phase was interrupted."""
        trainer.should_stop = self.stopped

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Compare with the best so far, by the primary metric; a score that could not be measured is no better."""
        task = pl_module.task
        score = task.gain(float(trainer.callback_metrics[f"val/{task.primary.name}"]), 0.0)
        if score > self.best:
            self.best = score
            if self.train.keep == "best":
                state = pl_module.module.state_dict()
                self.weights = {name: tensor.detach().clone() for name, tensor in state.items()}
        if (rule := self.train.early_stopping) is None:
            return
        better = score > self.compared + (rule.min_delta if math.isfinite(self.compared) else 0)
        self.compared = score if better else self.compared
        self.waited = 0 if better else self.waited + 1
        self.stopped = self.waited >= rule.patience
        trainer.should_stop = trainer.should_stop or self.stopped

    def state_dict(self) -> dict[str, Any]:
        """Saved with the state, so that a resumed fit chooses as if it had not been interrupted."""
        names = ("best", "compared", "waited", "stopped", "weights")
        return {name: getattr(self, name) for name in names}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Take up what was saved."""
        for name, value in state_dict.items():
            setattr(self, name, value)

    def choose(self, module: torch.nn.Module) -> None:
        """Give a module the best weights, if they are to be kept and there was a score."""
        if self.weights is not None:
            module.load_state_dict(self.weights)


def choosing(train: Train, phase: Phase, sites: Sequence[SiteData]) -> list[Choose]:
    """What chooses in a phase: nothing, unless the config says so and there is something to choose by."""
    wanted = train.keep == "best" or train.early_stopping is not None
    return [Choose(train)] if wanted and phase.validate and any(len(site.val) for site in sites) else []


def doubt(leg: Leg, sites: Sequence[SiteData]) -> str | None:
    """Why the config's choice would have no effect; None if it has one."""
    train = leg.train
    asked = [*(["keep: best"] if train.keep == "best" else []), *(["early_stopping"] if train.early_stopping else [])]
    if not asked:
        return None
    said = f"{' and '.join(asked)} {'have' if len(asked) > 1 else 'has'} no effect"
    if not any(len(site.val) for site in sites):
        return f"{said}: there are no validation images (val_fraction)"
    samples = sum(len(site.train) for site in sites)
    checks = steps_of(leg, samples, 1) // (epoch_steps(leg, samples, 1) * train.check_val_every_n_epoch)
    if checks < 1:
        return f"{said}: no validation is due in so few epochs; lower check_val_every_n_epoch"
    if train.early_stopping is not None and checks <= train.early_stopping.patience:
        return (
            f"early_stopping has no effect: its patience is {train.early_stopping.patience} validations, but only "
            f"{checks} are due; lower it, or check_val_every_n_epoch"
        )
    return None
