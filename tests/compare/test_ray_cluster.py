"""Runs on a Ray cluster: what is refused before any is sent, and that a real one gives the same numbers."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest
import torch
import yaml

import relay
from relay.compare import ray_cluster
from relay.compare.jobs import jobs_of
from relay.compare.spread import Share, run_spread
from relay.config.devices import Devices
from relay.errors import UserError
from relay.leg.progress import Progress
from relay.plan import plan
from tests.studies import given

HERE = {"relay": relay.__version__, "torch": torch.__version__, "folder": True}


class FakeRay(ModuleType):
    """A cluster of one machine, as far as Ray is used; a task is done at once, in this process.

    Attributes:
        found: what its machine says that it has; None for the truth.
        asked: options of each task.
    """

    def __init__(self) -> None:
        super().__init__("ray")
        self.found: dict[str, Any] | None = None
        self.asked: list[dict[str, Any]] = []
        self.cancelled: list[Any] = []
        self.resources = {"CPU": 2.0}

    def init(self, **_: Any) -> None:
        pass

    def nodes(self) -> list[dict[str, Any]]:
        return [{"Alive": True, "NodeID": "1", "NodeManagerAddress": "10.0.0.7", "Resources": self.resources}]

    def remote(self, **options: Any) -> Callable[[Callable[..., Any]], Any]:
        self.asked.append(options)
        return lambda function: SimpleNamespace(remote=lambda *args: (function, args))

    def get(self, reference: Any, timeout: float | None = None) -> Any:
        if isinstance(reference, list):
            return [self.found or function(*args) for function, args in reference]
        raise RuntimeError("The worker died unexpectedly\nmore")

    def wait(self, references: list[Any], timeout: float) -> tuple[list[Any], list[Any]]:
        return references, []

    def cancel(self, reference: Any) -> None:
        self.cancelled.append(reference)


@pytest.fixture
def ray(monkeypatch: pytest.MonkeyPatch) -> FakeRay:
    fake, ray = ModuleType("ray.util.scheduling_strategies"), FakeRay()
    fake.NodeAffinitySchedulingStrategy = lambda node, soft: node  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setitem(sys.modules, "ray.util.scheduling_strategies", fake)
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: name)
    monkeypatch.setattr(ray_cluster, "_try", lambda address: None)
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    return ray


@pytest.mark.parametrize(
    "address", ["local", "", "cluster", "host:", "http://host:6379", "ray:/host:1", "host:1234567"]
)
def test_what_is_no_address(address: str, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not an address of a Ray cluster"):
        ray_cluster.ray_executor(address, tmp_path, Devices())


def test_without_ray_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="Ray, which is not installed") as caught:
        ray_cluster.ray_executor("auto", tmp_path, Devices())
    assert caught.value.advice() == 'pip install "relay-learning[ray]"'


@pytest.mark.parametrize(
    ("code", "patience", "why"),
    [
        ("raise SystemExit('[2026-01-01 W 1 1] gcs.cc:210: InvalidAuthToken')", 45, "cluster: InvalidAuthToken$"),
        ("import time; time.sleep(9)", 0.2, "cluster: no answer within 0.2 seconds: no reason given$"),
    ],
)
def test_a_cluster_that_does_not_answer(
    code: str, patience: float, why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ray_cluster, "find_spec", lambda name: name)
    monkeypatch.setattr(ray_cluster, "CONNECT", code)
    monkeypatch.setattr(ray_cluster, "ANSWER", patience)
    with pytest.raises(UserError, match=why) as caught:
        ray_cluster.ray_executor("10.0.0.1:6379", tmp_path, Devices())
    assert "ray status" in caught.value.advice()


@pytest.mark.parametrize(
    ("found", "why"),
    [
        ({"relay": "0.0.9"}, r"but 10.0.0.7 has relay 0.0.9 and torch"),
        ({"torch": "2.1"}, r"and torch 2.1$"),
        ({"relay": None, "torch": None}, r"but 10.0.0.7 has no relay$"),
        ({"folder": False}, r"and not the folder .*compare$"),
    ],
)
def test_a_machine_that_differs_is_refused(found: dict[str, Any], why: str, ray: FakeRay, tmp_path: Path) -> None:
    ray.found = {**HERE, **found}
    with pytest.raises(UserError, match=why):
        ray_cluster.ray_executor("auto", tmp_path / "compare", Devices())


def test_gpus_must_be_there_and_one_for_each_run(ray: FakeRay, tmp_path: Path) -> None:
    with pytest.raises(UserError, match="a run can use one GPU, not 2"):
        ray_cluster.ray_executor("auto", tmp_path, Devices("gpu", [0, 1]))
    with pytest.raises(UserError, match="no machine of the cluster offers a GPU"):
        ray_cluster.ray_executor("auto", tmp_path, Devices("gpu", [0]))
    ray.resources["GPU"] = 1.0
    ray_cluster.ray_executor("auto", tmp_path, Devices("gpu", [0]))
    assert ray.asked[-1]["num_gpus"] == 1


def test_a_worker_that_dies_is_a_failed_run(ray: FakeRay, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    executor = ray_cluster.ray_executor("auto", tmp_path, Devices())
    assert not list(tmp_path.iterdir())
    (job,) = jobs_of(given(), ["local"], "1", "7,", lambda blocks: plan(blocks, "tiny"))
    (failed,) = run_spread([job], tmp_path, Progress(1), executor, [Share(Devices())])
    assert failed.message == "its process ended without a result: The worker died unexpectedly"
    assert failed.log == tmp_path / "runs/local_seed7/logs/run.log"

    def stop(_: float) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("relay.compare.spread.time.sleep", stop)
    monkeypatch.setattr(ray, "wait", lambda references, timeout: ([], references))
    with pytest.raises(KeyboardInterrupt):
        run_spread([job], tmp_path, Progress(1), executor, [Share(Devices())])
    assert len(ray.cancelled) == 1


WITH_A_CLUSTER = """
import subprocess, sys, ray
head = ray.init(address="local", num_cpus=2, include_dashboard=False, log_to_driver=False).address_info["gcs_address"]
for words in sys.argv[1:]:
    code = subprocess.run([sys.executable, "-m", "relay", *words.split(), "--ray", head]).returncode
    print("exit code", code)
