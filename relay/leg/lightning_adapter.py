"""The one place that reaches into Lightning, which has no public way to say that a saved epoch is over.

``tests/leg/test_lightning_adapter.py`` fails, and says what to do, when a new version of Lightning does otherwise.
"""

from __future__ import annotations

import pytorch_lightning as pl

from relay.errors import TrainingError


def start_next_epoch(trainer: pl.Trainer) -> None:
    """Where a fit is resumed, begin the epoch after the one of the saved state, which was whole; else do nothing.

    Left to itself Lightning goes back into the saved epoch, and trains on a batch too many unless a validation was due
    at its end: wherever there is a ``max_steps``, the loop's public setter says True whatever it is given.

    Raises:
        TrainingError: this version of Lightning can't be told.
    """
    loop = trainer.fit_loop
    loop._restarting = loop.epoch_loop.restarting = False
    if loop.restarting or loop.epoch_loop.restarting:
        raise TrainingError(
            f"Lightning {pl.__version__} would repeat a part of the saved epoch",
            "Install the version of pytorch-lightning that constraints.txt names.",
        )
