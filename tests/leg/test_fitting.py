"""Budgets, precisions, and a GPU that is too small."""

from __future__ import annotations

import errno
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

import pytest
import torch
from relay.strategies.base import Strategy
from tensorboard.summary.writer.record_writer import RecordWriter

from relay import files
from relay.bundle.handover_files import load
from relay.cli.configs import check_precision
from relay.config.devices import Devices
from relay.errors import ConfigError, TrainingError, UserError
from relay.leg.fitting import steps_of
from relay.leg.learner import usable
from relay.logs import no_noise
from tests.studies import finished, simulate, study


def weights(root: Path) -> Mapping[str, torch.Tensor]:
    return load(root / "checkpoints/task_2/handover").model


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


@pytest.mark.slow
@pytest.mark.parametrize("precision", [64, "bf16"])
def test_every_precision_hands_over_32_bits_near_those_of_32(precision: object, tmp_path: Path) -> None:
    """Two legs of relay, so that a teacher and a merge take part."""
    steady = {"common.train.optimizer.name": "SGD", "common.train.optimizer.kwargs.lr": 0.01}
    steady |= {"common.strategy.name": "relay", "common.train.num_epochs": 1, "common.dataset.kwargs.count": 10}
    finished(tmp_path / "plain", **steady)
    simulate(tmp_path / "other", **steady, **{"common.train.precision": precision})
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


def test_16_bits_on_a_cpu_are_refused_where_bf16_would_be_trained_in(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="precision 16: 16-bit floats need a GPU"):
        simulate(tmp_path, **{"common.train.precision": 16})
    with pytest.raises(ConfigError, match=r"common.train.precision = 16: .*on the CPU use bf16, or 32"):
        check_precision(study(**{"common.train.precision": 16}), Devices())
    check_precision(study(**{"common.train.precision": 16}), Devices("gpu", [0]))
    check_precision(study(**{"common.train.precision": "bf16"}), Devices())


@pytest.mark.parametrize("where", ["state", "curves"])
def test_a_full_disk_is_one_message_and_the_last_state_is_kept(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    changes = {"current_tasks.task_ids": [1], "common.train.num_epochs": 3, "common.train.log_every_n_steps": 1}
    finished(tmp_path / "whole", **changes)
    state = tmp_path / "run/checkpoints/task_1/phase_1_learn.ckpt"
    owner, name = (files.os, "fsync") if where == "state" else (RecordWriter, "write")
    real = getattr(owner, name)

    def full(*given: Any) -> Any:
        if state.is_file():
            raise OSError(errno.ENOSPC, "No space left on device")
        return real(*given)

    monkeypatch.setattr(owner, name, full)
    with no_noise(pytest.fail), pytest.raises(TrainingError, match=r"the disk is full: .* MB are free there") as caught:
        simulate(tmp_path / "run", **changes)
    assert f"the last good state is kept in {state}" in str(caught.value)
    assert "run the same command again" in caught.value.advice()
    assert capfd.readouterr().err == ""
    monkeypatch.undo()
    simulate(tmp_path / "run", **changes)
    one, other = (load(tmp_path / run / "checkpoints/task_1/handover").model for run in ("whole", "run"))
    assert all(torch.equal(one[key], other[key]) for key in one)


def test_more_workers_than_cores_are_not_made(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "relay"):
        assert usable(10_000) == usable(9_999) <= (os.cpu_count() or 1)
    assert "num_workers is 10000; " in caplog.text
    assert usable(0) == 0
