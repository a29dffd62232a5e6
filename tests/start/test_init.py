"""relay init: from a folder or a table to a config that is planned, and trained, as it stands."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from PIL import Image

from relay.cli.configs import find
from relay.errors import UserError
from relay.start import source_of
from relay.start.fingerprint import Fingerprint
from relay.start.rules import anisotropy, foreground, repeats, sizes
from tests.cli.typed import Done, typed
from tests.dicoms import NUMBER, segmentation, series, uid

RNG = np.random.default_rng(0)
CUT = (np.indices((4, 16, 16))[2] > 8).astype(np.uint8)


def picture(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def volume(path: Path, values: np.ndarray, spacing: tuple[float, ...] = (1.0, 1.0, 1.0)) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = sitk.GetImageFromArray(values)
    image.SetSpacing(spacing)
    sitk.WriteImage(image, str(path))


def pictures(root: Path, many: int = 12, folder: str = "image") -> None:
    for k in range(many):
        picture(root / folder / f"p{k}.png", RNG.integers(0, 255, (40, 48)))


def written(source: Path, *words: str, answers: tuple[str, ...] | None = None) -> tuple[dict[str, Any], Done]:
    out = source.parent / "study.yaml" if source.is_file() else source / "study.yaml"
    done = typed("init", source, "-o", out, *words, answers=answers)
    assert done.code == 0, done.err
    content = yaml.safe_load(out.read_text())
    assert find(str(out), say=False).plan().legs
    return content["common"], done


def test_images_and_masks(tmp_path: Path) -> None:
    tmp_path = tmp_path / ("a long, name with spaces: " * 4 + "#") / "x"
    pictures(tmp_path)
    for k in range(12):
        picture(tmp_path / "mask" / f"p{k}.png", np.where(np.indices((40, 48))[0] < k % 2, 255, 0))
    common, done = written(tmp_path, "--site", "north", "--classes", "background,vessel")
    kwargs = common["dataset"]["kwargs"]
    assert common["dataset"]["name"] == "folder"
    assert (kwargs["num_classes"], kwargs["class_names"]) == (2, ["background", "vessel"])
    assert (kwargs["mask_values"], kwargs["channels"]) == ([0, 255], 1)
    assert kwargs["patch_size"] == [32, 48]
    assert kwargs["foreground"] == 0.33
    assert common["train"]["batch_size"] == 3
    assert "every image counts as a patient" in done.err
    assert "relay data check" in done.out
    text = (tmp_path / "study.yaml").read_text()
    assert "# patches: the median size is 40×48; multiples of 16, at most 512" in text


@pytest.mark.parametrize("inside", ["", "train/", "train/ROIs/", "labels.csv"])
def test_a_folder_of_several_sites_is_no_folder_of_classes(inside: str, tmp_path: Path) -> None:
    for site in ("china", "italy"):
        root = tmp_path / "data" / site / inside.replace("labels.csv", "")
        pictures(root, 2)
        if inside == "labels.csv":
            (root / inside).write_text("id,type\np1,a\n")
        else:
            pictures(root, 2, "mask")
    for words in (("init", "data", "-o", "study.yaml"), ("data", "table", "data", "-o", "study.csv")):
        done = typed(*words, cwd=tmp_path)
        done.refused(2, "of their own, as of several sites: china, italy", advice="data/china")
    assert "If they are classes" in done.err
    shutil.rmtree(tmp_path / "data" / "italy")
    typed("init", "data", "-o", "study.yaml", cwd=tmp_path).refused(
        2, "one folder", advice="Name that folder: data/china"
    )


def test_a_folder_for_each_class_is_asked_about(tmp_path: Path) -> None:
    for k in range(6):
        picture(tmp_path / "data" / ("Mélanome" if k % 2 else "Naevus") / f"p{k // 2}_{k}.png", np.zeros((64, 64, 3)))
    common, done = written(tmp_path / "data", answers=("south", "^(p\\d)_"))
    assert len(done.asked) == 2
    assert "p1_3" in done.asked[1]
    kwargs = common["dataset"]["kwargs"]
    assert kwargs["class_names"] == ["Melanome", "Naevus"]
    assert kwargs["class_dirs"] == ["Mélanome", "Naevus"]
    assert kwargs["patient_regex"] == "^(p\\d)_"
    assert kwargs["img_size"] == [64, 64]
    assert common["model"] == {"name": "monai:DenseNet121", "kwargs": {"batch_norm": "group"}}
    assert common["train"]["loss"] == {"name": "CE"}


def test_tables(tmp_path: Path) -> None:
    pictures(tmp_path)
    table = tmp_path / "table.csv"
    table.write_text("id,age,kind\n" + "".join(f"p{k},{k + 0.5},{'ab'[k % 2]}\n" for k in range(12)))
    words = ("--images", "id", "--image-dir", "image", "--site", "x")
    common, _ = written(table, *words, "--target", "age")
    assert common["dataset"]["kwargs"]["task"] == "regression"
    assert common["train"]["loss"] == {"name": "MSE"}
    assert "num_classes" not in common["dataset"]["kwargs"]
    mean, deviation = common["dataset"]["kwargs"]["target_scale"]  # of the training patients only: not (6, 3.45)
    assert mean == pytest.approx(6, abs=2)
    assert deviation == pytest.approx(3.45, abs=1.5)
    assert (mean, deviation) != (6.0, 3.452)
    common, _ = written(table, *words, "--target", "kind", "--replace")
    assert common["dataset"]["kwargs"]["class_names"] == ["a", "b"]
    common, _ = written(table, *words, "--target", "kind", "--task", "multilabel", "--replace")
    assert common["train"]["loss"] == {"name": "BCE"}
    table.write_text("id,age,kind\n" + "".join(f"p{k},{60 + k},{k % 3}\n" for k in range(12)))
    common, _ = written(table, *words, "--target", "kind", "--replace")
    assert common["dataset"]["kwargs"]["class_names"] == ["class 0", "class 1", "class 2"]
    common, _ = written(table, *words, "--target", "age", "--replace")
    assert common["dataset"]["kwargs"]["task"] == "regression"
    for rows in ("", "p1,,\np2,,\n"):
        table.write_text("id,age,kind\n" + rows)
        done = typed("init", table, "-o", tmp_path / "study.yaml", *words, "--target", "age", "--replace")
        done.refused(2, "no row has a value in the column age", advice="--target")


def test_what_was_assumed_about_a_column_is_said(tmp_path: Path) -> None:
    pictures(tmp_path)
    table = tmp_path / "table.csv"
    lines = [f"p{k},{20 + k},{1 + k % 2},{k % 2},Meier {k},same,site {k % 3}" for k in range(12)]
    table.write_text("id,age,grade,sick,name,one,place\n" + "\n".join(lines) + "\n")
    words = ("--images", "id", "--image-dir", "image", "--site", "x", "--replace", "--target")
    common, done = written(table, *words, "age")
    assert common["dataset"]["kwargs"]["task"] == "classification"
    assert "warning: the numbers 20 to 31 in age were taken for classes" in done.err
    text = (tmp_path / "study.yaml").read_text()
    assert "# the numbers 20 to 31 in age were taken for classes" in text
    assert "--task regression" in " ".join(text.split())
    assert written(table, *words, "age", "--task", "regression")[0]["train"]["loss"] == {"name": "MSE"}
    common, done = written(table, *words, "grade")
    assert common["dataset"]["kwargs"]["class_names"] == ["class 1", "class 2"]
    assert common["dataset"]["kwargs"]["label_values"] == ["1", "2"]
    assert "taken for classes" not in done.err
    common, _ = written(table, *words, "grade", "--classes", "none,low,high")
    assert "label_values" not in common["dataset"]["kwargs"]
    assert "label_values" not in written(table, *words, "sick")[0]["dataset"]["kwargs"]
    assert "must not name a patient" in written(table, *words, "place")[1].err
    out = tmp_path / "study.yaml"
    typed("init", table, "-o", out, *words, "one").refused(2, "all images have the same class: same", advice="--target")
    done = typed("init", table, "-o", out, *words, "name")
    done.refused(2, "12 different words in 12 rows", advice="--task classification")
    assert "Meier" not in done.err


def test_folders_of_patients_are_not_taken_for_classes(tmp_path: Path) -> None:
    root = tmp_path / "scans"
    for k in range(6):
        picture(root / f"Meier_{k // 2}" / f"{k}.png", np.zeros((32, 32)))
    done = typed("init", root, "-o", tmp_path / "s.yaml")
    done.refused(2, "are these patients, or classes?", advice="--task classification")
    command = done.err[done.err.index("relay data table") :].replace("\n", " ").split()
    assert typed(*[word.strip("'") for word in command[1:]]).out.startswith(f"{root / 'table.csv'}: 6 images of 3 pat")
    (root / "table.csv").unlink()
    common, done = written(root, "--task", "classification")
    assert common["dataset"]["kwargs"]["class_names"] == ["Meier_0", "Meier_1", "Meier_2"]
    assert "its name travels with the model" in (root / "study.yaml").read_text()
    typed("init", root, "-o", tmp_path / "s.yaml", "--task", "regression").refused(2, "are for classification")


def test_one_image_grey_beside_colour_and_columns_of_folders(tmp_path: Path) -> None:
    for k in range(4):
        picture(tmp_path / "image" / f"p{k}.png", np.zeros((32, 32, 3) if k % 2 else (32, 32)))
        picture(tmp_path / "mask" / f"p{k}.png", np.indices((32, 32))[0] % 2)
    typed("init", tmp_path / "image" / "p0.png", "-o", tmp_path / "s.yaml").refused(2, "is one image", advice="folder")
    picture(tmp_path / "image" / "a" / "b.png", np.zeros((32, 32)))
    picture(tmp_path / "mask" / "a" / "b.png", np.zeros((32, 32)))
    assert "patient_regex, such as '^([^/]+)/' if each has a folder" in written(tmp_path)[1].err.replace("\n", " ")
    for kind in ("image", "mask"):
        (tmp_path / kind / "a" / "b.png").unlink()
    common, done = written(tmp_path, "--patients", "^(p)", "--replace")
    assert common["dataset"]["kwargs"]["channels"] == 3
    assert "some images are grey, others in colour" in done.err
    assert "only 1 patient:" in done.err
    assert "4 images of 1 patient." in done.out
    words = ("-o", tmp_path / "s.yaml", "--target", "age")
    typed("init", tmp_path, *words).refused(2, "only tables and DICOM", advice="--target")


# -- DICOM -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def archive(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Four patients with a CT each, and a fifth with an MR."""
    monkeypatch.setenv("RELAY_HOME", str(tmp_path / "home"))
    for k in range(5):
        who = {"PatientID": f"{NUMBER}{k}", "StudyInstanceUID": uid("study", k), "SeriesInstanceUID": uid("series", k)}
        stored = RNG.integers(0, 2000, (4, 16, 16)).astype(np.int16)
        series(tmp_path / "archive" / f"a{k}", stored, Modality="MR" if k == 4 else "CT", **who)
    return tmp_path / "archive"


