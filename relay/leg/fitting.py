"""Fit one phase with Lightning: start it, resume it, or load it if it is finished."""

from __future__ import annotations

import logging
import math
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from datetime import timedelta
from pathlib import Path

import pytorch_lightning as pl
import torch
from pytorch_lightning.loggers import TensorBoardLogger
from pytorch_lightning.strategies import DDPStrategy

from relay.config import Devices
from relay.errors import Interrupted, TrainingError, UserError
from relay.files import disk_full
from relay.leg.callbacks import kept
from relay.leg.execution import executed
from relay.leg.heap import kept_memory
from relay.leg.learner import Learner
from relay.leg.precision import LIGHTNING, resolved
from relay.leg.processes import ended_at_once
from relay.leg.state import StateIO, latest, newest
from relay.plan import Leg

log = logging.getLogger(__name__)

MEMORY = (
    "Lower common.train.batch_size, set precision to 16, bf16 or auto, or train on smaller patches (patch_size). "
    "Use a new note (-n), because the config changes."
)
ROOM = "Free some space there, then run the same command again: it resumes from the last saved state."
PATIENCE = timedelta(hours=2)
"""Timeout of the processes that wait while the first one tests a leg."""


class Meeting(DDPStrategy):
    """Processes that train together; whoever waits for the others can be stopped."""

    def setup_environment(self) -> None:
        """Wait until all are there."""
        with ended_at_once():
            super().setup_environment()


def steps_of(leg: Leg, samples: int, world_size: int, share: float = 1.0) -> int:
    """Optimiser steps of a phase: its share of ``num_epochs`` or ``num_mimgs``, at least one.

    A leg that pools several sites has the budget of one leg for each, so that joint training sees as much as a relay.

    Args:
        samples: number of training samples of the leg.
        world_size: number of processes that train together; ``batch_size`` is per process.
    """
    if leg.train.num_mimgs is not None:
        step = leg.train.batch_size * world_size * leg.train.accumulate
        return max(1, math.ceil(leg.train.num_mimgs * 1e6 * share * len(leg.pool) / step))
    assert leg.train.num_epochs is not None
    return max(1, round(leg.train.num_epochs * share)) * epoch_steps(leg, samples, world_size)


def epoch_steps(leg: Leg, samples: int, world_size: int) -> int:
    """Optimiser steps of an epoch; its last step may be of fewer batches than ``accumulate``."""
    batches = max(1, samples * int(leg.data.repeats) // (leg.train.batch_size * world_size))
    return math.ceil(batches / leg.train.accumulate)


def fit(
    learner: Learner,
    state: Path,
    curves: Path,
    devices: Devices,
    callbacks: list[pl.Callback],
    say: Callable[[str], None] = log.warning,
) -> None:
    """Run one phase to its end; its module is trained in place. ``say`` tells people what is done otherwise than they
    asked for.

    If ``state`` exists, the fit resumes from it, and ends with the same weights as without the
    interruption.

    Raises:
        Interrupted: Ctrl-C or SIGTERM.
        TrainingError: loss or weights were not finite, the GPU's memory is too small, or the disk is full.
        UserError: the state is damaged, and so is the previous one.
    """
    quieten()
    if (unfit := devices.unfit(learner.leg.train.precision)) is not None:
        raise UserError(f"precision {learner.leg.train.precision}: {unfit}")
    found = newest(state)
    whole = str(found[0]) if found else None
    del found  # Lightning reads the state itself; this copy would stay in memory during the whole fit
    try:
        on_cpu = devices.accelerator == "cpu"
        with executed(learner.phase, learner.leg.train, say) as acting, kept_memory() if on_cpu else nullcontext():
            trainer = _trainer(learner, curves, devices, [*callbacks, *acting])
            trainer.fit(learner.train(), ckpt_path=whole, weights_only=True)
    except (KeyboardInterrupt, SystemExit) as error:
        told = f"its last state is in {there}" if (there := latest(state)) else "no state had been saved yet"
        where = f"leg {learner.leg.number} ({learner.leg.task_name}), phase '{learner.phase.name}'"
        raise Interrupted(f"stopped in {where}; {told}", "Run the same command again.") from error
    except OSError as error:
        if (full := disk_full(error, state.parent)) is None:
            raise
        raise TrainingError(f"{full}; {kept(state)}", ROOM) from error
    except torch.OutOfMemoryError as error:
        raise TrainingError(f"the GPU's memory is too small: {error}", MEMORY) from error


def _trainer(learner: Learner, curves: Path, devices: Devices, callbacks: list[pl.Callback]) -> pl.Trainer:
    """Lightning's Trainer, without its own output on the screen or the disk."""
    train = learner.leg.train
    validate = learner.phase.validate and any(len(site.val) for site in learner.sites)
    return pl.Trainer(
        accelerator=devices.accelerator,
        devices=devices.devices,
        num_nodes=devices.num_nodes,
        strategy=Meeting(timeout=PATIENCE) if devices.world_size > 1 else "auto",
        precision=LIGHTNING[resolved(train.precision, devices, learner.module)],
        max_epochs=-1,
        max_steps=learner.total_steps,
        accumulate_grad_batches=train.accumulate,
        gradient_clip_val=train.gradient_clip or None,
        check_val_every_n_epoch=train.check_val_every_n_epoch,
        limit_val_batches=1.0 if validate else 0,
        log_every_n_steps=train.log_every_n_steps,
        logger=TensorBoardLogger(curves.parent, name="", version=curves.name),
        callbacks=callbacks,
        plugins=[StateIO()],
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        num_sanity_val_steps=0,
        use_distributed_sampler=False,
    )


def quieten() -> None:
    """Suppress Lightning's remarks about choices that are deliberate here."""
    for name in ("pytorch_lightning", "lightning_fabric"):
        logging.getLogger(name).setLevel(logging.ERROR)
    remarks = (
        "does not have many workers",
        "GPU available but not used",
        "number of training batches",
        "LeafSpec",
        "sync_dist=True",
    )
    for remark in remarks:
        warnings.filterwarnings("ignore", f".*{remark}.*")
