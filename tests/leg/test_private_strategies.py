"""Every strategy that a config with ``train.privacy`` may name trains with it, and resumed gives the same."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from relay.bundle.handover_files import load
from relay.errors import ConfigError, Interrupted
from relay.leg import run as leg_run
from relay.leg.paths import RunPaths
from relay.leg.pricing import MEAN
from relay.registry import names
from tests.leg.test_resume import StopAt
from tests.studies import simulate, study

TINY: dict[str, Any] = {
    "common.dataset.kwargs": {"num_classes": 3, "count": 8, "size": 16, "img_size": [16, 16]},
    "common.model.kwargs.features": [2, 2, 2, 2, 2],
    "common.train.num_epochs": 2,
    "common.train.batch_size": 4,
    "common.train.check_val_every_n_epoch": 1000,
    "common.train.privacy": {"noise": 1.0, "accountant": "rdp", "randomness": "seed"},
}
COVERED: dict[str, dict[str, Any]] = {
    "local": {},
    "sequential": {},
    "joint": {},
    "lwf": {},
    "merge": {},
    "fedavg": {"proximal": 0.1},
    "der": {"memory": {"name": "style", "kwargs": {"min_patients": 2}}},
    "relay": {"memory": {"name": "style", "kwargs": {"min_patients": 2}}, "owm_alpha": None},
}
REFUSED = {"ewc": "no 'ewc' memory", "si": "no 'si' memory", "owm": "no 'owm' memory"}


def test_every_strategy_is_trained_here_or_refused() -> None:
    assert {*COVERED, *REFUSED} == set(names("strategies"))


@pytest.mark.parametrize("strategy", REFUSED)
def test_what_is_not_covered_is_refused(strategy: str) -> None:
    with pytest.raises(ConfigError, match=REFUSED[strategy]):
        study(**TINY, **{"common.strategy": {"name": strategy}})


def broken(root: Path, monkeypatch: pytest.MonkeyPatch, at: int, **changes: Any) -> None:
    """A run that is stopped in a step and resumed."""
    monkeypatch.setattr(leg_run, "ShowProgress", StopAt)
    StopAt.left = at
    with pytest.raises(Interrupted):
        simulate(root, **changes)
    StopAt.left = 10**9
    simulate(root, **changes)


@pytest.mark.parametrize("strategy", COVERED)
def test_it_trains_stopped_and_resumed_and_is_charged_once(
    strategy: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    changes = TINY | {"common.strategy": {"name": strategy, "kwargs": COVERED[strategy]}}
    legs = study(**changes).legs
    broken(tmp_path, monkeypatch, 2 * len(legs) - 1, **changes)
    for leg in legs:
        paths = RunPaths(tmp_path).leg(leg.folder)
        account, made = json.loads(paths.privacy.read_text()), load(paths.handover)
        steps = {each["name"]: each["steps"] for each in account["mechanisms"]}
        assert [steps.pop(MEAN, 0)] == [len(leg.strategy.noised)]
        assert list(steps.values()) == [2] * len(leg.strategy.shares)
        assert all(tensor.isfinite().all() for tensor in made.model.values())
        assert not list(paths.root.glob("noise.key"))
        for card in paths.handover.glob("memory*.json"):
            assert json.loads(card.read_text())["privacy"]["epsilon"] > 0


def test_replay_with_noise_resumed_is_that_of_an_unbroken_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Stopped when the mean has been released: it is released again with the same noise."""
    changes = TINY | {"common.strategy": {"name": "der", "kwargs": COVERED["der"]}}
    simulate(tmp_path / "whole", **changes)
    broken(tmp_path / "broken", monkeypatch, 3, **changes)
    one, other = (RunPaths(tmp_path / run).leg("task_2").handover for run in ("whole", "broken"))
    for name in ("model.safetensors", "memory.safetensors"):
        assert (one / name).read_bytes() == (other / name).read_bytes()
