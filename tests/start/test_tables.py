"""From a folder to a table, and from a table to a split."""

from __future__ import annotations

import csv
import io
import json
from collections import Counter
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import HealthCheck, given, settings, strategies as st
from PIL import Image
from relay.datasets.ecvl import ECVL
from relay.datasets.table import Table

from relay.errors import UserError
from relay.start import columns_of, deal, shares_of
from relay.start.finding import Found
from tests.cli.typed import typed

SHARES = shares_of("50:25:25")


def write(root: Path, *names: str) -> None:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.zeros((4, 4), np.uint8)).save(root / name)


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def table(root: Path, name: str, **kwargs) -> Table:
    given = {"task_id": 0, "task_name": "site", "root_path": str(root), "num_classes": 2, "table": name, **kwargs}
    return Table(Table.Options(**given))


# -- relay data table ------------------------------------------------------------------------------------------------


def test_images_and_masks(tmp_path: Path) -> None:
    write(tmp_path, "scans/images/p1_a.png", "scans/images/p1_b.png", "scans/masks/p1_a.png", "scans/masks/p1_b.png")
    done = typed("data", "table", tmp_path / "scans", "-o", tmp_path / "t.csv", "--patients", "^(p\\d)_")
    assert done.out == f"{tmp_path / 't.csv'}: 2 images of 1 patient, with masks\n"
    assert rows(tmp_path / "t.csv")[1] == {
        "SubjectID": "p1", "Channel_0": "scans/images/p1_b.png", "Label": "scans/masks/p1_b.png",
    }  # fmt: skip
    assert [r.patient for r in table(tmp_path, "t.csv").listing] == ["p1", "p1"]
    typed("data", "table", tmp_path / "scans", "-o", tmp_path / "t.csv").refused(2, "exists", advice="--replace")
    again = typed("data", "table", tmp_path / "scans", "-o", tmp_path / "t.csv", "--replace")
    assert "Every image counts as a patient" in again.out


def test_the_images_are_gone_through_a_few_times_however_many_they_are() -> None:
    through = []

    class Listed(list[Found]):
        def __iter__(self) -> Iterator[Found]:
            through.append(1)
            return super().__iter__()

    found = Listed(Found(f"p{k}", f"p{k}", (Path(f"image/p{k}.png"),)) for k in range(50))
    assert len(columns_of(found, Path())) == 50
    assert len(through) < 5


def test_classes_by_folder_and_channels_by_name(tmp_path: Path) -> None:
    write(tmp_path, "benign/a_t1.png", "benign/a_t2.png", "malignant/b_t1.png", "malignant/b_t2.png")
    assert typed("data", "table", tmp_path, "-o", tmp_path / "t.tsv", "--channels", "t1,t2").code == 0
    assert (tmp_path / "t.tsv").read_text().splitlines()[1] == "benign/a\tbenign/a_t1.png\tbenign/a_t2.png\tbenign"
    found = table(tmp_path, "t.tsv", task="classification", class_names=["benign", "malignant"]).listing
    assert [(r.target, len(r.images)) for r in found] == [(0, 2), (1, 2)]
    write(tmp_path, "benign/c_t1.png", "benign/d.png")
    typed("data", "table", tmp_path, "-o", tmp_path / "u.csv", "--channels", "t1,t2").refused(
        2, "c: no t2", "d.png: its name ends in none of t1, t2", advice="--channels"
    )


def test_nnunets_data_set(tmp_path: Path) -> None:
    write(tmp_path, "imagesTr/a_0000.png", "labelsTr/a.png", "imagesTs/b_0000.png", "labelsTs/b.png")
    typed("data", "table", tmp_path, "-o", tmp_path / "t.csv").refused(2, "no dataset.json", advice="its source")
    (tmp_path / "dataset.json").write_text("[]")
    typed("data", "table", tmp_path, "-o", tmp_path / "t.csv").refused(2, "damaged", advice="copy it")
    about = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "a": 1}, "file_ending": ".png"}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    typed("data", "table", tmp_path, "-o", tmp_path / "t.csv")
    assert [(r["SubjectID"], r["split"]) for r in rows(tmp_path / "t.csv")] == [("a", ""), ("b", "test")]


