"""``relay compare`` as it is typed: every run once, the table, going on, failing, spreading."""

from __future__ import annotations

import csv
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

import pytest
import yaml

from relay import simulate
from relay.errors import TrainingError
from relay.locks import locked
from tests.cli.typed import typed
from tests.studies import given

QUICK = {"common.train.num_epochs": 1, "common.dataset.kwargs.repeats": 1}
MANY = ("--strategies", "sequential,joint", "--orders", "2", "--seeds", "7,8", "--reference", "joint")
FOLDERS = [
    *(f"sequential_{order}_seed{seed}" for order in ("1-2", "2-1") for seed in (7, 8)),
    *(f"joint_seed{seed}" for seed in (7, 8)),
]


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder where two strategies were compared in two orders with two seeds."""
    folder = tmp_path_factory.mktemp("compared")
    (folder / "study.yaml").write_text(yaml.safe_dump(given(**QUICK)))
    said = typed("compare", "study", *MANY, cwd=folder)
    assert said.code == 0, said.err
    (folder / "said.txt").write_text(said.out)
    return folder


@pytest.fixture
def copy(done: Path, tmp_path: Path) -> Path:
    """A copy of it to spoil."""
    return Path(shutil.copytree(done, tmp_path / "copy"))


def root(folder: Path) -> Path:
    return folder / "exps/study/compare"


def told(folder: Path) -> dict[str, Any]:
    return dict(json.loads((root(folder) / "compare.json").read_text()))


def forget(folder: Path, *runs: str) -> None:
    for run in runs:
        shutil.rmtree(root(folder) / "runs" / run)


def legs(monkeypatch: pytest.MonkeyPatch, then: Callable[[Any], None] = lambda leg: None) -> list[tuple[int, int]]:
    """Seed and task of each leg that is trained from now on; ``then`` may stop it."""
    ran: list[tuple[int, int]] = []
    real = simulate.run_leg

    def run_leg(leg: Any, *rest: Any) -> None:
        then(leg)
        ran.append((leg.conf.random_seed, leg.task_id))
        real(leg, *rest)

    monkeypatch.setattr(simulate, "run_leg", run_leg)
    return ran


def final_scores(run: Path) -> dict[str, float]:
    """Dice of each site at the end, from the run's CSV."""
    with (run / "results/scores.csv").open(newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["class"] != "background" and row["value"]]
    last = max(int(row["leg"]) for row in rows)
    cells = {
        (site, name): [float(r["value"]) for r in rows if (r["site"], r["class"], int(r["leg"])) == (site, name, last)]
        for site in ("clinic_a", "clinic_b")
        for name in {row["class"] for row in rows}
    }
    return {
        site: fmean(fmean(values) for (where, _), values in cells.items() if where == site and values)
        for site in ("clinic_a", "clinic_b")
    }


# -- what there is -----------------------------------------------------------------------------------------------------


def test_one_folder_a_run_and_joint_once_a_seed(done: Path) -> None:
    assert sorted(path.name for path in (root(done) / "runs").iterdir()) == sorted(FOLDERS)
    runs = {Path(run["folder"]).name: run for run in told(done)["runs"]}
    assert sorted(runs) == sorted(FOLDERS)
    assert runs["sequential_2-1_seed8"]["order"] == ["clinic_b", "clinic_a"]
    assert runs["sequential_2-1_seed8"]["seed"] == 8
    assert runs["joint_seed7"]["order"] == []
    assert not (root(done) / "first_legs").exists()
    assert "run 1/6: sequential, clinic_a→clinic_b, seed 7" in (done / "said.txt").read_text()
    assert "leg 2/2" in (root(done) / "runs/sequential_1-2_seed7/logs/run.log").read_text()


