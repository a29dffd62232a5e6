"""A leg that was stopped, killed or finished: what happens when the command is run again."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from relay.bundle.handover_files import load
from relay.errors import ChangedConfigError, Interrupted
from relay.leg import run as leg_run
from relay.leg.callbacks import ShowProgress
from relay.leg.paths import RunPaths
from tests import forked
from tests.studies import finished, given, simulate

RELAY = {"common.strategy.name": "relay", "common.train.num_epochs": 3}


def weights(root: Path, leg: str = "task_2") -> dict[str, torch.Tensor]:
    return dict(load(RunPaths(root).leg(leg).handover).model)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


class StopAt(ShowProgress):
    """Ctrl-C, the moment a fit has made so many steps in all."""

    left = 10**9

    def on_train_batch_end(self, *args: Any) -> None:
        super().on_train_batch_end(*args)
        StopAt.left -= 1
        if StopAt.left == 0:
            raise KeyboardInterrupt


AUGMENTED = {**RELAY, "common.dataset.kwargs.augment.train": "full", "common.model.kwargs.dropout": 0.2}


def slow(*values: Any) -> Any:
    """A case that others cover in part."""
    return pytest.param(*values, marks=pytest.mark.slow)


@pytest.mark.parametrize(("steps", "workers", "validated"), [slow(2, 0, 1), (8, 2, 3), slow(7, 0, 3), slow(14, 0, 1)])
def test_interrupted_and_resumed_gives_the_weights_of_an_unbroken_run(
    steps: int, workers: int, validated: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever the number of workers; and an epoch may end without a validation."""
    changes = {
        **AUGMENTED,
        "common.num_workers": workers,
        "common.train.check_val_every_n_epoch": validated,
    }
    whole = finished(tmp_path / "whole", **AUGMENTED)
    monkeypatch.setattr(leg_run, "ShowProgress", StopAt)
    monkeypatch.setattr(StopAt, "left", steps)
    with pytest.raises(Interrupted, match="stopped in leg"):
        simulate(tmp_path / "broken", **changes)
    simulate(tmp_path / "broken", **changes)
    assert same(weights(whole), weights(tmp_path / "broken"))
    assert not list((tmp_path / "broken").rglob("phase_*"))


SLOW = """
import os, time
from relay.strategies.base import Strategy

class Slow(Strategy):
    def loss(self, batch):
        time.sleep(float(os.environ.get("SECONDS_A_STEP", 0)))
        return super().loss(batch)
"""


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a study of one leg, and a run of it that nobody broke off."""
    folder = tmp_path_factory.mktemp("killed")
    changes = {"common.train.num_epochs": 4, "common.strategy.name": "slow:Slow", "current_tasks.task_ids": [1]}
    (folder / "study.yaml").write_text(yaml.safe_dump(given(**changes)))
    (folder / "slow.py").write_text(SLOW)
    assert forked.run(command("whole"), folder).returncode == 0
    return folder


def command(note: str) -> str:
    return f"relay train -c study.yaml -n {note}"


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM, slow(signal.SIGINT)])
def test_killed_process_resumes_bit_for_bit(how: signal.Signals, whole: Path, tmp_path: Path) -> None:
    said = tmp_path / "said"
    note = how.name.lower()
    slowly = {**os.environ, "SECONDS_A_STEP": "0.3"}
    broken = forked.Forked(command(note), whole, slowly, (said.open("wb"), said.open("ab")))
    leg = RunPaths(whole / "exps/study" / note).leg("task_1")
    until = time.monotonic() + 120
    while not leg.phase(1, "learn").is_file() and broken.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    os.kill(broken.pid, how)
    broken.wait()
    assert not leg.finished
    assert not leg.checkpoint.exists()
    if how != signal.SIGKILL:
        assert broken.returncode == 130
        assert "Run the same command again" in said.read_text()
    assert forked.run(command(note), whole).returncode == 0
    assert same(*(weights(whole / "exps/study" / n, "task_1") for n in ("whole", note)))


def test_finished_legs_are_skipped(tmp_path: Path) -> None:
    finished(tmp_path, **AUGMENTED)
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()}
    simulate(tmp_path, **AUGMENTED)
    assert before == {p: p.stat().st_mtime_ns for p in (tmp_path / "checkpoints").rglob("*") if p.is_file()}


def test_changed_config_stops_and_names_the_key(tmp_path: Path) -> None:
    finished(tmp_path)
    with pytest.raises(ChangedConfigError, match=r"train\.batch_size: 8 then, 4 now") as caught:
        simulate(tmp_path, **{"common.train.batch_size": 4})
    assert "-n" in caught.value.advice()
    assert "batch_size: 8" in (tmp_path / "config.given.yaml").read_text(), "the record of the run was overwritten"
    simulate(tmp_path, **{"common.train.log_every_n_steps": 3})


def test_leg_of_another_predecessor_stops(tmp_path: Path) -> None:
    finished(tmp_path)
    for path in sorted((tmp_path / "checkpoints/task_1").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (tmp_path / "checkpoints/task_1").rmdir()
    first = {1: {"train": {"num_epochs": 1}}}
    with pytest.raises(ChangedConfigError, match="a different handover"):
        simulate(tmp_path, **{"current_tasks.task_confs": first})


def test_leg_that_starts_from_nothing_now_stops(tmp_path: Path) -> None:
    finished(tmp_path)
    second = {2: {"checkpoint": {"load": None}}}
    with pytest.raises(ChangedConfigError, match="a different handover"):
        simulate(tmp_path, **{"current_tasks.task_confs": second})


def test_same_seed_same_weights_other_seed_others(tmp_path: Path) -> None:
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        changes = {"common.random_seed": seed, "current_tasks.task_ids": [1], "common.train.num_epochs": 1}
        simulate(tmp_path / name, **changes)
    a, b, c = (weights(tmp_path / name, "task_1") for name in "abc")
    assert same(a, b)
    assert not same(a, c)


def test_workers_change_nothing(tmp_path: Path) -> None:
    for workers in (0, 2):
        changes = {"common.num_workers": workers, "current_tasks.task_ids": [1]}
        simulate(tmp_path / str(workers), **changes)
    assert same(weights(tmp_path / "0", "task_1"), weights(tmp_path / "2", "task_1"))


def test_leg_that_saved_nothing_yet_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(leg_run, "ShowProgress", StopAt)
    monkeypatch.setattr(StopAt, "left", 1)
    with pytest.raises(Interrupted, match="no state had been saved yet"):
        simulate(tmp_path)
    simulate(tmp_path, **{"common.train.batch_size": 4})


TWICE = """
from relay.strategies.base import Phase, Strategy