"""


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(find_spec("ray") is None, reason='needs Ray: pip install "relay-learning[ray]"')
def test_a_real_cluster_gives_the_same_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAY_USAGE_STATS_ENABLED", "0")
    monkeypatch.setenv("OMP_NUM_THREADS", "1")  # as Ray gives to a task with one core
    study = given(**{"common.train.num_epochs": 1})
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(study))
    study["common"]["train"]["optimizer"] = {"name": "SGD", "kwargs": {"lr": 1e30}}
    (tmp_path / "diverges.yaml").write_text(yaml.safe_dump(study))
    words = "compare study --strategies local,sequential --orders 2 -n"
    here = subprocess.run([sys.executable, "-m", "relay", *words.split(), "here"], cwd=tmp_path, check=False)
    there = subprocess.run(
        [sys.executable, "-c", WITH_A_CLUSTER, f"{words} there", "compare diverges --strategies local -n there"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert here.returncode == 0
    assert re.findall("exit code (.)", there.stdout) == ["0", "1"], there.stdout + there.stderr
    tables = [tmp_path / f"exps/study/{note}" for note in ("here", "there")]
    rows = [(table / "compare.csv").read_text().splitlines() for table in tables]
    timed = [[row for row in each if "seconds" in row] for each in rows]
    assert [row for row in rows[0] if row not in timed[0]] == [row for row in rows[1] if row not in timed[1]]
    assert len(timed[0]) < len(rows[0]) / 4
    found = [json.loads((table / "compare.json").read_text()) for table in tables]
    assert untimed(found[0]) == untimed(found[1])
    said = there.stdout + there.stderr
    assert "not finite" in said
    assert "Traceback" not in said
    assert "RayTaskError" not in said


def untimed(found: Any) -> Any:
    """What a comparison found, without how long it took."""
    if isinstance(found, list):
        return [untimed(each) for each in found]
    if isinstance(found, dict):
        return {key: untimed(value) for key, value in found.items() if "seconds" not in key and key != "cost"}
    return found
