"""A patient withdraws consent: what names or shows the patient goes, and everybody else's stays."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from PIL import Image

from relay.data import Withdrawn
from relay.errors import UserError
from relay.leg import RunPaths
from relay.protection import Person, holdings, person, record_of, withdraw
from relay.results import read_rows
from tests.relays import At
from tests.studies import finished, simulate, study

TWO = {"common.train.num_epochs": 1}
LEGS = {"task_1": ["clinic_a"], "task_2": ["clinic_b"]}


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RELAY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def patient(name: str) -> Person:
    return person(study(**TWO).legs[0].pool[0], name)


def test_every_file_that_names_or_shows_a_patient_goes_and_the_run_goes_on(tmp_path: Path, home: Path) -> None:
    root = finished(tmp_path / "exps/tiny/run", **TWO)
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
    simulate(root, **TWO)  # nothing is refused, and nothing is trained again
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
    root = finished(tmp_path / "exps/tiny/run", **TWO)
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
