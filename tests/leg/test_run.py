"""A leg from end to end: what it writes, what it refuses, what it says when training goes wrong."""

from __future__ import annotations

import csv
import json
import re
import shutil
import sys
from pathlib import Path

import pytest
import torch
import yaml

from relay.bundle.handover_files import digest_of, load, read_facts
from relay.bundle.seal import MAGIC
from relay.errors import DataError, TrainingError, UserError
from relay.exchange.receiving import chain_in
from relay.exchange.store import StudyStore
from relay.leg import checkpoint, run
from relay.leg.paths import RunPaths
from relay.registry import find
from relay.results import COLUMNS
from tests.studies import TINY, finished, simulate, study


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("done")
    projected = {"owm_directions": 32, "owm_images": 64}  # as it comes
    return finished(root, **{"common.strategy": {"name": "relay", "kwargs": projected}})


def test_run_folder_holds_configs_log_curves_checkpoints_results(done: Path) -> None:
    given = yaml.safe_load((done / "config.given.yaml").read_text())
    resolved = yaml.safe_load((done / "config.resolved.yaml").read_text())
    assert given["common"]["strategy"]["name"] == "relay"
    assert resolved["task_2"]["dataset"]["kwargs"]["task_name"] == "clinic_b"
    for leg in ("task_1", "task_2"):
        assert list((done / "tensorboard" / leg).glob("events*"))
        assert {p.name for p in (done / "checkpoints" / leg).iterdir()} == {
            "last.ckpt",
            "handover",
            "data.json",
            "leg.json",
            "scores.csv",
            *(["routing.json"] if leg == "task_2" else []),
        }


def test_split_is_recorded_and_no_patient_is_in_two_parts(done: Path) -> None:
    split = json.loads((done / "splits" / "clinic_a.json").read_text())
    patients = {part: {name.split("_")[0] for name in names} for part, names in split.items()}
    assert all(patients[part] for part in ("train", "val", "test"))
    assert not patients["train"] & patients["test"]
    assert not patients["train"] & patients["val"]
    assert not patients["val"] & patients["test"]


def test_every_leg_is_tested_on_every_site(done: Path) -> None:
    with (done / "results" / "scores.csv").open() as file:
        reader = csv.DictReader(file)
        rows = list(reader)
        assert tuple(reader.fieldnames or ()) == COLUMNS
    assert {(r["leg"], r["site"]) for r in rows} == {(leg, s) for leg in "12" for s in ("clinic_a", "clinic_b")}
    tested = set(json.loads((done / "splits" / "clinic_a.json").read_text())["test"])
    assert {r["sample"] for r in rows if r["site"] == "clinic_a"} == tested
    assert all(0 <= float(r["value"]) <= 1 for r in rows if r["value"])


def test_the_same_seed_gives_the_weights_it_has_always_given(done: Path) -> None:
    """``weights.json``: the norm of each layer, from before the modules had their present names and rooms.

    Kernels of other machines round otherwise; another seed or order of random numbers moves them by 0.01 and more.
    """
    before = json.loads((Path(__file__).parent / "weights.json").read_text())
    now = load(done / "checkpoints/task_2/handover").model
    assert {name: float(now[name].double().norm()) for name in before} == pytest.approx(before, abs=1e-3)


def received(done: Path) -> StudyStore:
    return StudyStore(done / "handoff/task_2/clinic_b", "simulation")


def test_handover_tells_of_its_leg_and_equals_the_checkpoint(done: Path) -> None:
    paths = done / "checkpoints/task_2/handover"
    facts, handover = read_facts(paths), load(paths)
    split = json.loads((done / "splits/clinic_b.json").read_text())
    assert (facts.leg, facts.site, facts.strategy) == (2, "clinic_b", "relay")
    assert facts.samples == len(split["train"])
    assert facts.start == digest_of(done / "checkpoints/task_1/handover")
    model, disclosed = checkpoint.load(done / "checkpoints/task_2/last.ckpt")
    config = json.loads((done / "checkpoints/task_2/leg.json").read_text())["config"]
    assert disclosed == {"leg": 2, "config": config, **{key: handover.facts[key] for key in ("model", "data")}}
    assert all(torch.equal(model[k], handover.model[k]) for k in handover.model)


def test_legs_of_a_simulation_are_handed_over_as_signed_and_sealed_bundles(done: Path) -> None:
    store = received(done)
    record = store.ledger.record()
    assert (set(record.received), set(record.signed)) == ({1}, {2})
    statements = chain_in(store.signed(2))
    assert [(s.claim.leg, s.claim.site, s.claim.samples) for s in statements] == [
        (1, "clinic_a", 16),
        (2, "clinic_b", 16),
    ]
    sealed = sorted((done / "handoff/task_2/stick").iterdir())
    assert [path.name for path in sealed] == [
        f"simulation.leg-{n}.clinic_{c}.relay.age" for n, c in ((1, "a"), (2, "b"))
    ]
    assert all(path.read_bytes().startswith(MAGIC) for path in sealed)


