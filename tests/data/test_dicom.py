"""DICOM series: what is read of them, against independent readers, and what is said of those that can't be."""

from __future__ import annotations

import logging
import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from hypothesis import given, settings, strategies as st
from pydicom import dcmread
from pydicom.data import get_testdata_file
from pydicom.datadict import dictionary_VR
from pydicom.dataelem import RawDataElement
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.tag import Tag
from pydicom.uid import EnhancedCTImageStorage, SecondaryCaptureImageStorage

from relay.data.dicom import series as series_module
from relay.data.dicom.series import find_series, series_files
from relay.data.formats.raw import Raw, read_raw
from relay.data.formats.volumes import read_geometry
from relay.data.read import read_image
from relay.errors import DataError
from tests.dicoms import NAME, NUMBER, OBLIQUE, affine, header, series, slices, uid, write

STORED = np.random.default_rng(0).integers(0, 3000, (5, 4, 6)).astype(np.int16)


def refused(path: Path) -> tuple[str, str]:
    """What is said of a path; it names no patient."""
    with pytest.raises(DataError) as caught:
        read_raw(path)
    said = str(caught.value), caught.value.advice()
    assert caught.value.own_advice
    assert not any(secret in text for secret in (*NAME.split("^"), NUMBER, "4711") for text in said)
    return said


def by_itk(folder: Path) -> sitk.Image:
    """A series as SimpleITK's reader of series has it."""
    reader = sitk.ImageSeriesReader()
    reader.SetFileNames(reader.GetGDCMSeriesFileNames(str(folder)))
    return reader.Execute()


@pytest.mark.parametrize(
    "orientation",
    [(1, 0, 0, 0, 1, 0), (-1, 0, 0, 0, 1, 0), (0, 1, 0, 0, 0, -1), (1, 0, 0, 0, 0, -1), OBLIQUE],
    ids=["axial", "flipped", "sagittal", "coronal", "oblique"],
)
@pytest.mark.parametrize("step", [2.0, 0.7])
def test_a_series_is_one_volume(tmp_path: Path, orientation: Any, step: float) -> None:
    folder = series(tmp_path / "s", STORED, orientation=orientation, step=step)
    (folder / "notes.txt").write_text("nothing")
    raw = read_raw(folder)
    assert raw.values.dtype == np.int16
    assert np.array_equal(raw.values, STORED - 1024)
    expected = by_itk(folder)
    assert np.array_equal(raw.values, sitk.GetArrayFromImage(expected))
    assert raw.geometry is not None
    assert raw.geometry == read_geometry(folder)
    assert np.allclose(raw.geometry.spacing, expected.GetSpacing())
    assert np.allclose(raw.geometry.origin, expected.GetOrigin())
    assert np.allclose(raw.geometry.direction, expected.GetDirection())
    axes = np.array(orientation, float).reshape(2, 3)  # by the formula of DICOM PS3.3, C.7.6.2.1.1
    first = affine(raw.geometry) @ [3, 2, 0, 1]
    assert np.allclose(first[:3], np.array([-10, -20, 30]) + 3 * 0.5 * axes[0] + 2 * 0.75 * axes[1])
    assert raw.notes == ()


def test_values_are_in_real_units_slice_by_slice(tmp_path: Path) -> None:
    for k, ds in enumerate(slices(STORED, Modality="PT", RescaleSlope=None, RescaleIntercept=None)):
        ds.RescaleSlope, ds.RescaleIntercept = f"{0.5 + k:g}", "2.5"
        write(tmp_path / "s" / str(k), ds, STORED[k])
    values = read_raw(tmp_path / "s").values
    assert values.dtype == np.float32
    assert np.allclose(values, STORED * (0.5 + np.arange(5))[:, None, None] + 2.5)
    assert np.allclose(values, sitk.GetArrayFromImage(by_itk(tmp_path / "s")))


