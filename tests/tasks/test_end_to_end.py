"""Studies without masks: they train, hand over, adopt, are tested and reported like those with masks."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from PIL import Image
from rich.console import Console

from relay.config import Devices
from relay.errors import DataError
from relay.leg import Progress
from relay.predict import OwnRun, Testing, predict_images, predict_study, show
from relay.report import write_report
from relay.simulate import Simulation
from tests.studies import simulate
from tests.tasks.tiny import changes


@pytest.mark.parametrize(
    ("task", "strategy", "good", "drawn"),
    [
        ("classification", "relay", 0.9, {"roc", "confusion"}),
        ("regression", "sequential", 0.5, {"scatter", "bland_altman"}),
        ("multilabel", "lwf", 0.8, {"roc"}),
    ],
)
def test_a_study_without_masks(task: str, strategy: str, good: float, drawn: set[str], tmp_path: Path) -> None:
    run: Simulation = simulate(tmp_path / "run", **changes(task, **{"common.strategy.name": strategy}))
    root, which = run.run_paths.root, run.study.task
    summary = json.loads((root / "results" / "summary.json").read_text())
    assert summary["task"] == task
    assert which.gain(summary["mean"], good) >= 0
    facts = json.loads((root / "checkpoints" / "task_1" / "handover" / "facts.json").read_text())
    assert {name for said in facts["result"].values() for name in said} == {which.primary.name}
    models = OwnRun(run.study, root).everything(print)
    console = Console(file=io.StringIO(), width=100)
    found = predict_study(run.study, models, root / "results", root, Devices(), console, Testing())
    show(console, found, root / "results", root)
    assert which.score_name in console.file.getvalue()  # type: ignore[attr-defined]
    scores = {(row["leg"], row["site"]): row["mean"] for row in found["score"] if row["model"] == "generalist"}
    assert scores[2, "clinic_a"] == pytest.approx(summary["matrix"]["2"]["clinic_a"])
    whole = {
        (row["site"], row["metric"]): row["value"] for row in found["whole"] if not row["class"] and row["leg"] == 2
    }
    assert whole["clinic_b", which.primary.name] == pytest.approx(scores[2, "clinic_b"], abs=1e-4)
    rows = list(csv.DictReader((root / "results" / "samples.csv").open()))
    assert {row["metric"] for row in rows} >= {which.sample_metric}
    page = write_report(root)
    assert which.score_name in page.read_text()
    assert drawn <= {path.stem for path in (page.parent / "figures").glob("*.png")}
    _predict_new_images(run, tmp_path)


def _predict_new_images(run: Simulation, folder: Path) -> None:
    """Files without a truth get what the test set's images got, in one table."""
    site, task = run.study.datasets[2], run.study.task
    samples = {row["sample"]: row for row in csv.DictReader((run.run_paths.root / "results" / "samples.csv").open())}
    tested = [sample for sample in site.listing if sample.id in samples]
    paths = [folder / f"{sample.id}.png" for sample in tested]
    for sample, path in zip(tested, paths, strict=True):
        Image.fromarray(site.read(sample).image[..., 0]).save(path)
    model = OwnRun(run.study, run.run_paths.root).for_images(None, print)
    broken = folder / "broken.png"
    broken.write_bytes(b"no image")
    predicted = predict_images(model, [*paths, broken], folder, Devices(), Progress(1), pytest.fail)
    table = next(predicted)
    with pytest.raises(DataError, match=r"not predicted, out of \d+ images \(1\)"):
        next(predicted)
    lines = list(csv.DictReader(table.open()))
    assert list(lines[0]) == ["image", "slice", "predicted", *task.names]
    assert [line["image"] for line in lines] == list(map(str, paths))
    for line, sample in zip(lines, tested, strict=True):
        truth = [sample.target] if not isinstance(sample.target, tuple) else sample.target
        if task.name == "classification":
            truth = [1 - sample.target, sample.target]
        assert [float(line[name]) for name in task.names] == pytest.approx(truth, abs=0.5)
