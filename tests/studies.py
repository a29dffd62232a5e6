"""Small studies for the tests: configs as plain dicts, drawn data, a model of a few thousand weights."""

from __future__ import annotations

import atexit
import copy
import shutil
import tempfile
from pathlib import Path
from typing import Any

from relay.leg.progress import Progress
from relay.plan import Study, plan
from relay.simulate import Simulation

TINY: dict[str, Any] = {
    "common": {
        "random_seed": 7,
        "dataset": {
            "name": "synthetic",
            "kwargs": {"num_classes": 3, "count": 20, "size": 32, "img_size": [32, 32], "repeats": 2},
        },
        "strategy": {"name": "sequential"},
        "model": {"name": "U-Net", "kwargs": {"features": [8, 8, 8, 8, 8]}},
        "train": {"num_epochs": 2, "batch_size": 8, "check_val_every_n_epoch": 1, "save_every_n_seconds": 0},
    },
    "all_tasks_datasets": [
        {"kwargs": {"task_id": 1, "task_name": "clinic_a", "camera": "clinic_a"}},
        {"kwargs": {"task_id": 2, "task_name": "clinic_b", "camera": "clinic_b"}},
    ],
    "current_tasks": {"task_ids": [1, 2]},
}
PROJECTED = {"owm_directions": 4, "owm_images": 8}
"""What makes the projection at a leg's end, which takes longer than a tiny leg's training, a small one."""


def given(**changes: Any) -> dict[str, Any]:
    """:data:`TINY` with dotted keys replaced: ``given(**{"common.strategy.name": "relay"})``."""
    blocks = copy.deepcopy(TINY)
    for path, value in changes.items():
        *parents, last = path.split(".")
        node: Any = blocks
        for part in parents:
            node = node[int(part)] if isinstance(node, list) else node.setdefault(part, {})
        node[last] = copy.deepcopy(value)  # a later key may change it
    strategy = blocks["common"].get("strategy")
    if isinstance(strategy, dict) and strategy.get("name") in ("owm", "relay"):
        strategy["kwargs"] = {**PROJECTED, **(strategy.get("kwargs") or {})}
    return blocks


def study(**changes: Any) -> Study:
    """A checked study of :func:`given`."""
    return plan(given(**changes), "tiny")


def simulate(root: Path, **changes: Any) -> Simulation:
    """Run a study to its end, silently."""
    simulation = Simulation(study(**changes), root)
    with Progress(simulation.steps) as progress:
        simulation.run(progress)
    return simulation


def finished(root: Path, **changes: Any) -> Path:
    """A copy of such a study's run, which is made once in each process: for tests that need one, and not its making."""
    if (key := repr(changes)) not in _FINISHED:
        folder = Path(tempfile.mkdtemp(prefix="relay-tests-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
        simulate(folder / "run", **changes)
        _FINISHED[key] = folder / "run"
    return shutil.copytree(_FINISHED[key], root, dirs_exist_ok=True)


_FINISHED: dict[str, Path] = {}
