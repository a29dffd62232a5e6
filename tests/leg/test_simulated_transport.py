"""The hand-over of a simulation takes no more time and disk for many sites than their number says."""

from __future__ import annotations

import os
from collections import Counter, defaultdict
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from relay.bundle import measure
from relay.leg import SimulatedStudy
from relay.trust import Policy
from tests.studies import simulate

RELAY: dict[str, Any] = {
    "common.strategy.name": "relay",
    "common.dataset.kwargs": {"num_classes": 3, "count": 10, "size": 16, "img_size": [16, 16]},
    "common.train": {"num_epochs": 1, "batch_size": 4},
    "all_tasks_datasets": [
        {"kwargs": {"task_id": n, "task_name": f"clinic_{c}", "camera": f"clinic_{c}"}} for n, c in enumerate("abc", 1)
    ],
    "current_tasks.task_ids": [1, 2, 3],
}


def test_each_leg_is_looked_at_a_few_times_and_its_weights_are_kept_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked: Counter[int] = Counter()
    send = SimulatedStudy.send
    monkeypatch.setattr(SimulatedStudy, "send", lambda self, leg, made: (looked.update([leg]), send(self, leg, made)))
    simulate(tmp_path, **RELAY)
    assert set(looked) == {1, 2, 3}
    assert max(looked.values()) <= 3
    handoff = tmp_path / "handoff" / "task_3"
    places: defaultdict[str, list[int]] = defaultdict(list)
    for path in handoff.rglob("*.safetensors"):
        places[measure(path).sha256].append(path.stat().st_ino)
    assert max(map(len, places.values())) > 2
    assert {len(set(inodes)) for inodes in places.values()} == {1}
    assert sorted(path.name for path in (handoff / "stick").iterdir()) == [
        "simulation.leg-2.clinic_b.relay.age",
        "simulation.leg-3.clinic_c.relay.age",
    ]


def raises(error: BaseException) -> Callable[..., None]:
    def fail(*_: object) -> None:
        raise error

    return fail


@pytest.mark.parametrize(
    ("where", "name", "error"),
    [
        (os, "link", PermissionError(1, "no hard links")),
        (os, "link", KeyboardInterrupt()),
        (Path, "replace", KeyboardInterrupt()),
    ],
    ids=["no hard links", "killed before", "killed after"],
)
def test_what_was_received_stays_whatever_comes_between(
    where: object, name: str, error: BaseException, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study, signed, received = SimulatedStudy(tmp_path, ["a", "b"], Policy()), tmp_path / "signed", tmp_path / "received"
    for folder in (signed, received):
        folder.mkdir()
        (folder / "model.safetensors").write_bytes(b"weights")
    before = (received / "model.safetensors").stat()
    with monkeypatch.context() as patch, suppress(KeyboardInterrupt):
        patch.setattr(where, name, raises(error))
        study._share(signed, received)
    after = (received / "model.safetensors").stat()
    assert (after.st_ino, after.st_size) == (before.st_ino, before.st_size), "neither lost nor copied"
    (tmp_path / "linked").mkdir()  # the home of a site of this name
    for _ in range(2):
        study._share(signed, received)
        assert (received / "model.safetensors").samefile(signed / "model.safetensors")
        assert [path.name for path in received.iterdir()] == ["model.safetensors"]
        assert not (tmp_path / ".linked").exists()
