"""Budgets, precisions, and a GPU that is too small."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from relay.strategies.base import Strategy

from relay.errors import TrainingError
from relay.handoff.carry import load
from relay.leg.fit import steps_of
from tests.studies import simulate, study


def weights(root: Path) -> Mapping[str, torch.Tensor]:
    return load(root / "checkpoints/task_2/carry").solver


@pytest.mark.parametrize(
    ("train", "samples", "world", "share", "steps"),
    [
        ({"num_epochs": 3}, 20, 1, 1.0, 3 * (20 * 2 // 8)),
        ({"num_epochs": 3}, 20, 2, 1.0, 3 * (20 * 2 // 16)),
        ({"num_epochs": 4}, 20, 1, 0.5, 2 * 5),
        ({"num_epochs": 3}, 3, 1, 1.0, 3),
        ({"num_epochs": 1}, 20, 1, 0.01, 5),
        ({"num_epochs": None, "num_mimgs": 0.001}, 20, 1, 1.0, 125),
        ({"num_epochs": None, "num_mimgs": 0.001}, 20, 2, 0.5, 32),
        ({"num_epochs": None, "num_mimgs": 1e-7}, 20, 1, 1.0, 1),
    ],
)
def test_steps_of_a_budget(train: dict[str, Any], samples: int, world: int, share: float, steps: int) -> None:
    leg = study(**{f"common.train.{key}": value for key, value in train.items()}).legs[0]
    assert steps_of(leg, samples, world, share) == steps


@pytest.mark.parametrize("precision", [64, "bf16"])
def test_every_precision_hands_over_32_bits_near_those_of_32(precision: object, tmp_path: Path) -> None:
    """Two legs of relay, so that a teacher and a merge take part."""
    steady = {"common.train.optimizer": {"name": "SGD", "kwargs": {"lr": 0.01}}}
    for name, chosen in (("plain", 32), ("other", precision)):
        simulate(tmp_path / name, **{"common.strategy.name": "relay", "common.train.precision": chosen, **steady})
    plain, other = weights(tmp_path / "plain"), weights(tmp_path / "other")
    assert {tensor.dtype for tensor in other.values()} == {torch.float32}
    assert any(not torch.equal(plain[name], other[name]) for name in plain)
    assert all(torch.allclose(plain[name], other[name], atol=2e-2) for name in plain)


def test_a_gpu_that_is_too_small_is_a_training_error_with_advice(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2.00 GiB")

    monkeypatch.setattr(Strategy, "loss", full)
    with pytest.raises(TrainingError, match=r"memory is too small.*2\.00 GiB") as caught:
        simulate(tmp_path)
    assert "batch_size" in caught.value.advice()