def test_dicom_with_masks(archive: Path, tmp_path: Path) -> None:
    typed("init", archive, "-o", archive / "s.yaml").refused(2, "no masks and no table", advice="DICOM-SEG")
    for k in range(4):
        segmentation(tmp_path / "archive" / "seg" / str(k), archive / f"a{k}", CUT)
    home = {"RELAY_HOME": str(tmp_path / "home")}
    done = typed("init", archive, "-o", archive / "s.yaml", **home)
    assert done.code == 0, done.err
    kwargs = yaml.safe_load((archive / "s.yaml").read_text())["common"]["dataset"]["kwargs"]
    assert (kwargs["task"], kwargs["modality"], kwargs["num_classes"]) == ("segmentation", "CT", 2)
    assert kwargs["steps"][-1]["kwargs"]["how"] == "window"
    assert "only CT is used (4 series); series that are not: 1" in done.err
    assert "4 images of 4 patients" in done.out
    assert NUMBER not in (archive / "s.yaml").read_text() + done.out + done.err
    typed("data", "table", archive, "-o", archive / "t.csv").refused(2, "contains DICOM files", advice="relay init")


def test_dicom_with_a_table(archive: Path, tmp_path: Path) -> None:
    table, home = archive / "labels.csv", {"RELAY_HOME": str(tmp_path / "home")}
    table.write_text("PatientID,kind\n" + "".join(f"{NUMBER}{k},{'ab'[k % 2]}\n" for k in range(5)))
    words = ("init", archive, "-o", archive / "s.yaml", "--target", "kind", "--replace")
    done = typed(*words, **home)
    assert done.code == 0, done.err
    kwargs = yaml.safe_load((archive / "s.yaml").read_text())["common"]["dataset"]["kwargs"]
    assert (kwargs["label_table"], kwargs["label_key"]) == ("labels.csv", "PatientID")
    assert (kwargs["task"], kwargs["class_names"]) == ("classification", ["a", "b"])
    assert NUMBER not in (archive / "s.yaml").read_text() + done.out + done.err
    assert typed(*words, "--patient", "StudyInstanceUID", "--series", "^thorax$", **home).code == 0
    kwargs = yaml.safe_load((archive / "s.yaml").read_text())["common"]["dataset"]["kwargs"]
    assert (kwargs["patient"], kwargs["description_regex"]) == ("StudyInstanceUID", "^thorax$")
    (archive / "again.csv").write_text("StudyInstanceUID\n")
    typed(*words, **home).refused(2, "several tables: again.csv, labels.csv", advice="Keep one")
    (archive / "again.csv").unlink()
    typed(*words, "--series", "bone", **home).refused(2, "--series 'bone' matches no")
    typed(*words, "--patients", "x", **home).refused(2, "--patients is for names of files")
    typed(*words, "--target", "PatientID", "--task", "classification", **home).refused(
        2, "label_column: PatientID says whose the target is"
    )


