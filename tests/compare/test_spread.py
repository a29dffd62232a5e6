"""Runs that are handed to an executor: how many at once, what becomes of those that die, stopping."""

from __future__ import annotations

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from relay.compare import spread
from relay.compare.jobs import Job, jobs_of
from relay.config.devices import Devices
from relay.leg.progress import Progress
from relay.plan import plan
from tests.studies import given


class Handle:
    """A process that is over when it was asked twice."""

    def __init__(self, folder: Path, result: Any) -> None:
        self.result, self.asked, self.cancelled = result, 0, False
        self.paths = SimpleNamespace(stderr=folder / "err")

    def done(self) -> bool:
        self.asked += 1
        return self.asked > 1

    def results(self) -> list[tuple[str, str] | None]:
        if isinstance(self.result, BaseException):
            raise self.result
        return [None, self.result]

    def cancel(self, check: bool = True) -> None:
        self.cancelled = True


class Executor:
    """submitit's, as far as it is used."""

    def __init__(self, folder: Path, *results: Any) -> None:
        self.folder, self.results = folder, list(results)
        self.handles: list[Handle] = []
        self.parcels: list[tuple[Any, ...]] = []
        self.most = 0

    @contextmanager
    def batch(self) -> Iterator[None]:
        yield
        self.most = max(self.most, sum(handle.asked < 2 for handle in self.handles))

    def submit(self, function: Any, *parcel: Any) -> Handle:
        self.parcels.append(parcel)
        self.handles.append(Handle(self.folder, self.results.pop(0)))
        return self.handles[-1]


@pytest.fixture
def jobs(monkeypatch: pytest.MonkeyPatch) -> list[Job]:
    monkeypatch.setattr(spread, "POLL", 0)
    return jobs_of(given(), ["local"], "1", "4", lambda blocks: plan(blocks, "tiny"))


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (2, 2), (None, 4)])
def test_as_many_at_once_as_asked_for(jobs: list[Job], tmp_path: Path, at_once: int | None, most: int) -> None:
    executor, progress = Executor(tmp_path, None, None, None, None), Progress(4)
    assert spread.run_spread(jobs, tmp_path, Devices(), progress, executor, at_once) == []
    assert executor.most == most
    assert progress.done == 4
    assert [parcel[2].name for parcel in executor.parcels] == [job.folder for job in jobs]
    assert all(parcel[2].is_absolute() for parcel in executor.parcels)


def test_one_that_dies_or_fails_does_not_stop_the_others(jobs: list[Job], tmp_path: Path) -> None:
    executor = Executor(
        tmp_path, RuntimeError("killed\nand more"), None, ("the loss was not finite", "TrainingError"), None
    )
    died, failed = spread.run_spread(jobs, tmp_path, Devices(), Progress(4), executor, 2)
    assert (died.job, failed.job) == (jobs[0], jobs[2])
    assert died.message == "its process ended without a result: killed"
    assert died.log == tmp_path / "err"
    assert (failed.message, failed.kind) == ("the loss was not finite", "TrainingError")
    assert failed.log == tmp_path / "runs/local_seed9/logs/run.log"


def test_stopping_stops_what_was_sent(jobs: list[Job], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(_: float) -> None:
        raise KeyboardInterrupt

    executor = Executor(tmp_path, None, None, None)
    monkeypatch.setattr(spread.time, "sleep", stop)
    with pytest.raises(KeyboardInterrupt):
        spread.run_spread(jobs, tmp_path, Devices(), Progress(4), executor, 3)
    assert [handle.cancelled for handle in executor.handles] == [True] * 3


def test_a_run_in_its_own_process_has_its_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    seen: dict[str, str | None] = {}

    def execute(study: Any, folder: Path, *_: Any) -> None:
        import os

        seen.update({name: os.environ.get(name) for name in ("OMP_NUM_THREADS", "CUDA_VISIBLE_DEVICES")})
        raise ValueError("no")

    monkeypatch.setattr(spread, "execute", execute)
    monkeypatch.setenv("OMP_NUM_THREADS", "7")
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(signal, "signal", lambda *_: None)
    environment = {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": None}
    assert spread.work(given(), "tiny", tmp_path, Devices(), environment) == ("ValueError: no", "ValueError")
    assert seen == {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": None}
