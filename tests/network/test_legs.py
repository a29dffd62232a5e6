"""Legs that a network carries: what is refused, and that they give what a simulation gives."""

from __future__ import annotations

import importlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import save_file

from relay.errors import HandoverError, Interrupted, RelayError, UserError
from relay.leg.transport import Incoming
from relay.network import command, deliver, sealed_leg
from relay.network.averages import FromServer, _incoming, averaged_leg
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
from tests.rooms import MODULES, imports
from tests.studies import finished, simulate, study

FILES = {"simulation.leg-1.clinic_a.relay.age": np.frombuffer(b"sealed", dtype=np.uint8)}


def test_nothing_else_imports_what_a_network_carries() -> None:
    outside = {name: path for name, path in MODULES.items() if not name.startswith("relay.network")}
    found = {
        name: {name for module, what in imports(path) for name in (module, f"{module}.{what}")}
        for name, path in outside.items()
    }
    assert not [
        name
        for name, modules in found.items()
        if any(m == "relay.network" or m.startswith("relay.network.") for m in modules)
    ]
    assert not [name for name, modules in found.items() if {m.split(".")[0] for m in modules} & {"nvflare", "flwr"}]


@pytest.mark.parametrize("name", ["../roster", "/etc/x.relay", "leg.txt", "a/b.relay"])
def test_only_bundles_are_put_into_the_inbox(name: str, tmp_path: Path) -> None:
    config = sealing(tmp_path).format(site="clinic_b")
    with pytest.raises(HandoverError, match="is no bundle's name"):
        deliver(config, {name: FILES["simulation.leg-1.clinic_a.relay.age"]})
    assert not list((tmp_path / "clinic_b/inbox").iterdir())


def test_a_bundle_arrives_byte_for_byte(tmp_path: Path) -> None:
    inbox, outbox = deliver(sealing(tmp_path).format(site="clinic_b"), FILES)
    assert (inbox / "simulation.leg-1.clinic_a.relay.age").read_bytes() == b"sealed"
    assert (inbox, outbox) == (tmp_path / "clinic_b/inbox", tmp_path / "clinic_b/outbox")


def test_configs_for_something_else_are_refused(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no config"):
        deliver(tmp_path / "none.yaml", {})
    config = averaging(tmp_path).format(site="clinic_a")
    with pytest.raises(UserError, match="needs a deployment with folders"):
        deliver(config, {})
    config = averaging(tmp_path / "other", **{"common.strategy.name": "relay"}).format(site="clinic_a")
    with pytest.raises(UserError, match=r"a simulation with 1 leg.* and the strategy relay"):
        averaged_leg(config, 1, {})


def test_what_a_command_says_is_passed_on(tmp_path: Path) -> None:
    config = Path(sealing(tmp_path).format(site="clinic_b"))
    with pytest.raises(RelayError, match="exit code 2: usage") as caught:
        command.run("zipfile", ["nonsense"], config)
    assert caught.value.exit_code == 2
    with pytest.raises(Interrupted, match="stopped this leg"):
        command.run("this", [], config, lambda: True)


def test_a_round_that_was_not_sent_is_a_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("relay.network.bundles.run", lambda *_: None)
    with pytest.raises(UserError, match="leg 1 is trained, but not sent"):
        sealed_leg(sealing(tmp_path).format(site=ORDER[0]), 1, {})


def average(tmp_path: Path, **changes: Any) -> Incoming:
    """What round 2 starts from, with some of the average replaced."""
    before = finished(tmp_path / "before")
    arrays = {
        name: 2 * tensor.numpy().astype(np.float64) for name, tensor in weights(before, "task_1").items()
    } | changes
    save_file({name: array for name, array in arrays.items() if array is not None}, tmp_path / "in.safetensors")
    return _incoming(study().legs[0], 2, tmp_path / "in.safetensors", before / "checkpoints/task_1/handover")


def test_an_average_has_the_types_of_the_net_and_counts_its_rounds(tmp_path: Path) -> None:
    incoming = average(tmp_path)
    own = weights(tmp_path / "before", "task_1")
    assert {name: tensor.dtype for name, tensor in incoming.handover.model.items()} == {
        k: w.dtype for k, w in own.items()
    }
    assert all(torch.equal(incoming.handover.model[k], 2 * w) for k, w in own.items())
    assert [turn["site"] for turn in incoming.handover.legs] == ["clinic_a"]
    assert FromServer(incoming).start(None) == incoming.digest  # type: ignore[arg-type]
    assert FromServer(None).start(None) is None  # type: ignore[arg-type]


def test_an_average_of_another_net_is_refused(tmp_path: Path) -> None:
    name = next(iter(weights(finished(tmp_path / "before"), "task_1")))
    with pytest.raises(HandoverError, match=r"lacks weights of this config's net: "):
        average(tmp_path, **{name: None})
    with pytest.raises(HandoverError, match=r"weights that the net of this config does not have: other"):
        average(tmp_path, other=np.zeros(2))


@pytest.mark.slow
def test_bundles_that_are_carried_give_the_simulations_handovers(tmp_path: Path) -> None:
    configs, files = sealing(tmp_path / "sites"), dict[str, Any]()
    for number, site in enumerate(ORDER, 1):
        files = sealed_leg(configs.format(site=site), number, files)
    assert sealed_leg(configs.format(site=ORDER[1]), 2, {}).keys() == files.keys(), "doing it again changes nothing"
    simulate(tmp_path / "sim", **RELAY)
    for number, site in enumerate(ORDER, 1):
        leg = f"task_{TASKS[site]}"
        carried = tensors(tmp_path / f"sites/{site}/exps/site/leg{number}", leg)
        assert not differing(carried, tensors(tmp_path / "sim", leg))
        assert any(name.startswith("memory") for name in carried)


@pytest.mark.slow
def test_a_servers_average_is_that_of_the_ring(tmp_path: Path) -> None:
    configs, averaged = averaging(tmp_path / "sites"), dict[str, Any]()
    for turn in (1, 2):
        made = [averaged_leg(configs.format(site=site), turn, averaged) for site in ORDER]
        total = sum(samples for _, samples in made)
        averaged = {name: sum(own[name] * np.float32(n / total) for own, n in made) for name in made[0][0]}
    simulate(tmp_path / "sim", **FEDAVG, **{"current_tasks.laps": 2})
    right, unweighted = averages(tmp_path / "sites", 2)
    ring = {
        k: w for k, w in weights(tmp_path / "sim", f"task_{TASKS[ORDER[-1]]}_lap2").items() if w.is_floating_point()
    }
    assert furthest(averaged, ring) < 1e-5
    assert furthest(averaged, right) < 1e-5
    assert furthest(unweighted, right) > 1e-3


@pytest.mark.parametrize(("module", "needs"), [("for_nvflare", "nvflare"), ("for_flower", "flwr")])
def test_an_adapter_without_its_package_says_what_to_install(
    module: str, needs: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None if name == needs else find_spec(name))
    monkeypatch.delitem(sys.modules, f"relay.network.{module}", raising=False)
    with pytest.raises(ImportError, match=r"is not installed. Install it: pip install \"relay-learning\["):
        importlib.import_module(f"relay.network.{module}")