def test_dicom_with_masks_by_a_rule(archive: Path) -> None:
    for k in range(5):
        volume(archive / f"a{k}" / "mask.nii.gz", np.zeros((4, 16, 16), np.uint8))
    found = source_of(archive)
    assert found.kwargs["mask_name"] == "{folder}/mask.nii.gz"
    for k in range(5):
        (archive / "masks").mkdir(exist_ok=True)
        (archive / f"a{k}" / "mask.nii.gz").rename(archive / "masks" / f"{uid('series', k)}.nii.gz")
    assert source_of(archive).kwargs["mask_name"] == "masks/{series}.nii.gz"


def test_volumes_of_nnunet(tmp_path: Path) -> None:
    for k in range(5):
        values = RNG.normal(0, 300, (20, 30, 36)).astype(np.int16) - 400
        volume(tmp_path / "imagesTr" / f"a{k}_0000.nii.gz", values, (1.0, 1.0, 1.0 + k / 10))
        mask = np.zeros((20, 30, 36), np.uint8)
        mask[5:15, 5:15, 5:15] = 1 + k % 2
        volume(tmp_path / "labelsTr" / f"a{k}.nii.gz", mask, (1.0, 1.0, 1.0 + k / 10))
    about = {"channel_names": {"0": "CT"}, "labels": {"background": 0, "liver": 1, "cyst": 2}, "file_ending": ".nii.gz"}
    (tmp_path / "dataset.json").write_text(json.dumps(about))
    common, done = written(tmp_path, "--site", "x")
    kwargs = common["dataset"]["kwargs"]
    assert kwargs["class_names"] == ["background", "liver", "cyst"]
    first, second = kwargs["steps"]
    assert first == {"name": "Resample", "kwargs": {"spacing": [1.2, 1.0, 1.0]}}
    assert second["kwargs"]["how"] == "window"
    assert -1500 < second["kwargs"]["low"] < -800 < second["kwargs"]["high"] < 700
    assert common["model"]["kwargs"]["spatial_dims"] == 3
    assert kwargs["patch_size"] == [16, 32, 32]
    assert "only 5 patients" in done.err


