"""DICOM objects, checked by dciodvfy, the validator of dicom3tools, against the standard's definitions."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from pydicom.uid import DigitalXRayImageStorageForPresentation, MRImageStorage

from relay.bulk import Codes
from relay.tasks import TASKS
from tests.bulk.test_bulk import own
from tests.bulk.test_dicom import STORED, predicted
from tests.data.test_dicom import enhanced
from tests.dicoms import OBLIQUE, header, series, write

TOOL = shutil.which("dciodvfy")
pytestmark = pytest.mark.skipif(TOOL is None, reason="dciodvfy (Debian: dicom3tools) is not installed")
PRIVATE = "CodingSchemeDesignator(0008,0102)[1]> - Unrecognized defined term = <99RELAY>"
"""It knows the standard's coding schemes only; 99 marks those that are private."""
TYPE_2 = ("PatientBirthDate", "PatientSex", "StudyTime", "AccessionNumber", "ReferringPhysicianName", "Manufacturer")
LACKING = "without what may be empty"
SOURCES: dict[str, Any] = {
    "CT": {},
    "oblique": {"orientation": OBLIQUE},
    "MR": {"SOPClassUID": MRImageStorage, "Modality": "MR", "RescaleSlope": None, "RescaleIntercept": None},
    LACKING: dict.fromkeys((*TYPE_2, "SeriesNumber", "StudyID", "StudyDate")),
    "letters": {"SpecificCharacterSet": "ISO_IR 100", "PatientName": "MÜLLER^ÄNNE"},
}


def complaints(path: Path, ignore: str) -> list[str]:
    """Every error and warning about a file, without those about the private coding scheme."""
    assert TOOL is not None
    done = subprocess.run([TOOL, "-new", str(path)], capture_output=True, check=False)
    said = (done.stdout + done.stderr).decode("utf-8", "replace").splitlines()
    said = [line for line in said if line.startswith(("Error", "Warning", "Abort"))]
    return [line for line in said if not line.endswith(PRIVATE) and not (ignore and ignore in line)]


def checked(out: Path, row: dict[str, str], ignore: str = "") -> None:
    found = {kind: complaints(out / row[kind], ignore) for kind in ("seg", "sr") if row.get(kind)}
    assert found
    assert not any(found.values()), found


@pytest.mark.parametrize("source", SOURCES)
def test_objects_of_a_series(tmp_path: Path, source: str) -> None:
    series(tmp_path / "in" / "s", STORED, **SOURCES[source])
    table = tmp_path / "codes.csv"
    table.write_text("class,value,scheme,meaning\nclass 1,10200004,SCT,Liver\n")
    for out, codes in (("plain", None), ("coded", Codes.of(table, own().task.names))):
        ignore = "needed to build DICOMDIR" if source == LACKING else ""  # the images lack the same
        checked(tmp_path / out, predicted(tmp_path / "in", tmp_path / out, codes=codes), ignore)


def test_objects_of_a_single_class(tmp_path: Path) -> None:
    series(tmp_path / "in" / "s", STORED)
    checked(tmp_path / "out", predicted(tmp_path / "in", tmp_path / "out", own(num_classes=2)))


def test_objects_of_frames_in_one_file(tmp_path: Path) -> None:
    enhanced(tmp_path / "in" / "IM1", STORED, [3, 0, 4, 1, 2])
    checked(tmp_path / "out", predicted(tmp_path / "in", tmp_path / "out"))


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
def test_objects_of_a_single_picture(tmp_path: Path, sized: bool, classes: int) -> None:
    tags: dict[str, Any] = {} if sized else {"PixelSpacing": None}
    tags |= {"SOPClassUID": DigitalXRayImageStorageForPresentation, "Modality": "DX", "FrameOfReferenceUID": None}
    write(tmp_path / "in" / "x", header(ImagePositionPatient=None, ImageOrientationPatient=None, **tags), STORED[0])
    checked(tmp_path / "out", predicted(tmp_path / "in", tmp_path / "out", own(slices="axial", num_classes=classes)))


def test_objects_of_an_image_in_which_nothing_was_found(tmp_path: Path) -> None:
    series(tmp_path / "in", STORED)
    predictor = own()
    predictor.net.load_state_dict({"bias": torch.tensor([9.0, 0, 0]), "weight": 0 * predictor.net.weight})
    checked(tmp_path / "out", predicted(tmp_path / "in", tmp_path / "out", predictor))


@pytest.mark.parametrize("task", ["classification", "multilabel", "regression"])
def test_reports_of_answers(tmp_path: Path, task: str) -> None:
    series(tmp_path / "in", STORED)
    names = ["age"] if task == "regression" else ["well", "ill"]
    predictor = own()
    predictor.task = TASKS[task](len(names), names)
    predictor.answer = lambda item, path: np.array([0.25, 0.75][: len(names)], np.float32)  # type: ignore[method-assign]
    row = predicted(tmp_path / "in", tmp_path / "out", predictor)
    assert not row.get("seg")
    checked(tmp_path / "out", row)
