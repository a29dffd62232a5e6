"""Testing models: every number recomputed from the masks that were saved, by hand or by scikit-learn."""

from __future__ import annotations

import io
import json
import math
from collections import defaultdict
from dataclasses import replace
from pathlib import Path
from statistics import fmean
from typing import Any

import numpy as np
import pytest
from PIL import Image
from rich.console import Console
from sklearn.metrics import f1_score, recall_score

from relay.config.devices import Devices
from relay.errors import UserError
from relay.leg.sites import Sites
from relay.predict.models import finished, received
from relay.predict.study import Testing, predict_study, results_of
from relay.predict.table import at_the_end, show
from relay.results import read_rows
from relay.simulate import Simulation
from tests.studies import simulate

NAMES = ["background", "rim", "cup"]
SMALL = {"common.train.num_epochs": 1, "common.dataset.kwargs.count": 12}


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> tuple[Simulation, dict[str, Any]]:
    """A run of two sites, tested, with what is in evaluation.json."""
    root = tmp_path_factory.mktemp("run")
    simulation = simulate(root, **SMALL)
    return simulation, evaluated(simulation, Testing(save=True, workers=0))


def evaluated(simulation: Simulation, how: Testing) -> dict[str, Any]:
    root = simulation.run_paths.root
    models = finished(simulation.study, root)
    found = predict_study(simulation.study, models, results_of(models, root), root, Devices(), Console(quiet=True), how)
    said = json.loads((root / "results/evaluation.json").read_text())
    assert [row["mean"] for row in said["rows"]] == [
        None if math.isnan(row["mean"]) else row["mean"] for row in found["rows"]
    ]
    return found


def rows(simulation: Simulation) -> list[dict[str, Any]]:
    return read_rows(simulation.run_paths.root / "results/samples.csv")


def test_overlap_is_that_of_the_saved_masks(run: tuple[Simulation, dict[str, Any]]) -> None:
    simulation, _ = run
    sites = Sites(7, simulation.run_paths)
    truths = {
        (dataset.options.task_name, sample.id): dataset.read(sample).target
        for dataset in simulation.study.test_sets
        for sample in sites(dataset).split.test
    }
    checked = 0
    for row in rows(simulation):
        if not row["sample"] or row["metric"] not in ("dice", "sensitivity") or row["class"] == "background":
            continue
        place = f"results/predictions/task_{row['leg']}/{row['site']}/{row['sample']}.png"
        with Image.open(simulation.run_paths.root / place) as image:
            mask = np.asarray(image)
        truth, label = truths[row["site"], row["sample"]], NAMES.index(row["class"])
        score = f1_score if row["metric"] == "dice" else recall_score
        assert row["value"] == pytest.approx(score((truth == label).ravel(), (mask == label).ravel()), abs=1e-6)
        checked += 1
    assert checked == 2 * 2 * 2 * len(truths)


def test_means_and_their_intervals_are_of_the_samples(run: tuple[Simulation, dict[str, Any]]) -> None:
    simulation, found = run
    by: dict[tuple[Any, ...], list[float]] = defaultdict(list)
    for row in rows(simulation):
        if row["sample"]:
            by[row["leg"], row["site"], row["class"], row["metric"]].append(row["value"])
    assert len(found["rows"]) == len(by) == 2 * 2 * 3 * 6
    for row in found["rows"]:
        values = by[row["leg"], row["site"], row["class"], row["metric"]]
        there = [value for value in values if not math.isnan(value)]
        assert (row["samples"], row["measured"]) == (len(values), len(there))
        assert row["mean"] == pytest.approx(fmean(there), abs=1e-6) if there else math.isnan(row["mean"])
        if not math.isnan(row["low"]):
            assert row["low"] <= row["mean"] <= row["high"]


def test_dice_is_that_of_training(run: tuple[Simulation, dict[str, Any]]) -> None:
    simulation, _ = run
    keys = ("leg", "site", "sample", "class")
    scores = read_rows(simulation.run_paths.root / "results/scores.csv")
    trained = {tuple(row[key] for key in keys): row["value"] for row in scores}
    dice = [row for row in rows(simulation) if row["metric"] == "dice" and row["sample"]]
    found = {tuple(row[key] for key in keys): row["value"] for row in dice}
    assert found == pytest.approx(trained, nan_ok=True, abs=1e-6)


