"""Validation images are drawn for who watches a fit, for their owner only, and are gone after it."""

from __future__ import annotations

import io
import json
import os
import stat
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from relay.leg.paths import watched_in
from relay.leg.watched import FIRST, MOST, ShowValidation, drawn
from relay.tasks import named
from relay.tasks.regression import Regression

TRAINER: Any = SimpleNamespace(is_global_zero=True, global_step=7)


def module(task: Any, many: int) -> Any:
    samples = [SimpleNamespace(id=f"p{number}") for number in range(many)]
    return SimpleNamespace(task=task, sites=[SimpleNamespace(val=SimpleNamespace(samples=samples))])


def batch(many: int) -> dict[str, torch.Tensor]:
    return {
        "image": torch.zeros(many, 1, 16, 16, dtype=torch.uint8),
        "label": torch.ones(many, 16, 16, dtype=torch.long),
    }


def test_they_are_replaced_seldom_and_removed_at_the_end(tmp_path: Path) -> None:
    folder, now = watched_in(tmp_path), [-FIRST]

    def clock() -> float:
        now[0] += 0.5  # drawing takes half a second
        return now[0]

    shown, site = ShowValidation(folder, clock), module(named("segmentation")(2, ["background", "lung"]), 9)
    shown.on_validation_batch_end(TRAINER, site, torch.zeros(3, 16, 16), batch(3), 0)
    assert not shown.found  # too early
    now[0] = FIRST
    for step in (7, 8):
        trainer: Any = SimpleNamespace(is_global_zero=True, global_step=step)
        for _ in range(3):
            shown.on_validation_batch_end(trainer, site, torch.zeros(3, 16, 16), batch(3), 0)
        shown.on_validation_end(trainer, site)
    about = json.loads((folder / "about.json").read_text())
    assert about == {"step": 7, "captions": ["p0", "p1", "p2", "p3"]}  # soon after, they are not drawn again
    assert sorted(path.name for path in folder.glob("*.png")) == [f"{k}.png" for k in range(1, MOST + 1)]
    if os.name == "posix":
        assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}
        assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    now[0] = 1000
    shown.on_validation_batch_end(TRAINER, site, torch.zeros(1, 16, 16), batch(1), 0)
    shown.on_validation_end(SimpleNamespace(is_global_zero=True, global_step=9), site)  # type: ignore[arg-type]
    assert json.loads((folder / "about.json").read_text()) == {"step": 9, "captions": ["p0"]}
    shown.on_exception(TRAINER, site, KeyboardInterrupt())
    assert not folder.exists()


def test_a_full_disk_ends_no_training(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("os.fdopen", full)
    shown, site = (
        ShowValidation(tmp_path / "validation", iter(range(0, 999, 20)).__next__),
        module(named("segmentation")(2, ["a", "b"]), 1),
    )
    shown.on_validation_batch_end(TRAINER, site, torch.zeros(1, 16, 16), batch(1), 0)
    shown.on_validation_end(TRAINER, site)
    shown.on_train_end(TRAINER, site)


@pytest.mark.parametrize(
    ("task", "outputs", "decided", "truth", "said"),
    [
        ("classification", 2, np.int64(1), np.int64(0), "predicted sick; the truth is well"),
        ("multilabel", 2, np.array([True, True]), np.array([0.0, 0.0]), "predicted well, sick; the truth is none"),
        ("regression", 1, np.array([61.25]), np.array([60.0]), "predicted 61.25; the truth is 60"),
        ("segmentation", 2, np.zeros((5, 16, 16)), np.ones((5, 16, 16)), ""),
    ],
)
def test_each_task_says_what_is_predicted(task: str, outputs: int, decided: Any, truth: Any, said: str) -> None:
    for kind in (np.uint8, np.float16):
        made = named(task)(outputs, ["well", "sick"][:outputs])
        picture, told = drawn(made, np.zeros((2, 5, 16, 16), kind), np.asarray(decided), np.asarray(truth))
        assert told == said
        assert Image.open(io.BytesIO(picture)).size[0] > 0


def test_numbers_are_told_in_their_own_unit() -> None:
    made = Regression(1, ["age"], (60.0, 10.0))
    _, told = drawn(made, np.zeros((1, 16, 16), np.uint8), np.array([0.5], np.float32), np.array(62.0))
    assert told == "predicted 65; the truth is 62"