def test_what_leaves_names_no_sample_patient_or_path_and_no_exact_count(done: Path) -> None:
    left = [path for path in received(done).signed(2).rglob("*") if path.suffix in {".json", ".md", ".txt"}]
    names = json.loads((done / "splits" / "clinic_b.json").read_text())
    texts = [path.read_text() for path in left] + [s.envelope.decode() for s in chain_in(received(done).signed(2))]
    assert len(left) > 8
    for text in texts:
        assert not any(name in text for part in names.values() for name in part)
        assert str(done) not in text
    card = json.loads((received(done).signed(2) / "data-card.json").read_text())
    assert (card["images"]["train"], card["counts"]) == (16, "rounded")
    assert len(names["train"]) == 12


def test_a_leg_trained_again_is_handed_over_again(tmp_path: Path) -> None:
    finished(tmp_path)
    before = chain_in(StudyStore(tmp_path / "handoff/task_2/clinic_b", "simulation").signed(2))
    for leg in ("task_1", "task_2"):
        shutil.rmtree(tmp_path / "checkpoints" / leg)
    simulate(tmp_path, **{"common.train.num_epochs": 1})
    after = chain_in(StudyStore(tmp_path / "handoff/task_2/clinic_b", "simulation").signed(2))
    assert [s.manifest for s in before] != [s.manifest for s in after]
    assert read_facts(tmp_path / "checkpoints/task_2/handover").start == digest_of(
        tmp_path / "checkpoints/task_1/handover"
    )


def test_ways_that_branch_are_studies_of_their_own(tmp_path: Path) -> None:
    third = {"kwargs": {"task_id": 3, "task_name": "clinic_c", "camera": "clinic_c"}}
    changes = {
        "all_tasks_datasets": [*TINY["all_tasks_datasets"], third],
        "current_tasks.task_ids": [1, 2, 3],
        "current_tasks.task_confs": {3: {"checkpoint": {"load": "task_1"}}},
    }
    simulate(tmp_path, **changes)
    assert sorted(path.name for path in (tmp_path / "handoff").iterdir()) == ["task_2", "task_3"]
    made = chain_in(StudyStore(tmp_path / "handoff/task_3/clinic_c", "simulation").signed(2))
    assert [s.claim.site for s in made] == ["clinic_a", "clinic_c"]
    simulate(tmp_path, **changes)


def test_loss_that_is_no_number_stops_names_the_batch_and_keeps_the_last_state(tmp_path: Path) -> None:
    changes = {
        "common.train.optimizer": {"name": "SGD", "kwargs": {"lr": 1e30}},
        "common.train.num_epochs": 50,
        "common.train.save_every_n_seconds": 0,
        "current_tasks.task_ids": [1],
    }
    with pytest.raises(TrainingError, match=r"not finite at step \d+ \(epoch \d+, batch \d+: p\d{4}_") as caught:
        simulate(tmp_path, **changes)
    assert "lr" in caught.value.advice()
    state = tmp_path / "checkpoints/task_1/phase_1_learn.ckpt"
    if state.is_file():
        saved = torch.load(state, weights_only=True)["state_dict"]
        assert all(v.isfinite().all() for v in saved.values())
    assert not (tmp_path / "checkpoints/task_1/last.ckpt").exists()


def test_checkpoint_of_another_program_is_refused(tmp_path: Path) -> None:
    from relay.errors import UserError

    torch.save({"state_dict": {}}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="not a checkpoint of this program"):
        checkpoint.load(tmp_path / "last.ckpt")
    (tmp_path / "last.ckpt").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(UserError, match="is damaged"):
        checkpoint.load(tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="no checkpoint"):
        checkpoint.load(tmp_path / "none.ckpt")


def test_damaged_test_image_of_another_site_stops_the_leg_before_its_training(tmp_path: Path) -> None:
    from PIL import Image

    for site in ("north", "south"):
        for kind in ("image", "mask"):
            (tmp_path / "data" / site / kind).mkdir(parents=True)
            for name in "abcdef":
                Image.new("L", (32, 32)).save(tmp_path / "data" / site / kind / f"{name}.png")
    for path in (tmp_path / "data/south/image").iterdir():
        path.write_bytes(path.read_bytes()[:40])
    changes = {
        "common.dataset": {"name": "folder", "kwargs": {"root_path": str(tmp_path / "data"), "num_classes": 2}},
        "all_tasks_datasets.0.kwargs": {"task_id": 1, "task_name": "north", "img_folder": "north"},
        "all_tasks_datasets.1.kwargs": {"task_id": 2, "task_name": "south", "img_folder": "south"},
        "current_tasks.task_ids": [1],
    }
    with pytest.raises(DataError, match="south"):
        simulate(tmp_path / "run", **changes)
    assert not list((tmp_path / "run").rglob("phase_*"))