class Twice(Strategy):
    def phases(self):
        return [Phase(name, self.model, self.loss, share=0.5) for name in ("first", "second")]
"""
IN_TWO = {
    "common.strategy.name": "twice:Twice",
    "common.train.num_epochs": 4,
    "common.train.log_every_n_steps": 1,
    "current_tasks.task_ids": [1],
}


@pytest.mark.parametrize("steps", [slow(2), 8, slow(11)])
def test_leg_of_two_phases_resumes_in_the_one_it_was_in(
    steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "twice.py").write_text(TWICE)
    monkeypatch.chdir(tmp_path)
    finished(tmp_path / "whole", **IN_TWO)
    monkeypatch.setattr(leg_run, "ShowProgress", StopAt)
    monkeypatch.setattr(StopAt, "left", steps)
    with pytest.raises(Interrupted, match="'first'" if steps < 6 else "'second'"):
        simulate(tmp_path / "broken", **IN_TWO)
    simulate(tmp_path / "broken", **IN_TWO)
    assert same(weights(tmp_path / "whole", "task_1"), weights(tmp_path / "broken", "task_1"))


def points(root: Path, leg: str) -> list[tuple[str, int]]:
    """Every value in the event files as they lie there, whoever reads them."""
    from tensorboard.backend.event_processing.event_file_loader import EventFileLoader

    files = sorted((root / "tensorboard" / leg).glob("events*"))
    events = [event for path in files for event in EventFileLoader(str(path)).Load()]
    return sorted((value.tag, event.step) for event in events for value in event.summary.value)


@pytest.mark.parametrize("steps", [slow(5), 11])
def test_curves_have_every_step_once_after_a_break(steps: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two phases, each of which counts its steps from 0, and shares ``val/dice`` with the other."""
    (tmp_path / "twice.py").write_text(TWICE)
    monkeypatch.chdir(tmp_path)
    finished(tmp_path / "whole", **IN_TWO)
    monkeypatch.setattr(leg_run, "ShowProgress", StopAt)
    for left in (steps, 1, 2):  # broken off again before, and after, a state was saved
        monkeypatch.setattr(StopAt, "left", left)
        with pytest.raises(Interrupted):
            simulate(tmp_path / "broken", **IN_TWO)
    monkeypatch.setattr(StopAt, "left", 10**9)
    simulate(tmp_path / "broken", **IN_TWO)
    found = points(tmp_path / "broken", "task_1")
    assert [step for tag, step in found if tag == "first/loss"] == list(range(6))
    assert [step for tag, step in found if tag == "second/loss"] == list(range(6))
    assert found == points(tmp_path / "whole", "task_1")
