"""benchmarks/evidence.py: which runs there are, what is run again, what the tables say."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[1]
sys.path.append(str(ROOT / "benchmarks"))

import evidence  # noqa: E402
import evidence_jobs  # noqa: E402
import evidence_tables  # noqa: E402

TINY = [
    "common.dataset.kwargs.count=16",
    "common.dataset.kwargs.size=16",
    "common.dataset.kwargs.img_size=[16,16]",
    "common.dataset.kwargs.num_replica=1",
    "common.model.kwargs.features=[8,8,8,8,8]",
    "common.train.num_mimgs=0.000016",
    "current_tasks.task_ids=[1,2]",
]


@pytest.fixture(autouse=True)
def _at_the_top(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)


def jobs(names: str = "local,sequential,joint", many: int = 3, seeds: int = 2) -> list[evidence_jobs.Job]:
    return evidence_jobs.jobs("evidence/synthetic", evidence_jobs.rows(names.split(","), False), many, seeds)


def record(label: str, order: str, seed: int, sites: dict[str, float], **more: Any) -> dict[str, Any]:
    mean = sum(sites.values()) / len(sites)
    run = {"label": label, "order": order.split(), "seed": seed, "final": sites, "mean": mean}
    return {**run, "forgetting": None, "seconds": 10.0, "bytes": 0, **more}


# -- runs ------------------------------------------------------------------------------------------------------------


def test_orders_put_every_site_first_and_last_once() -> None:
    found = evidence_jobs.orders([1, 2, 3], 3)
    assert {order[0] for order in found} == {order[-1] for order in found} == {1, 2, 3}
    assert len({tuple(order) for order in evidence_jobs.orders([1, 2, 3], 6)}) == 6


def test_what_starts_from_nothing_runs_once_a_seed() -> None:
    found = [(job.label, job.order, job.seed) for job in jobs()]
    assert len(set(found)) == len(found) == 2 * (1 + 3 + 1)
    assert [job.seed for job in jobs() if job.label == "joint"] == [1, 2]
    assert {job.order[0] for job in jobs() if job.label == "sequential"} == {"clinic_a", "clinic_b", "clinic_c"}


def test_key_knows_the_config_but_not_where_the_data_lie() -> None:
    rows = evidence_jobs.rows(["sequential"], False)
    keys = [
        {job.key for job in evidence_jobs.jobs("evidence/vessels", rows, 2, 2, over)}
        for over in ([], ["paths.vessels=elsewhere"], ["common.train.batch_size=9"])
    ]
    assert len(keys[0]) == 4
    assert keys[0] == keys[1]
    assert not keys[0] & keys[2]


def test_rounds_share_the_budget() -> None:
    (plain,), (rounds,) = jobs("sequential", 1, 1), jobs("fedavg", 1, 1)
    laps = rounds.given["current_tasks"]["laps"]
    assert laps == evidence_jobs.LAPS["fedavg"]
    assert rounds.given["common"]["train"]["num_mimgs"] * laps == pytest.approx(
        plain.given["common"]["train"]["num_mimgs"]
    )


def test_ablation_changes_one_option_and_leaves_out_the_defaults() -> None:
    rows = evidence_jobs.rows([], True)
    assert list(rows)[:4] == ["local", "sequential", "joint", "relay"]
    assert rows["relay, no memory"]["kwargs"] == {"memory": None}
    assert rows["relay, quantiles 33"]["kwargs"] == {"memory": {"name": "style", "kwargs": {"quantiles": 33}}}
    assert "relay, quantiles 9" not in rows
    assert "relay, directions 8" not in rows
    for job in evidence_jobs.jobs("evidence/synthetic", rows, 1, 1):
        job.study()


# -- running ---------------------------------------------------------------------------------------------------------


def test_a_miniature_from_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    argv = ["--study", "synthetic", "--strategies", "sequential,joint", "--orders", "1", "--seeds", "1"]
    argv += ["--workers", "1", "--out", str(tmp_path), *TINY]
    assert evidence.main(argv) == 0
    runs = [json.loads(line) for line in (tmp_path / "synthetic.jsonl").read_text().splitlines()]
    assert [run["label"] for run in runs] == ["sequential", "joint"]
    assert runs[0]["order"] == ["clinic_a", "clinic_b"]
    assert list(runs[0]["matrix"]) == ["1", "2"]
    assert runs[0]["final"] == runs[0]["matrix"]["2"]
    first = capsys.readouterr()
    assert "2/2" in first.err
    assert evidence.main(argv) == 0
    again = capsys.readouterr()
    assert again.err == ""
    assert again.out == first.out
    assert "| sequential | 1 | " in first.out


def test_a_run_that_fails_is_told_and_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = ["sequential"]

    def execute(job: evidence_jobs.Job) -> dict[str, Any]:
        if job.label in broken:
            raise ValueError("no")
        return record(job.label, " ".join(job.order), job.seed, {"a": 0.5}, key=job.key, wall=1)

    monkeypatch.setattr(evidence, "execute", execute)
    todo, path = jobs("local,sequential", 1, 1), tmp_path / "runs.jsonl"
    assert not evidence.run(todo, path, 1)
    assert "sequential clinic_a-clinic_b-clinic_c-clinic_d seed 1: failed: ValueError: no" in capsys.readouterr().err
    assert {run["label"] for run in evidence.finished(path).values()} == {"local"}
    broken.clear()
    assert evidence.run(todo, path, 1)
    assert len(path.read_text().splitlines()) == 2


def test_bytes_beside_the_solver(tmp_path: Path) -> None:
    carries = [tmp_path / "1", tmp_path / "2"]
    for carry in carries:
        carry.mkdir()
        for name, size in (("solver.safetensors", 1000), ("memory.json", 3), ("memory.safetensors", 20)):
            (carry / name).write_bytes(bytes(size))
        (carry / "running.safetensors").write_bytes(bytes(500))
    assert evidence.beside(carries) == 2 * 23 + 500


def test_wrong_names_are_refused_before_anything_runs(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert evidence.main(["--study", "synthetic", "--strategies", "jiont", "--out", str(tmp_path / "out")]) == 2
    assert "joint" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


# -- tables ----------------------------------------------------------------------------------------------------------

RUNS = [
    record("local", "", 1, {"a": 0.8, "b": 0.9}),
    record("local", "", 2, {"a": 0.7, "b": 0.9}),
    record("joint", "", 1, {"a": 0.9, "b": 0.9}),
    record("joint", "", 2, {"a": 0.8, "b": 0.8}),
    record("sequential", "a b", 1, {"a": 0.5, "b": 0.9}, seconds=10, forgetting=0.3),
    record("sequential", "b a", 1, {"a": 0.8, "b": 0.6}, seconds=20, forgetting=0.3),
    record("sequential", "a b", 2, {"a": 0.7, "b": 0.9}, seconds=10, forgetting=0.0),
    record("relay", "a b", 1, {"a": 0.8, "b": 0.9}, seconds=13, forgetting=0.01, bytes=2048),
    record("relay", "b a", 1, {"a": 0.8, "b": 0.8}, seconds=22, forgetting=0.03, bytes=3072),
    record("relay", "a b", 2, {"a": 0.8, "b": 0.8}, seconds=12, forgetting=0.02, bytes=2048),
]


def test_table_of_known_runs() -> None:
    lines = evidence_tables.report(RUNS).splitlines()
    cells = {line.split("|")[1].strip(): [c.strip() for c in line.split("|")[2:-1]] for line in lines[2:6]}
    # gap: means 0.8167 of sequential 0.7333 and joint 0.8667; runs 3/4 and 1/2, seed 2 has none
    assert cells["relay"] == ["3", "0.817 ± 0.029", "-0.100", "-0.067 (b)", "0.020 ± 0.010", "63% (63%)", "3.0", "1.20"]
    assert cells["sequential"][5] == "0% (0%)"
    assert cells["joint"][1:3] == ["0.850 ± 0.071", "+0.000"]
    assert cells["local"][4] == "–"
    assert "| relay | 0.800 ± 0.000 | 0.833 ± 0.058 |" in lines


def test_table_without_baselines_has_dashes() -> None:
    row = evidence_tables.summary("relay", {"relay": RUNS[-3:]})
    assert row[3:7] == ["–", "–", "0.020 ± 0.010", "–"]
    assert row[-1] == "–"
    assert evidence_tables.report([]) == "nothing has been run yet"


def test_a_gap_that_is_none_is_no_ratio() -> None:
    seq, joint = [record("s", "a b", 1, {"a": 0.8})], [record("j", "", 1, {"a": 0.805})]
    assert evidence_tables.gap(seq, seq, joint) == "–"
