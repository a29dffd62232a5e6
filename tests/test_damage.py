"""A disk that lost what it had promised to keep: whichever of our files is damaged, and how, there is one message."""

from __future__ import annotations

import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from relay import simulate as simulation
from relay.bundle.handover_files import load
from relay.config.devices import Devices
from relay.errors import Interrupted, UserError
from relay.leg import run as leg_run, state
from relay.predict.models import finished
from relay.report.curves import read_curves
from relay.report.gather import read_run
from tests.leg.test_resume import StopAt
from tests.studies import simulate, study

SMALL: dict[str, Any] = {
    "common.strategy.name": "relay",
    "common.train.num_epochs": 3,
    "common.dataset.kwargs.count": 10,
    "common.dataset.kwargs.repeats": 1,
    "common.train.batch_size": 4,
    "common.model.kwargs.features": [4, 4, 4, 4, 4],
}
STEPS = 3
"""Of a leg."""
MUCH = {"checkpoints/task_1/leg.json", "checkpoints/task_1/scores.csv", "splits/clinic_a.json"}
"""Damaged in every way; of other files each in one, which is the next file's turn to be damaged in another."""


def damaged(data: bytes) -> dict[str, bytes]:
    """What a power failure, or a bad block, makes of a file."""
    middle = len(data) // 2
    garbled = data[:middle] + bytes(byte ^ 0x15 for byte in data[middle : middle + 4]) + data[middle + 4 :]
    return {"empty": b"", "halved": data[:middle], "zeroed": bytes(len(data)), "garbled": garbled}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run of two legs."""
    root = tmp_path_factory.mktemp("whole") / "run"
    simulate(root, **SMALL)
    return root


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The same, stopped in the last epoch of the second leg."""
    root = tmp_path_factory.mktemp("broken") / "run"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(leg_run, "ShowProgress", StopAt)
        patch.setattr(StopAt, "left", 3 * STEPS)  # of leg 1 the model and the expert, of leg 2 the model
        with pytest.raises(Interrupted):
            simulate(root, **SMALL)
    assert len(list(root.glob("checkpoints/task_2/phase_*.ckpt"))) == 2, "the state before is not kept"
    return root


def copies(of: Path, to: Path) -> Iterator[tuple[Path, Path, str]]:
    """The run with one file damaged, for each file; of the hand-over's many for every fifth."""
    for number, path in enumerate(sorted(path.relative_to(of) for path in of.rglob("*") if path.is_file())):
        ways = list(damaged((of / path).read_bytes()).items())
        if path.parts[0] == "handoff" and number % 5:
            continue
        for way, data in ways if path.as_posix() in MUCH else ways[number % 4 :][:1]:
            shutil.rmtree(to, ignore_errors=True)
            shutil.copytree(of, to)
            (to / path).write_bytes(data)
            yield to / path, path, way


def told(error: UserError, path: Path, root: Path) -> bool:
    """Whether a message names the file or the folder it is in, and what to do."""
    names = [str(path), *(str(parent) for parent in path.parents if root in parent.parents)]
    return (
        error.exit_code == 2
        and any(name in str(error) for name in names)
        and bool({"emove", "(-n)"} & set(re.findall(r"emove|\(-n\)", error.advice())))
    )


def weights(root: Path, leg: str = "task_2") -> dict[str, torch.Tensor]:
    return dict(load(root / "checkpoints" / leg / "handover").model)


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.slow
def test_train_again_after_any_file_of_a_finished_run_was_damaged(whole: Path, tmp_path: Path) -> None:
    """In the gate, the same of an unfinished run, which lacks only what a leg writes at its end."""
    root, wrong, refused = tmp_path / "run", [], set()
    for path, name, way in copies(whole, root):
        try:
            simulate(root, **SMALL)
        except UserError as error:
            refused.add(name.name)
            if not told(error, path, root):
                wrong.append(f"{name} {way}: {error}")
    assert not wrong
    assert refused >= {"leg.json", "scores.csv", "clinic_a.json", "model.safetensors", "facts.json"}


@pytest.mark.slow
def test_predict_and_report_after_any_file_of_a_finished_run_was_damaged(whole: Path, tmp_path: Path) -> None:
    """In the gate, ``tests/report/test_damage.py`` and ``tests/predict/test_models.py`` damage a few."""
    root, wrong = tmp_path / "run", []
    planned = study(**SMALL)
    intact = finished(planned, whole)
    for path, name, way in copies(whole, root):
        if name.parts[0] in ("handoff", "logs"):
            continue
        try:
            for model, sound in zip(finished(planned, root), intact, strict=True):
                model.net(Devices())
                if any(not torch.equal(model.weights[key], sound.weights[key]) for key in sound.weights):
                    wrong.append(f"{name} {way}: other weights are believed")
        except UserError as error:
            if str(path) not in str(error):
                wrong.append(f"predict: {name} {way}: {error}")
        try:
            read_curves(read_run(root))
        except UserError as error:
            if str(path) not in str(error):
                wrong.append(f"report: {name} {way}: {error}")
    assert not wrong


class Begun(Exception):
    """The leg would be trained now."""


def test_train_again_after_any_file_of_an_unfinished_run_was_damaged(
    broken: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def begin(*_: Any) -> None:
        raise Begun

    monkeypatch.setattr(simulation, "run_leg", begin)
    root, wrong = tmp_path / "run", []
    for path, name, way in copies(broken, root):
        try:
            simulate(root, **SMALL)
        except Begun:
            continue
        except UserError as error:
            if not told(error, path, root):
                wrong.append(f"{name} {way}: {error}")
    assert not wrong


@pytest.mark.parametrize("way", ["halved", pytest.param("zeroed", marks=pytest.mark.slow), "lost"])
def test_a_damaged_state_is_passed_over_for_the_one_before(way: str, whole: Path, broken: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(broken, root)
    newest = root / "checkpoints/task_2/phase_1_learn.ckpt"
    content = newest.read_bytes()
    newest.unlink()  # what a kill between the two renamings leaves
    if way != "lost":
        newest.write_bytes(damaged(content)[way])
    simulate(root, **SMALL)
    assert same(weights(root), weights(whole))
    assert not list(root.rglob("*phase_*"))


def test_a_state_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: Path) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(state.zipfile, "ZipFile", refuse)
    with pytest.raises(PermissionError):
        state.newest(tmp_path / "phase_1_learn.ckpt")


@pytest.mark.parametrize("way", ["empty", "halved", "zeroed", "garbled"])
def test_where_both_states_are_damaged_it_says_what_to_remove(way: str, broken: Path, tmp_path: Path) -> None:
    root = tmp_path / "run"
    shutil.copytree(broken, root)
    for path in root.glob("checkpoints/task_2/phase_*.ckpt"):
        path.write_bytes(damaged(path.read_bytes())[way])
    newest = root / "checkpoints/task_2/phase_1_learn.ckpt"
    with pytest.raises(UserError, match="is damaged: ") as caught:
        state.newest(newest)
    assert f"Remove {newest.with_name('phase_1_learn')}*.ckpt" in caught.value.advice()
