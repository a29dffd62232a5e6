"""Several legs' models as one."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import nn

from relay.errors import UserError
from relay.leg import predict
from relay.predict import ensemble, table
from relay.predict.ensemble import Ensemble
from relay.tasks import TASKS


def net() -> nn.Module:
    return nn.Conv2d(1, 3, 1)


@pytest.mark.parametrize("task", ["segmentation", "regression"])
def test_answers_are_averaged(task: str) -> None:
    does = TASKS[task](3 if task == "segmentation" else 1, ["a", "b", "c"])
    members, expected = {}, []
    image = torch.rand(2, 1, 5, 6)
    for seed in range(3):
        torch.manual_seed(seed)
        one = net() if task == "segmentation" else nn.Sequential(nn.Flatten(), nn.Linear(30, 1))
        members[str(seed)] = dict(one.state_dict())
        with torch.no_grad():
            expected.append(does.answer(one(image)))
    build = net if task == "segmentation" else (lambda: nn.Sequential(nn.Flatten(), nn.Linear(30, 1)))
    leg: Any = SimpleNamespace(net=SimpleNamespace(build=build), data=SimpleNamespace(does=does))
    found = does.answer(predict(ensemble._built(leg, members).eval(), image))
    assert torch.allclose(found, torch.stack(expected).mean(0), atol=1e-6)


def written(folder: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """Two legs of another run, trained at site a and b."""
    facts: dict[str, Any] = {}
    for number, site in enumerate("ab"):
        path = folder / f"task_{number}"
        path.mkdir(parents=True)
        torch.manual_seed(number)
        facts[str(path / "last.ckpt")] = dict(net().state_dict()), {"config": {"dataset.kwargs.task_name": site}}
    monkeypatch.setattr(ensemble.checkpoint, "load", lambda path: facts[str(path)])
    monkeypatch.setattr(ensemble, "check_member", lambda *_: None)
    monkeypatch.setattr(ensemble, "check_input_spec", lambda *_: None)
    return facts


def study(*sites: str) -> Any:
    sets = [SimpleNamespace(options=SimpleNamespace(task_name=site)) for site in sites]
    return SimpleNamespace(legs=[SimpleNamespace(task_name="a")], test_sets=sets)


def test_it_is_tested_only_where_no_member_was_trained(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, monkeypatch)
    folders = tmp_path / "task_0", tmp_path / "task_1"
    (model,) = Ensemble(study("a", "b", "c"), folders).everything(print)
    assert (model.sites, model.kind, model.outside) == (("c",), "ensemble", True)
    inside = Ensemble(study("a", "b"), folders)
    with pytest.raises(UserError, match="can't be tested here"):
        inside.everything(print)
    assert inside.for_images(None, print).folder == f"ensemble-{model.digest[:8]}"
    with pytest.raises(UserError, match="--model own chooses"):
        inside.for_images("own", print)


def test_the_screen_calls_it_what_it_is() -> None:
    assert (
        table._model([{"model": "ensemble", "leg": 1, "trained": "a"}], own=False) == "the mean of several legs' models"
    )


def test_one_model_is_no_ensemble(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    written(tmp_path, monkeypatch)
    with pytest.raises(UserError, match="at least two different models"):
        _ = Ensemble(study("c"), (tmp_path / "task_0", tmp_path / "task_0")).model