def test_the_table_is_what_the_csvs_of_the_runs_say(done: Path) -> None:
    finals = {name: final_scores(root(done) / "runs" / name) for name in FOLDERS}
    means = {name: fmean(final.values()) for name, final in finals.items()}
    whole = told(done)
    for run in whole["runs"]:
        name = Path(run["folder"]).name
        assert run["final"] == pytest.approx(finals[name], abs=1e-6)
        assert run["mean"] == pytest.approx(means[name], abs=1e-6)
        assert run["seconds"] > 0
        assert run["bytes"] == 0
    for row in whole["table"]:
        own = [value for name, value in means.items() if name.startswith(row["strategy"])]
        assert row["runs"] == len(own)
        assert (row["mean"], row["sd"]) == pytest.approx((fmean(own), stdev(own)), abs=1e-6)
        assert row["low"] < row["mean"] < row["high"]
        assert row["method"] in ("t", "BCa")
        assert row["at_home"]["lowest"]["site"] is None  # there is no local
        assert row["everywhere"]["mean"] == pytest.approx(fmean(own), abs=1e-6)
    sequential = whole["table"][0]
    pairs = [(finals[name], finals[f"joint_seed{name[-1]}"]) for name in FOLDERS[:4]]
    below = {site: fmean(own[site] - joint[site] for own, joint in pairs) for site in ("clinic_a", "clinic_b")}
    site = min(below, key=lambda name: below[name])
    assert sequential["everywhere"]["lowest"] == {"site": site, "value": pytest.approx(below[site], abs=1e-6)}
    assert f"{sequential['everywhere']['mean']:.3f} │ {below[site]:+.3f}" in (done / "said.txt").read_text()


