"""Auditing a finished leg: every part that is there, by patient; the record, the page; what is kept is read again."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from relay.bundle import AuditRecord, audits
from relay.cli.app import app
from relay.privacy.leaving import parts_of
from relay.trust import parse
from tests.studies import finished

CHANGES: dict[str, Any] = {"common.strategy.name": "relay"}


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    return finished(tmp_path / "exps/tiny/run", **CHANGES)


def audit(*words: object) -> tuple[int, str]:
    done = CliRunner().invoke(app, ["audit", *map(str, words)])
    return done.exit_code, done.output


def test_a_leg_is_audited(run: Path) -> None:
    code, out = audit(run, "--shadows", 2, "--budget", 0.05)
    assert code == 0, out
    leg = run / "checkpoints/task_2"
    record = parse(AuditRecord, (leg / "handover" / audits.RECORD).read_bytes(), "it")
    assert record.parts == parts_of(leg / "handover")
    assert {one.part for one in record.card.attacks} == {"model", "expert", "difference", "memory", "cumulative"}
    told = {"lira", "rmia", "loss", "entropy", "gradient", "loss of model against experts of other sites"}
    assert told <= {one.name for one in record.card.attacks}
    assert record.card.shadows == 2
    assert all(one.tpr_1 is None for one in record.card.attacks), "not measurable is not zero"
    assert "strongest attack" in out
    page = leg / "audit/audit.html"
    assert "It must not leave this site." in page.read_text()
    assert "no name of a sample or patient" not in page.read_text()
    assert "mathdefault" not in page.read_text()
    assert "What one patient changes" in page.read_text()
    assert "Nearest patient who was trained on, by class" in page.read_text()
    assert "http" not in page.read_text().replace("http-equiv", "")
    assert page.stat().st_mode & 0o777 == 0o600
    patients = json.loads((leg / "audit/patients.json").read_text())
    assert not any(name in (leg / "handover" / audits.RECORD).read_text() for name in patients)
    assert sum(said["member"] for said in patients.values()) == record.card.members
    kept = {path: path.stat().st_mtime_ns for path in (leg / "audit").glob("*.npz")}
    assert len(kept) == 2
    assert audit(run, "--shadows", 2, "--budget", 0.05)[0] == 0
    assert {path: path.stat().st_mtime_ns for path in (leg / "audit").glob("*.npz")} == kept


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ([], "no run is given"),
        (["there", "-c", "demo"], "more than one run is given"),
        (["there"], "not the folder of a run"),
        (["-c", "demo", "--shadows", "3"], "--shadows 3 is odd"),
        (["there", "--selftest"], "--selftest audits models of its own"),
    ],
)
def test_wrong_words_are_refused(words: list[str], says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    code, out = audit(*words)
    assert code == 2
    assert says in " ".join(out.split())


def test_a_leg_that_is_not_there(run: Path) -> None:
    code, out = audit(run, "--leg", "task_9")
    assert code == 2
    assert "did you mean 'task_" in out


def test_other_settings_than_those_of_the_training(run: Path) -> None:
    code, out = audit(run, "common.random_seed=99")
    assert code == 2
    assert "random_seed: 7 then, 99 now" in out
    assert f"relay audit {run}" in " ".join(out.split())