@pytest.mark.parametrize(
    ("names", "words", "message", "advice"),
    [
        ((), (), "no images in", ".png"),
        (("image/a.png", "mask/b.png"), (), "no mask a in", "same name"),
        (("a.png",), ("--patients", "("), "not a regular expression", "For example"),
        (("a.png",), ("--patients", "x"), "does not match", "Correct"),
        (("train/a.png", "test/b.png", "rest/c.png"), (), "look like splits", "split_dirs"),
        (("a.png", "mask/a.png"), (), "but none of images", "called image"),
        (("a.png",), ("--images", "b"), "folder not found", "--images"),
    ],
)
def test_folders_that_make_no_table(
    tmp_path: Path, names: tuple[str, ...], words: tuple[str, ...], message: str, advice: str
) -> None:
    (tmp_path / "in").mkdir()
    write(tmp_path / "in", *names)
    done = typed("data", "table", tmp_path / "in", "-o", tmp_path / "t.csv", *words)
    done.refused(2, message, advice=advice)


def test_no_such_folder_and_no_such_ending(tmp_path: Path) -> None:
    typed("data", "table", tmp_path / "x", "-o", tmp_path / "t.csv").refused(2, "folder not found")
    write(tmp_path, "a.png")
    typed("data", "table", tmp_path, "-o", tmp_path / "t.xlsx").refused(2, "unknown ending", advice=".csv")
    typed("data", "table", tmp_path, "-o", tmp_path / "no" / "t.csv").refused(2, "there is no folder")


# -- relay data split ------------------------------------------------------------------------------------------------


def made(tmp_path: Path, patients: int = 8) -> Path:
    write(tmp_path, *(f"{k}{eye}.png" for k in range(patients) for eye in "lr"))
    lines = [f"{k};{k}{eye}.png;{'sick' if k % 2 else 'well'}" for k in range(patients) for eye in "lr"]
    path = tmp_path / "t.csv"
    path.write_text("SubjectID;Channel_0;ValueToPredict\n" + "\n".join(lines) + "\n")
    return path


def test_split_by_patient_and_class(tmp_path: Path) -> None:
    done = typed("data", "split", made(tmp_path), "-o", tmp_path / "s.csv", "--shares", "50:25:25")
    said = "train 8 images of 4 patients, val 4 images of 2 patients, "
    said += "test 4 images of 2 patients; stratified by ValueToPredict"
    assert said in done.out
    text = (tmp_path / "s.csv").read_text()
    assert text.startswith("SubjectID;Channel_0;ValueToPredict;split\n0;0l.png;well;")
    classes = {"task": "classification", "class_names": ["well", "sick"]}
    found = table(tmp_path, "s.csv", **classes).listing
    assert Counter((r.split, r.target) for r in found) == {
        ("train", 0): 4, ("train", 1): 4, ("val", 0): 2, ("val", 1): 2, ("test", 0): 2, ("test", 1): 2,
    }  # fmt: skip
    typed("data", "split", tmp_path / "t.csv", "-o", tmp_path / "again.csv", "--shares", "2:1:1")
    assert (tmp_path / "again.csv").read_text() == text
    done = typed("data", "split", tmp_path / "s.csv", "-o", tmp_path / "s.csv", "--replace", "--seed", "1")
    assert done.code == 0
    assert (tmp_path / "s.csv").read_text() != text


def test_ecvls_yaml_is_read_back(tmp_path: Path) -> None:
    typed("data", "split", made(tmp_path), "-o", tmp_path / "s.yml")
    options = {"task": "classification", "class_names": ["sick", "well"], "patient": "SubjectID"}
    given = {"task_id": 0, "task_name": "a", "root_path": str(tmp_path), "num_classes": 2, "file": "s.yml"}
    found = ECVL(ECVL.Options(**given, **options)).listing
    typed("data", "split", tmp_path / "t.csv", "-o", tmp_path / "s.csv")
    classes = {"task": "classification", "class_names": ["sick", "well"]}
    theirs = table(tmp_path, "s.csv", **classes).listing
    assert [(r.patient, r.target, r.split) for r in found] == [(r.patient, r.target, r.split) for r in theirs]
    assert yaml.safe_load((tmp_path / "s.yml").read_text())["classes"] == ["sick", "well"]