def test_a_patients_images_count_as_one_volume_and_all_as_one_set(run: tuple[Simulation, dict[str, Any]]) -> None:
    simulation, found = run
    dice = {row["metric"]: row for row in found["voxels"] if row["leg"] == 2 and row["site"] == "clinic_a"}
    assert set(dice) == {"dice", "sensitivity", "specificity"}
    subjects = [row for row in rows(simulation) if not row["sample"]]
    patients = {(row["site"], row["patient"]) for row in subjects}
    assert len(subjects) == 2 * 3 * 3 * len(patients)
    assert {row["samples"] for row in found["subjects"]} == {len(patients) // 2}


def test_calibration_counts_every_voxel(run: tuple[Simulation, dict[str, Any]]) -> None:
    simulation, found = run
    images = {row["sample"] for row in rows(simulation) if row["sample"] and row["site"] == "clinic_a"}
    for cell in found["calibration"]:
        assert sum(bucket["count"] for bucket in cell["bins"]) == len(images) * 32 * 32
        assert 0 <= cell["ece"] <= 1


def test_workers_measure_the_same(run: tuple[Simulation, dict[str, Any]], monkeypatch: pytest.MonkeyPatch) -> None:
    simulation, found = run
    monkeypatch.setattr("relay.predict.study.FEW", 1)
    again = evaluated(simulation, Testing(workers=1))
    assert [row["mean"] for row in again["rows"]] == pytest.approx([row["mean"] for row in found["rows"]], nan_ok=True)


def test_overlays_are_beside_the_masks(run: tuple[Simulation, dict[str, Any]]) -> None:
    folder = run[0].run_paths.root / "results"
    masks, overlays = (
        {path.relative_to(folder / kind) for path in (folder / kind).rglob("*.png")}
        for kind in ("predictions", "overlays")
    )
    assert masks == overlays
    assert masks


def test_dice_over_classes_is_that_of_the_training_with_an_interval(run: tuple[Simulation, dict[str, Any]]) -> None:
    simulation, found = run
    summary = json.loads((simulation.run_paths.root / "results/summary.json").read_text())
    assert [(row["leg"], row["site"]) for row in found["score"]] == [
        (leg, site) for leg in (1, 2) for site in ("clinic_a", "clinic_b")
    ]
    for row in found["score"]:
        assert row["mean"] == pytest.approx(summary["matrix"][str(row["leg"])][row["site"]], abs=1e-6)
        assert math.isnan(row["low"]) or row["low"] <= row["mean"] <= row["high"]
        assert row["samples"] >= row["patients"] > 0


def test_interval_over_classes_draws_patients_whole() -> None:
    from types import SimpleNamespace

    from relay.predict.summary import _score
    from relay.statistics import bounds
    from relay.tasks import Segmentation

    values = {f"p{n}": (0.1 * n, 0.5 + 0.02 * n, math.nan) for n in range(4)}  # of three classes the last is nowhere
    of_class = {("abc"[k], "dice"): [(who, row[k]) for who, row in values.items()] for k in range(3)}
    options = SimpleNamespace(does=Segmentation(4, ["background", "a", "b", "c"]))
    cell = SimpleNamespace(values=lambda: of_class, options=options, samples=[None] * 4)
    means = np.array([[fmean(row[:2])] for row in values.values()])
    by_hand = bounds([(means, np.ones_like(means))], lambda cells: cells.mean((-2, -1)), 0)
    found = _score(cell, 0)  # type: ignore[arg-type]
    assert [found[key] for key in ("mean", "low", "high")] == pytest.approx([by_hand.mean, by_hand.low, by_hand.high])
    assert (found["samples"], found["patients"], found["method"]) == (4, 4, "t")


@pytest.mark.parametrize("width", [60, 80, 200])
def test_the_screen_ends_in_a_table_of_sites_that_fits(run: tuple[Simulation, dict[str, Any]], width: int) -> None:
    simulation, found = run
    root = simulation.run_paths.root
    console = Console(width=width, file=io.StringIO())
    with console.capture() as captured:
        show(console, found, root / "results", Path("exps/my study"))
    lines = captured.get().splitlines()
    assert max(len(line) for line in lines if str(root) not in line and "Next" not in line) <= min(width, 80)
    assert lines[0] == "tiny: the model of leg 2, trained at clinic_b"
    cells = [[part.strip() for part in line.strip("│").split("│")] for line in lines if line.startswith("│")]
    ends = {row["site"]: row for row in found["score"] if row["leg"] == 2}
    assert [row[:2] for row in cells] == [[site, f"{row['mean']:.3f}"] for site, row in ends.items()]
    low = min(ends, key=lambda site: ends[site]["mean"])
    assert f"lowest at {low} ({ends[low]['mean']:.3f})." in " ".join(captured.get().split())
    assert lines[-1] == "Next, the page with these numbers: relay report 'exps/my study'"


def test_where_each_site_has_a_model_of_its_own_that_one_is_shown() -> None:
    rows = [
        {"leg": n, "trained": a, "model": "generalist", "site": b}
        for n, a in ((1, "x"), (2, "y"))
        for b in ("x", "y", "z")
    ]
    assert [(row["leg"], row["site"]) for row in at_the_end(rows, own=True)] == [(1, "x"), (2, "y")]
    assert [(row["leg"], row["site"]) for row in at_the_end(rows, own=False)] == [(2, "x"), (2, "y"), (2, "z")]


def test_a_model_from_outside_needs_a_deployment(run: tuple[Simulation, dict[str, Any]]) -> None:
    with pytest.raises(UserError, match="handoff"):
        received(run[0].study, 1)


def test_results_of_a_model_from_outside_go_beside_the_own_ones(run: tuple[Simulation, dict[str, Any]]) -> None:
    simulation, _ = run
    root = simulation.run_paths.root
    model = finished(simulation.study, root)[0]
    assert results_of([model], root) == root / "results"
    other = replace(model, outside=True, folder="bundle_leg_4")
    assert results_of([other], root) == root / "results" / "bundle_leg_4"


def test_without_a_checkpoint_there_is_nothing_to_test(tmp_path: Path, run: tuple[Simulation, dict[str, Any]]) -> None:
    with pytest.raises(UserError, match="no checkpoint is here"):
        finished(run[0].study, tmp_path)
