"""Two processes on the CPU that train one study together, as two GPUs would: they meet through localhost."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from relay.bundle.handover_files import load
from relay.exchange.receiving import chain_in
from relay.exchange.store import StudyStore
from relay.results import read_rows
from tests.studies import given, simulate

pytestmark = pytest.mark.slow

SCRIPT = """
import signal, sys
from pathlib import Path

import yaml

from relay.config.devices import Devices
from relay.plan import plan
from relay.errors import RelayError
from relay.leg.progress import Progress
from relay.simulate import Simulation

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    study = plan(yaml.safe_load(Path(sys.argv[1]).read_text()), "tiny")
    simulation = Simulation(study, Path(sys.argv[2]), Devices("cpu", 2, 1))
    try:
        with Progress(simulation.steps) as progress:
            summary = simulation.run(progress)
        print("summary", summary.get("mean"), progress.done, simulation.steps, flush=True)
    except RelayError as error:
        print(error, file=sys.stderr, flush=True)
        sys.exit(error.exit_code)
"""

RELAY = {
    "common.strategy.name": "relay",
    "common.train.batch_size": 4,
    "common.train.optimizer": {"name": "SGD", "kwargs": {"lr": 0.05}},
}


def begin(folder: Path, root: str, **changes: Any) -> subprocess.Popen[str]:
    """The study in two processes; the second one is Lightning's to start."""
    (folder / "study.yaml").write_text(yaml.safe_dump(given(**changes)))
    (folder / "run.py").write_text(SCRIPT)
    command = [sys.executable, "run.py", "study.yaml", root]
    return subprocess.Popen(command, cwd=folder, text=True, stdout=subprocess.PIPE, stderr=subprocess.PIPE)


def run(folder: Path, root: str, **changes: Any) -> tuple[int, str, str]:
    process = begin(folder, root, **changes)
    out, said = process.communicate(timeout=200)
    return process.returncode, out, said


def weights(root: Path, leg: int = 2) -> dict[str, torch.Tensor]:
    return dict(load(root / f"checkpoints/task_{leg}/handover").model)


def furthest(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> float:
    """The largest difference of two models' weights."""
    return max(float((one[k] - other[k]).abs().max()) for k in one if one[k].is_floating_point())


def test_two_processes_do_what_one_does_with_the_batch_twice_as_large(tmp_path: Path) -> None:
    code, out, said = run(tmp_path, "two", **RELAY)
    assert code == 0, said
    assert "Traceback" not in said
    one = simulate(tmp_path / "one", **{**RELAY, "common.train.batch_size": 8})
    mean = json.loads((tmp_path / "one/results/summary.json").read_text())["mean"]
    firsts, seconds = sorted(out.splitlines())
    assert seconds == f"summary None {one.steps} {one.steps}"
    assert float(firsts.split()[1]) == pytest.approx(mean, abs=0.02)
    assert furthest(weights(tmp_path / "two", leg=1), weights(tmp_path / "one", leg=1)) < 1e-5
    # from leg 2 on, each process draws the appearances of earlier sites for its own half of the batch
    assert furthest(weights(tmp_path / "two"), weights(tmp_path / "one")) < 0.02


def test_one_process_writes_and_everything_is_whole(tmp_path: Path) -> None:
    assert run(tmp_path, "two", **RELAY)[0] == 0
    simulate(tmp_path / "one", **{**RELAY, "common.train.batch_size": 8})

    def tree(root: Path) -> list[str]:
        files = (path for path in root.rglob("*") if path.is_file() and path.name != "tuned.safetensors")  # a choice
        names = (str(path.relative_to(root)) for path in files)
        return sorted(name.partition("events.out")[0] for name in names)

    assert tree(tmp_path / "two") == tree(tmp_path / "one")
    rows, same = (read_rows(tmp_path / name / "results/scores.csv") for name in ("two", "one"))
    keys = ("leg", "site", "sample", "class")
    assert [[row[k] for k in keys] for row in rows] == [[row[k] for k in keys] for row in same]
    assert json.loads((tmp_path / "two/checkpoints/task_2/leg.json").read_text())["state"] == "finished"
    store = StudyStore(tmp_path / "two/handoff/task_2/clinic_b", "simulation")
    assert [made.claim.site for made in chain_in(store.signed(2))] == ["clinic_a", "clinic_b"]


def test_a_loss_that_is_no_number_stops_both_and_names_the_images_of_both(tmp_path: Path) -> None:
    changes = {**RELAY, "common.train.num_epochs": 50}
    changes["common.train.optimizer"] = {"name": "SGD", "kwargs": {"lr": 1e30}}
    code, _, said = run(tmp_path, "two", **changes)
    assert code == 1
    lines = [line for line in said.splitlines() if "not finite at step" in line]  # of both, perhaps run together
    assert any(line.count("p0") >= 8 for line in lines), f"4 images of each process: {said}"
    assert "Traceback" not in said


def test_stopped_and_resumed_gives_the_weights_of_an_unbroken_run(tmp_path: Path) -> None:
    changes = {**RELAY, "common.train.num_epochs": 40}
    assert run(tmp_path, "whole", **changes)[0] == 0
    broken = begin(tmp_path, "broken", **changes)
    state = tmp_path / "broken/checkpoints/task_1/phase_1_learn.ckpt"
    until = time.monotonic() + 100
    while not state.is_file() and broken.poll() is None and time.monotonic() < until:
        time.sleep(0.01)
    children = subprocess.run(
        ["ps", "--ppid", str(broken.pid), "-o", "pid="], capture_output=True, text=True, check=False
    )
    broken.send_signal(signal.SIGTERM)
    _, said = broken.communicate(timeout=60)
    assert broken.returncode == 130, said
    assert "stopped in leg 1" in said
    pids = children.stdout.split()
    assert pids
    while alive := [pid for pid in pids if Path(f"/proc/{pid}").exists()]:
        assert time.monotonic() < until + 60, alive
        time.sleep(0.1)
    code, _, said = run(tmp_path, "broken", **changes)
    assert code == 0, said
    whole, resumed = weights(tmp_path / "whole"), weights(tmp_path / "broken")
    assert all(torch.equal(whole[k], resumed[k]) for k in whole)
    assert not [name for name in os.listdir(tmp_path / "broken/checkpoints/task_1") if "phase" in name]  # noqa: PTH208


def test_who_waits_for_another_machine_says_so_and_can_be_stopped(tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text(yaml.safe_dump(given(**RELAY)))
    port = str(20000 + os.getpid() % 30000)
    meeting = {"NUM_NODES": "2", "NODE_RANK": "0", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    command = [sys.executable, "-m", "relay", "train", "-c", "study.yaml"]
    pipes: Any = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    waiting = subprocess.Popen(command, cwd=tmp_path, env=os.environ | meeting, **pipes)
    assert waiting.stdout is not None
    try:
        assert any("waiting for all of 2 machines at 127.0.0.1:" + port in line for line in waiting.stdout)
        time.sleep(8)  # until it is torch that waits
        waiting.send_signal(signal.SIGTERM)
        assert waiting.wait(timeout=20) in (-signal.SIGTERM, 130)
    finally:
        waiting.kill()
