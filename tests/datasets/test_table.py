from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from pydantic import ValidationError
from relay.datasets.table import Table, ranges

from relay.data import Labels, Record, prepare
from relay.errors import DataError

CLASSES = {"task": "classification", "class_names": ["benign", "malignant"]}


def table(root: Path, **kwargs) -> Table:
    given = {"task_id": 0, "task_name": "site", "root_path": str(root), "num_classes": 2, **kwargs}
    return Table(Table.Options(**given))


def images(site, *names: str) -> None:
    for i, name in enumerate(names):
        site.write(name, np.full((4, 4, 3), i, np.uint8))


def rows(site, text: str, name: str = "table.csv", **kwargs) -> list[Record]:
    (site.root / name).write_text(text, encoding="utf-8", newline="")
    return table(site.root, table=name, **kwargs).listing


def test_gandlfs_columns_as_they_are(site) -> None:
    images(site, "001/t1.png", "001/t2.png", "001/seg.png", "002/t1.png", "002/t2.png", "002/seg.png")
    text = "SubjectID,Channel_1,Channel_0,Label\n1,001/t2.png,001/t1.png,001/seg.png\n2,002/t2.png,002/t1.png,002/seg\n"
    found = rows(site, text)
    assert [(r.id, r.patient) for r in found] == [("001/t1", "1"), ("002/t1", "2")]
    assert [path.name for path in found[0].images] == ["t1.png", "t2.png"]
    assert found[1].mask == site.root / "002/seg.png"
    assert found[0].columns["SubjectID"] == "1"


def test_values_to_predict(site) -> None:
    images(site, "a.png", "b.png")
    text = "SubjectID,Channel_0,ValueToPredict\n7,a.png,1\n8,b.png,1.0\n"
    assert [r.target for r in rows(site, text, **CLASSES)] == [1, 1]
    assert [r.target for r in rows(site, text, task="regression", num_classes=None)] == [1.0, 1.0]


@pytest.mark.parametrize(
    "text",
    [
        '\ufeffpid;file;finding\r\nP1;a.png;malignant\r\n"P 2";"b.png";"benign"\r\n;;\r\n',
        "pid\tfile\tfinding\nP1\ta\tmalignant\nP 2 \tb\t benign\n",
        'finding,"file","pid"\nmalignant,a.png,P1\n"benign","b.png","P\u00a02"\n',
    ],
)
def test_any_columns_in_any_dialect(site, text: str) -> None:
    images(site, "image/a.png", "image/b.png")
    found = rows(
        site, text, image_columns=["file"], image_dir="image", target_column="finding", patient_column="pid", **CLASSES
    )
    assert [(r.id, r.patient, r.target) for r in found] == [("a", "P1", 1), ("b", "P 2", 0)]


def test_all_wrong_rows_at_once_with_their_lines(site) -> None:
    images(site, "a.png", "b.png")
    text = "SubjectID,Channel_0,ValueToPredict,split\n1,a.png,benign,\n2,c.png,benign,\n,b.png,malign,tset\n1,a.png,,\n"
    with pytest.raises(DataError, match=r"wrong rows, lines 3 to 5 \(3\)") as caught:
        rows(site, text, **CLASSES)
    said = str(caught.value)
    assert f"line 3: Channel_0: no such file: {site.root / 'c.png'}" in said
    assert "line 4: SubjectID is ''; ValueToPredict: 'malign' is no class; the classes are benign, malignant" in said
    assert (
        "if it is one, add it to class_names; did you mean 'malignant'?; split is 'tset', not train, val or test"
        in said
    )
    assert "line 5: ValueToPredict: no class is given; a is in line 2, too" in said


