"""Training code of a site's own as a leg: the scripts of the how-to, on real images, and what goes wrong."""

from __future__ import annotations

import importlib.util
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from PIL import Image
from safetensors.torch import load_file
from torch.nn import functional as F

from relay import own_code
from relay.bundle.handover_files import digest_of, load, read_facts
from relay.config import Devices, dump
from relay.errors import HandoverError, RelayError, UserError
from relay.exchange import StudyStore, chain_in, check_fit
from relay.leg import Progress, RunPaths, check_own_code, handover_writer
from relay.own_code import OpenLeg, open_leg
from relay.plan import read_config
from relay.results import matrix, of_model
from relay.simulate import Simulation
from relay.trust import ConfigMismatch, Policy, PolicyBreach
from tests.studies import given, study

PAGE = Path(__file__).parents[1] / "docs" / "how-to" / "bring-your-own-trainer.md"
FILES = dict(re.findall(r"^`([\w.]+)`:\n\n```\w+\n(.*?)^```", PAGE.read_text(), re.S | re.M))
BUNDLE = {
    "imports": ["$import torch"],
    "device": "$torch.device('cpu')",
    "network_def": {"_target_": "UNet"},
    "network": "$@network_def.to(@device)",
    "loss": {"_target_": "DiceCELoss", "to_onehot_y": True, "softmax": True},
    "optimizer": {"_target_": "torch.optim.Adam", "params": "$@network.parameters()", "lr": 0.003},
    "train": {
        "dataset": {"_target_": "Dataset", "data": []},
        "handlers": [{"_target_": "CheckpointSaver", "save_dir": "models", "save_dict": {"net": "@network"}}],
        "dataloader": {"_target_": "DataLoader", "dataset": "@train#dataset", "batch_size": 4, "num_workers": 0},
        "trainer": {
            "_target_": "tests.test_own_code.Loop",
            "max_epochs": 1,
            "device": "@device",
            "train_data_loader": "@train#dataloader",
            "network": "@network",
            "loss_function": "@loss",
            "optimizer": "@optimizer",
            "train_handlers": "@train#handlers",
        },
    },
}
"""A bundle's ``train.json``, of the parts that bundles have."""
if importlib.util.find_spec("ignite"):
    BUNDLE["train"]["trainer"]["_target_"] = "SupervisedTrainer"  # type: ignore[index]


class Loop:
    """What ``SupervisedTrainer`` does here, without ignite."""

    def __init__(self, max_epochs: int, device: Any, train_handlers: list[Any], **parts: Any) -> None:
        self.parts = parts

    def run(self) -> None:
        """One epoch."""
        for batch in self.parts["train_data_loader"]:
            self.parts["optimizer"].zero_grad()
            self.parts["loss_function"](self.parts["network"](batch["image"]), batch["label"]).backward()
            self.parts["optimizer"].step()


def run_script(name: str) -> None:
    exec(compile(FILES[name], name, "exec"), {"__name__": "__main__"})


@pytest.fixture(scope="module")
def relayed(tmp_path_factory: pytest.TempPathFactory, shared_data: Path) -> Path:
    """Leg 1 by the plain script, leg 2 by the bundle, leg 3 by relay itself."""
    folder = tmp_path_factory.mktemp("own")
    (folder / "lungs.yaml").write_text(FILES["lungs.yaml"])
    (folder / "data").symlink_to(shared_data)
    (folder / "configs").mkdir()
    (folder / "configs" / "train.json").write_text(json.dumps(BUNDLE))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        run_script("plain.py")
        shutil.copytree(folder / "exps", folder / "after leg 1")
        run_script("with_bundle.py")
        run = Simulation(read_config(Path("lungs.yaml"), "lungs").plan(), folder / "exps/lungs/run")
        with Progress(run.steps) as progress:
            run.run(progress)
    return folder / "exps/lungs/run"


def test_own_code_and_relay_take_turns_in_one_study(relayed: Path) -> None:
    paths = [RunPaths(relayed).leg(f"task_{number}") for number in (1, 2, 3)]
    facts = [read_facts(leg.handover) for leg in paths]
    assert [fact.strategy for fact in facts] == ["own code: plain 1.0", "own code: my bundle 0.1", "relay"]
    assert [fact.start for fact in facts[1:]] == [digest_of(leg.handover) for leg in paths[:2]]
    made = [load(leg.handover) for leg in paths]
    first = next(name for name, tensor in made[0].model.items() if tensor.is_floating_point())
    assert len({float(each.model[first].norm()) for each in made}) == 3, "every leg has trained"
    assert (paths[0].handover / "memory.safetensors").is_file(), "relay's strategy has made its memory after the script"
    chain = chain_in(StudyStore(relayed / "handoff/task_3/australia", "simulation").signed(3))
    assert [said.claim.own_code for said in chain] == ["plain 1.0", "my bundle 0.1", None]
    summary = json.loads((relayed / "results/summary.json").read_text())
    assert len(summary["matrix"]) == 3