@pytest.mark.parametrize("modality", ["DX", "CT"])
def test_monochrome1_is_inverted_unless_it_is_a_measurement(tmp_path: Path, modality: str) -> None:
    ds = header(
        PhotometricInterpretation="MONOCHROME1",
        Modality=modality,
        BitsStored=12,
        HighBit=11,
        PixelRepresentation=0,
        RescaleIntercept=0,
    )
    stored = STORED[0].astype(np.uint16)
    values = read_raw(write(tmp_path / "x.dcm", ds, stored)).values[0]
    assert np.array_equal(values, stored if modality == "CT" else 4095 - stored)


def test_bits_above_the_value_do_not_count(tmp_path: Path) -> None:
    ds = header(BitsStored=12, HighBit=11, RescaleIntercept=0)
    stored = (STORED[0] % 4096) | np.int16(0x4000)  # an overlay in bit 14
    values = read_raw(write(tmp_path / "x.dcm", ds, stored)).values[0]
    expected = (STORED[0] % 4096).astype(int)
    assert np.array_equal(values, np.where(expected > 2047, expected - 4096, expected))


def enhanced(path: Path, stored: np.ndarray, order: Any) -> Path:
    """An enhanced file, whose frames have an order and a scale of their own."""
    ds = header(SOPClassUID=EnhancedCTImageStorage, ImagePositionPatient=None, RescaleSlope=None, RescaleIntercept=None)
    ds.NumberOfFrames = len(stored)
    shared = Dataset()
    measures, turned = Dataset(), Dataset()
    measures.PixelSpacing, measures.SliceThickness = [0.75, 0.5], 2.0
    turned.ImageOrientationPatient = [1, 0, 0, 0, 1, 0]
    shared.PixelMeasuresSequence, shared.PlaneOrientationSequence = Sequence([measures]), Sequence([turned])
    ds.SharedFunctionalGroupsSequence = Sequence([shared])
    frames = []
    for k in order:
        item, place, scale = Dataset(), Dataset(), Dataset()
        place.ImagePositionPatient = [-10.0, -20.0, 30.0 + 2.0 * k]
        scale.RescaleSlope, scale.RescaleIntercept = 1 + k, -1024
        item.PlanePositionSequence, item.PixelValueTransformationSequence = Sequence([place]), Sequence([scale])
        frames.append(item)
    ds.PerFrameFunctionalGroupsSequence = Sequence(frames)
    return write(path, ds, stored[list(order)])


def test_enhanced_files(tmp_path: Path) -> None:
    path = enhanced(tmp_path / "s" / "IM1", STORED, [3, 0, 4, 1, 2])
    raw = read_raw(path)
    assert np.array_equal(raw.values, STORED.astype(int) * np.arange(1, 6)[:, None, None] - 1024)
    plain = read_raw(series(tmp_path / "plain", STORED))
    assert raw.geometry == plain.geometry
    assert np.array_equal(read_raw(path.parent).values, raw.values)  # the folder has one series
    assert [one.path for one in find_series(path.parent)] == [path]


@pytest.mark.parametrize(
    "name",
    [
        "CT_small.dcm",
        "MR_small.dcm",
        "MR_small_RLE.dcm",
        "MR_small_bigendian.dcm",
        "MR_small_jp2klossless.dcm",
        "MR_small_jpeg_ls_lossless.dcm",
        "693_J2KI.dcm",
        "SC_rgb_jpeg_gdcm.dcm",
        "JPGExtended.dcm",
        "examples_palette.dcm",
        "SC_ybr_full_422_uncompressed.dcm",
        "image_dfl.dcm",
    ],
)
def test_files_of_pydicom_are_read_as_by_gdcm(name: str) -> None:
    path = packaged(name)
    raw = read_raw(path)
    reader = sitk.ImageFileReader()
    reader.SetImageIO("GDCMImageIO")
    reader.SetFileName(str(path))
    image = reader.Execute()
    expected = sitk.GetArrayFromImage(image)
    assert np.array_equal(raw.values, expected.reshape(raw.values.shape))
    assert raw.channels == image.GetNumberOfComponentsPerPixel()
    assert raw.geometry is not None
    assert np.allclose(raw.geometry.origin, image.GetOrigin())
    assert np.allclose(raw.geometry.spacing[:2], image.GetSpacing()[:2])
    assert np.allclose(raw.geometry.direction, image.GetDirection(), atol=1e-4)


