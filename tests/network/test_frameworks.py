"""The same study through NVFlare's and Flower's own simulators, on this machine; skipped where they are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from tests.network.sites import FEDAVG, RELAY, averaging, furthest, sealing, weights
from tests.studies import simulate

NVFLARE = """
import json, sys
from pathlib import Path
from nvflare.job_config.api import FedJob
from relay.network.for_nvflare import Averaging, InRelay, LegExecutor

kind, configs, *order = sys.argv[1:]
job = FedJob("study")
job.set_app_packages(["relay"])
job.to_server(InRelay(order) if kind == "sealed" else Averaging(num_clients=2, num_rounds=2))
job.to_clients(LegExecutor(configs))
job.export_job("job")
assert not list(Path("job").rglob("*.py"))
Path("workspace/local").mkdir(parents=True)
allowed = {"format_version": 2, "class_allow_list": ["relay.network.for_nvflare."]}
Path("workspace/local/resources.json").write_text(json.dumps(allowed))
sys.exit(job.simulator_run("workspace", clients=sorted(set(order)), threads=2))
"""
FLOWER = """
import sys
from flwr.simulation import run_simulation
from relay.network.for_flower import averaging_app, client_app, relay_app

kind, configs, *order = sys.argv[1:]
resources = {"client_resources": {"num_cpus": 1}, "init_args": {"num_cpus": 2, "include_dashboard": False}}
server = relay_app(order) if kind == "sealed" else averaging_app(sites=2, rounds=2)
run_simulation(server, client_app(configs, sorted(set(order))), num_supernodes=2, backend_config=resources)
"""
SCRIPTS = {"nvflare": NVFLARE, "flwr": FLOWER}
AVERAGES = {"nvflare": "workspace/server/simulate_job/average.safetensors", "flwr": "average.safetensors"}
pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]
frameworks = pytest.mark.parametrize(
    "name",
    [
        pytest.param(name, marks=pytest.mark.skipif(find_spec(name) is None, reason=f"{name} is not installed"))
        for name in SCRIPTS
    ],
)


def through(name: str, folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    """Run a study through a framework's simulator."""
    (folder / "study.py").write_text(SCRIPTS[name])
    quiet = {"RAY_USAGE_STATS_ENABLED": "0", "FLWR_TELEMETRY_ENABLED": "0", "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "study.py", *words],
        cwd=folder,
        env={**os.environ, **quiet},
        capture_output=True,
        text=True,
        check=False,
    )


@frameworks
def test_a_relay_has_the_simulations_weights(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    torch.set_num_threads(1)
    done = through(name, tmp_path, "sealed", sealing(tmp_path / "sites"), "clinic_a", "clinic_b")
    assert done.returncode == 0, done.stderr
    simulate(tmp_path / "sim", **RELAY)
    carried, same = weights(tmp_path / "sites/clinic_b/exps/site/leg2", "task_2"), weights(tmp_path / "sim", "task_2")
    assert all(torch.equal(carried[key], same[key]) for key in same)
    assert [path.name for path in (tmp_path / "sites/clinic_a/inbox").iterdir()] == [
        "simulation.leg-2.clinic_b.relay.age"
    ]


@frameworks
def test_its_fedavg_has_the_rings_weights(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    done = through(name, tmp_path, "averaged", averaging(tmp_path / "sites"), "clinic_a", "clinic_b")
    assert done.returncode == 0, done.stderr
    simulate(tmp_path / "sim", **FEDAVG, **{"current_tasks.laps": 2})
    assert furthest(load_file(tmp_path / AVERAGES[name]), weights(tmp_path / "sim", "task_2_lap2")) < 1e-5


@frameworks
def test_a_leg_that_fails_ends_the_job_with_its_message(name: str, tmp_path: Path) -> None:
    done = through(name, tmp_path, "sealed", sealing(tmp_path / "sites"), "clinic_b", "clinic_a")
    assert "exit code" in done.stdout + done.stderr
    assert not (tmp_path / "sites/clinic_a/exps").exists()
