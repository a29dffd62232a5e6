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

from tests.network.sites import (
    FEDAVG,
    ORDER,
    RELAY,
    TASKS,
    averages,
    averaging,
    differing,
    furthest,
    sealing,
    tensors,
    weights,
)
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
TOLERANCE = 1e-5
"""Largest difference of a weight: the frameworks average in another order, and in other precision, than the ring."""
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
def test_a_relay_hands_over_what_the_simulation_does(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    done = through(name, tmp_path, "sealed", sealing(tmp_path / "sites"), *ORDER)
    assert done.returncode == 0, done.stderr
    simulate(tmp_path / "sim", **RELAY)
    first, last = ORDER
    carried = {
        site: tensors(tmp_path / f"sites/{site}/exps/site/leg{number}", f"task_{TASKS[site]}")
        for number, site in enumerate(ORDER, 1)
    }
    for site, made in carried.items():
        assert not differing(made, tensors(tmp_path / "sim", f"task_{TASKS[site]}"))
    kinds = {name.split(".")[0] for name in carried[first]}
    assert kinds == {"model", "memory", "cumulative", "expert"}, "else what follows compares less than it says"
    assert differing(carried[first], carried[last]), "the second leg has trained"
    bundle = f"simulation.leg-2.{last}.relay.age"
    there = {site: sorted(path.name for path in (tmp_path / f"sites/{site}/inbox").iterdir()) for site in ORDER}
    assert there == {first: [bundle], last: [f"simulation.leg-1.{first}.relay.age"]}
    sent = tmp_path / f"sites/{last}/outbox" / bundle
    assert (tmp_path / f"sites/{first}/inbox" / bundle).read_bytes() == sent.read_bytes()


@frameworks
def test_its_fedavg_has_the_rings_weights(name: str, tmp_path: Path) -> None:
    torch.set_num_threads(1)
    done = through(name, tmp_path, "averaged", averaging(tmp_path / "sites"), *ORDER)
    assert done.returncode == 0, done.stderr
    made = load_file(tmp_path / AVERAGES[name])
    simulate(tmp_path / "sim", **FEDAVG, **{"current_tasks.laps": 2})
    ring = {
        k: w for k, w in weights(tmp_path / "sim", f"task_{TASKS[ORDER[-1]]}_lap2").items() if w.is_floating_point()
    }
    right, unweighted = averages(tmp_path / "sites", 2)
    before, _ = averages(tmp_path / "sites", 1)
    assert furthest(made, ring) < TOLERANCE
    assert furthest(made, right) < TOLERANCE
    assert furthest(unweighted, right) > 100 * TOLERANCE, "else the test could not see that weights are missing"
    assert furthest(before, right) > 100 * TOLERANCE, "nor that a round is"


@frameworks
def test_a_leg_that_fails_ends_the_job_with_its_message(name: str, tmp_path: Path) -> None:
    wrong = ORDER[::-1]
    done = through(name, tmp_path, "sealed", sealing(tmp_path / "sites"), *wrong)
    assert "exit code" in done.stdout + done.stderr
    assert not (tmp_path / f"sites/{wrong[1]}/exps").exists()
    assert not list((tmp_path / "sites").glob("*/outbox/*"))


@frameworks
def test_a_site_that_fails_ends_the_averaging(name: str, tmp_path: Path) -> None:
    configs = averaging(tmp_path / "sites")
    Path(configs.format(site=ORDER[1])).unlink()
    done = through(name, tmp_path, "averaged", configs, *ORDER)
    assert "there is no config" in done.stdout + done.stderr
    assert not (tmp_path / AVERAGES[name]).exists(), "an average without a site would be another study"
    assert not (tmp_path / f"sites/{ORDER[0]}/exps/site/network-round2").exists()
