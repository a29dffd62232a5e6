"""Lightning callbacks of a leg: progress, a state to resume from, a stop if the loss is not finite."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytorch_lightning as pl

from relay.data import sample_ids
from relay.errors import TrainingError, some
from relay.leg.curves import rewind, written
from relay.leg.processes import gather
from relay.leg.progress import Progress
from relay.leg.state import latest, newest


class ShowProgress(pl.Callback):
    """Advances the progress bar at every step, and shows the last validation score."""

    def __init__(self, progress: Progress) -> None:
        self.progress, self.step = progress, 0

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Start a resumed phase from its saved step."""
        self.step = trainer.global_step
        self.progress.advance(self.step, made=False)

    def on_train_batch_end(self, trainer: pl.Trainer, *_: Any) -> None:
        """Count one more step, if the batch was the last of one."""
        if trainer.global_step > self.step:
            self.step = trainer.global_step
            self.progress.advance()

    def on_train_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Skip the steps that an early stop left out."""
        if trainer.should_stop and (left := trainer.max_steps - trainer.global_step) > 0:
            self.progress.advance(left, made=False)

    def on_validation_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Show the validation score."""
        metric = pl_module.task.primary
        if (score := trainer.callback_metrics.get(f"val/{metric.name}")) is not None:
            self.progress.note(f"val {metric.title or metric.name} {float(score):.3f}")


class StopAtOnce(pl.Callback):
    """SIGTERM stops a fit like Ctrl-C does, at any time.

    Lightning's own handler first makes the processes of a fit notify each other, and waits forever if the
    signal arrives while they are already communicating. When the fit ends, it restores the previous handler.
    """

    def on_train_start(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Remove Lightning's handler."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, signal.default_int_handler)


class KeepState(pl.Callback):
    """Saves everything a resumed fit needs: at ends of epochs, at most every ``seconds``, and at the end of the fit.

    The file is replaced in one step, and only while the weights are finite, so it always contains a good state.
    """

    def __init__(self, path: Path, seconds: float) -> None:
        self.path, self.seconds, self.saved = path, seconds, time.monotonic()
        self.curves: dict[str, int] = {}

    def state_dict(self) -> dict[str, Any]:
        """What is saved in addition to Lightning's state: how far the curves go."""
        return {"curves": self.curves}

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Save if it is time; the first process decides for all."""
        done = trainer.should_stop or trainer.global_step >= trainer.max_steps
        if trainer.strategy.broadcast(done or time.monotonic() - self.saved >= self.seconds):
            self.save(trainer, pl_module)

    def save(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Write the state, and keep the previous one.

        Raises:
            TrainingError: the weights, or the statistics of a normalisation, are not finite.
        """
        weights = pl_module.module.state_dict()
        odd = [name for name, value in weights.items() if value.is_floating_point() and not value.isfinite().all()]
        if odd := trainer.strategy.broadcast(odd):
            shown = some(odd, 3)
            raise TrainingError(
                f"the weights were not finite after step {trainer.global_step - 1} (epoch {trainer.current_epoch}): "
                f"{shown}; {kept(self.path)}"
            )
        if trainer.is_global_zero and trainer.logger is not None:
            self.curves = written(trainer.logger)
        trainer.save_checkpoint(self.path)
        self.saved = time.monotonic()


class StopOnNonFinite(pl.Callback):
    """Ends the fit if the loss is not finite, and names the batch.

    The learner records the first such batch on the device; on a GPU, the record is read only every ``every`` steps,
    because reading it waits for the device.
    """

    def __init__(self, every: int, state: Path) -> None:
        self.every, self.state = every, state

    def on_train_batch_end(self, trainer: pl.Trainer, pl_module: Any, *_: Any) -> None:
        """Read the record from time to time."""
        if pl_module.device.type == "cpu" or trainer.global_step % self.every == 0:
            self.check(trainer, pl_module)

    def on_train_epoch_end(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Read the record before a state is saved."""
        self.check(trainer, pl_module)

    def check(self, trainer: pl.Trainer, pl_module: Any) -> None:
        """Raise if the loss was not finite.

        Raises:
            TrainingError: it names the step, the epoch and the samples of the batch.
        """
        if int(trainer.strategy.reduce(pl_module.first_bad.clone(), reduce_op="max")) < 0:
            return
        batches, together = int(trainer.num_training_batches), trainer.accumulate_grad_batches
        own = int(pl_module.first_bad)
        found = gather((own, sample_ids(trainer.train_dataloader, *divmod(own, batches)) if own >= 0 else []))
        first = min(at for at, _ in found if at >= 0)
        names = [name for at, ids in found if at == first for name in ids]
        epoch, place = divmod(first, batches)
        step = epoch * math.ceil(batches / together) + place // together
        shown = some(names, 8)
        raise TrainingError(
            f"the loss was not finite at step {step} (epoch {epoch}, batch {place}: {shown}); {kept(self.state)}",
            f"{TrainingError.CURE} If the same batch fails again, check its images.",
        )


def kept(state: Path) -> str:
    """What there is to resume from, in words."""
    return f"the last good state is kept in {there}" if (there := latest(state)) else "no state was saved before it"


def wind_back(curves: Path, states: Sequence[Path]) -> None:
    """Remove from curves what came after the state that a fit resumes from: that of the last phase with one."""
    found = next(filter(None, map(newest, reversed(states))), None)
    callbacks = found[1]["callbacks"] if found else {}
    rewind(curves, callbacks.get(KeepState.__qualname__, {}).get("curves", {}))