def test_nothing_is_claimed_of_a_training_that_is_not_known(relayed: Path) -> None:
    signed = StudyStore(relayed / "handoff/task_3/italy", "simulation").signed(1)
    config = json.loads((signed / "config.json").read_text())
    assert not [key for key in config if key.startswith("train.")]
    assert config["model.name"] == "U-Net"
    card = (signed / "MODEL_CARD.md").read_text()
    assert "this leg by the site's own code, `plain 1.0`" in card
    assert re.search("precision .* are not known here", card)
    record = RunPaths(relayed).leg("task_1").record()
    assert (record["own_code"], record["precision"]) == ("plain 1.0", None)


def test_lightning_trains_a_leg(relayed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = relayed.parents[2]
    shutil.copytree(folder / "after leg 1", tmp_path / "exps")
    shutil.copy(folder / "lungs.yaml", tmp_path)
    (tmp_path / "data").symlink_to(folder / "data")
    monkeypatch.chdir(tmp_path)
    run_script("with_lightning.py")
    assert read_facts(RunPaths(Path("exps/lungs/run")).leg("task_2").handover).strategy == (
        "own code: with Lightning 1.0"
    )


@pytest.mark.slow
@pytest.mark.parametrize("script", ["with_monai.py", "with_bundle.py"])
def test_monais_trainer_trains_a_leg(
    script: str, relayed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("ignite", reason="MONAI's SupervisedTrainer needs it: pip install pytorch-ignite")
    from monai.engines import SupervisedTrainer

    folder, ran = relayed.parents[2], []
    shutil.copytree(folder / "after leg 1", tmp_path / "exps")
    shutil.copytree(folder / "configs", tmp_path / "configs")
    shutil.copy(folder / "lungs.yaml", tmp_path)
    (tmp_path / "data").symlink_to(folder / "data")
    monkeypatch.chdir(tmp_path)
    once = SupervisedTrainer.run
    monkeypatch.setattr(SupervisedTrainer, "run", lambda self: (ran.append(1), once(self))[1])
    run_script(script)
    before, after = (load(RunPaths(Path("exps/lungs/run")).leg(f"task_{leg}").handover).model for leg in (1, 2))
    assert ran == [1], "MONAI's trainer, and no stand-in"
    assert any(not torch.equal(after[name], weight) for name, weight in before.items())


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_nnunets_trainer_relays(shared_data: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("nnunetv2", reason="needs nnU-Net: pip install nnunetv2")
    (tmp_path / "lungs_nnunet.yaml").write_text(FILES["lungs_nnunet.yaml"])
    (tmp_path / "data").symlink_to(shared_data)
    shutil.copy(PAGE.parent / "nnunet_leg.py", tmp_path)
    monkeypatch.chdir(tmp_path)
    for epochs in ("2", "1"):  # a process each: nnU-Net reads its folders once
        subprocess.run([sys.executable, "nnunet_leg.py", "lungs_nnunet.yaml", epochs, "25"], check=True)
    legs = [RunPaths(Path("exps/lungs_nnunet/run")).leg(f"task_{number}") for number in (1, 2)]
    first, second = (of_model(leg.rows()) for leg in legs)
    before, after = (next(iter(matrix(rows).values())) for rows in (first, second))
    for site in ("italy", "china"):
        assert after[site] > all_lung(shared_data / "cxr_lungs" / site / "mask"), "more than to call each pixel lung"
        assert after[site] > before[site], (
            "china's few images alone would not serve italy: the leg went on from italy's"
        )
    facts = [load(leg.handover).facts["model"] for leg in legs]
    assert facts[0] == facts[1]
    planned = yaml.safe_load(FILES["lungs_nnunet.yaml"])["common"]["model"]["kwargs"]
    assert planned.items() <= facts[1]["kwargs"].items(), "nnU-Net's plan travels"
    assert read_facts(legs[1].handover).start == digest_of(legs[0].handover)


def all_lung(masks: Path) -> float:
    """The mean Dice of a mask that calls each pixel lung."""
    shares = [float((np.asarray(Image.open(mask).convert("L")) > 0).mean()) for mask in masks.iterdir()]
    return sum(2 * share / (1 + share) for share in shares) / len(shares)


@pytest.fixture
def _no_report(monkeypatch: pytest.MonkeyPatch) -> None:
    """The page of a finished leg takes longer than the rest of it; ``relayed`` has it."""
    monkeypatch.setattr(own_code, "write_report", lambda root: root)


def opened(site: str | None = None, code: str = "mine 1", **changes: Any) -> OpenLeg:
    """A leg of :data:`tests.studies.TINY`, in the current folder."""
    changes = {"common.dataset.kwargs.count": 8, "current_tasks.task_ids": [1]} | changes
    Path("tiny.yaml").write_text(dump(given(**changes)))
    return open_leg("tiny.yaml", code=code, site=site)


def damaged(weights: dict[str, torch.Tensor]) -> Iterator[tuple[Any, str]]:
    first, *rest = weights
    yield {name: weights[name] for name in rest}, "missing"
    yield weights | {"more": torch.zeros(1)}, "not in the net"
    yield weights | {first: torch.zeros(3)}, r"\(3,\)"
    yield weights | {first: weights[first] * torch.nan}, "not finite"
    yield weights | {first: weights[first].double()}, "float64"
    yield weights | {first: 7}, "no tensors"
    yield weights | {first: weights[first].to("meta")}, "on the device 'meta': "
    yield weights | {first: weights[first].to_sparse()}, "these weights are sparse"
    flat = next(name for name, value in weights.items() if value.ndim > 1)
    yield weights | {flat: weights[flat].flatten(1).to_sparse_csr()}, "these weights are sparse"
    yield {"state_dict": weights, "epoch": 3}, "no tensors: state_dict, epoch"
    yield {f"module.{name}": value for name, value in weights.items()}, "their names begin with 'module.'"
    yield {"loss.weight": torch.ones(1)} | {f"net.{name}": value for name, value in weights.items()}, "with 'net.'"
    yield None, "got a NoneType"
    yield [*weights.values()], "got a list"
    yield "best.pt", "got a str"


OTHER = """
import sys
from relay.errors import RelayError
from relay.own_code import open_leg
try:
    with open_leg("tiny.yaml", code="mine 1"):
        pass
except RelayError as error:
    print(error, file=sys.stderr)
    sys.exit(error.exit_code)
"""


@pytest.mark.usefixtures("_no_report")
def test_wrong_weights_are_refused_and_the_leg_stays_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match="got no weights"), opened() as leg:
        assert (leg.weights, leg.memories) == (None, {})
    with pytest.raises(ZeroDivisionError), opened() as leg:
        raise ZeroDivisionError  # an error of the script's own is not replaced
    assert not RunPaths(Path("exps/tiny/run")).leg("task_1").begun
    with opened() as leg:
        image = leg.train[0]
        assert (image["image"].shape, image["label"].shape) == ((3, 32, 32), (32, 32))
        assert leg.net()(image["image"][None]).shape == (1, 3, 32, 32)
        assert F.cross_entropy(leg.net()(image["image"][None]), image["label"][None]).isfinite()
        with pytest.raises(UserError, match="this script has a leg in exps/tiny/run open already"):
            opened().__enter__()
        with pytest.raises(UserError, match="this script has a leg"):
            leg.__enter__()
        other = subprocess.run([sys.executable, "-c", OTHER], capture_output=True, text=True, check=False)
        assert (other.returncode, other.stderr.count("\n")) == (2, 1), other.stderr
        assert f"in use by another relay command: process {os.getpid()}" in other.stderr
        for wrong, why in damaged(leg.net().state_dict()):
            with pytest.raises(HandoverError, match=why) as refused:
                leg.finish(wrong)
            assert "call finish again" in refused.value.advice()
            assert len(str(refused.value).splitlines()) == 1
        scores = leg.finish(leg.net())
        assert set(scores) == {"clinic_a", "clinic_b"}
        with pytest.raises(UserError, match="finished already"):
            leg.finish(leg.net())
    with pytest.raises(UserError, match="is finished already"):
        leg.finish(leg.net())
    with pytest.raises(UserError, match="every leg of tiny"):
        opened()


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"common.strategy.name": "si"}, "needs to see each step"),
        ({"common.train.privacy": {"epsilon": 8, "clip": 1.0}}, "not known"),
        ({"code": " "}, "can't be written"),
        ({"code": "naïve 1"}, "can't be written"),
        ({"site": "nowhere"}, "no leg of site 'nowhere'"),
        ({"site": "clinic_b", "current_tasks.task_ids": [1, 2]}, "starts from task_1, which is not finished"),
    ],
)
def test_what_nobody_can_promise_is_refused_before_training(
    changes: dict[str, Any], why: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=why), opened(**changes):
        pass


