"""The one place that uses Lightning's internals: it has no public way to say that a saved epoch is over.

``tests/leg/test_lightning_adapter.py`` fails, and says what to do, if a new version of Lightning changes this.
"""

from __future__ import annotations

import pytorch_lightning as pl

from relay.errors import TrainingError


def start_next_epoch(trainer: pl.Trainer) -> None:
    """When a fit resumes, begin the epoch after the saved one, which was complete; otherwise do nothing.

    Without this, Lightning goes back into the saved epoch and trains on one batch too many, unless a validation was due
    at its end: with ``max_steps``, the loop's public property is True whatever it is set to.

    Raises:
        TrainingError: this version of Lightning does not allow it.
    """
    loop = trainer.fit_loop
    loop._restarting = loop.epoch_loop.restarting = False
    if loop.restarting or loop.epoch_loop.restarting:
        raise TrainingError(
            f"Lightning {pl.__version__} would repeat a part of the saved epoch",
            "Install the version of pytorch-lightning that constraints.txt names.",
        )
