"""Two hospitals that a network connects: a folder each, with a config, and for bundles with keys."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from relay.bundle.handover_files import load
from relay.leg.simulated_transport import STUDY, SimulatedStudy
from relay.leg.transport import Transport
from tests.studies import given

ORDER = ("clinic_a", "clinic_b")
SGD = {"common.train.num_epochs": 1, "common.train.optimizer": {"name": "SGD", "kwargs": {"lr": 0.05}}}
RELAY = {**SGD, "common.strategy.name": "relay"}
FEDAVG = {**SGD, "common.strategy.name": "fedavg"}


def sealing(root: Path, **changes: Any) -> str:
    """A deployment's sites, each with keys and the roster; returns their configs' path, with ``{site}``."""
    study = SimulatedStudy(root / "homes", ORDER, Transport.policy)
    study.begin()
    for task, site in enumerate(ORDER, 1):
        handoff = {"study": STUDY, "key": str(study.root / site), "receive": "inbox", "send": "outbox"}
        own = {"mode": "deployment", "task_ids": [task], "handoff": handoff}
        _write(root, site, given(**{**RELAY, "current_tasks": own, **changes}))
    return str(root / "{site}/site.yaml")


def averaging(root: Path, **changes: Any) -> str:
    """Sites whose weights a server averages; returns their configs' path, with ``{site}``."""
    for task, site in enumerate(ORDER, 1):
        _write(root, site, given(**{**FEDAVG, "current_tasks.task_ids": [task], **changes}))
    return str(root / "{site}/site.yaml")


def _write(root: Path, site: str, blocks: Mapping[str, Any]) -> None:
    (root / site).mkdir(parents=True)
    (root / site / "site.yaml").write_text(yaml.safe_dump(dict(blocks)))


def weights(run: Path, leg: str) -> Mapping[str, Tensor]:
    """The model that a leg has handed over."""
    return load(run / "checkpoints" / leg / "handover").model


def furthest(one: Mapping[str, Any], other: Mapping[str, Tensor]) -> float:
    """The largest difference of two models' weights."""
    import torch

    return max(float((torch.as_tensor(one[k]) - w).abs().max()) for k, w in other.items() if w.is_floating_point())
