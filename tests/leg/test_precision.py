"""``precision: auto``: what this machine has, what is written down, and that a leg goes on as it began."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from relay.config.devices import Devices
from relay.errors import Interrupted, UserError
from relay.leg import precision, run as leg_run
from relay.leg.paths import RunPaths
from relay.leg.precision import has_bf16, pays, resolved
from relay.leg.progress import Progress
from relay.report.gather import read_run
from relay.report.tables import environment
from tests.leg.test_resume import StopAt, same, weights
from tests.studies import finished, simulate

ONE = {"current_tasks.task_ids": [1]}
AUTO = {**ONE, "common.train.precision": "auto"}
WIDE_NET = nn.Sequential(nn.Conv2d(3, 16, 3), nn.Conv2d(16, 2, 1))


def machine(patch: pytest.MonkeyPatch, has: bool) -> None:
    """One that has bf16, or not; the tests' nets are narrower than those that it pays for."""
    patch.setattr(precision, "has_bf16", lambda _: has)
    patch.setattr(precision, "WIDE", 8)


@pytest.mark.parametrize(("asked", "has", "runs"), [("auto", True, "bf16"), ("auto", False, 32), (64, True, 64)])
def test_auto_is_what_the_machine_has(asked: Any, has: bool, runs: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    machine(monkeypatch, has)
    assert resolved(asked, Devices(), WIDE_NET) == runs


@pytest.mark.parametrize(
    ("net", "faster"),
    [
        (WIDE_NET, True),
        (nn.Conv3d(1, 8, 3), False),
        (nn.Conv2d(64, 64, 3, groups=64), False),
        (nn.Linear(4, 4), True),
    ],
)
def test_on_a_cpu_narrow_convolutions_stay_in_32_bits(net: nn.Module, faster: bool) -> None:
    assert pays(net, Devices()) is faster
    assert pays(net, Devices("gpu", [0]))


@pytest.mark.parametrize(("names", "has"), [((), False), (("avx512_bf16",), True), (("amx_tile",), True)])
def test_a_cpu_has_it_by_its_instructions(names: tuple[str, ...], has: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.setattr(torch.cpu, f"_is_{name}_supported", lambda name=name: name in names, raising=False)
    assert has_bf16(Devices()) is has


def test_a_cpu_that_torch_knows_nothing_of_has_none(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("avx512_bf16", "amx_tile"):
        monkeypatch.delattr(torch.cpu, f"_is_{name}_supported", raising=False)
    assert has_bf16(Devices()) is False


def test_gpus_have_it_if_all_do(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda number: [(9, 0), (8, 0), (7, 5)][number])
    assert has_bf16(Devices("gpu", [0, 1]))
    assert not has_bf16(Devices("gpu", [0, 2]))


def test_what_ran_is_written_down_and_shown(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for has, runs in ((True, "bf16"), (False, 32)):
        machine(monkeypatch, has)
        simulate(root := tmp_path / str(runs), **AUTO)
        record = RunPaths(root).leg("task_1").record()
        assert (record["precision"], record["config"]["train.precision"]) == (runs, "auto")
        same_by_name = finished(tmp_path / f"named {runs}", **ONE, **{"common.train.precision": runs})
        assert same(weights(root, "task_1"), weights(same_by_name, "task_1"))
        table = environment(read_run(root))
        assert table.rows[0][table.columns.index("precision")] == str(runs)


def test_a_leg_goes_on_as_it_began_on_another_machine_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    monkeypatch.setattr(Progress, "say", lambda _, text: said.append(text))
    machine(monkeypatch, True)
    with monkeypatch.context() as patch:
        patch.setattr(leg_run, "ShowProgress", StopAt)
        patch.setattr(StopAt, "left", 4)  # in the second epoch
        with pytest.raises(Interrupted):
            simulate(tmp_path / "broken", **AUTO)
    machine(monkeypatch, False)
    record = tmp_path / "broken/checkpoints/task_1/leg.json"
    content = record.read_text()
    record.write_text(content.replace('"precision": "bf16"', '"precision": 16'))
    with pytest.raises(UserError, match="damaged: its precision is 16"):
        simulate(tmp_path / "broken", **AUTO)
    record.write_text(content)
    simulate(tmp_path / "broken", **AUTO)
    assert "this leg began in the precision bf16, so it goes on in it; this machine's own is 32" in said
    whole = finished(tmp_path / "whole", **ONE, **{"common.train.precision": "bf16"})
    assert same(weights(whole, "task_1"), weights(tmp_path / "broken", "task_1"))


def test_legs_of_a_relay_may_differ_in_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The config, and so its digest, is the same at every site."""
    machine(monkeypatch, True)
    simulate(tmp_path, **AUTO)
    machine(monkeypatch, False)
    both = {**AUTO, "current_tasks.task_ids": [1, 2]}
    simulate(tmp_path, **both)
    records = [RunPaths(tmp_path).leg(f"task_{number}").record() for number in (1, 2)]
    assert [record["precision"] for record in records] == ["bf16", 32]
