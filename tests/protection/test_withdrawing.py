"""A patient withdraws consent: what names or shows the patient goes, and everybody else's stays."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import yaml
from PIL import Image
from typer.testing import CliRunner

from relay.cli.app import app
from relay.data import Withdrawn
from relay.errors import RelayError, UserError
from relay.exchange import sharing
from relay.files import write_text
from relay.leg import RunPaths
from relay.locks import locked
from relay.protection import Learned, Person, holdings, person, record_of, removing, withdraw
from relay.protection.holding import Held
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
    watched = root / "logs/validation"
    watched.mkdir(parents=True)
    (root / "logs/run.log").write_text(f"read {tested}_left.png\nread another\n")
    others = read_rows(root / "results/scores.csv")
    for name in (tested, learned):
        someone = patient(name.upper())
        found = holdings(someone, root.parent, LEGS, root.parent / "corrections/clinic_a")
        withdraw(someone, found, None)
        assert not holdings(someone, root.parent, LEGS, root.parent / "corrections/clinic_a").files
    assert not mine.exists()
    assert watched.is_dir(), "they are of validation patients"
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


def test_what_was_predicted_or_explained_or_dropped_on_the_page_goes(tmp_path: Path, home: Path) -> None:
    root = finished(tmp_path / "exps/tiny/run")
    someone = replace(patient("p0001"), files=(tmp_path / "p0001_left.png",))
    someone.files[0].write_bytes(b"an image")
    made, heat = root / "results/images/task_1", root / "explained/task_1"
    drop, other = home / "page/uploads/d1", home / "page/uploads/d2"
    job = home / "page/jobs/000001"
    for folder in (made, heat / "p0001_left.png-0123abcd", heat / "p0001_left_2.png-0123abcd", drop, other, job):
        folder.mkdir(parents=True)
    for name in ("p0001_left.png-0123abcd_mask.png", "p0001_left.png-0123abcd_overlay.png"):
        (made / name).touch()
        (made / name.replace("left", "left_2")).touch()
    (made / "0123abcd_answers.csv").write_text("image,predicted\n/in/p0001_left.png,sick\n/in/p0001_left_2.png,well\n")
    (heat / "explanations.html").touch()
    (drop / "scan.png").write_bytes(b"an image")  # a browser may have given it another name
    (other / "scan.png").write_bytes(b"AN IMAGE")
    (made / "scan.png-0123abcd_mask.png").touch()
    (job / "job.json").write_text(json.dumps({"cwd": str(tmp_path), "words": ["predict", "--image", str(drop)]}))
    mask = made.relative_to(tmp_path) / "scan.png-0123abcd_mask.png"
    (job / "output.txt").write_text(f"Written: {mask}\nWritten: ../outside\n")
    (tmp_path.parent / "outside").touch()
    withdraw(someone, holdings(someone, root.parent, LEGS, None, [home]), None)
    assert sorted(path.name for path in made.iterdir()) == [
        "0123abcd_answers.csv",
        "p0001_left_2.png-0123abcd_mask.png",
        "p0001_left_2.png-0123abcd_overlay.png",
    ]
    assert (made / "0123abcd_answers.csv").read_text() == "image,predicted\n/in/p0001_left_2.png,well\n"
    assert [path.name for path in heat.iterdir()] == ["p0001_left_2.png-0123abcd"]
    assert [drop.exists(), job.exists(), other.exists()] == [False, False, True]
    assert (tmp_path.parent / "outside").exists(), "nothing outside the job's folder"


def test_an_interrupted_removal_is_finished_by_the_next(tmp_path: Path) -> None:
    root = finished(tmp_path / "exps/tiny/run")
    tested = json.loads(RunPaths(root).split("clinic_a").read_text())["test"][0].partition("_")[0]
    found = holdings(patient(tested), root.parent, LEGS, None)
    assert found.files[-1].path == RunPaths(root).split("clinic_a"), "it says what else is to be done"
    leg = RunPaths(root).leg("task_1")
    with pytest.MonkeyPatch.context() as power:
        power.setattr(removing, "write_text", _until(leg.scores))
        with pytest.raises(KeyboardInterrupt):
            withdraw(patient(tested), found, None)
    again = holdings(patient(tested), root.parent, LEGS, None)
    assert again.parts == found.parts
    withdraw(patient(tested), again, None)
    leg.check_whole(leg.scores)
    assert not holdings(patient(tested), root.parent, LEGS, None).files


def _until(table: Path) -> Callable[[Path, str], None]:
    """Writes files until it is that one's turn."""

    def write(path: Path, text: str) -> None:
        if path == table:
            raise KeyboardInterrupt
        write_text(path, text)

    return write


