"""What the adapter relies on in Lightning; that a resumed fit is bit for bit the same is held by test_resume.py."""

from __future__ import annotations

from unittest.mock import PropertyMock, patch

import pytest
import pytorch_lightning as pl

from relay.errors import TrainingError
from relay.leg.lightning_adapter import start_next_epoch

CHANGED = (
    "Lightning has changed: look at _restarting in pytorch_lightning/loops/fit_loop.py, and mend "
    "relay/leg/lightning_adapter.py, or drop it where the public setter now does what it says"
)


@pytest.fixture
def trainer() -> pl.Trainer:
    return pl.Trainer(
        max_steps=4, accelerator="cpu", logger=False, enable_checkpointing=False, enable_progress_bar=False
    )


def test_the_public_setter_still_can_not_say_so(trainer: pl.Trainer) -> None:
    trainer.fit_loop.restarting = False
    assert trainer.fit_loop.restarting is True, CHANGED


def test_the_adapter_can(trainer: pl.Trainer) -> None:
    assert {"_restarting", "epoch_loop"} <= vars(trainer.fit_loop).keys(), CHANGED
    trainer.fit_loop.restarting = True
    start_next_epoch(trainer)
    assert trainer.fit_loop.restarting is False, CHANGED
    assert trainer.fit_loop.epoch_loop.restarting is False, CHANGED


def test_a_lightning_that_does_not_listen_is_refused_before_training(trainer: pl.Trainer) -> None:
    deaf = PropertyMock(return_value=True)
    with patch.object(type(trainer.fit_loop), "restarting", deaf), pytest.raises(TrainingError, match="would repeat"):
        start_next_epoch(trainer)
