"""``-g``: GPUs that are there, and only those."""

from __future__ import annotations

import pytest

from relay.config import devices


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


def test_several_nodes_multiply(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUM_NODES", "3")
    monkeypatch.setattr(devices, "visible_gpus", lambda: 2)
    assert devices.choose("0,1")[0].world_size == 6