def test_who_said_how_patients_are_named_is_not_told_to_say_so(tmp_path: Path) -> None:
    pictures(tmp_path, 4)
    for k in range(4):
        picture(tmp_path / "mask" / f"p{k}.png", np.indices((40, 48))[0] % 2)
    common, done = written(tmp_path, "--site", "x", "--patients", "^(p[0-9]+)")
    assert common["dataset"]["kwargs"]["patient_regex"] == "^(p[0-9]+)"
    assert "only 4 patients" in done.err
    assert "patient_regex" not in done.err


@pytest.mark.parametrize(
    ("words", "message", "advice"),
    [
        (("--task", "detection"), "is not one of", "Correct"),
        (("--patients", "("), "not a regular expression", "For example"),
        (("--site", "a/b"), "--site 'a/b'", "For example"),
        (("--classes", "one"), "the masks have the values 0, 1", "--classes"),
        (("--patients", "^x"), "patient_regex does not match", "patient_regex"),
    ],
)
def test_what_can_not_be(tmp_path: Path, words: tuple[str, ...], message: str, advice: str) -> None:
    pictures(tmp_path, 4)
    for k in range(4):
        picture(tmp_path / "mask" / f"p{k}.png", np.indices((40, 48))[0] % 2)
    done = typed("init", tmp_path, "-o", tmp_path / "study.yaml", *words)
    done.refused(2, message, advice=advice)
    assert not (tmp_path / "study.yaml").exists()