@pytest.mark.parametrize(
    ("text", "kwargs", "message", "advice"),
    [
        ("SubjectID,Channel_0\n1,a.png\n", {}, "no column Label; it has SubjectID, Channel_0", "Name the table's"),
        ("SubjectID,image,Label\n1,a.png,a.png\n", {}, "no column Channel_0", "image_columns"),
        ("", {}, "table.csv: an empty table", "names of its columns"),
        ("Channel_0,Label\na.png,a.png\n", {"rows": {"kind": "a"}, "id_column": "kind"}, "no column kind; it has", ""),
        (
            "patient,Channel_0,Label\n1,a.png,a.png\n",
            {},
            "column patient seems to say whose image it is",
            "Set patient_column: patient",
        ),
        (
            "mrn,Channel_0,Label\n1,a.png,a.png\n",
            {},
            "column mrn seems to say whose image it is",
            "patient_column: mrn",
        ),
        (f"SubjectID,Channel_0,Label\n1,a.png,{'x' * 300}\n", {}, "no such file: ", "Correct these rows"),
        ("SubjectID,Channel_0,Label\n1,a.png\n", {}, "line 2: 2 cells for 3 columns", "quotes"),
        ("SubjectID,Channel_0,Label\n", {}, "no rows", "add rows"),
        (
            "SubjectID,Channel_0,Label,site\n1,a.png,a.png,north\n",
            {"rows": {"site": "south"}},
            "site is north",
            "Correct rows",
        ),
        ("SubjectID,Channel_0,Label\n1,a.png,a.png\n", {"id_column": "SubjctID"}, "no column SubjctID", "did you mean"),
        ("SubjectID,Channel_0,Label,Label\n1,a.png,,\n", {}, "two columns named Label", "Rename"),
        (
            "Channel_0,age\na.png,1\n",
            {"task": "regression", "num_classes": None, "target_column": "age", "split_column": "part"},
            "no column part",
            "split_column",
        ),
        (
            "Channel_0;age\na.png;3,5\n",
            {"task": "regression", "num_classes": None, "target_column": "age"},
            "'3,5' is no number; write it with a point",
            "Correct these rows",
        ),
        (
            "Channel_0,age\na.png,nan\n",
            {"task": "regression", "num_classes": None, "target_column": "age"},
            "'nan' is no number",
            "Correct these rows",
        ),
    ],
)
def test_a_table_that_can_not_be_used(site, text: str, kwargs: dict, message: str, advice: str) -> None:
    images(site, "a.png")
    with pytest.raises(DataError) as caught:
        rows(site, text, **kwargs)
    assert message in str(caught.value)
    assert advice in caught.value.advice() or advice in str(caught.value)


def test_no_table_says_which_keys_name_it(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"table\.csv: can't be read") as caught:
        len(table(tmp_path))
    assert "img_folder or table" in caught.value.advice()


def test_one_table_of_several_hospitals(site) -> None:
    images(site, "a.png", "b.png", "c.png")
    text = "Channel_0,ValueToPredict,hospital\na.png,0,north\nb.png,1,south\nc.png,1,east\n"
    assert [r.id for r in rows(site, text, rows={"hospital": "south"}, **CLASSES)] == ["b"]
    assert [r.id for r in rows(site, text, rows={"hospital": ["north", "east"]}, **CLASSES)] == ["a", "c"]
    assert [r.id for r in rows(site, text, only="^[ac]$", **CLASSES)] == ["a", "c"]
    with pytest.raises(DataError, match="no rows"):
        rows(site, text, only="x", **CLASSES)


def test_several_labels_in_one_cell_or_a_column_each(site) -> None:
    images(site, "a.png", "b.png", "c.png")
    given = {"task": "multilabel", "class_names": ["edema", "mass"]}
    text = "Channel_0,ValueToPredict,e,m\na.png,mass|edema,1,0\nb.png,,0,1.0\nc.png,mass,true,0\n"
    assert [r.target for r in rows(site, text, **given)] == [(1, 1), (0, 0), (0, 1)]
    assert [r.target for r in rows(site, text, target_column=["e", "m"], **given)] == [(1, 0), (0, 1), (1, 0)]
    with pytest.raises(DataError, match="m: 'maybe' is neither 0 nor 1"):
        rows(site, text.replace("1,0\nb", "1,maybe\nb"), target_column=["e", "m"], **given)


def test_labels_as_the_table_writes_them(site) -> None:
    images(site, "a.png", "b.png")
    text = "Channel_0,ValueToPredict\na.png,bösartig\nb.png,gutartig\n"
    found = rows(site, text, label_values=["gutartig", "bösartig"], **CLASSES)
    assert [r.target for r in found] == [1, 0]
    with pytest.raises(DataError, match="'1' is no class; the classes are gutartig, bösartig"):
        rows(site, text.replace("bösartig", "1"), label_values=["gutartig", "bösartig"], **CLASSES)