@pytest.mark.parametrize(
    ("words", "message", "advice"),
    [
        (("--shares", "50:50"), "not three parts", "train, val and test"),
        (("--shares", "a:b:c"), "not numbers", "train, val and test"),
        (("--shares", "0:50:50"), "something to train", "train, val and test"),
        (("--patient", "person"), "no column person", "--patient"),
        (("--class", "finding"), "no column finding", "--class"),
        (("--shares", "98:1:1"), "nobody is left for val and test", "larger shares"),
    ],
)
def test_splits_that_can_not_be(tmp_path: Path, words: tuple[str, ...], message: str, advice: str) -> None:
    done = typed("data", "split", made(tmp_path, 2), "-o", tmp_path / "s.csv", *words)
    done.refused(2, message, advice=advice)
    assert not (tmp_path / "s.csv").exists()


CELLS = st.text(st.characters(exclude_categories=["Cs", "Cc"], include_characters="\n"), max_size=8)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(CELLS, min_size=6, max_size=6), st.sampled_from(",;\t"))
def test_a_split_keeps_every_cell_as_it_was(tmp_path: Path, cells: list[str], mark: str) -> None:
    header = ["SubjectID", "Channel_0", "a  note"]
    text = io.StringIO(newline="")
    writer = csv.writer(text, delimiter=mark, quoting=csv.QUOTE_ALL)
    writer.writerows([header, *([f" p  {k}", "a  scan .png", cell] for k, cell in enumerate(cells))])
    (tmp_path / "t.csv").write_bytes(text.getvalue().encode())
    typed("data", "split", tmp_path / "t.csv", "-o", tmp_path / "s.csv", "--replace")
    with (tmp_path / "s.csv").open(newline="", encoding="utf-8") as file:
        found = list(csv.reader(file, delimiter=mark, skipinitialspace=True))
    assert found[0] == [*header, "split"]
    assert [row[:3] for row in found[1:]] == [[f" p  {k}", "a  scan .png", cell] for k, cell in enumerate(cells)]


def test_a_split_is_beside_its_table(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    typed("data", "split", made(tmp_path), "-o", tmp_path / "in" / "s.csv").refused(
        2, "another folder", advice=str(tmp_path / "s.csv")
    )
    typed("data", "split", tmp_path / "t.csv", "-o", ".").refused(
        2, "another folder", advice=str(tmp_path / "split.csv")
    )


def test_rows_without_a_patient(tmp_path: Path) -> None:
    path = made(tmp_path, 4)
    path.write_text(path.read_text().replace("\n2;", "\nNA;"))
    typed("data", "split", path, "-o", tmp_path / "s.csv").refused(2, "line 6: SubjectID is 'NA'", "line 7")


@settings(max_examples=25)
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from("ab")), min_size=20, max_size=60), st.integers(0, 3))
def test_no_patient_in_two_splits_and_shares_kept(images: list[tuple[int, str]], seed: int) -> None:
    patients, classes = [f"P{n}" for n, _ in images], [label for _, label in images]
    if len(set(patients)) < 8:
        return
    dealt = deal(patients, classes, SHARES, seed)
    where = dict(zip(patients, dealt, strict=True))
    assert [where[patient] for patient in patients] == dealt
    assert deal(patients, classes, SHARES, seed) == dealt
    for part, share in SHARES.items():
        assert abs(list(where.values()).count(part) - share * len(where)) <= 3


def test_names_that_are_alike_stay_together() -> None:
    names = ["p-1", "P–1", "7", "007", *"abcdefgh"]
    dealt = deal(names, [""] * len(names), SHARES, 0)
    assert dealt[0] == dealt[1]
    assert dealt[2] == dealt[3]


def test_shares() -> None:
    assert shares_of("1:0:1") == {"train": Fraction(1, 2), "val": 0, "test": Fraction(1, 2)}
    with pytest.raises(UserError):
        shares_of("1:1:-1")
