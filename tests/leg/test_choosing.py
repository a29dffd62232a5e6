"""Early stopping and the best weights: by the validation images, whether or not a run was interrupted."""

from __future__ import annotations

import math
from pathlib import Path
from tempfile import mkdtemp
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from relay.config import Train
from relay.config.schema import EarlyStopping
from relay.errors import Interrupted, TrainingError
from relay.leg import callbacks, run as leg_run
from relay.leg.choosing import Choose
from relay.leg.doubts import doubts
from relay.leg.fitting import steps_of
from relay.leg.paths import RunPaths
from relay.leg.sites import Sites
from relay.tasks import Segmentation
from tests.leg.test_resume import StopAt, same, weights
from tests.studies import simulate, study


def judged(scores: list[float], train: Train) -> tuple[Choose, torch.nn.Module, int]:
    """A fit with these validation scores, with a weight that counts the validations: its choice, and when it ended."""
    module, choose = torch.nn.Linear(1, 1, bias=False), Choose(train)
    for number, score in enumerate(scores, 1):
        torch.nn.init.constant_(module.weight, number)
        trainer: Any = SimpleNamespace(callback_metrics={"val/dice": torch.tensor(score)}, should_stop=False)
        other = Choose(train)  # every time, as if the fit had been interrupted here
        other.load_state_dict(choose.state_dict())
        choose = other
        choose.on_validation_end(trainer, SimpleNamespace(module=module, task=Segmentation))
        if trainer.should_stop:
            break
    choose.choose(module)
    return choose, module, number


@pytest.mark.parametrize(
    ("scores", "kept"), [([0.1, 0.5, 0.4], 2), ([math.nan, 0.2, math.nan], 2), ([0.5, 0.5], 1), ([math.nan], 1)]
)
def test_the_best_weights_are_kept(scores: list[float], kept: int) -> None:
    assert judged(scores, Train(keep="best"))[1].weight.item() == kept
    assert judged(scores, Train())[1].weight.item() == len(scores)


@pytest.mark.parametrize(
    ("scores", "patience", "delta", "end"),
    [
        ([0.1, 0.2, 0.2, 0.2, 0.9], 2, 0.0, 4),
        ([0.1, 0.2, 0.21, 0.22, 0.9], 2, 0.05, 4),
        ([0.1, 0.13, 0.16, 0.19], 2, 0.05, 4),  # slowly, but it rises: by more than the least since the last that did
        ([math.nan, 0.1, math.nan, 0.3, 0.2], 2, 0.0, 5),
        ([math.nan, math.nan, 0.5], 2, 0.0, 2),
    ],
)
def test_a_fit_ends_when_it_gets_no_better(scores: list[float], patience: int, delta: float, end: int) -> None:
    assert judged(scores, Train(early_stopping=EarlyStopping(patience=patience, min_delta=delta)))[2] == end


CHOOSING = {
    "common.strategy.name": "relay",
    "current_tasks.task_ids": [1],
    "common.train.num_epochs": 4,
    "common.train.keep": "best",
    "common.train.early_stopping": {"patience": 1, "min_delta": 1.0},
    "common.train.accumulate": 2,
    "common.train.warmup": 0.25,
}


def test_resumed_after_an_early_stop_it_does_not_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No score is better by 1 than another: each phase ends at its second validation."""
    simulate(tmp_path / "whole", **CHOOSING)
    monkeypatch.setattr(leg_run, "ShowProgress", StopAt)
    monkeypatch.setattr(StopAt, "left", 8)
    with pytest.raises(Interrupted, match="stopped in leg"):
        simulate(tmp_path / "broken", **CHOOSING)
    monkeypatch.setattr(StopAt, "left", 10**9)
    simulate(tmp_path / "broken", **CHOOSING)
    assert same(weights(tmp_path / "whole", "task_1"), weights(tmp_path / "broken", "task_1"))


def test_gradients_of_small_batches_add_up_to_those_of_a_large_one(tmp_path: Path) -> None:
    small = {"common.train.batch_size": 4, "common.train.accumulate": 2}
    sgd = {"common.train.optimizer": {"name": "SGD", "kwargs": {"lr": 0.1}}, "common.train.num_epochs": 1}
    alone = {**sgd, "current_tasks.task_ids": [1], "common.strategy.name": "local"}
    once, twice = tmp_path / "once", tmp_path / "twice"
    simulate(once, **alone)
    simulate(twice, **alone, **small)
    first, second = weights(once, "task_1"), weights(twice, "task_1")
    for name, tensor in first.items():
        torch.testing.assert_close(tensor, second[name], rtol=1e-3, atol=1e-5)


def test_fewer_steps_of_more_batches() -> None:
    for accumulate, steps in ((1, 6), (2, 4), (3, 2), (99, 2)):
        leg = study(**{"common.train.accumulate": accumulate, "common.dataset.kwargs.repeats": 1}).legs[0]
        assert steps_of(leg, 24, 1) == steps


def said(folder: Path, changes: dict[str, Any]) -> str:
    legs = study(**{"current_tasks.task_ids": [1], **changes}).legs
    sites = Sites(7, RunPaths(Path(mkdtemp(dir=folder))))  # which keeps its splits
    return "; ".join(doubt.text for doubt in doubts(legs, [], sites))


def test_a_choice_that_has_no_effect_is_told(tmp_path: Path) -> None:
    best, early = {"common.train.keep": "best"}, {"common.train.early_stopping": {"patience": 2}}
    assert "has no effect" not in said(tmp_path, best)
    assert "keep: best has no effect: no validation is due" in said(
        tmp_path, {**best, "common.train.check_val_every_n_epoch": 9}
    )
    assert "keep: best and early_stopping have no effect: there are no validation images" in said(
        tmp_path, {**best, **early, "common.dataset.kwargs.val_fraction": 0.0}
    )
    assert "its patience is 2 validations, but only 2 are due" in said(tmp_path, early)


def test_what_chooses_is_part_of_what_a_leg_is() -> None:
    """How often is validated changes nothing, unless the weights are chosen by it."""
    key = "train.check_val_every_n_epoch"
    assert key not in study().legs[0].scientific()
    assert key in study(**{"common.train.keep": "best"}).legs[0].scientific()


def test_a_loss_that_is_not_finite_is_told_by_its_step_and_by_its_batch(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of 5 batches, two make a step: the first epoch has 3 steps, so its sixth step begins with batch 4 of the next."""
    monkeypatch.setattr(callbacks, "sample_ids", lambda _, epoch, batch: [f"sample_{epoch}_{batch}"])
    same_here = SimpleNamespace(reduce=lambda tensor, reduce_op: tensor)
    trainer: Any = SimpleNamespace(
        num_training_batches=5, accumulate_grad_batches=2, train_dataloader=None, strategy=same_here
    )
    told = r"at step 5 \(epoch 1, batch 4: sample_1_4\)"
    with pytest.raises(TrainingError, match=told):
        callbacks.StopOnNonFinite(1, Path("none")).check(trainer, SimpleNamespace(first_bad=torch.tensor(9)))