@pytest.mark.parametrize(
    ("names", "text", "index"),
    [
        (["1", "2", "3"], "1", 0),
        (["1", "2", "3"], "1.0", 0),
        (["1", "2", "3"], "03", 2),
        (["1", "2", "3"], "0", None),
        (["0", "1"], "1.0", 1),
        (["yes", "no"], "1.0", 1),
        (["yes", "no"], "2", None),
        (["none", "mild"], "none", 0),
        (["none", "mild"], "None", None),
        (["mild", "severe"], "none", None),
    ],
)
def test_a_number_is_a_class_of_that_name_or_else_its_index(names: list[str], text: str, index: int | None) -> None:
    read = Labels(SimpleNamespace(task="classification", names=names))
    if index is not None:
        assert read(text) == index
    else:
        with pytest.raises(ValueError, match="is no class"):
            read(text)


def test_the_split_of_the_table(site) -> None:
    names = [f"{k}.png" for k in range(6)]
    images(site, *names)
    parts = ["train", "Training", "val", "validation", "test", ""]
    text = "Channel_0,ValueToPredict,split\n" + "".join(f"{n},0,{p}\n" for n, p in zip(names, parts, strict=True))
    rows(site, text, **CLASSES)
    dealt = prepare(table(site.root, **CLASSES), seed=1).split.to_json()
    assert dealt == {"train": ["0", "1", "5"], "val": ["2", "3"], "test": ["4"]}
    ignored = prepare(table(site.root, split_column=None, **CLASSES), seed=1).split
    assert [len(ignored[part]) for part in ("train", "val", "test")] == [4, 1, 1]
    text = "SubjectID,Channel_0,ValueToPredict,split\n1,0.png,0,train\n01,1.png,0,val\n2,2.png,0,test\n"
    rows(site, text, **CLASSES)
    with pytest.raises(DataError, match="both the published validation set and the rest"):
        prepare(table(site.root, **CLASSES), seed=1)


def test_patients_by_regex(site) -> None:
    images(site, "p1_left.png", "p1_right.png")
    text = "Channel_0,ValueToPredict\np1_left.png,0\np1_right.png,1\n"
    assert {r.patient for r in rows(site, text, patient_regex=r"^(p\d)_", **CLASSES)} == {"p1"}
    with pytest.raises(DataError, match="line 3: patient_regex does not match 'p1_right'"):
        rows(site, text, patient_regex="left", **CLASSES)


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"target_column": ["a", "b"]}, "only a multilabel task has several"),
        ({"task": "multilabel", "target_column": ["a"]}, "must name 2 columns"),
        ({"mask_values": [0]}, "must be 2 different values"),
        ({"label_values": ["a", "a"]}, "must be 2 different values"),
        ({"image_columns": []}, "at least 1"),
    ],
)
def test_options_that_do_not_fit(tmp_path: Path, kwargs: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        table(tmp_path, **kwargs)


def test_ranges() -> None:
    assert ranges([2, 5, 6, 7, 9, 10]) == "lines 2, 5 to 7, 9 to 10"
    assert ranges([3]) == "line 3"


@pytest.mark.parametrize(("lab", "count"), [("isfahan", 149), ("cellavision", 97)])
def test_real_cells(shared_data: Path, lab: str, count: int) -> None:
    kinds = ["neutrophil", "lymphocyte", "monocyte", "eosinophil"]
    dataset = table(
        shared_data / "wbc_types", img_folder=lab, table="labels.csv", image_columns=["id"], image_dir="image",
        target_column="type", task="classification", num_classes=4, class_names=kinds, img_size=[32, 32],
    )  # fmt: skip
    assert len(dataset) == count
    assert {record.target for record in dataset.listing} == {0, 1, 2, 3}


def test_three_files_are_not_made_grey(site) -> None:
    for name in "abcm":
        site.write(f"{name}.png", np.zeros((4, 4), np.uint8))
    (site.root / "table.csv").write_text("SubjectID,Channel_0,Channel_1,Channel_2,Label\n1,a,b,c,m\n")
    assert table(site.root, channels=3)[0].image.shape == (4, 4, 3)
    with pytest.raises(DataError, match="3 channels in 3 files, but the config's channels is 1") as caught:
        table(site.root, channels=1)[0]
    assert "Set channels: 3" in caught.value.advice()
