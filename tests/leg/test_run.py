"""A leg from end to end: what it writes, what it refuses, what it says when training goes wrong."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import pytest
import torch
import yaml

from relay.errors import CarryError, DataError, TrainingError
from relay.handoff import Carry, receive, send
from relay.leg import checkpoint
from relay.results import COLUMNS
from tests.studies import simulate


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("done")
    simulate(root, **{"common.strategy.name": "relay"})
    return root


def test_run_folder_holds_configs_log_curves_checkpoints_results(done: Path) -> None:
    given = yaml.safe_load((done / "config.given.yaml").read_text())
    resolved = yaml.safe_load((done / "config.resolved.yaml").read_text())
    assert given["common"]["strategy"]["name"] == "relay"
    assert resolved["task_2"]["dataset"]["kwargs"]["task_name"] == "clinic_b"
    for leg in ("task_1", "task_2"):
        assert list((done / "tensorboard" / leg).glob("events*"))
        assert {p.name for p in (done / "checkpoints" / leg).iterdir()} == {
            "last.ckpt",
            "carry",
            "leg.json",
            "scores.csv",
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


def test_carry_tells_of_each_leg_and_equals_the_checkpoint(done: Path) -> None:
    carry = receive(done / "checkpoints/task_2/carry")
    assert [(leg["leg"], leg["site"]) for leg in carry.legs] == [(1, "clinic_a"), (2, "clinic_b")]
    assert carry.samples_seen == sum(
        len(json.loads((done / "splits" / f"{site}.json").read_text())["train"]) for site in ("clinic_a", "clinic_b")
    )
    solver, facts = checkpoint.load(done / "checkpoints/task_2/last.ckpt")
    assert facts == carry.facts
    assert all(torch.equal(solver[k], carry.solver[k]) for k in carry.solver)


def test_carry_names_no_sample_patient_or_path(done: Path) -> None:
    head = (done / "checkpoints/task_2/carry/carry.json").read_text()
    names = json.loads((done / "splits" / "clinic_a.json").read_text())
    assert not any(name in head for part in names.values() for name in part)
    assert str(done) not in head


def test_carry_of_other_classes_is_refused(done: Path, tmp_path: Path) -> None:
    carry = receive(done / "checkpoints/task_1/carry")
    data = {**carry.facts["data"], "classes": ["background", "left", "right"]}
    send(Carry(carry.solver, {}, {**carry.facts, "data": data}), tmp_path / "carry")
    confs = {2: {"checkpoint": {"load": str(tmp_path / "carry")}}}
    with pytest.raises(CarryError, match="classes is"):
        simulate(tmp_path / "run", **{"current_tasks.task_ids": [2], "current_tasks.task_confs": confs})


def test_carry_of_another_net_is_refused(done: Path, tmp_path: Path) -> None:
    confs = {2: {"checkpoint": {"load": str(done / "checkpoints/task_1/carry")}}}
    with pytest.raises(CarryError, match="do not fit the net"):
        simulate(
            tmp_path,
            **{
                "current_tasks.task_ids": [2],
                "current_tasks.task_confs": confs,
                "common.model.kwargs.features": [8, 8, 8, 8, 16],
            },
        )


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


def test_batch_norm_relay_and_mimgs_budget(tmp_path: Path) -> None:
    changes = {
        "common.strategy.name": "relay",
        "common.model.kwargs.norm": "batch",
        "common.train.num_epochs": None,
        "common.train.num_mimgs": 0.00004,
    }
    simulate(tmp_path, **changes)
    norms = [k for k in receive(tmp_path / "checkpoints/task_2/carry").solver if k.endswith("running_mean")]
    assert norms


def test_checkpoint_of_another_program_is_refused(tmp_path: Path) -> None:
    from relay.errors import UserError

    torch.save({"state_dict": {}}, tmp_path / "last.ckpt")
    with pytest.raises(UserError, match="not a checkpoint of this program"):
        checkpoint.load(tmp_path / "last.ckpt")
    (tmp_path / "last.ckpt").write_bytes(b"PK\x03\x04 broken")
    with pytest.raises(UserError, match="can't be read"):
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
