"""``-g``: GPUs that are there, and only those."""

from __future__ import annotations

import pytest

from relay.config import devices
from relay.errors import UserError


@pytest.mark.parametrize("gpus", [None, ""])
def test_absent_is_the_cpu(gpus: str | None) -> None:
    chosen, problems = devices.choose(gpus)
    assert (chosen.accelerator, chosen.world_size, problems) == ("cpu", 1, [])


def test_gpus_that_are_there(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(devices, "visible_gpus", lambda: 2)
    chosen, problems = devices.choose("0,1")
    assert (chosen.accelerator, chosen.devices, chosen.world_size, problems) == ("gpu", [0, 1], 2, [])


@pytest.mark.parametrize(
    ("there", "gpus"), [(0, "0"), (2, "2"), (2, "0,5"), (2, "-1"), (2, "a"), (2, "0,"), (2, "1,1")]
)
def test_anything_else_is_a_problem(monkeypatch: pytest.MonkeyPatch, there: int, gpus: str) -> None:
    monkeypatch.setattr(devices, "visible_gpus", lambda: there)
    chosen, problems = devices.choose(gpus)
    assert [p.path for p in problems] == ["-g"]
    assert chosen.accelerator == "cpu"


MEETING = {"MASTER_ADDR": "10.0.0.1", "MASTER_PORT": "29500", "NODE_RANK": "2"}


@pytest.mark.parametrize(
    ("changed", "named"),
    [
        (dict.fromkeys(MEETING, ""), ["MASTER_ADDR", "MASTER_PORT", "NODE_RANK"]),
        ({"NODE_RANK": "3"}, ["NODE_RANK"]),
        ({"NODE_RANK": "-1"}, ["NODE_RANK"]),
        ({"MASTER_PORT": "abc"}, ["MASTER_PORT"]),
        ({"MASTER_PORT": "65536"}, ["MASTER_PORT"]),
        ({"MASTER_PORT": "0", "MASTER_ADDR": " "}, ["MASTER_ADDR", "MASTER_PORT"]),
    ],
)
def test_machines_that_could_not_meet_are_refused(
    monkeypatch: pytest.MonkeyPatch, changed: dict[str, str], named: list[str]
) -> None:
    for name, value in {"NUM_NODES": "3", **MEETING, **changed}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(UserError, match="NUM_NODES is 3") as refused:
        devices.choose(None)
    assert [name for name in MEETING if f"{name} is" in str(refused.value)] == named
    for launcher in devices.LAUNCHERS:
        with monkeypatch.context() as patch:
            patch.setenv(launcher, "3")
            assert devices.choose(None)[0].num_nodes == 3


def test_several_nodes_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {"NUM_NODES": "3", **MEETING}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(devices, "visible_gpus", lambda: 2)
    assert devices.choose("0,1")[0].world_size == 6