def packaged(name: str) -> Path:
    """A test file in pydicom's wheel; never one of the internet."""
    found = get_testdata_file(name, download=False)
    if found is None:
        pytest.skip(f"pydicom's {name} is not here")
    return Path(found)


def test_the_series_of_a_tree_with_a_dicomdir() -> None:
    root = packaged("DICOMDIR").parent
    found = find_series(root)
    assert sum(len(one.files) for one in found) == 31  # as the DICOMDIR lists them
    assert len({one.path for one in found}) == len(found)
    for one in found:
        assert series_files(one.path) == one.files
        assert one.patient == ""


def test_a_pipe_is_no_file_of_a_series(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "x.dcm")
    assert find_series(tmp_path) == []
    (tmp_path / "y.dcm").symlink_to("gone.dcm")
    with pytest.raises(DataError, match=r"y\.dcm: can't be read"):
        find_series(tmp_path)


def test_which_series_a_path_names(tmp_path: Path) -> None:
    one = {"SeriesInstanceUID": "1.2.3"}
    series(tmp_path / "one", STORED, **one)
    series(tmp_path / "mixed", STORED, SeriesInstanceUID="1.2.4")
    for k, ds in enumerate(slices(STORED, SeriesInstanceUID="1.2.5", Modality="MR")):
        write(tmp_path / "mixed" / f"{k}.x", ds, STORED[k] + 1)
    scout = header(ImageType=["ORIGINAL", "PRIMARY", "LOCALIZER"], SeriesInstanceUID="1.2.6", SOPInstanceUID="1.9")
    write(tmp_path / "one" / "scout", scout, STORED[0])
    found = {str(s.path.relative_to(tmp_path)): s for s in find_series(tmp_path) if s.scan}
    assert sorted(found) == ["mixed/1.2.4", "mixed/1.2.5", "one"]
    assert found["mixed/1.2.5"].modality == "MR"
    assert np.array_equal(read_raw(tmp_path / "mixed" / "1.2.5").values, STORED - 1023)
    assert np.array_equal(read_raw(tmp_path / "one").values, STORED - 1024)
    assert len(series_files(tmp_path / "one")) == 5
    message, advice = refused(tmp_path / "mixed")
    assert (
        message == f"{tmp_path}/mixed contains 2 DICOM series:\n  - {tmp_path}/mixed/1.2.5\n  - {tmp_path}/mixed/1.2.4"
    )
    assert "Name one of them" in advice
    message, advice = refused(tmp_path / "one" / "1.2.9")
    assert "contains no DICOM series 1.2.9" in message
    assert "1.2.3" in advice
    (tmp_path / "one" / "IM0000").unlink()  # a change is seen
    assert len(series_files(tmp_path / "one")) == 4


def without(folder: Path, number: int) -> None:
    path = next(path for path in folder.iterdir() if dcmread(path).InstanceNumber == number)
    path.unlink()


def change(folder: Path, number: int, **tags: Any) -> Path:
    """Change tags of one image of a series."""
    path = next(path for path in folder.iterdir() if dcmread(path).InstanceNumber == number)
    ds = dcmread(path)
    for tag, value in tags.items():
        if value is None:
            delattr(ds, tag)
        else:
            setattr(ds, tag, value)
    ds.save_as(path)
    return path


