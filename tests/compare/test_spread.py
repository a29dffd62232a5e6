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
from relay.compare.spread import Share
from relay.config.devices import Devices
from relay.errors import UserError
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


ALL = [Share(Devices())]


@pytest.mark.parametrize(("at_once", "most"), [(1, 1), (2, 2), (9, 4)])
def test_as_many_at_once_as_there_are_shares(jobs: list[Job], tmp_path: Path, at_once: int, most: int) -> None:
    executor, progress = Executor(tmp_path, None, None, None, None), Progress(4)
    assert spread.run_spread(jobs, tmp_path, progress, executor, ALL * at_once) == []
    assert executor.most == most
    assert progress.done == 4
    assert [parcel[2].name for parcel in executor.parcels] == [job.folder for job in jobs]
    assert all(parcel[2].is_absolute() for parcel in executor.parcels)


def test_a_share_serves_one_run_at_a_time(jobs: list[Job], tmp_path: Path) -> None:
    executor = Executor(tmp_path, None, None, None, None)
    shares = [Share(Devices("gpu", [gpu])) for gpu in (0, 1)]
    assert spread.run_spread(jobs, tmp_path, Progress(4), executor, shares) == []
    assert [parcel[3] for parcel in executor.parcels] == shares * 2


@pytest.mark.parametrize(
    ("jobs_at_once", "given_gpus", "threads", "gpus"),
    [
        (1, 1, None, [1]),
        (2, 1, "4", [1, 1]),
        (3, 1, "2", [1, 1, 1]),
        (16, 1, "1", [1] * 16),
        (2, [0, 3], "4", [[0], [3]]),
        (3, [0, 3], "2", [[0], [3], [0]]),
    ],
)
def test_the_machine_is_shared_equally(
    jobs_at_once: int,
    given_gpus: Any,
    threads: str | None,
    gpus: list[Any],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(spread, "_cores", lambda: 8)
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "0,1,2,3")
    shares = spread.shares_of(jobs_at_once, Devices("cpu" if given_gpus == 1 else "gpu", given_gpus))
    assert [share.devices.devices for share in shares] == gpus
    environment = {"OMP_NUM_THREADS": threads, "CUDA_VISIBLE_DEVICES": "0,1,2,3"}
    assert all(share.environment == environment for share in shares)


def test_threads_that_the_user_has_set_stay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    assert [share.environment["OMP_NUM_THREADS"] for share in spread.shares_of(2, Devices())] == ["3", "3"]


def test_a_gpu_that_would_be_idle_is_refused() -> None:
    with pytest.raises(UserError, match="--jobs 1: each run uses one GPU, and -g names 2") as caught:
        spread.shares_of(1, Devices("gpu", [0, 1]))
    assert "--jobs 2" in caught.value.advice()


def test_one_that_dies_or_fails_does_not_stop_the_others(jobs: list[Job], tmp_path: Path) -> None:
    executor = Executor(
        tmp_path, RuntimeError("killed\nand more"), None, ("the loss was not finite", "TrainingError"), None
    )
    died, failed = spread.run_spread(jobs, tmp_path, Progress(4), executor, ALL * 2)
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
        spread.run_spread(jobs, tmp_path, Progress(4), executor, ALL * 3)
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
    assert spread.work(given(), "tiny", tmp_path, Share(Devices(), environment)) == ("ValueError: no", "ValueError")
    assert seen == {"OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": None}
