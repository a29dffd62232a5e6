"""DICOM objects, read back by pydicom, highdicom, SimpleITK and relay: they refer to their series, and lie on it."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import highdicom
import numpy as np
import pytest
import SimpleITK as sitk
import torch
from pydicom import dcmread
from pydicom.uid import DigitalXRayImageStorageForPresentation

from relay.bulk import Codes, Outputs, Settings, Summary, Writer, dicom, listed, run
from relay.data.dicom.segments import read_drawn
from relay.data.formats.raw import read_raw
from relay.errors import DataError, UserError
from relay.leg import Progress
from tests.bulk.test_bulk import own
from tests.data.test_dicom import enhanced
from tests.dicoms import NAME, NUMBER, OBLIQUE, header, series, write

STORED = np.random.default_rng(0).integers(0, 3000, (5, 6, 7)).astype(np.int16)


def predicted(folder: Path, out: Path, predictor: Any = None, codes: Codes | None = None) -> dict[str, str]:
    """The only row of the table."""
    summary = predicted_all(folder, out, predictor, codes)
    assert not summary.problems
    (row,) = csv.DictReader(summary.table.open(newline=""))
    return row


def predicted_all(folder: Path, out: Path, predictor: Any = None, codes: Codes | None = None) -> Summary:
    """How it went."""
    predictor = predictor or own()
    outputs = Outputs(out, {})
    outputs.begin()
    writer = Writer(predictor.task, codes or Codes(), "relay s, leg 1", "0123456789abcdef")
    wanted = listed(folder, predictor, out)
    return run(predictor, wanted, outputs, Settings(writer=writer), Progress(1), None)


@pytest.mark.parametrize(
    "orientation",
    [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), OBLIQUE],
    ids=["axial", "flipped", "sagittal", "oblique"],
)
def test_a_segmentation_lies_on_its_series(tmp_path: Path, orientation: Any) -> None:
    folder = series(tmp_path / "in" / "s", STORED, orientation=orientation)
    row = predicted(tmp_path / "in", tmp_path / "out")
    path, nifti = tmp_path / "out" / row["seg"], sitk.ReadImage(str(tmp_path / "out" / row["mask"]))
    mask = sitk.GetArrayFromImage(nifti)
    assert len(np.unique(mask)) == 3
    # relay's own reader, which refuses another series or another grid
    assert np.array_equal(read_drawn(path, read_raw(folder)).values, mask)
    # highdicom: the same voxels at the same places
    seg = highdicom.seg.segread(path)
    whole = seg.get_volume(combine_segments=True)
    at = np.argwhere(whole.array > 0)[0]
    place = whole.map_indices_to_reference(at[None])[0]
    index = nifti.TransformPhysicalPointToIndex(place.tolist())
    assert nifti[index] == whole.array[tuple(at)]
    # SimpleITK: one frame for each segment and plane; its GDCM reads whole bytes of 8 voxels only
    frames = sitk.GetArrayFromImage(sitk.ReadImage(str(path))).ravel()
    whole_bytes = len(frames) // 8 * 8
    assert np.array_equal(frames[:whole_bytes] > 0, dcmread(path).pixel_array.ravel()[:whole_bytes] > 0)
    # pydicom: references, identification, codes
    ds, images = dcmread(path), [dcmread(file) for file in folder.iterdir()]
    referenced = ds.ReferencedSeriesSequence[0]
    assert referenced.SeriesInstanceUID == images[0].SeriesInstanceUID
    assert {item.ReferencedSOPInstanceUID for item in referenced.ReferencedInstanceSequence} == {
        image.SOPInstanceUID for image in images
    }
    assert (ds.PatientID, str(ds.PatientName), ds.StudyInstanceUID) == (NUMBER, NAME, images[0].StudyInstanceUID)
    assert ds.FrameOfReferenceUID == images[0].FrameOfReferenceUID
    one, two = ds.SegmentSequence
    assert (one.SegmentLabel, two.SegmentLabel, one.SegmentAlgorithmType) == ("class 1", "class 2", "AUTOMATIC")
    assert one.SegmentedPropertyTypeCodeSequence[0].CodingSchemeDesignator == "99RELAY"
    algorithm = one.SegmentationAlgorithmIdentificationSequence[0]
    assert (algorithm.AlgorithmName, algorithm.AlgorithmVersion) == ("relay s, leg 1", "0123456789abcdef")


def test_a_report_says_the_volumes_of_the_table(tmp_path: Path) -> None:
    series(tmp_path / "in", STORED)
    table = tmp_path / "codes.csv"
    table.write_text("class,value,scheme,meaning\nclass 1,10200004,SCT,Liver\n")
    row = predicted(tmp_path / "in", tmp_path / "out", codes=Codes.of(table, own().task.names))
    report = highdicom.sr.srread(tmp_path / "out" / row["sr"])
    assert report.PatientID == NUMBER
    groups = report.content.get_volumetric_roi_measurement_groups()
    seg = dcmread(tmp_path / "out" / row["seg"])
    assert [group.finding_type.meaning for group in groups] == ["Liver", "class 2"]
    for number, group in enumerate(groups, 1):
        (found,) = group.get_measurements()
        assert (found.name.meaning, found.unit.value) == ("Volume", "ml")
        assert found.value == pytest.approx(float(row[f"class {number} [ml]"]))
        assert group.referenced_segment.referenced_sop_instance_uid == seg.SOPInstanceUID
    assert {
        item.ReferencedSOPInstanceUID
        for ref in report.CurrentRequestedProcedureEvidenceSequence
        for part in ref.ReferencedSeriesSequence
        for item in part.ReferencedSOPSequence
    } >= {seg.SOPInstanceUID}


@pytest.mark.parametrize("sized", [True, False])
@pytest.mark.parametrize("classes", [2, 3])
def test_a_single_picture_has_areas(tmp_path: Path, sized: bool, classes: int) -> None:
    """An X-ray without a position; with or without a pixel size."""
    tags: dict[str, Any] = {} if sized else {"PixelSpacing": None}
    tags |= {"SOPClassUID": DigitalXRayImageStorageForPresentation, "Modality": "DX", "FrameOfReferenceUID": None}
    ds = header(ImagePositionPatient=None, ImageOrientationPatient=None, **tags)
    write(tmp_path / "in" / "x", ds, STORED[0])
    row = predicted(tmp_path / "in", tmp_path / "out", own(slices="axial", num_classes=classes))
    seg = highdicom.seg.segread(tmp_path / "out" / row["seg"])
    assert seg.ReferencedSeriesSequence[0].ReferencedInstanceSequence[0].ReferencedSOPInstanceUID == ds.SOPInstanceUID
    (first, *_) = highdicom.sr.srread(tmp_path / "out" / row["sr"]).content.get_planar_roi_measurement_groups()
    (found,) = first.get_measurements()
    unit = "mm2" if sized else "pixels"
    assert found.unit.value == ("mm2" if sized else "1")
    assert found.value == pytest.approx(float(row[f"class 1 [{unit}]"]))


def test_of_a_single_class_there_are_objects_too(tmp_path: Path) -> None:
    folder = series(tmp_path / "in", STORED)
    row = predicted(tmp_path / "in", tmp_path / "out", own(num_classes=2))
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / row["mask"])))
    assert np.array_equal(read_drawn(tmp_path / "out" / row["seg"], read_raw(folder)).values, mask)
    whole = highdicom.seg.segread(tmp_path / "out" / row["seg"]).get_volume(combine_segments=True)
    assert whole.array.sum() == mask.sum()
    (group,) = highdicom.sr.srread(tmp_path / "out" / row["sr"]).content.get_volumetric_roi_measurement_groups()
    (found,) = group.get_measurements()
    assert found.value == pytest.approx(float(row["class 1 [ml]"]))


def test_what_is_not_there_is_said_to_be_none(tmp_path: Path) -> None:
    series(tmp_path / "in", STORED)
    predictor = own()
    predictor.net.load_state_dict({"bias": torch.tensor([9.0, 0, 0]), "weight": 0 * predictor.net.weight})
    row = predicted(tmp_path / "in", tmp_path / "out", predictor)
    assert (row["class 1 [ml]"], row["class 2 [ml]"]) == ("0", "0")
    report = highdicom.sr.srread(tmp_path / "out" / row["sr"])
    groups = report.content.get_image_measurement_groups()
    assert [group.get_measurements()[0].value for group in groups] == [0.0, 0.0]


def test_other_settings_or_codes_make_other_objects() -> None:
    writers = [Writer(own().task, Codes(), "relay s, leg 1", "0123456789abcdef", key) for key in ("a", "a", "b")]
    one, same, other = (writer._general("segmentation", "image", 1)["sop_instance_uid"] for writer in writers)
    assert one == same != other


def test_where_no_object_can_be_written_the_mask_stays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: Any) -> None:
        raise ValueError("no such header")

    series(tmp_path / "in" / "s", STORED)
    monkeypatch.setattr(Writer, "_report", refuse)
    row = predicted(tmp_path / "in", tmp_path / "out")
    assert (tmp_path / "out" / row["mask"]).is_file()
    assert row["notes"] == "no DICOM object can refer to it, so there is none: no such header"
    assert not list((tmp_path / "out").rglob("*.dcm"))
    (lacking,) = predicted_all(tmp_path / "in", tmp_path / "again").lacking
    assert lacking == "s: no DICOM object can refer to it, so there is none: no such header"


def test_wrong_codes_and_a_missing_package_are_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = tmp_path / "codes.csv"
    for text, said in (
        ("class,value,scheme,meaning\nlung,1,SCT,Lung\n", "line 2: the model has no class lung"),
        ("class,value,scheme,meaning\nclass 1,1,SCT,\n", "are no DICOM code"),
        ("class,value\nclass 1,1\n", "no column scheme, meaning"),
    ):
        table.write_text(text)
        with pytest.raises(DataError, match=said):
            Codes.of(table, ["background", "class 1"])
    monkeypatch.setattr(dicom, "find_spec", lambda name: None)
    with pytest.raises(UserError, match="needs the package highdicom"):
        dicom.check_package()


def test_frames_of_one_file_are_laid_in_their_own_order(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "in" / "IM1", STORED, [3, 0, 4, 1, 2])
    row = predicted(tmp_path / "in", tmp_path / "out")
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(tmp_path / "out" / row["mask"])))
    assert np.array_equal(read_drawn(tmp_path / "out" / row["seg"], read_raw(path)).values, mask)
    whole = highdicom.seg.segread(tmp_path / "out" / row["seg"]).get_volume(combine_segments=True)
    assert (whole.array > 0).sum() == (mask > 0).sum()


@pytest.mark.parametrize(("known", "name"), [("ISO_IR 100", "MÜLLER^ÄNNE"), ("GB18030", "王^小东"), (None, "PLAIN^X")])
def test_names_keep_their_letters(tmp_path: Path, known: str | None, name: str) -> None:
    """Those of the patient, in the character set of the series; those of classes in any."""
    series(tmp_path / "in", STORED, SpecificCharacterSet=known, PatientName=name)
    predictor = own()
    for names, kept in ((["background", "head", "tail"], known), (["background", "Größe", "łeb"], "ISO_IR 192")):
        predictor.task.names = names
        row = predicted(tmp_path / "in", tmp_path / f"out {names[1]}", predictor)
        seg, report = (dcmread(tmp_path / f"out {names[1]}" / row[kind]) for kind in ("seg", "sr"))
        assert (str(seg.PatientName), str(report.PatientName)) == (name, name)
        assert seg.get("SpecificCharacterSet") == report.get("SpecificCharacterSet") == kept
        assert [segment.SegmentLabel for segment in seg.SegmentSequence] == names[1:]
