"""Two hospitals that a network connects: a folder each, with a config, and for bundles with keys.

Their order is not that of the alphabet, and one has about twice the images of the other. So whoever sorts the sites, or
forgets to weight them, gets another result.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from relay.bundle import disclosed
from relay.bundle.handover_files import load, read_facts
from relay.leg.simulated_transport import STUDY, SimulatedStudy
from relay.leg.transport import Transport
from tests.studies import given

ORDER = ("clinic_b", "clinic_a")
TASKS = {"clinic_a": 1, "clinic_b": 2}
SGD = {"common.train.num_epochs": 1, "common.train.optimizer": {"name": "SGD", "kwargs": {"lr": 0.05}}}
RELAY = {**SGD, "common.strategy.name": "relay", "current_tasks.task_ids": [TASKS[site] for site in ORDER]}
FEDAVG = {
    **SGD,
    "common.strategy.name": "fedavg",
    "all_tasks_datasets.1.kwargs.count": 48,
    "current_tasks.task_ids": [TASKS[site] for site in ORDER],
}


def sealing(root: Path, **changes: Any) -> str:
    """A deployment's sites, each with keys and the roster; returns their configs' path, with ``{site}``."""
    study = SimulatedStudy(root / "homes", ORDER, Transport.policy)
    study.begin()
    for site, task in TASKS.items():
        handoff = {"study": STUDY, "key": str(study.root / site), "receive": "inbox", "send": "outbox"}
        own = {"mode": "deployment", "task_ids": [task], "handoff": handoff}
        _write(root, site, given(**{**_alone(RELAY), "current_tasks": own, **changes}))
    return str(root / "{site}/site.yaml")


def averaging(root: Path, **changes: Any) -> str:
    """Sites whose weights a server averages; returns their configs' path, with ``{site}``."""
    for site, task in TASKS.items():
        _write(root, site, given(**{**_alone(FEDAVG), "current_tasks.task_ids": [task], **changes}))
    return str(root / "{site}/site.yaml")


def _alone(changes: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in changes.items() if not key.startswith("current_tasks")}


def _write(root: Path, site: str, blocks: Mapping[str, Any]) -> None:
    (root / site).mkdir(parents=True)
    (root / site / "site.yaml").write_text(yaml.safe_dump(dict(blocks)))


def weights(run: Path, leg: str) -> Mapping[str, Tensor]:
    """The model that a leg has handed over."""
    return load(run / "checkpoints" / leg / "handover").model


def tensors(run: Path, leg: str) -> dict[str, Tensor]:
    """Every tensor that a leg has handed over: its model, and its own memory and expert."""
    from safetensors.torch import load_file

    files = (run / "checkpoints" / leg / "handover").glob("*.safetensors")
    return {f"{file.name}: {name}": tensor for file in files for name, tensor in load_file(file).items()}


def differing(one: Mapping[str, Tensor], other: Mapping[str, Tensor]) -> list[str]:
    """Names of tensors that are missing on one side, or differ in a bit."""
    import torch

    both = one.keys() & other.keys()
    return sorted((one.keys() ^ other.keys()) | {name for name in both if not torch.equal(one[name], other[name])})


def furthest(one: Mapping[str, Any], other: Mapping[str, Any]) -> float:
    """The largest difference of two models' floating-point weights; both must have the same."""
    import torch

    kept = [
        {name: torch.as_tensor(value) for name, value in each.items() if torch.as_tensor(value).is_floating_point()}
        for each in (one, other)
    ]
    assert kept[0].keys() == kept[1].keys()
    return max(float((kept[0][name] - value).abs().max()) for name, value in kept[1].items())


def averages(root: Path, turn: int) -> list[dict[str, Tensor]]:
    """What a server must have made of a round of FedAvg, in 64 bits: the sites' average, and the one that weighs every
    site alike."""
    import torch

    made = {site: weights(root / site / f"exps/site/network-round{turn}", f"task_{TASKS[site]}") for site in ORDER}
    share = {site: train_images(root / site / f"exps/site/network-round{turn}", site) for site in ORDER}
    names = [name for name, value in made[ORDER[0]].items() if value.is_floating_point()]
    return [
        {
            name: sum((made[site][name].double() * weigh[site] for site in ORDER), torch.zeros(()))
            / sum(weigh.values())
            for name in names
        }
        for weigh in (share, dict.fromkeys(ORDER, 1))
    ]


def train_images(run: Path, site: str) -> int:
    """How many training images a site says that it has."""
    return disclosed(read_facts(run / f"checkpoints/task_{TASKS[site]}/handover").samples, Transport.policy)
