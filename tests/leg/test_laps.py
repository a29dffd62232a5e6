"""Relays in any order and with several laps, through bundles."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch

from relay.bundle.handover_files import load, read_facts
from relay.exchange.receiving import chain_in
from relay.exchange.store import StudyStore
from tests.leg.test_resume import StopAt, same, weights
from tests.leg.test_transport import Sites
from tests.studies import TINY, simulate

FEW = {"common.dataset.kwargs.count": 14, "common.dataset.kwargs.repeats": 1}
TWO = {"current_tasks.laps": 2, "common.strategy.name": "relay", "common.train.num_epochs": 1, **FEW}
FOLDERS = ["task_1", "task_2", "task_1_lap2", "task_2_lap2"]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("laps")
    simulate(root, **TWO)
    return root


def test_each_leg_starts_from_the_one_before_it_and_is_handed_over(done: Path) -> None:
    facts = [read_facts(done / "checkpoints" / folder / "handover") for folder in FOLDERS]
    assert [(own.leg, own.site) for own in facts] == [(k, f"clinic_{s}") for k, s in enumerate("abab", 1)]
    made = chain_in(StudyStore(done / "handoff/task_2_lap2/clinic_b", "simulation").signed(4))
    assert [statement.claim.site for statement in made] == [own.site for own in facts]
    assert [path.name for path in (done / "handoff").iterdir()] == ["task_2_lap2"]


def test_scores_and_forgetting_know_of_four_legs(done: Path) -> None:
    summary = json.loads((done / "results/summary.json").read_text())
    table = [summary["matrix"][leg] for leg in "1234"]
    assert summary["final"] == table[3]
    best = {"clinic_a": max(row["clinic_a"] for row in table[:3]), "clinic_b": max(t["clinic_b"] for t in table[1:3])}
    lost = [best[site] - table[3][site] for site in best]
    assert summary["forgetting"] == pytest.approx(sum(lost) / 2)


def test_running_it_again_changes_nothing(done: Path) -> None:
    before = {p: p.stat().st_mtime_ns for p in (done / "checkpoints").rglob("*") if p.is_file()}
    simulate(done, **TWO)
    assert before == {p: p.stat().st_mtime_ns for p in (done / "checkpoints").rglob("*") if p.is_file()}


def test_site_by_site_equals_the_simulation_in_the_second_lap_too(done: Path, tmp_path: Path) -> None:
    sites = Sites(tmp_path, order=("clinic_a", "clinic_b") * 2)
    for lap in ("lap 1", "lap 2"):
        for task in (1, 2):
            sites.leg(task, note=lap, **FEW)
    deployed = load(tmp_path / "lap 2/clinic_b/checkpoints/task_2/handover").model
    assert same(dict(deployed), weights(done, "task_2_lap2"))


def test_a_second_lap_draws_other_batches(tmp_path: Path) -> None:
    """With a learning rate near zero both laps see the model as it was: their losses differ by their batches."""
    still = {"name": "SGD", "kwargs": {"lr": 1e-30}}
    changes = {"common.strategy.name": "sequential", "common.train.optimizer": still, "common.train.num_epochs": 1}
    seen: list[torch.Tensor] = []

    class Watch(StopAt):
        left = -1

        def on_train_batch_start(self, trainer: object, module: object, batch: dict[str, torch.Tensor], _: int) -> None:
            seen.append(batch["index"].clone())

    from relay.leg import run as leg_run

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leg_run, "ShowProgress", Watch)
        simulate(tmp_path, **changes, **{"current_tasks.laps": 2, "current_tasks.task_ids": [1]})
    half = len(seen) // 2
    assert half > 1
    first, second = torch.cat(seen[:half]), torch.cat(seen[half:])
    assert torch.equal(first.sort().values, second.sort().values)
    assert not torch.equal(first, second)


def test_any_order(tmp_path: Path) -> None:
    third = {"kwargs": {"task_id": 3, "task_name": "clinic_c", "camera": "clinic_c"}}
    simulate(
        tmp_path,
        **{
            "all_tasks_datasets": [*TINY["all_tasks_datasets"], third],
            "current_tasks.task_ids": [3, 1, 2],
            "common.train.num_epochs": 1,
            "common.dataset.kwargs.count": 12,
        },
    )
    made = chain_in(StudyStore(tmp_path / "handoff/task_2/clinic_b", "simulation").signed(3))
    assert [statement.claim.site for statement in made] == ["clinic_c", "clinic_a", "clinic_b"]
    summary = json.loads((tmp_path / "results/summary.json").read_text())
    assert sorted(summary["matrix"]) == ["1", "2", "3"]
    table = summary["matrix"]
    lost = [max(table["1"]["clinic_c"], table["2"]["clinic_c"]) - table["3"]["clinic_c"]]
    lost += [table["2"]["clinic_a"] - table["3"]["clinic_a"]]
    assert summary["forgetting"] == pytest.approx(sum(lost) / 2)
