"""Adopt: a site chooses its model on validation images, writes why, and finds it again."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from relay import adopt as module
from relay.adopt import AdoptPaths, choose, read, score_rows, tuned_weights
from relay.errors import UserError
from relay.leg.paths import RunPaths
from relay.leg.progress import Progress
from relay.results import read_rows
from relay.simulate import Simulation
from relay.tasks import Segmentation
from tests.strategies.toys import KEEPER
from tests.studies import simulate, study

NAN = math.nan


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Simulation:
    """A relay of two sites whose experts travel; both adopted a model at its end."""
    return simulate(tmp_path_factory.mktemp("run"), **KEEPER)


def paths_of(run: Simulation, site: str = "clinic_a") -> AdoptPaths:
    return AdoptPaths.of(run.run_paths, site)


@pytest.mark.parametrize(
    ("scores", "chosen", "why"),
    [
        ({"generalist": [0.5, 0.7], "expert": [0.9, 0.1], "vote": [0.6, 0.5]}, "generalist", "best mean Dice on 2 val"),
        ({"generalist": [0.5], "vote": [0.5], "tuned": [0.5], "expert": [0.5]}, "expert", "best mean"),
        ({"generalist": [0.5], "vote": [0.5], "tuned": [0.5]}, "tuned", "on 1 validation images of 1 patients"),
        ({"vote": [0.5], "generalist": [0.4]}, "vote", "best mean"),
        ({"generalist": [NAN, 0.2], "expert": [NAN, NAN]}, "generalist", "best mean"),
        ({"generalist": [NAN], "expert": [NAN]}, "expert", "no mean Dice can be measured on the 1 validation images"),
        ({"generalist": [], "expert": []}, "expert", "there are no validation images"),
        ({"generalist": [], "vote": []}, "generalist", "there are no validation images"),
    ],
)
def test_the_best_on_validation_images_is_chosen_and_of_equals_the_one_closest_to_home(
    scores: dict[str, list[float]], chosen: str, why: str
) -> None:
    found, told = choose({k: [(f"p{n}", dice) for n, dice in enumerate(v)] for k, v in scores.items()}, Segmentation)
    assert found == chosen
    assert why in told


def test_every_site_adopts_at_the_end_of_a_simulation(run: Simulation) -> None:
    for leg in run.study.legs:
        paths = paths_of(run, leg.task_name)
        record = read(paths)
        assert record is not None
        means = {kind: row["mean"] for kind, row in record["candidates"].items()}
        assert {"expert", "generalist", "vote"} <= means.keys() <= {"expert", "generalist", "vote", "tuned"}
        assert means[record["model"]] == max(means.values())
        assert ("tuned" in means) == (record["tuned_step"] > 0)
        assert paths.tuned.is_file() == (record["model"] == "tuned")
        rows = score_rows(paths, record)
        assert {(r["model"], r["trained"], r["site"], r["leg"]) for r in rows} == {("adopted", *[leg.task_name] * 2, 2)}
        assert {row["sample"] for row in rows} == {sample.id for sample in run.sites(leg.pool[0]).split.test}
        assert not list(paths.root.glob("*.ckpt"))


def test_adopting_again_changes_nothing_unless_the_handover_or_the_config_did(
    run: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def again(**changes: Any) -> bool:
        """Whether a choice is made anew."""
        made = []
        monkeypatch.setattr("relay.simulate.adopt", lambda *_: made.append(1))
        simulation = Simulation(study(**KEEPER, **changes), run.run_paths.root)
        simulation.adopt(simulation.study.legs[0], Progress())
        return bool(made)

    assert not again()
    assert again(**{"common.train.batch_size": 4})
    record = json.loads(paths_of(run).record.read_text())
    monkeypatch.setattr("relay.adopt.read", lambda _: {**record, "from": "another handover"})
    assert again()


def test_the_chosen_model_is_the_one_that_is_scored(run: Simulation, tmp_path: Path) -> None:
    """Each candidate in turn is made the best; its scores and its weights are what is written."""
    leg, incoming = run.study.legs[0], run.transport.newest(run.study.legs[0])
    assert incoming is not None
    site, found = run.sites(leg.pool[0], train=True), {}
    for kind in ("expert", "generalist", "vote", "tuned"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(module, "choose", lambda scores, task, kind=kind: (kind, "of the test"))
            patch.setattr("relay.leg.tuning.validation_score", lambda *_: 0.0)  # so that some step is better
            where = RunPaths(tmp_path / kind)
            record = module.adopt("tiny", leg, incoming, site, where, run.devices, Progress())
        found[kind] = [row["value"] for row in score_rows(AdoptPaths.of(where, leg.task_name), record)]
    final = read_rows(run.run_paths.leg("task_2").scores)

    def of(model: str) -> list[float]:
        return [row["value"] for row in final if (row["model"], row["site"]) == (model, leg.task_name)]

    assert found["generalist"] == pytest.approx(of("generalist"), nan_ok=True, abs=1e-6)
    assert found["vote"] == pytest.approx(of("vote"), nan_ok=True, abs=1e-6)
    first = [r["value"] for r in read_rows(run.run_paths.leg("task_1").scores) if r["site"] == leg.task_name]
    assert found["expert"] == pytest.approx(first, nan_ok=True, abs=0.02)  # it travels in half precision
    tuned = AdoptPaths.of(RunPaths(tmp_path / "tuned"), leg.task_name)
    weights = tuned_weights(tuned, json.loads(tuned.record.read_text()))
    assert weights.keys() == incoming.handover.model.keys()
    assert any(not torch.equal(weights[name], tensor) for name, tensor in incoming.handover.model.items())


def test_without_validation_images_the_own_model_is_adopted_untuned(tmp_path: Path) -> None:
    run = simulate(tmp_path, **KEEPER, **{"common.dataset.kwargs.val_fraction": 0.0})
    record = read(paths_of(run))
    assert record is not None
    assert (record["model"], record["tuned_step"]) == ("expert", 0)
    assert record["why"] == "there are no validation images to compare models on"
    assert {row["mean"] for row in record["candidates"].values()} == {None}


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("adopted.json", "{", "adopted.json is damaged"),
        ("adopted.json", "[]", "it is not a JSON object"),
        ("adopted.json", "{}", "'site' is missing"),
        ("adopted.json", None, "it adopts 'best', which is no candidate"),
        ("tuned.safetensors", "x", "tuned.safetensors is damaged: it is not what relay adopt wrote"),
        ("scores.csv", "x", "scores.csv is damaged: it is not what relay adopt wrote"),
    ],
)
def test_a_damaged_file_says_what_to_remove(
    name: str, text: str | None, said: str, run: Simulation, tmp_path: Path
) -> None:
    paths = AdoptPaths(Path(shutil.copytree(paths_of(run).root, tmp_path / "adopted")))
    record = read(paths)
    assert record is not None
    changed = text if text is not None else json.dumps({**record, "model": "best"})
    (paths.root / name).write_text(changed)
    used = {"adopted.json": read, "tuned.safetensors": lambda paths: tuned_weights(paths, record)}
    with pytest.raises(UserError, match=said) as caught:
        used.get(name, lambda paths: score_rows(paths, record))(paths)
    assert caught.value.advice() == f"Remove {paths.root} and run relay adopt again."


def test_a_choice_with_a_damaged_file_is_not_taken_for_done(
    run: Simulation, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = paths_of(run)
    paths = AdoptPaths(Path(shutil.copytree(made.root, tmp_path / "adopted" / made.root.name)))
    record = read(paths)
    assert record is not None
    monkeypatch.setattr(module, "origin_of", lambda *_: record["from"])
    leg: Any = SimpleNamespace(task_name=made.root.name)
    incoming: Any = None
    assert module.chosen_before(leg, incoming, RunPaths(tmp_path)) == record
    paths.scores.write_text("x")
    with pytest.raises(UserError, match=r"scores.csv is damaged") as caught:
        module.chosen_before(leg, incoming, RunPaths(tmp_path))
    assert caught.value.advice() == paths.again


def test_a_site_that_has_not_chosen_has_no_record(tmp_path: Path) -> None:
    assert read(AdoptPaths(tmp_path)) is None
