"""A patient withdraws consent: what names or shows the patient goes, and everybody else's stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from relay.cli.app import app
from relay.data import Withdrawn
from relay.errors import UserError
from relay.leg import RunPaths
from relay.protection import Person, holdings, person, record_of, withdraw
from relay.results import read_rows
from tests.relays import At
from tests.studies import finished, given, simulate, study

LEGS = {"task_1": ["clinic_a"], "task_2": ["clinic_b"]}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RELAY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def patient(name: str) -> Person:
    return person(study().legs[0].pool[0], name)


def test_every_file_that_names_or_shows_a_patient_goes_and_the_run_goes_on(tmp_path: Path, home: Path) -> None:
    root = finished(tmp_path / "exps/tiny/run")
    said = json.loads(RunPaths(root).split("clinic_a").read_text())
    tested, learned = said["test"][0].partition("_")[0], said["train"][0].partition("_")[0]
    shown = root / "results/overlays/task_1/clinic_a"
    shown.mkdir(parents=True)
    for image in ("left", "right"):
        Image.new("L", (2, 2)).save(shown / f"{tested}_{image}.png")
        Image.new("L", (2, 2)).save(shown / f"{tested}_{image}_2.png")  # another image, of a longer name
    mine = root.parent / "corrections/clinic_a" / f"{learned}_left"
    mine.mkdir(parents=True)
    (root / "logs").mkdir(exist_ok=True)
    (root / "logs/run.log").write_text(f"read {tested}_left.png\nread another\n")
    others = read_rows(root / "results/scores.csv")
    for name in (tested, learned):
        someone = patient(name.upper())
        found = holdings(someone, root.parent, LEGS, root.parent / "corrections/clinic_a")
        withdraw(someone, found, None)
        assert not holdings(someone, root.parent, LEGS, root.parent / "corrections/clinic_a").files
    assert not mine.exists()
    assert sorted(path.name for path in shown.iterdir()) == [f"{tested}_left_2.png", f"{tested}_right_2.png"]
    assert (root / "logs/run.log").read_text() == "read another\n"
    left = read_rows(root / "results/scores.csv")
    assert left == [row for row in others if (row["site"], row["patient"]) != ("clinic_a", tested)]
    assert tested not in (home / "withdrawn.json").read_text()
    again = holdings(patient(learned), root.parent, LEGS, None)
    assert [each.folder.name for each in again.learned] == ["task_1"], "what has learned is still known"
    simulate(root)  # nothing is refused, and nothing is trained again
    now = json.loads(RunPaths(root).split("clinic_a").read_text())
    gone = [*now["train"], *now["val"], *now["test"]]
    assert not [name for name in gone if name.startswith((tested, learned))]
    assert now["val"] == said["val"], "the others stay where they were dealt"


def test_a_damaged_list_lets_nobody_train(home: Path) -> None:
    Withdrawn.of_home().add("clinic_a", "p0001", {})
    (home / "withdrawn.json").write_text('{"key": "", "patients": {}}')
    with pytest.raises(UserError, match=r"withdrawn.json is damaged: 'key' or 'patients' is missing"):
        Withdrawn.of_home()


def test_a_stranger_is_not_found() -> None:
    with pytest.raises(UserError, match="no patient 'p9'"):
        patient("p9")


def test_the_ledger_says_what_has_left_and_does_not_name_the_patient(at: At, tmp_path: Path) -> None:
    store = at(1).stores["north"]
    root = finished(tmp_path / "exps/tiny/run")
    name = json.loads(RunPaths(root).split("clinic_a").read_text())["train"][0].partition("_")[0]
    found = holdings(patient(name), root.parent, LEGS, None)
    assert [(each.leg, each.expert) for each in found.learned] == [(1, False)]
    (left,) = record_of(store, found.learned)
    assert (left.leg, left.to) == (1, ("south", "coordinator")[: len(left.to)])
    withdraw(patient(name), found, store)
    withdraw(patient(name), found, store)
    last = store.ledger.lines()[-1]
    assert (last.event, last.facts["legs"], last.facts["site"]) == ("withdrawn", [1], "clinic_a")
    assert sum(line.event == "withdrawn" for line in store.ledger.lines()) == 1, "once"
    assert name not in store.ledger.path.read_text()
    store.whole()


def test_as_it_is_typed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tiny.yaml").write_text(yaml.safe_dump(given()))
    root = finished(tmp_path / "exps/tiny/run")
    name = json.loads(RunPaths(root).split("clinic_a").read_text())["train"][0].partition("_")[0]
    on = ["forget", name, "-c", "tiny.yaml", "--site", "clinic_a"]
    looked = CliRunner().invoke(app, on)
    assert looked.exit_code == 0, looked.output
    assert "exps/tiny/run: the patient is in train." in looked.output
    assert "Nothing has been changed. To do it: relay " + " ".join(on) + " --yes" in looked.output
    assert not Withdrawn.of_home().patients
    done = CliRunner().invoke(app, [*on, "--yes"])
    assert done.exit_code == 0, done.output
    assert (
        "Next, train without the patient (relay train -c tiny.yaml -n NEW) and remove the old weights:" in done.output
    )
    assert "exps/tiny/run/checkpoints/task_1: this leg learned from the patient" in done.output
    wrong = CliRunner().invoke(app, ["forget", name, "-c", "tiny.yaml"])
    assert (wrong.exit_code, "Choose one: --site NAME" in wrong.stderr) == (2, True)
    written = CliRunner().invoke(app, ["dpia", "-c", "tiny.yaml", "-o", "."])
    assert written.exit_code == 0, written.output
    assert "Written: data-flow.html" in written.output
    assert name not in (tmp_path / "dpia-annex.md").read_text()