def test_which_masks_a_model_has_learned_from_is_forgotten(tmp_path: Path) -> None:
    root = finished(tmp_path / "exps/tiny/run")
    image = sorted(patient("p0001").images)[0]
    record = {"why": "w", "versions": {"train": {image: [1, "0"], "other": [1, "1"]}, "val": {}}}
    for name, content in (("learned", record), ("adopted", {"site": "clinic_a", "learned": record})):
        place = root / name / "clinic_a" / f"{name}.json"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_text(json.dumps(content))
    withdraw(patient("p0001"), holdings(patient("p0001"), root.parent, LEGS, None), None)
    for name in ("learned", "adopted"):
        text = (root / name / "clinic_a" / f"{name}.json").read_text()
        assert image not in text
        assert '"other"' in text


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("splits/clinic_a.json", '{"train": 3}', "'train' does not list images"),
        ("results/scores.csv", "a,b\n1,2,3\n", "a line has too many cells"),
    ],
)
def test_a_damaged_file_of_a_run_is_named(tmp_path: Path, name: str, damage: str, said: str) -> None:
    root = finished(tmp_path / "exps/tiny/run")
    (root / name).write_text(damage)
    with pytest.raises(RelayError, match=f"{Path(name).name} is damaged: {said}"):
        holdings(patient("p0001"), root.parent, LEGS, None)


def test_a_job_of_the_page_that_is_not_over_is_not_removed(tmp_path: Path) -> None:
    job = tmp_path / "page/jobs/000007"
    with locked(job / "lock", "it"), pytest.raises(UserError, match="job 7 of the page is in use"):
        removing.remove([Held(job, "job", "a job")], patient("p0001"))
    assert job.is_dir()


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


def test_copies_of_later_legs_are_among_what_has_left(at: At) -> None:
    world = at(2)
    world.deliver(world.bundle(2), "east")
    world.with_policy(2, install=["north", "south", "east"], share="sites")
    world.deliver(world.make(3), "north")
    store, reader = world.stores["north"], world.new_keys("clinic").identity
    sharing.share(store, world.keys["north"], reader, sharing.shareable(store, reader), world.stick)
    learned = [Learned(Path("run"), Path("leg"), 1, "train", False)]
    assert [(each.leg, each.to) for each in record_of(store, learned)] == [(1, ("south",)), (3, ("clinic",))]
    assert not record_of(store, [Learned(Path("run"), Path("leg"), None, "train", False)])


@pytest.mark.parametrize("damage", [None, b"no manifest\n"])
def test_a_damaged_manifest_of_what_left_keeps_nobody_in(at: At, damage: bytes | None) -> None:
    store = at(1).stores["north"]
    path = store.signed(1) / "manifest-sha256.txt"
    path.unlink() if damage is None else path.write_bytes(damage)
    learned = [Learned(Path("run"), Path("leg"), 1, "train", False)]
    assert [(each.leg, each.to) for each in record_of(store, learned)] == [(1, ("south",))]


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
    again = CliRunner().invoke(app, on)
    assert "nothing is left to be removed" in again.output
    assert "--yes" not in again.output
    wrong = CliRunner().invoke(app, ["forget", name, "-c", "tiny.yaml"])
    assert (wrong.exit_code, "Choose one: --site NAME" in wrong.stderr) == (2, True)
    written = CliRunner().invoke(app, ["dpia", "-c", "tiny.yaml", "-o", "."])
    assert written.exit_code == 0, written.output
    assert "Written: data-flow.html" in written.output
    assert name not in (tmp_path / "dpia-annex.md").read_text()
