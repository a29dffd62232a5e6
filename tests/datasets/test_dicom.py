"""A tree of DICOM series as a data set."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from relay.datasets.dicom import Dicom, DicomOptions

from relay.config import check
from relay.data import examine, find_series, prepare
from relay.errors import DataError, UserError
from relay.leg import digests
from tests.dicoms import NAME, NUMBER, header, segmentation, series, uid, write

STORED = np.random.default_rng(0).integers(0, 3000, (4, 6, 5)).astype(np.int16)
MASK = (STORED > 2000).astype(np.uint8)


@pytest.fixture(autouse=True)
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("RELAY_HOME", str(tmp_path / "home"))
    return tmp_path / "home"


def make(root: Path, **kwargs: Any) -> Dicom:
    return Dicom(DicomOptions(task_id=1, task_name="north", root_path=str(root), num_classes=2, **kwargs))


def patient(root: Path, number: int, **tags: Any) -> Path:
    """A study of a patient: a series, a localiser, and a DICOM-SEG."""
    place = root / f"{NAME} {number}"
    who = {"PatientID": f"{NUMBER}{number}", "StudyInstanceUID": uid("study", number), **tags}
    folder = series(place / "A", STORED + number, SeriesInstanceUID=uid("series", number), **who)
    scout = header(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesInstanceUID=uid("scout", number), **who)
    write(place / "B" / "scout", scout, STORED[0])
    segmentation(place / "C" / "seg", folder, MASK)
    return place


def test_a_tree_of_series(tmp_path: Path, home: Path) -> None:
    root = tmp_path / "site"
    for number in range(3):
        patient(root, number)
    dataset = make(root)
    records = dataset.listing
    assert [record.image for record in records] == [root / f"{NAME} {number}" / "A" for number in range(3)]
    assert len({record.patient for record in records}) == 3
    said = " ".join(f"{record.id} {record.patient}" for record in records)
    assert re.fullmatch(r"([0-9a-f]{16}/[0-9a-f]{16} [0-9a-f]{16} ?){3}", said)
    assert make(root).listing == records  # the key is kept
    case = dataset[1]
    assert case.image.shape == (*STORED.shape, 1)
    assert np.array_equal(case.target, MASK)
    assert len(prepare(dataset, 1).split.train) >= 1
    assert all(set(of) == {"image", "mask"} for of in digests.digests(records).values())
    assert (home / "pseudonyms.key").stat().st_mode & 0o077 == 0
    (home / "pseudonyms.key").write_bytes(b"12")
    with pytest.raises(UserError, match="2 bytes instead of 32"):
        make(root).samples()
    (home / "pseudonyms.key").unlink()
    assert {record.patient for record in make(root).listing}.isdisjoint(record.patient for record in records)


def test_one_patient_written_in_two_ways_is_one(tmp_path: Path) -> None:
    root = tmp_path / "site"
    patient(root, 1, PatientID="p-7")
    patient(root, 2, PatientID=" P-7 ")
    assert len({record.patient for record in make(root).listing}) == 1
    assert len({record.patient for record in make(root, patient="StudyInstanceUID").listing}) == 2


def test_masks_by_a_rule(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    root = tmp_path / "site"
    folder = series(root / "s", STORED)
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    drawn = sitk.GetImageFromArray(MASK)
    drawn.CopyInformation(reader.Execute())
    one = find_series(root)[0]
    for rule, place in (
        ("{folder}/mask.nii.gz", folder / "mask.nii.gz"),
        ("../masks/{name}_{series}.nii.gz", tmp_path / "masks" / f"s_{one.uid}.nii.gz"),
        (f"{tmp_path}/{{study}}.nii.gz", tmp_path / f"{one.study}.nii.gz"),
    ):
        with pytest.raises(DataError, match="without exactly one mask") as caught:
            make(root, mask_name=rule).samples()
        assert re.search(rf"{folder}: there is no .*{re.escape(place.name)}", str(caught.value))
        place.parent.mkdir(exist_ok=True)
        sitk.WriteImage(drawn, str(place))
        assert np.array_equal(make(root, mask_name=rule)[0].target, MASK)
    monkeypatch.chdir(tmp_path)
    assert np.array_equal(make(Path("site"), mask_name="{folder}/mask.nii.gz")[0].target, MASK)


def test_ct_that_is_scaled_image_by_image_is_told(tmp_path: Path) -> None:
    root = tmp_path / "site"
    for number in range(3):
        patient(root, number)
    window = {"name": "Normalise", "kwargs": {"how": "window", "low": -160, "high": 240}}
    for steps in (None, [{"name": "Crop", "kwargs": {"above": -500}}], [window]):
        found = examine(prepare(make(root, steps=steps), 1), ("train", "test"))
        told = [doubt for doubt in found if "as in CT, but each image is scaled on its own" in doubt.text]
        assert len(told) == (steps != [window])


def test_one_mask_of_two_series_is_refused(tmp_path: Path) -> None:
    root = tmp_path / "site"
    folder = series(root / "s", STORED)
    series(root / "s" / "b", STORED, SeriesInstanceUID=uid("other"), SeriesDescription="thin")
    for other in (root / "s").glob("b/*"):
        other.rename(root / "s" / f"thin{other.name}")
    (folder / "mask.nii.gz").touch()
    with pytest.raises(
        DataError, match=r"masks with several series \(1\):\n  - .*mask.nii.gz: the mask of .*, "
    ) as caught:
        make(root, mask_name="{folder}/mask.nii.gz").samples()
    assert "Put {series} into mask_name" in caught.value.advice()
    assert len(make(root, mask_name="{folder}/mask.nii.gz", description_regex="thin").samples()) == 1


def test_rules_are_checked() -> None:
    for rule, message in (("{patient}.nii", "no field {patient}"), ("{folder", "expected '}'")):
        given = {"task_id": 1, "task_name": "a", "root_path": "r", "num_classes": 2, "mask_name": rule}
        _, problems = check(DicomOptions, given)
        assert message in str(problems[0])


def test_which_series_are_chosen(tmp_path: Path) -> None:
    root = tmp_path / "site"
    patient(root, 1, SeriesDescription="Thorax lung")
    patient(root, 2, SeriesDescription="Thorax soft", Modality="MR")
    assert len(make(root, modality="CT").listing) == 1
    assert len(make(root, description_regex="SOFT$").listing) == 1
    with pytest.raises(DataError, match=r"contains 2 series \(CT, MR\), but none of PT"):
        make(root, modality="PT").samples()
    with pytest.raises(DataError, match="but none with a SeriesDescription that matches 'bone'"):
        make(root, description_regex="bone").samples()


def test_what_is_incomplete_is_said_at_once(tmp_path: Path) -> None:
    root = tmp_path / "site"
    one, other = patient(root, 1), patient(root, 2, PatientID="unknown")
    (one / "C" / "seg").unlink()
    with pytest.raises(DataError, match="series without a PatientID") as caught:
        make(root).samples()
    assert str(other / "A") in str(caught.value)
    with pytest.raises(DataError, match=r"A: no DICOM-SEG files refer to it"):
        make(root, patient="StudyInstanceUID").samples()
    segmentation(one / "C" / "1", one / "A", MASK)
    segmentation(one / "C" / "2", one / "A", MASK)
    with pytest.raises(DataError, match=r"A: 2 DICOM-SEG files refer to it: .*/1, .*/2"):
        make(root, patient="StudyInstanceUID").samples()
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="no images in"):
        make(tmp_path / "empty").listing  # noqa: B018


@pytest.mark.parametrize("key", ["PatientID", "StudyInstanceUID", "SeriesInstanceUID"])
def test_labels_in_a_table(tmp_path: Path, key: str) -> None:
    root = tmp_path / "site"
    names = {}
    for number in range(2):
        patient(root, number)
        tags = {"PatientID": f"{NUMBER.upper()}{number}", "StudyInstanceUID": uid("study", number)}
        names[number] = {**tags, "SeriesInstanceUID": uid("series", number)}[key]
    lines = [f"{key};Label", *(f"{name};{('healthy', 'ill')[number]}" for number, name in names.items())]
    table = root / "labels.csv"
    table.write_text("\n".join(lines))
    how = {"task": "classification", "class_names": ["healthy", "ill"], "label_table": "labels.csv", "label_key": key}
    assert [record.target for record in make(root, **how).listing] == [0, 1]
    assert make(root, **how)[1].target == 1
    steps = [
        {"name": "Normalise", "kwargs": {"how": "window", "low": -1000, "high": high, "channels": [c]}}
        for c, high in enumerate((0, 2000))
    ]
    image = make(root, windows=True, channels=2, steps=steps, **how)[0].image
    assert image.shape == (*STORED.shape, 2)
    assert np.allclose(image[..., 0], np.clip((STORED - 1024.0 + 1000) / 500 - 1, -1, 1), atol=1e-3)
    for text, message in (
        (lines[:2], r"series that are not in labels.csv \(1\):\n  - .*SECRET 1/A"),
        ([*lines, f"{names[0]};ill"], "line 4: another Label than in an earlier line"),
        ([*lines, ";ill"], f"line 4: no {key}"),
        ([*lines, "x;sick"], "line 4: Label: 'sick' is no class"),
        (["a;Label", "b;ill"], f"no column {key} in its first line"),
        ([f"{NUMBER};ill", "b;ill"], f"no column {key}, Label in its first line"),
        (lines[1:], f"no column {key}, Label in its first line"),
    ):
        table.write_text("\n".join(text))
        with pytest.raises(DataError, match=message) as caught:
            make(root, **how).samples()
        assert "4711" not in f"{caught.value} {caught.value.advice()}".upper().replace(str(root).upper(), "")


def test_options_must_suit_the_task() -> None:
    for more, message in (
        ({"task": "classification"}, "classification needs a label_table"),
        ({"label_table": "a.csv"}, "segmentation needs masks, not a label_table"),
        ({"windows": True}, "windows: set steps"),
    ):
        given = {"task_id": 1, "task_name": "a", "root_path": "r", "num_classes": 2, **more}
        assert message in str(check(DicomOptions, given)[1][0])