@pytest.mark.parametrize(
    ("number", "tags", "message", "advice"),
    [
        (3, {"Rows": 2, "Columns": 12}, "images of 2 sizes in one series", "Keep the images that belong"),
        (3, {"PixelSpacing": [0.75, 0.51]}, "differ in pixel size: (0.5, 0.75) and (0.51, 0.75)", "Keep the images"),
        (3, {"ImageOrientationPatient": [0, 1, 0, 0, 0, -1]}, "differ in orientation", "Keep the images"),
        (3, {"ImageType": ["ORIGINAL", "PRIMARY", "LOCALIZER"]}, "a localiser in a series of 5", "Remove the local"),
        (3, {"Modality": "MR"}, "differ in Modality", "Keep the images"),
        (3, {"PhotometricInterpretation": "MONOCHROME1"}, "differ in PhotometricInterpretation", "Keep the images"),
        (3, {"PatientID": "other"}, "differ in PatientID", "Keep the images"),
        (3, {"StudyInstanceUID": "1.2"}, "a series with files of several studies", "Separate their files"),
        (3, {"ImagePositionPatient": [-10, -20, 32]}, "at the same position: 5 images at 4 positions", "several"),
        (3, {"ImagePositionPatient": [-10, -20, 34.3]}, "irregular distances between slices", "may be missing"),
        (5, {"ImagePositionPatient": [-10, -20, 42]}, "2 missing slices", "does not fill in"),
        (3, {"ImagePositionPatient": [-10, -19, 34]}, "not at right angles to their normal", "gantry was tilted"),
        (3, {"ImagePositionPatient": None}, "no ImagePositionPatient in its header", "an image of its own"),
        (3, {"ImagePositionPatient": [1, 2]}, "ImagePositionPatient in its header must be 3 finite", "Export"),
        (3, {"PixelSpacing": [0, 1]}, "PixelSpacing (0, 1) in its header is not possible", "Export"),
        (3, {"ImageOrientationPatient": [1, 0, 0, 1, 0, 0]}, "not two directions at right angles", "Export"),
        (3, {"RescaleSlope": 0}, "RescaleSlope 0", "Export"),
        (3, {"DoseGridScaling": 0.001}, "a dose (RTDOSE), not an image", "in gray"),
        (3, {"Rows": 9}, "images of 2 sizes", "Keep"),
        (3, {"SeriesInstanceUID": None}, "no valid SeriesInstanceUID", "Export"),
    ],
)
def test_what_is_no_volume(tmp_path: Path, number: int, tags: Any, message: str, advice: str) -> None:
    folder = series(tmp_path / "s", STORED)
    change(folder, number, **tags)
    said = refused(folder)
    assert message in said[0]
    assert str(folder) in said[0]
    assert advice in said[1]


def test_an_image_whose_header_was_truncated_is_no_report(tmp_path: Path) -> None:
    """Left out, the last slice of a series would be missing without a word."""
    folder = series(tmp_path / "s", STORED, shuffled=False)
    last = folder / f"IM{len(STORED) - 1:04d}"
    last.write_bytes(last.read_bytes()[:700])
    message, advice = refused(folder)
    assert f"{last}: can't be read: an image without its size" in message
    assert "truncated" in advice