DIES = """
import torch
from relay.strategies.base import Strategy

class Dies(Strategy):
    def finish(self, training):
        {0}

class Steep(Strategy):
    def loss(self, batch):
        return {{"task": 1e6 * super().loss(batch)["task"]}}
"""


@pytest.mark.parametrize(
    ("ends", "says"),
    [
        ("self.model.state_dict()['{0}'].fill_(float('nan'))", r"{0}: not finite|{0} is not finite"),
        ("self.model.register_buffer('odd', torch.ones(2))", "odd: not in the net"),
    ],
)
def test_a_leg_whose_work_would_be_refused_is_not_finished(
    ends: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Such as weights that go wrong after the last step."""
    name = next(iter(study().legs[0].net.build().state_dict()))
    (tmp_path / "dies.py").write_text(DIES.format(ends.format(name)))
    monkeypatch.chdir(tmp_path)
    sys.modules.pop("dies", None)
    changes = {"common.strategy.name": "dies:Dies", "common.train.num_epochs": 1}
    with pytest.raises(TrainingError, match=says.format(re.escape(name))) as caught:
        simulate(tmp_path / "run", **changes)
    assert "Nothing was signed" in caught.value.advice()
    leg = RunPaths(tmp_path / "run").leg("task_1")
    assert leg.record()["state"] == "started"
    assert not leg.handover.exists()
    assert not list((tmp_path / "run").rglob("*.age"))


def test_a_last_step_that_ruins_the_weights_is_not_the_end_of_a_leg(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The loss of that step was finite: nothing looks at the weights after it but this."""
    (tmp_path / "steep.py").write_text(DIES.format("pass"))
    monkeypatch.chdir(tmp_path)
    changes = {
        "common.strategy.name": "steep:Steep",
        "common.train.optimizer": {"name": "SGD", "kwargs": {"lr": 3e38}},
        "common.train.num_epochs": 1,
        "common.train.batch_size": 24,
        "current_tasks.task_ids": [1],
    }
    with pytest.raises(TrainingError, match=r"weights were not finite after step 0 \(epoch 0\): .*no state was saved"):
        simulate(tmp_path, **changes)
    assert not RunPaths(tmp_path).leg("task_1").finished
    simulate(tmp_path, **{**changes, "common.train.optimizer": {"name": "SGD", "kwargs": {"lr": 1e-9}}})
    assert RunPaths(tmp_path).leg("task_1").finished


@pytest.mark.parametrize(
    ("build", "said"), [("None", "TypeError: build gave NoneType; it must give a torch.nn.Module"), ("1 / 0", "Zero")]
)
def test_a_net_that_builds_no_module_is_its_authors_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, build: str, said: str
) -> None:
    (tmp_path / "hollow.py").write_text(
        f"from relay.nets import Net\nclass Mine(Net):\n    def build(self):\n        return {build}\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path))
    monkeypatch.delitem(sys.modules, "hollow", raising=False)
    net = find("nets", "hollow:Mine")
    with pytest.raises(UserError, match=f"^Mine failed: {said}"):
        run._built(net(net.Options()))


def test_a_net_with_other_outputs_than_there_are_classes_is_refused_before_it_is_trained(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A loss that looks at the first classes only would train it, and its scores would mean nothing."""
    (tmp_path / "wide.py").write_text(
        "from relay.nets import Net\nclass Wide(Net):\n    def build(self):\n"
        "        from torch import nn\n        return nn.Conv2d(self.channels()[0], 7, 1)\n"
    )
    monkeypatch.chdir(tmp_path)
    monkeypatch.delitem(sys.modules, "wide", raising=False)
    changes = {"common.model": {"name": "wide:Wide"}, "current_tasks.task_ids": [1]}
    with pytest.raises(UserError, match=r"shape \(1, 7, 32, 32\) for an image; it must give \(1, 3, 32, 32\)"):
        simulate(tmp_path / "run", **changes)
    with pytest.raises(
        UserError, match=r"shape \(1, 7, 16, 16\) for an image"
    ):  # one patch tells, however large an image is
        simulate(tmp_path / "patches", **changes, **{"common.dataset.kwargs.patch_size": [16, 16]})
    assert not list((tmp_path / "run").rglob("*.ckpt"))


@pytest.mark.parametrize("patch", [None, [16, 16]])
def test_a_classifier_in_a_segmentation_study_is_refused(tmp_path: Path, patch: list[int] | None) -> None:
    """With patches, monai's sliding window would fail on its output before its shape is looked at."""
    kwargs = {"block_config": [1], "init_features": 4, "growth_rate": 4, "batch_norm": "group"}
    changes = {"common.model": {"name": "monai:DenseNet", "kwargs": kwargs}, "current_tasks.task_ids": [1]}
    with pytest.raises(UserError, match=r"shape \(1, 3\) for an image; it must give \(1, 3, ") as caught:
        simulate(tmp_path, **changes, **({"common.dataset.kwargs.patch_size": patch} if patch else {}))
    assert "such as U-Net" in caught.value.advice()