def test_a_leg_has_nothing_before_it_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    leg = opened()
    assert (leg.site, leg.number, hasattr(leg, "nothing")) == ("clinic_a", 1, False)
    for name in ("weights", "memories", "split", "train", "val"):
        with pytest.raises(UserError, match=f"is not open, so it has no {name} yet"):
            getattr(leg, name)
        assert not hasattr(leg, name)
    with pytest.raises(UserError, match="it has no net yet"):
        leg.net()
    with pytest.raises(UserError, match="is not open"):
        leg.finish({})


RELAYED: dict[str, Any] = {
    "common.strategy.name": "relay",
    "current_tasks.task_ids": [1, 2],
    "common.dataset.kwargs.count": 14,
    "common.dataset.kwargs.repeats": 1,
}


def handed_over(run: Path, leg: str) -> dict[str, torch.Tensor]:
    """Every tensor of a leg's handover: model, memory and expert."""
    files = (RunPaths(run).leg(leg).handover).glob("*.safetensors")
    return {f"{file.name} {name}": tensor for file in files for name, tensor in load_file(file).items()}


@pytest.mark.usefixtures("_no_report")
def test_what_a_script_sets_or_spoils_does_not_reach_relays_part(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[dict[str, torch.Tensor]] = []
    scores: list[dict[str, float]] = []
    for careless in (False, True):
        folder = tmp_path / str(careless)
        (folder / "elsewhere").mkdir(parents=True)
        monkeypatch.chdir(folder)
        with opened(**RELAYED) as leg:
            leg.finish(leg.net())
        with opened(**RELAYED) as leg, ExitStack() as restored:
            net = leg.net()
            assert leg.memories.keys() == {"clinic_a"}
            assert all(torch.equal(net.state_dict()[name], value) for name, value in (leg.weights or {}).items())
            if careless:
                for tensor in (*leg.memories["clinic_a"].tensors.values(), *(leg.weights or {}).values()):
                    tensor.zero_()
                os.chdir("elsewhere")
                torch.manual_seed(99)
                torch.set_default_dtype(torch.float64)
                restored.callback(torch.set_default_dtype, torch.float32)
                restored.enter_context(torch.inference_mode())
                restored.enter_context(torch.autocast("cpu", dtype=torch.bfloat16))
                restored.enter_context(torch.device("meta"))
            scores.append(leg.finish(net))
            assert Path.cwd().name == ("elsewhere" if careless else "False")
        made.append(handed_over(folder / "exps/tiny/run", "task_2"))
    assert scores[0] == scores[1]
    assert made[0].keys() == made[1].keys()
    assert {name.split()[0] for name in made[0]} == {
        "model.safetensors",
        "memory.safetensors",
        "expert.safetensors",
        "cumulative.safetensors",
    }
    assert all(torch.equal(tensor, made[1][name]) for name, tensor in made[0].items())


def test_a_memory_that_was_changed_is_refused_before_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with opened(**RELAYED) as leg:
        leg.finish(leg.net())
    sent = [path for path in Path("exps/tiny/run/handoff").rglob("*") if path.suffix in {".relay", ".age"}]
    assert sent
    for path in sent:
        data = bytearray(path.read_bytes())
        data[len(data) // 2] ^= 1
        path.write_bytes(data)
    for file in Path("exps/tiny/run/handoff").rglob("memory.safetensors"):
        file.chmod(0o600)
        file.write_bytes(file.read_bytes()[:-4] + b"\0\0\0\0")
    with pytest.raises(RelayError) as refused, opened(**RELAYED):
        pass
    assert len(str(refused.value).splitlines()) == 1
    assert refused.value.advice()


@pytest.mark.parametrize("policy", [Policy(same_config=True), Policy(audit="require")])
def test_a_policy_that_asks_for_what_is_not_known_refuses_own_code(policy: Policy) -> None:
    leg = replace(study().legs[0], own_code="mine 1")
    with pytest.raises(PolicyBreach, match="own code"):
        check_own_code(leg, policy, Devices())


def test_the_receiver_of_such_a_study_refuses_it_too(relayed: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(relayed.parents[2])
    claim = chain_in(StudyStore(relayed / "handoff/task_3/italy", "simulation").signed(1))[-1].claim
    leg = read_config(Path("lungs.yaml"), "lungs").plan().legs[0]
    expected = handover_writer.expected_config(leg)
    there = load(RunPaths(relayed).leg("task_1").handover).facts
    check_fit(there, claim, expected, Policy())
    with pytest.raises(ConfigMismatch, match=r"own code \(plain 1.0\)"):
        check_fit(there, claim, expected, Policy(same_config=True))


def test_tied_weights_are_written_under_each_of_their_names(tmp_path: Path) -> None:
    weight = torch.ones(3)
    left = handover_writer._leaving({"a": weight, "b": weight, "c": torch.zeros(0), "d": torch.zeros(0)})
    assert left["a"].data_ptr() != left["b"].data_ptr()
    assert torch.equal(left["a"], left["b"])