def test_images_alone_and_files_that_exist(tmp_path: Path) -> None:
    pictures(tmp_path, 2, "some")
    typed("init", tmp_path / "some", "-o", tmp_path / "a.yaml").refused(2, "no masks", advice="relay data table")
    typed("init", tmp_path / "some", "-o", tmp_path / "a.txt").refused(2, "ends in .yaml")
    (tmp_path / "a.yaml").write_text("")
    typed("init", tmp_path / "some", "-o", tmp_path / "a.yaml").refused(2, "exists", advice="--replace")


# -- a plan that travels ---------------------------------------------------------------------------------------------


@pytest.fixture
def plan(tmp_path: Path) -> Path:
    for k in range(8):
        picture(tmp_path / "north" / "ab"[k % 2] / f"{k}.png", RNG.integers(0, 255, (64, 64)))
    assert typed("init", tmp_path / "north", "-o", tmp_path / "north.yaml").code == 0
    return tmp_path / "north.yaml"


def test_the_next_site_keeps_the_plan(plan: Path, tmp_path: Path) -> None:
    for k in range(8):
        picture(tmp_path / "south" / "ab"[k % 2] / f"{k}.png", RNG.integers(0, 255, (30, 30)))
    done = typed("init", tmp_path / "south", "-o", tmp_path / "south.yaml", "--like", plan)
    assert done.code == 0, done.err
    assert "much smaller than the plan's [64, 64]" in done.err
    theirs, mine = (yaml.safe_load(path.read_text()) for path in (plan, tmp_path / "south.yaml"))
    assert mine["common"]["dataset"]["kwargs"]["img_size"] == [64, 64]
    assert mine["common"]["model"] == theirs["common"]["model"]
    assert mine["all_tasks_datasets"] == [{"kwargs": {"task_id": 2, "task_name": "south"}}]


def test_the_next_site_writes_its_classes_in_the_same_or_other_ways(tmp_path: Path) -> None:
    for site in ("north", "south"):
        for k in range(8):
            picture(tmp_path / site / ("Mélanome" if k % 2 else "Naevus") / f"{k}.png", np.zeros((32, 32)))
            picture(tmp_path / f"{site}2" / "image" / f"{k}.png", RNG.integers(0, 255, (32, 32)))
            drawn = np.indices((32, 32))[0] % 2
            picture(tmp_path / f"{site}2" / "mask" / f"{k}.png", drawn * (255 if site == "south" else 1))
    for kind in ("", "2"):
        assert typed("init", tmp_path / f"north{kind}", "-o", tmp_path / f"n{kind}.yaml").code == 0
        words = ("-o", tmp_path / f"s{kind}.yaml", "--like", tmp_path / f"n{kind}.yaml")
        done = typed("init", tmp_path / f"south{kind}", *words)
        assert done.code == 0, done.err
        assert typed("data", "check", tmp_path / f"s{kind}.yaml").code == 0
    assert "taken for the classes in this order" in done.err
    kwargs = yaml.safe_load((tmp_path / "s2.yaml").read_text())["common"]["dataset"]["kwargs"]
    assert kwargs["mask_values"] == [0, 255]


