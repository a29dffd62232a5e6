"""Where a leg's time went: every part is there, the parts make the whole, and nothing else changes."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from relay.bundle.handover_files import load
from relay.leg import spent
from relay.leg.progress import Progress
from relay.leg.spent import TimeSteps, told
from relay.parts import listen, part
from relay.report import write_report
from tests.studies import finished, simulate

RELAY = {"common.strategy.name": "relay"}


class Clock:
    """Each look at it takes a second."""

    now = 0.0

    def __call__(self) -> float:
        self.now += 1
        return self.now


def timed(steps: int, monkeypatch: pytest.MonkeyPatch) -> TimeSteps:
    """A fit of some steps with a teacher inside a replay."""
    monkeypatch.setattr(spent.time, "perf_counter", Clock())
    watch = TimeSteps()
    watch.on_fit_start(None, SimpleNamespace(device=torch.device("cpu")))  # type: ignore[arg-type]
    watch.on_train_epoch_start()
    for _ in range(steps):
        watch.on_train_batch_start()
        with part("replay"), part("teacher"):
            pass
        watch.on_train_batch_end()
    return watch


def test_a_part_within_another_has_its_own_time(monkeypatch: pytest.MonkeyPatch) -> None:
    found = timed(spent.FIRST, monkeypatch).divided(60.0)
    # the marks: data 1, model 1, replay 1, teacher 1, replay 1, model 1
    assert found == {"waiting for data": 10.0, "model": 20.0, "replay": 20.0, "teacher": 10.0}


def test_few_steps_are_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    assert len(timed(100, monkeypatch).steps) == 100 // spent.EVERY
    assert timed(spent.FIRST - 1, monkeypatch).divided(5.0) == {"training": 5.0}


def test_nobody_listens_after_a_step_or_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    heard: list[str] = []
    listen(heard.append)
    with pytest.raises(ZeroDivisionError), part("replay"):
        raise ZeroDivisionError
    assert heard == ["replay", ""]
    TimeSteps().on_exception()
    with part("replay"):
        pass
    assert heard == ["replay", ""]


def test_the_listening_may_end_within_a_part() -> None:
    heard: list[str] = []
    listen(heard.append)
    with part("replay"), part("teacher"):
        listen(None)
    assert heard == ["replay", "teacher"]


def test_stages_are_told_by_what_they_are() -> None:
    assert told({"": 1.0, "testing on a": 2.0, "testing the vote on a": 3.0, "made": 1e-6}) == {
        "planning and checks": 1.0,
        "testing": 5.0,
    }
    progress = Progress()
    progress.leg("one")
    with progress.stage("training"):
        pass
    progress.divide("training", {"model": 7.0})
    assert progress.spent["model"] == 7.0
    assert "training" not in progress.spent


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    found = tmp_path_factory.mktemp("spent")
    return finished(found, **RELAY)


def of_leg(root: Path, number: int) -> Any:
    return json.loads((root / f"checkpoints/task_{number}/leg.json").read_text())


def test_a_leg_records_where_its_time_went(root: Path) -> None:
    record = of_leg(root, 2)
    parts = {"waiting for data", "model", "replay", "teacher", "projection", "validation"}
    stages = {"testing", "making the memory", "checking the handover", "writing the handover", "signing and sealing"}
    assert record["spent"].keys() >= parts - {"validation"} | stages
    assert sum(record["spent"].values()) >= record["seconds"] - 0.2
    assert not {"replay", "teacher", "projection"} & of_leg(root, 1)["spent"].keys()


def test_measuring_changes_no_weight(root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(spent, "MOST", 0)
    simulate(tmp_path, **RELAY)
    assert "replay" in of_leg(root, 2)["spent"]
    assert "replay" not in of_leg(tmp_path, 2)["spent"], "nothing was measured here"
    one, other = (load(where / "checkpoints/task_2/handover").model for where in (root, tmp_path))
    assert all(torch.equal(one[name], other[name]) for name in one)


def test_the_page_shows_it(root: Path) -> None:
    page = write_report(root).read_text()
    assert "Where the time of each leg went" in page
    assert "projection" in page
