"""Studies without masks: they train, hand over, adopt, are tested and reported like those with masks."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path

import pytest
from rich.console import Console

from relay.config import Devices
from relay.predict import OwnRun, Testing, predict_study, show
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