def test_the_test_pairs_patients_and_the_csv_has_every_number(done: Path) -> None:
    assert told(done)["reference"] == "joint"
    (test,) = told(done)["tests"]
    assert test["method"] in ("t", "BCa")
    assert (test["a"], test["b"]) == ("sequential", "joint")
    assert test["pairs"] >= 6
    assert test["p_holm"] == test["p"] is not None
    assert test["low"] <= test["difference"] <= test["high"]
    with (root(done) / "compare.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    for run in told(done)["runs"]:
        own = [r for r in rows if (r["strategy"], r["order"], r["seed"]) == _key(run)]
        final = {r["site"]: float(r["value"]) for r in own if r["metric"] == "at home"}
        assert final == pytest.approx(run["final"], abs=1e-6)
        assert sum(r["metric"] == "dice" for r in own) == 2 * len(run["matrix"])
        (lost,) = [r["value"] for r in own if r["metric"] == "forgetting"]
        assert (float(lost) if lost else None) == (
            None if run["forgetting"] is None else pytest.approx(run["forgetting"], abs=1e-6)
        )


def _key(run: dict[str, Any]) -> tuple[str, str, str]:
    return run["label"], " ".join(run["order"]), str(run["seed"])


def test_the_page_is_made(done: Path) -> None:
    assert "sequential" in (root(done) / "report.html").read_text()
    assert "report.html" in (done / "said.txt").read_text()


# -- again, and going on -----------------------------------------------------------------------------------------------


def test_nothing_is_run_twice(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran, before = legs(monkeypatch), told(copy)
    again = typed("compare", "study", *MANY, cwd=copy)
    assert again.code == 0
    assert "6 of 6 runs are already finished and skipped" in again.out
    assert told(copy) == before
    part = typed("compare", "-c=study", "--strategies=joint", "common.train.log_every_n_steps=3", cwd=copy)
    assert "1 of 1 runs are already finished" in part.out
    assert [run["folder"] for run in told(copy)["runs"]] == ["runs/joint_seed7"]
    assert told(copy)["tests"] == []
    assert ran == []


def test_a_killed_one_goes_on_where_it_was(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = told(copy)["runs"]
    forget(copy, "sequential_1-2_seed7", "joint_seed7")

    def kill(leg: Any) -> None:
        if leg.task_id == 2:
            raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        ran = legs(patch, kill)
        stopped = typed("compare", "study", *MANY, cwd=copy)
        assert stopped.code == 130
        assert "resumes" in stopped.err
        assert ran == [(7, 1)]
    ran = legs(monkeypatch)
    assert typed("compare", "study", *MANY, cwd=copy).code == 0
    assert ran == [(7, 2), (7, 1)]
    for then, now in zip(before, told(copy)["runs"], strict=True):
        assert (now["folder"], now["matrix"]) == (then["folder"], then["matrix"])


def test_another_config_is_refused_before_anything_runs(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ran = legs(monkeypatch)
    forget(copy, "joint_seed7")
    changed = typed("compare", "study", *MANY, "common.train.batch_size=4", cwd=copy)
    changed.refused(2, "batch_size: 8 then, 4 now", advice="new note (-n)")
    assert ran == []


def test_a_run_that_fails_is_named_and_does_not_stop_the_others(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    forget(copy, "sequential_1-2_seed8", "joint_seed8")

    def fail(leg: Any) -> None:
        if leg.strategy.uses_incoming:
            raise TrainingError("the loss was not finite")

    ran = legs(monkeypatch, fail)
    done = typed("compare", "study", *MANY, cwd=copy)
    done.refused(1, "1 of 6 runs failed", "sequential, clinic_a→clinic_b, seed 8: the loss", advice="The same command")
    assert ran == [(8, 1)]
    log = "exps/study/compare/runs/sequential_1-2_seed8/logs/run.log"
    assert f"log: {log}" in done.err
    assert "TrainingError: the loss was not finite" in (copy / log).read_text()
    assert "Based on 5 of 6 runs." in done.out
    assert [row["runs"] for row in told(copy)["table"]] == [3, 2]
    message = "TrainingError: see runs/sequential_1-2_seed8/logs/run.log"
    assert told(copy)["failed"] == [{"folder": "runs/sequential_1-2_seed8", "message": message}]


def test_a_finished_run_whose_scores_are_gone_is_named_and_left_out(
    copy: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    ran, legs_of = legs(monkeypatch), root(copy) / "runs/sequential_1-2_seed7/checkpoints"
    (legs_of / "task_1/scores.csv").unlink()
    damaged = root(copy) / "runs/joint_seed8/checkpoints/task_1/scores.csv"
    damaged.write_text(damaged.read_text()[:-9])
    done = typed("compare", "study", *MANY, cwd=copy)
    done.refused(1, "2 of 6 runs failed", "task_1/scores.csv can't be read", "scores.csv is damaged: line")
    assert "Remove exps/study/compare/runs/sequential_1-2_seed7/checkpoints/task_1 to train" in done.err
    assert ran == []
    assert [row["runs"] for row in told(copy)["table"]] == [3, 1]
    assert {lost["message"] for lost in told(copy)["failed"]} == {"DataError: see logs/compare.log"}


def test_a_site_that_is_left_out_is_tested_on(copy: Path) -> None:
    done = typed("compare", "study", "--strategies=joint", "--leave-one-out", cwd=copy)
    assert done.code == 0, done.err
    assert "1 of 3 runs are already finished and skipped" in done.out
    runs = {run["left_out"]: run for run in told(copy)["runs"]}
    assert [Path(runs[site]["folder"]).name for site in (None, "clinic_a", "clinic_b")] == [
        *("joint_seed7", "joint_without1_seed7", "joint_without2_seed7")
    ]
    gone = {site: runs[site]["matrix"]["1"][site] for site in ("clinic_a", "clinic_b")}
    assert {row["site"]: row["strategies"]["joint"] for row in told(copy)["elsewhere"]} == gone
    (row,) = told(copy)["table"]
    assert (row["elsewhere"]["sites"], row["runs"]) == (gone, 1)
    assert f"{row['elsewhere']['mean']:.3f}" in done.out


# -- spread ------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_at_a_time(copy: Path) -> None:
    """One run is held by somebody else, and fails; the other gives what it gave in this process.

    In the gate, ``tests/compare/test_spread.py`` spreads smaller jobs.
    """
    before = {run["folder"]: run["matrix"] for run in told(copy)["runs"]}
    forget(copy, "joint_seed7", "joint_seed8")
    held = root(copy) / "runs/joint_seed7"
    with locked(held / ".lock", "the test"):
        done = typed("compare", "study", *MANY, "--jobs", "2", cwd=copy)
    done.refused(1, "1 of 6 runs failed", "joint, seed 7: ", "is in use by another relay command")
    assert "joint, seed 8: done" in done.out
    assert {run["folder"]: run["matrix"] for run in told(copy)["runs"]} == {
        folder: matrix for folder, matrix in before.items() if folder != "runs/joint_seed7"
    }
    assert not (held / "checkpoints").exists()


def test_without_submitit_it_says_what_to_install(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "submitit", None)
    for words in (["--jobs=2"], ["--slurm=timeout_min=5"]):
        done = typed("compare", "study", *MANY, *words, cwd=copy)
        done.refused(2, "submitit, which is not installed", advice='pip install "relay-learning[cluster]"')


def test_slurm_takes_submitits_parameters(copy: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    import submitit

    asked: list[Any] = []

    class Executor:
        def __init__(self, **made: Any) -> None:
            asked.append(made)

        def update_parameters(self, **given: Any) -> None:
            asked.append(given)

    monkeypatch.setattr(submitit, "AutoExecutor", Executor)
    assert typed("compare", "study", *MANY, "--slurm", "slurm_partition=gpu,timeout_min=60", cwd=copy).code == 0
    made, parameters = asked
    assert made["cluster"] == "slurm"
    assert parameters == {"timeout_min": 60, "slurm_partition": "gpu"}


def test_wrong_cluster_parameters(done: Path) -> None:
    typed("compare", "study", *MANY, "--ray=local", cwd=done).refused(2, "--ray local: not an address of a Ray cluster")
    typed("compare", "study", *MANY, "--slurm=gpu", cwd=done).refused(2, "'gpu' is not of the form key=value")
    typed("compare", "study", *MANY, "--slurm=a=[", cwd=done).refused(2, "can't be read as YAML")
    typed("compare", "study", *MANY, "--slurm=timeout_min=5", cwd=done).refused(2, "has no srun", advice="--jobs 2")


# -- what is typed -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--strategies=jiont"], "--strategies jiont: name = 'jiont': unknown name"),
        (["--strategies=relay[mrege=1]"], "--strategies relay[mrege=1]: kwargs.mrege = 1: unknown key"),
        (["--strategies=,"], "is empty"),
        (["--orders=clinic_a,clinic_c"], "'clinic_c' is not a site of this study; did you mean"),
        (["--orders=1"], None),
        (["--orders=1,1"], "must name each site once: clinic_a (1), clinic_b (2)"),
        (["--orders=3"], "2 sites have 2 orders"),
        (["--seeds=few"], "must be a number of seeds"),
        (["--reference=merge"], "--reference merge: not one of the strategies"),
        (["--slurm=a=1", "--ray=auto"], "--slurm and --ray: runs go to one cluster"),
        (["-c", "study"], "more than one config: -c study, study"),
        (["other"], "more than one config: study, other"),
        (["common.train.batch_sze=4"], "did you mean"),
    ],
)
def test_wrong_words_are_refused_before_anything_runs(words: list[str], said: str | None, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(given(**QUICK)))
    if said is None:
        words = [*words, "--seeds=0"]
        said = "at least 1"
    typed("compare", "study", *words, cwd=tmp_path).refused(2, said)
    assert not (tmp_path / "exps").exists()


def test_asking_for_help_imports_nothing_heavy() -> None:
    code = (
        "import sys, atexit; from relay.cli.app import main; atexit.register(lambda: print('heavy:', "
        "{'torch', 'scipy', 'numpy', 'matplotlib', 'monai', 'submitit', 'ray'} & set(sys.modules))); main()"
    )
    said = subprocess.run([sys.executable, "-c", code, "compare", "--help"], capture_output=True, text=True, check=True)
    assert said.stdout.strip().endswith("heavy: set()")
    for flag in ("--orders", "--seeds", "--reference", "--leave-one-out", "--jobs", "--slurm", "--ray"):
        assert flag in said.stdout


# -- folds -------------------------------------------------------------------------------------------------------------


def test_folds_are_one_run_with_each_patient_once(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(given(**QUICK)))
    said = typed("compare", "study", "--strategies", "joint", "--folds", "2", cwd=tmp_path)
    assert said.code == 0, said.err
    assert "each patient once" in " ".join(said.out.split())
    (run,), whole = told(tmp_path)["runs"], told(tmp_path)
    assert (whole["planned"], whole["table"][0]["runs"]) == (1, 1)
    folders = [root(tmp_path) / fold["folder"] for fold in run["folds"]]
    assert [fold["fold"] for fold in run["folds"]] == ["1/2", "2/2"]
    for site in ("clinic_a", "clinic_b"):
        splits = [json.loads(path.read_text()) for folder in folders for path in folder.rglob(f"splits/{site}.json")]
        assert len(splits) == 2
        every = {sample for part in splits[0].values() for sample in part}
        assert sorted(sample for each in splits for sample in each["test"]) == sorted(every)
    assert "Every fold, at home" in (root(tmp_path) / "report.html").read_text()
    few = typed("compare", "study", "--folds", "1", cwd=tmp_path)
    assert (few.code, "at least 2 folds" in few.err) == (2, True)