def test_missing_slices_and_copies(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", STORED)
    without(folder, 3)
    assert "1 missing slice: 4 mm between" in refused(folder)[0]
    shutil.rmtree(folder)
    series(folder, STORED)
    shutil.copy(folder / "IM0000", folder / "copy")
    assert "are copies of one image" in refused(folder)[0]


def test_several_volumes_in_one_series_say_how_they_differ(tmp_path: Path) -> None:
    for k, ds in enumerate(slices(STORED)):
        for echo in (10, 20):
            ds.EchoTime, ds.SOPInstanceUID = echo, uid(k, echo)
            ds.file_meta.MediaStorageSOPInstanceUID = ds.SOPInstanceUID
            write(tmp_path / "s" / f"{k}_{echo}", ds, STORED[k])
    message, advice = refused(tmp_path / "s")
    assert "10 images at 5 positions; they differ in EchoTime" in message
    assert "several volumes" in advice


def test_suspicious_series_are_noted(tmp_path: Path) -> None:
    folder = series(tmp_path / "s", STORED, BurnedInAnnotation="YES")
    assert read_raw(folder).notes == (
        "text is burned into its pixels (BurnedInAnnotation), which may name the patient",
    )
    ds = header(SOPClassUID=SecondaryCaptureImageStorage)
    assert "secondary capture" in read_raw(write(tmp_path / "x.dcm", ds, STORED[0])).notes[0]


def padded(value: int, *others: int) -> np.ndarray:
    values = STORED[:2].copy()
    values[:, :, 0] = value
    values[:, 0, 0] = others or value
    return values


@pytest.mark.parametrize(
    ("stored", "tags", "said"),
    [
        (STORED, {"ImageType": ["ORIGINAL", "PRIMARY", "M", "ND", "MOSAIC"]}, "a Siemens mosaic"),
        (STORED, {"SpacingBetweenSlices": 4.0}, "SpacingBetweenSlices in its header is 4 mm, but its slices lie 2 mm"),
        (STORED, {"SpacingBetweenSlices": -2.001}, None),
        (padded(-2000), {"PixelPaddingValue": -2000}, "17 % of its voxels are padding"),
        (padded(-2000), {"PixelPaddingValue": -2000, "RescaleSlope": 0.5}, "(PixelPaddingValue), read as -2024"),
        (padded(-2000, -1990), {"PixelPaddingValue": -2000, "PixelPaddingRangeLimit": -1990}, "17 % of its voxels are"),
        (padded(-2000), {"PixelPaddingValue": 0}, None),
        (padded(0), {"PixelPaddingValue": 0}, None),
        (padded(-9000), {"PixelPaddingValue": -9000, "PhotometricInterpretation": "MONOCHROME1", "Modality": "CR",
                         "RescaleIntercept": 0}, "read as 8999, while"),
    ],
)  # fmt: skip
def test_padding_mosaics_and_other_distances_are_noted(
    tmp_path: Path, stored: np.ndarray, tags: dict[str, Any], said: str | None
) -> None:
    notes = read_raw(series(tmp_path / "s", stored, **tags)).notes
    assert len(notes) == (said is not None)
    assert not said or said in notes[0]


def test_what_can_not_be_decoded_names_its_compression(tmp_path: Path) -> None:
    path = tmp_path / "x.dcm"
    data = packaged("MR_small_jp2klossless.dcm").read_bytes()
    path.write_bytes(data.replace(b"1.2.840.10008.1.2.4.90", b"1.2.840.10008.1.2.4.92"))
    message, advice = refused(path)
    assert "compressed as JPEG 2000 Part 2" in message
    assert "gdcmconv --raw" in advice
    message, advice = refused(packaged("MR_truncated.dcm"))
    assert "truncated or damaged pixels (Explicit VR Little Endian)" in message
    frames = header(NumberOfFrames=5)
    message, advice = refused(write(tmp_path / "film.dcm", frames, STORED))
    assert "film.dcm: 5 frames without a position for each" in message
    assert "a film" in advice


def test_files_without_an_image(tmp_path: Path) -> None:
    assert "no Rows in its header: it contains no image" in refused(packaged("rtplan.dcm"))[0]
    (tmp_path / "x.dcm").write_text("no DICOM at all" * 20)
    assert str(tmp_path / "x.dcm") in refused(tmp_path / "x.dcm")[0]
    assert "x.dcm: can't be read: not a DICOM file" in refused(tmp_path)[0]


@settings(max_examples=25, deadline=None)
@given(data=st.data())
def test_damaged_headers_never_end_in_a_traceback(
    tmp_path_factory: pytest.TempPathFactory, data: st.DataObject
) -> None:
    folder = tmp_path_factory.getbasetemp() / "damaged"
    shutil.rmtree(folder, ignore_errors=True)
    series(folder, STORED[:3], shuffled=False)
    path = folder / "IM0001"
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(content) - 1))
        length = data.draw(st.integers(1, 4))
        content[at : at + length] = data.draw(st.binary(min_size=length, max_size=length))
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(132, len(content))) :]
    path.write_bytes(bytes(content))
    for given_path in (folder, path):
        try:
            raw = read_raw(given_path)
            assert isinstance(raw, Raw)
            read_image(given_path)
        except DataError as error:
            message, advice = str(error), error.own_advice
            assert str(folder) in message
            assert advice