def test_what_the_studys_data_set_says_by_itself_travels_too(tmp_path: Path) -> None:
    for k in range(4):
        picture(tmp_path / "image" / f"{k}.png", np.zeros((64, 64, 3)))
        picture(tmp_path / "mask" / f"{k}.png", np.indices((64, 64))[0] % 3)
    assert typed("init", tmp_path, "-o", tmp_path / "s.yaml", "--like", "fundus/relay").code == 0
    kwargs = yaml.safe_load((tmp_path / "s.yaml").read_text())["common"]["dataset"]["kwargs"]
    assert (kwargs["class_names"], kwargs["channels"]) == (["background", "rim", "cup"], 3)


def test_the_next_site_has_the_same_numbers_for_classes(tmp_path: Path) -> None:
    for name, first in (("north", 0), ("south", 0), ("east", 1), ("west", 0)):
        pictures(tmp_path / name, 6)
        lines = [f"p{k},{0 if name == 'west' else first + k % 2}" for k in range(6)]
        (tmp_path / name / "table.csv").write_text("\n".join(["id,kind", *lines]))
    words = ("--images", "id", "--image-dir", "image", "--target", "kind")
    out, table = tmp_path / "n.yaml", tmp_path / "north" / "table.csv"
    assert typed("init", table, "-o", out, *words, "--classes", "healthy,sick").code == 0
    for name in ("south", "west"):  # the west has no image of a class
        done = typed("init", tmp_path / name / "table.csv", "-o", tmp_path / f"{name}.yaml", *words, "--like", out)
        assert done.code == 0, done.err
    done = typed("init", tmp_path / "east" / "table.csv", "-o", tmp_path / "e.yaml", *words, "--like", out)
    done.refused(2, "does not know the classes 2; it has 0, 1", advice="Rename")


def test_data_that_do_not_fit_the_plan(plan: Path, tmp_path: Path) -> None:
    for k in range(4):
        picture(tmp_path / "south" / "ac"[k % 2] / f"{k}.png", RNG.integers(0, 255, (30, 30)))
    words = ("-o", tmp_path / "south.yaml", "--like", plan)
    typed("init", tmp_path / "south", *words).refused(2, "does not know the classes c;", advice="Rename")
    pictures(tmp_path / "masked", 4)
    pictures(tmp_path / "masked", 4, "mask")
    typed("init", tmp_path / "masked", *words).refused(
        2, "is for classification, but these images are for segmentation"
    )


# -- rules -----------------------------------------------------------------------------------------------------------


def found(shape: tuple[int, ...], **changes) -> Fingerprint:
    given = {
        "images": 100, "patients": 50, "read": 100, "shape": shape, "smallest": shape, "varies": False, "channels": 1,
        "spacing": (1.0,) * 3 if len(shape) == 3 else None, "kind": "other" if len(shape) == 3 else "8-bit",
        "window": (0.0, 1.0), "foreground": 0.2, "values": (0, 1), "labels": {},
    }  # fmt: skip
    return Fingerprint(**{**given, **changes})


@pytest.mark.parametrize("memory", [1e9, 4e9, 24e9])
@pytest.mark.parametrize("shape", [(512, 512), (40, 40), (150, 512, 512), (35, 50, 35)])
def test_what_fits_the_memory(shape: tuple[int, ...], memory: float) -> None:
    chosen = sizes(found(shape), True, int(memory))
    patch, batch = chosen["patch_size"].value, chosen["batch_size"].value
    assert all(side % 16 == 0 for side in patch)
    assert 2 <= batch <= 16
    features = {2: 16, 3: 8}[len(shape)]
    assert 150 * features * batch * np.prod(patch) <= memory
    bigger = sizes(found(shape), True, int(4 * memory))
    assert np.prod(bigger["patch_size"].value) >= np.prod(patch)


def test_other_rules() -> None:
    with pytest.raises(UserError, match="too little to train"):
        sizes(found((64, 64)), True, 10_000)
    assert foreground(found((64, 64))) is None
    assert foreground(found((64, 64), foreground=0.01)).value == 0.33
    assert repeats(found((64, 64), images=10), 4).value == 20
    assert repeats(found((64, 64), images=10_000), 4).value == 1
    assert anisotropy(found((10, 64, 64))) is None
    assert "slices: axial" in str(anisotropy(found((10, 64, 64), spacing=(6.0, 1.0, 1.0))))
    resized = sizes(found((64, 64, 64)), False, 10**9)["steps"].value
    assert resized[-1] == {"name": "Resize", "kwargs": {"size": [64, 64, 64]}}
