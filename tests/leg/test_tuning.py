"""Fine-tuning at home: the weights of the best validation, also after a kill; unchanged if nothing is better."""

from __future__ import annotations

import copy
import math
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from relay.config.devices import Devices
from relay.data import SiteData, prepare
from relay.errors import Interrupted
from relay.leg import tuning
from relay.leg.progress import Progress
from relay.leg.tuning import KeepBest, tune, tuning_steps
from relay.plan import Leg
from relay.tasks import Segmentation
from tests.leg.test_resume import StopAt
from tests.strategies.toys import SMALL
from tests.studies import study

Made = tuple[Leg, nn.Module, SiteData]


@pytest.fixture(scope="module")
def made() -> Made:
    leg = study(**SMALL, **{"common.train.num_epochs": 16}).legs[0]
    torch.manual_seed(0)
    return leg, leg.net.build(), prepare(leg.pool[0], 7)


def tuned(made: Made, folder: Path) -> tuple[nn.Module, int]:
    leg, net, site = copy.copy(made[0]), copy.deepcopy(made[1]), made[2]
    return net, tune(leg, net, site, folder / "phase_1_adopt.ckpt", folder / "curves", Devices(), Progress())


def equal(one: nn.Module, other: nn.Module) -> bool:
    pairs = zip(one.state_dict().values(), other.state_dict().values(), strict=True)
    return all(torch.equal(a, b) for a, b in pairs)


def test_killed_and_resumed_gives_the_same_weights(made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole, step = tuned(made, tmp_path / "whole")
    assert 0 < step <= tuning_steps(made[0], len(made[2].train), Devices())
    assert not equal(whole, made[1])
    monkeypatch.setattr(tuning, "ShowProgress", StopAt)
    monkeypatch.setattr(StopAt, "left", step)  # the best so far comes from the saved state, or from the last step
    with pytest.raises(Interrupted, match="phase 'adopt'"):
        tuned(made, tmp_path / "broken")
    resumed, again = tuned(made, tmp_path / "broken")
    assert again == step
    assert equal(resumed, whole)


def test_if_nothing_is_better_the_weights_are_as_before(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tuning, "validation_score", lambda *_: 1.0)
    net, step = tuned(made, tmp_path)
    assert step == 0
    assert equal(net, made[1])


def test_the_score_before_is_the_one_that_the_fit_would_compute(
    made: Made, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = []
    monkeypatch.setattr(tuning, "SLOWER", 1e-12)  # so that the weights stay
    monkeypatch.setattr(
        KeepBest,
        "on_validation_end",
        lambda self, trainer, _: seen.append((self.best, float(trainer.callback_metrics["val/dice"]))),
    )
    net = nn.Sequential(nn.Conv2d(3, 3, 1))  # without a normalisation, which learns from any batch
    tuned((made[0], net, made[2]), tmp_path)
    assert seen
    assert all(before == pytest.approx(now, abs=1e-6) for before, now in seen)


@pytest.mark.parametrize(
    ("before", "scores", "step"),
    [
        (0.5, [0.4, 0.6, 0.6, 0.5], 2),
        (0.7, [0.4, 0.6], 0),
        (math.nan, [math.nan, 0.1], 2),
        (0.5, [math.nan, math.nan], 0),
    ],
)
def test_the_first_of_the_best_is_kept(before: float, scores: list[float], step: int) -> None:
    net = nn.Linear(1, 1)
    best = KeepBest(before, net, Segmentation)
    for number, score in enumerate(scores, 1):
        nn.init.constant_(net.weight, number)
        fit: Any = SimpleNamespace(callback_metrics={"val/dice": score}, global_step=number)
        best.on_validation_end(fit, SimpleNamespace(module=net))
    later = KeepBest(0.0, net, Segmentation)
    later.load_state_dict(best.state_dict())
    assert later.step == step
    if step:
        assert float(later.weights["weight"]) == step