WEIRD = ["", "0", "-1", "1e400", "nan", "x\\y", "1\\2\\3\\4\\5\\6\\7", "\x00", "9" * 20, "DOE^JOHN", "1\\0\\0\\0\\1\\0"]
NUMERIC = [0, 1, 2, 3, 7, 17, 64, 4096, 65535]
TEXTS = ["ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness", "RescaleSlope"]
TEXTS += ["RescaleIntercept", "NumberOfFrames", "PhotometricInterpretation", "SeriesInstanceUID", "SOPInstanceUID"]
TEXTS += ["Modality", "ImageType", "SOPClassUID", "FrameOfReferenceUID", "BurnedInAnnotation"]


def test_a_large_tree_is_not_walked_for_each_of_its_series(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    walks: list[Path] = []
    real = series_module._walk
    monkeypatch.setattr(series_module, "_walked", {})
    monkeypatch.setattr(series_module, "_walk", lambda folder: walks.append(folder) or real(folder))
    for long, count in ((60.0, 2), (0.0, 1)):
        monkeypatch.setattr(series_module, "LONG", long)
        monkeypatch.setattr(series_module, "AGAIN", 1e9)
        folder = series(tmp_path / f"s{count}", STORED[:2])
        walks.clear()
        assert find_series(folder) == find_series(folder)
        assert len(walks) == count


def test_a_size_that_the_file_can_not_hold_is_refused_before_memory_is_taken(tmp_path: Path) -> None:
    series(tmp_path, STORED[:1], shuffled=False)
    (path,) = tmp_path.iterdir()
    ds = dcmread(path)
    ds.Rows = ds.Columns = 65535
    ds.save_as(path)
    with pytest.raises(DataError, match="its header gives it a size of 1×65535×65535"):
        read_image(path)


SHORTS = ["Rows", "Columns", "BitsAllocated", "BitsStored", "HighBit", "PixelRepresentation", "SamplesPerPixel"]


@settings(max_examples=25, deadline=None)
@given(
    texts=st.dictionaries(st.sampled_from(TEXTS), st.sampled_from(WEIRD), max_size=3),
    shorts=st.dictionaries(st.sampled_from(SHORTS), st.sampled_from(NUMERIC), max_size=2),
    many=st.booleans(),
)
def test_nonsense_in_a_header_is_named(
    tmp_path_factory: pytest.TempPathFactory, texts: dict[str, str], shorts: dict[str, int], many: bool
) -> None:
    folder = tmp_path_factory.getbasetemp() / "nonsense"
    shutil.rmtree(folder, ignore_errors=True)
    series(folder, STORED[:3], shuffled=False)
    for path in folder.iterdir() if many else [folder / "IM0001"]:
        ds = dcmread(path)
        for tag, number in shorts.items():
            setattr(ds, tag, number)
        for tag, value in texts.items():
            raw = RawDataElement(Tag(tag), dictionary_VR(tag), len(value), value.encode(), 0, False, True)
            ds._dict[Tag(tag)] = raw
        ds.save_as(path)
    for given_path in (folder, folder / "IM0001"):
        try:
            read_image(given_path)
        except DataError as error:
            message, advice = str(error), error.own_advice
            assert str(folder) in message
            assert advice
            assert "DOE" not in message


def test_no_name_is_logged_or_warned_of(tmp_path: Path, caplog: pytest.LogCaptureFixture, recwarn: Any) -> None:
    folder = series(tmp_path / "s", STORED)
    path = change(folder, 2, ReferringPhysicianName="A" * 90 + NAME)
    path.write_bytes(path.read_bytes().replace(b"20200101", NUMBER[-8:].encode()))  # no date
    with caplog.at_level(logging.DEBUG):
        read_raw(folder)
        find_series(tmp_path)
    said = caplog.text + " ".join(str(warning.message) for warning in recwarn)
    assert not any(secret in said for secret in (*NAME.split("^"), NUMBER))
