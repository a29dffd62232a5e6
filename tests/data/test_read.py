"""Image files as they come: what is read of them, and what is said of those that can't be."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
from PIL import Image
from relay.datasets.folder import Folder

from relay.data.formats import volumes
from relay.data.formats.files import listing
from relay.data.formats.raw import read_raw
from relay.data.read import read_image, read_images, read_mask, read_masks, read_pair
from relay.errors import DataError
from relay.metrics.dice import sample_dice
from relay.predict.masks import save_mask

FLIPPED = (-1, 0, 0, 0, 1, 0, 0, 0, 1)
VALUES = np.random.default_rng(0).integers(0, 1000, (4, 5, 6)).astype(np.int16)
DRAWN = (VALUES > 700).astype(np.uint8)


def volume(path: Path, values: np.ndarray, code: str = "LPS", **told: Any) -> Path:
    """Write values that lie as LPS, stored in another orientation; ``told`` is said of the file instead."""
    image = sitk.GetImageFromArray(values)
    if values.ndim == 3:
        image.SetSpacing((0.5, 0.75, 2.0))
        image = sitk.DICOMOrient(image, code)
    for what, given in told.items():
        getattr(image, f"Set{what}")(given)
    sitk.WriteImage(image, str(path))
    return path


def picture(path: Path, values: np.ndarray, exif: int = 1, **how: Any) -> Path:
    said = Image.Exif()
    if exif != 1:
        said[0x0112] = exif
    Image.fromarray(values).save(path, exif=said, **how)
    return path


@pytest.fixture
def pair(tmp_path: Path) -> Any:
    """Write an image and a mask as NIfTI and read them."""

    def make(mask: np.ndarray = DRAWN, code: str = "LPS", of_mask: str | None = None, **told: Any) -> Any:
        image = volume(tmp_path / "image.nii.gz", VALUES, code)
        return read_pair(image, volume(tmp_path / "mask.nii.gz", mask, of_mask or code, **told), range(2))

    return make


@pytest.mark.parametrize("code", ["LPS", "RAS", "RPI", "PSR", "AIL"])
def test_the_same_scan_is_read_the_same_however_it_is_stored(pair: Any, code: str) -> None:
    plain, stored = pair(), pair(code=code)
    assert np.array_equal(stored.image, plain.image)
    assert np.array_equal(stored.target, DRAWN)
    assert stored.spacing == (2.0, 0.75, 0.5)
    assert stored.notes == ()


@pytest.mark.parametrize("of_mask", ["LPS", "RAS", "RPI", "PSR", "AIL"])
@pytest.mark.parametrize("code", ["LPS", "RAS", "IRP"])
def test_a_mask_stored_along_other_axes_is_turned_to_its_image(
    pair: Any, tmp_path: Path, code: str, of_mask: str
) -> None:
    read = pair(code=code, of_mask=of_mask)
    assert np.array_equal(read.target, DRAWN)
    assert read.notes == ()
    pred, truth, _ = read_masks(tmp_path / "mask.nii.gz", volume(tmp_path / "t.nrrd", DRAWN, code), range(2), range(2))
    assert np.array_equal(pred, truth)
    channels = read_images([tmp_path / "image.nii.gz", tmp_path / "mask.nii.gz"], eight_bits=False)
    assert np.array_equal(channels.image, np.stack([VALUES, DRAWN], -1))


@pytest.mark.parametrize(
    ("told", "said"),
    [
        ({"of_mask": "RAS", "Origin": (3.0, 3, 0)}, "origin (3, 3, 0), but that of its image is (0, 0, 0)"),
        ({"of_mask": "PSR", "Spacing": (0.75, 2.0, 0.51)}, ": size (5, 4, 6), but that of its image is (6, 5, 4)"),
        ({"of_mask": "RAS", "Direction": (0.6, 0.8, 0, -0.8, 0.6, 0, 0, 0, 1)}, "direction (0.6, 0.8, 0, "),
        ({"Direction": FLIPPED}, "direction (-1, 0, 0, 0, 1, 0, 0, 0, 1), but that of its image is (1, 0, 0"),
        ({"Spacing": (0.5, 0.75, 1.0)}, "spacing (0.5, 0.75, 1), but that of its image is (0.5, 0.75, 2)"),
        ({"Origin": (0, 0, 9.0)}, "origin (0, 0, 9), but that of its image is (0, 0, 0)"),
    ],
)  # fmt: skip
def test_a_mask_that_lies_elsewhere_is_refused(pair: Any, tmp_path: Path, told: dict[str, Any], said: str) -> None:
    with pytest.raises(DataError) as caught:
        pair(**told)
    for words in (f"{tmp_path}/mask.nii.gz: ", said, f"({tmp_path}/image.nii.gz)"):
        assert words in str(caught.value)
    assert "nearest neighbours" in caught.value.advice()


@pytest.mark.parametrize("code", ["LPS", "RAI", "SPL"])
def test_metrics_know_no_orientation(tmp_path: Path, code: str) -> None:
    one = volume(tmp_path / "a.nii.gz", DRAWN, code)
    other = volume(tmp_path / "b.nrrd", np.roll(DRAWN, 1, axis=0), code)
    pred, truth, spacing = read_masks(one, other, range(2), range(2))
    assert np.array_equal(pred, DRAWN)
    assert np.array_equal(truth, np.roll(DRAWN, 1, axis=0))
    assert spacing == (2.0, 0.75, 0.5)


def test_a_picture_beside_a_volume_lies_as_it_is_stored(tmp_path: Path) -> None:
    image = sitk.GetImageFromArray(VALUES[:1])
    image.SetDirection((-1, 0, 0, 0, -1, 0, 0, 0, 1))
    sitk.WriteImage(image, str(tmp_path / "scan.nii"))
    read = read_pair(tmp_path / "scan.nii", picture(tmp_path / "mask.png", DRAWN[0]), range(2))
    assert np.array_equal(read.target, DRAWN[0, ::-1, ::-1])
    assert read.notes == ("its mask: a 2D image has no orientation; assumed that of the stored volume",)
    back = read_pair(picture(tmp_path / "photo.png", DRAWN[0]), volume(tmp_path / "m.nii", DRAWN[:1]), range(2))
    assert np.array_equal(back.target, DRAWN[0])


UPRIGHT = np.arange(48, dtype=np.uint8).reshape(6, 8) * 5


@pytest.mark.parametrize(("image", "mask"), [(3, 1), (1, 3), (6, 1), (6, 8), (2, 4), (1, 5)])
def test_an_exif_turn_of_one_of_a_pair_is_refused(tmp_path: Path, image: int, mask: int) -> None:
    scan = picture(tmp_path / "scan.jpg", UPRIGHT[:, :6], image)
    with pytest.raises(
        DataError, match=rf"mask.png: EXIF orientation {mask}, but that of its image is {image} \(.*scan.jpg\)"
    ):
        read_pair(scan, picture(tmp_path / "mask.png", UPRIGHT[:, :6], mask), range(256))


@pytest.mark.parametrize("exif", [1, 3, 5, 6, 8])
@pytest.mark.parametrize("ending", ["png", "tif"])
def test_an_exif_turn_of_both_is_fine(tmp_path: Path, exif: int, ending: str) -> None:
    scan, mask = (picture(tmp_path / f"{name}.{ending}", UPRIGHT, exif) for name in ("scan", "mask"))
    read = read_pair(scan, mask, range(256))
    assert np.array_equal(read.image[..., 0], read.target)
    assert read.notes == ()
    expected = {1: UPRIGHT, 3: UPRIGHT[::-1, ::-1], 5: UPRIGHT.T, 6: UPRIGHT[::-1].T, 8: UPRIGHT.T[::-1]}
    assert np.array_equal(read.target, expected[exif])


def test_sizes_that_agree_only_upright_are_said(tmp_path: Path) -> None:
    read = read_pair(
        picture(tmp_path / "scan.png", UPRIGHT, 6), picture(tmp_path / "m.png", UPRIGHT[::-1].T), range(256)
    )
    assert np.array_equal(read.image[..., 0], read.target)
    assert read.notes == (
        "its mask: EXIF orientation 1, but that of its image is 6; turned this way, their sizes agree",
    )


def header(path: Path, **fields: tuple[int, str, Any]) -> Path:
    """Change a NIfTI file's header: offset, format, values."""
    data = bytearray(path.read_bytes())
    for offset, form, values in fields.values():
        struct.pack_into(form, data, offset, *values)
    path.write_bytes(data)
    return path


SFORM = {"codes": (252, "<hh", (0, 1))}
TURN = {"rows": (280, "<12f", (0.5, 0, 0, 0, 0, 0.75, 0, 0, 0, 0, 2, 0))}


def refused(path: Path, read: Any = read_image) -> tuple[str, str]:
    with pytest.raises(DataError) as caught:
        read(path)
    return str(caught.value), caught.value.advice()


def test_volumes_that_are_not_three_axes_of_real_numbers(tmp_path: Path) -> None:
    four = sitk.JoinSeries([sitk.GetImageFromArray(VALUES)] * 3)
    for name in ("four.nii.gz", "four.mha", "four.nrrd"):
        sitk.WriteImage(four, str(tmp_path / name))
        message, advice = refused(tmp_path / name)
        assert message == f"{tmp_path / name}: a 4D volume (6×5×4×3); it must have 3 axes"
        assert "Save the one you need" in advice
        assert "4D volume" in refused(tmp_path / name, read_mask)[0]
        sitk.WriteImage(four[..., :1], str(tmp_path / name))
        assert read_image(tmp_path / name)[0].shape == (4, 5, 6, 1)
    many = sitk.GetImageFromArray(np.zeros((2, 3, 4, 2), np.float32), isVector=True)
    sitk.WriteImage(many, str(tmp_path / "many.nii"))
    assert read_image(tmp_path / "many.nii")[0].shape == (2, 3, 4, 2)
    sitk.WriteImage(sitk.Image((4, 3, 2), sitk.sitkComplexFloat32), str(tmp_path / "complex.nii"))
    assert "complex numbers" in refused(tmp_path / "complex.nii")[0]


def test_headers_that_place_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    path = volume(tmp_path / "scan.nii", VALUES)
    sheared = (0.5, 0.2, 0, 0, 0, 0.75, 0, 0, 0, 0, 2, 0)
    message, advice = refused(header(path, **SFORM, rows=(280, "<12f", sheared)))
    assert message == f"{path}: sheared: the axes in its header (a NIfTI sform) are not at right angles"
    assert "Resample" in advice
    assert capfd.readouterr().err == ""  # ITK's own warnings
    assert "direction" in refused(header(path, rows=(280, "<12f", (np.nan, 0, *sheared[2:]))))[0]


def test_what_a_header_leaves_open_is_said(tmp_path: Path) -> None:
    path, drawn = volume(tmp_path / "scan.nii", VALUES), volume(tmp_path / "mask.nii", DRAWN)

    def notes(**fields: Any) -> list[str]:
        for file in (path, drawn):
            header(file, **fields)
        return [note for note in read_pair(path, drawn, range(2)).notes if not note.startswith("its mask")]

    assert notes() == []
    assert "sform and qform" in notes(codes=(252, "<hh", (1, 1)), **TURN)[0]
    assert notes(codes=(252, "<hh", (0, 1))) == []
    assert "gives no orientation" in notes(codes=(252, "<hh", (0, 0)))[0]
    assert "gives no voxel size" in notes(codes=(252, "<hh", (1, 0)), pixels=(80, "<f", (0.0,)))[0]


HEADER = "i10s18sihcc8h3fhhhh8ffffhccffffii80s24shhffffff4f4f4f16s4s"


def test_the_order_of_bytes_does_not_matter(tmp_path: Path) -> None:
    values = VALUES.astype(np.float32)
    values[0, 0, 0] = np.nan
    little = volume(tmp_path / "little.nii", values, "RPS")
    data = little.read_bytes()
    big = tmp_path / "big.nii"
    swapped = np.frombuffer(data, "<f4", offset=352).astype(">f4").tobytes()
    big.write_bytes(struct.pack(f">{HEADER}", *struct.unpack_from(f"<{HEADER}", data)) + bytes(4) + swapped)
    drawn = volume(tmp_path / "mask.nii", DRAWN, "RPS")
    one, other = (read_pair(path, drawn, range(2)) for path in (little, big))
    assert np.array_equal(one.image, other.image)
    assert one.notes == other.notes == ("1 of 120 voxels are NaN or infinite; read as black",)


def test_a_radiograph_without_a_spacing_is_said(tmp_path: Path) -> None:
    scan, drawn = (volume(tmp_path / f"{k}.dcm", VALUES[:1].astype(np.uint16) % (2 + k * 998)) for k in (1, 0))
    captured = "a secondary capture, such as a screenshot: text may be burned into its pixels"
    assert read_pair(scan, drawn, range(2)).notes == (captured, f"its mask: {captured}")
    for path in (scan, drawn):
        for tag, other in ((b"\x18\x00\x10\x20", b"\x18\x00\x11\x20"), (b"\x28\x00\x30\x00", b"\x28\x00\x31\x00")):
            path.write_bytes(path.read_bytes().replace(tag, other))  # either may give its spacing
    said = "its header gives no pixel size; assumed 1 mm"
    assert read_pair(scan, drawn, range(2)).notes == (said, captured, f"its mask: {said}", f"its mask: {captured}")


def test_qforms_are_understood(tmp_path: Path) -> None:
    rng = np.random.default_rng(1)
    for _ in range(20):
        image = sitk.GetImageFromArray(VALUES)
        image.SetDirection(sitk.VersorTransform(rng.normal(size=3), float(rng.uniform(0, 6))).GetMatrix())
        sitk.WriteImage(image, str(tmp_path / "a.nii"))
        sitk.WriteImage(sitk.Cast(image, sitk.sitkUInt8) * 0, str(tmp_path / "m.nii"))
        assert read_pair(tmp_path / "a.nii", tmp_path / "m.nii", range(2)).notes == ()  # both say the same


def test_folders_are_not_files(tmp_path: Path) -> None:
    series = tmp_path / "image" / "case_1" / "s1"
    series.mkdir(parents=True)
    for k in range(3):
        sitk.WriteImage(sitk.GetImageFromArray(VALUES[:1].astype(np.uint16)), str(series / f"{k}.dcm"))
    (series / "1.dcm").rename(series / "IM1")
    (series / "notes.txt").write_text("x")
    message, advice = refused(series)  # each file has its own SeriesInstanceUID
    assert message.startswith(f"{series} contains 3 DICOM series:\n  - {series}/1.")
    assert "Name one of them" in advice
    with pytest.raises(DataError, match=r"case_1 contains a series of 3 DICOM files") as caught:
        listing(tmp_path / "image")
    assert "data set dicom" in caught.value.advice()
    for name in ("0.dcm", "2.dcm"):
        (series / name).unlink()
    (series / "IM1").rename(tmp_path / "image" / "IM1")
    with pytest.raises(DataError, match=r"without the .dcm extension \(1\):\n  - .*image/IM1"):
        listing(tmp_path / "image")
    (tmp_path / "case.nii").mkdir()
    assert "is a folder without DICOM images, but must be one image" in refused(tmp_path / "case.nii")[0]


def test_files_that_are_not_there_or_empty(tmp_path: Path) -> None:
    assert "No such file" in refused(tmp_path / "no.png")[0]
    for name in ("a.png", "a.nii.gz"):
        (tmp_path / name).touch()
        message, advice = refused(tmp_path / name)
        assert message == f"{tmp_path / name}: can't be read: it is empty"
        assert "Copy it again" in advice


def test_large_pictures_are_read_and_huge_ones_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Image.new("1", (14000, 13000)).save(tmp_path / "large.png")  # 182 megapixels
    with monkeypatch.context() as patch:
        patch.setattr(
            "relay.data.formats.pictures._pixels", lambda path, opened, indices: (np.zeros(opened.size[::-1], bool), ())
        )
        assert read_raw(tmp_path / "large.png").values.shape == (13000, 14000)
    monkeypatch.setattr("relay.data.formats.pictures.MOST_PIXELS", 100_000_000)
    message, advice = refused(tmp_path / "large.png")
    assert message == f"{tmp_path / 'large.png'}: 14000×13000 is 182 megapixels; the limit is 100"
    assert "Crop" in advice


@pytest.mark.parametrize("off", [1e-7, -1e-7, 9e-4, -9e-4])
@pytest.mark.parametrize("name", ["m.nii.gz", "m.tif"])
def test_nearly_whole_numbers_are_classes(tmp_path: Path, off: float, name: str) -> None:
    values = DRAWN[0].astype(np.float32) + np.float32(off)
    if name == "m.tif":
        picture(tmp_path / name, values)
    else:
        volume(tmp_path / name, values[None])
    assert np.array_equal(read_mask(tmp_path / name), DRAWN[0])


@pytest.mark.parametrize(
    ("value", "said"),
    [(0.5, "fractional values, 0.5:"), (1.002, "1.002"), (np.nan, "nan"), (-np.inf, "nan"), (1e30, "1e+30")],
)
def test_other_numbers_are_named(tmp_path: Path, value: float, said: str) -> None:
    values = DRAWN.astype(np.float64)
    values[0, 0, 0] = value
    message, advice = refused(volume(tmp_path / "m.nii.gz", values), read_mask)
    assert said in message
    assert "nearest neighbours" in advice


def test_kinds_of_masks_and_the_cure_of_each(tmp_path: Path) -> None:
    drawn = DRAWN[0]
    grey = np.repeat(drawn[..., None] * 255, 4, axis=2)
    for values in (grey[..., :3], np.dstack([grey[..., :3], np.full(drawn.shape, 255, np.uint8)])):
        assert np.array_equal(read_mask(picture(tmp_path / "m.png", values)), drawn * 255)
    message, advice = refused(picture(tmp_path / "m.png", grey), read_mask)
    assert "partly transparent" in message
    assert "alpha" in advice

    scan = picture(tmp_path / "scan.png", drawn)

    def pair(values: np.ndarray, name: str = "m.png", mask_values: Any = range(2)) -> tuple[str, str]:
        return refused(picture(tmp_path / name, values), lambda path: read_pair(scan, path, mask_values))

    assert pair(drawn * 255)[1].endswith("mask_values, background first: [0, 255].")
    assert pair(drawn * 0 + 255)[1].endswith("mask_values, background first: [0, 255].")
    assert pair(UPRIGHT)[1] == "Correct the mask, or num_classes and mask_values in the config."
    assert pair(drawn * 128, mask_values=[0, 255])[1].startswith("Correct the mask")
    soft = np.zeros((16, 16), np.uint8)
    soft[4:9, 3:11] = 255
    assert pair(soft, "m.jpg", [0, 255])[1].startswith("JPEG changes values")


def test_too_many_classes_and_axes(tmp_path: Path) -> None:
    mask = picture(tmp_path / "m.png", np.arange(300, dtype=np.uint16).reshape(15, 20))
    assert (
        "300 classes; the limit is 256" in refused(mask, lambda path: read_masks(path, path, range(300), range(300)))[0]
    )
    scan = volume(tmp_path / "a.mha", VALUES)
    scan.write_bytes(scan.read_bytes().replace(b"NDims = 3", b"NDims = 38"))
    assert "too many axes" in refused(scan)[0]


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    [
        ("a.mha", lambda data: data[:-9], "truncated, 231 bytes instead of 240"),
        ("a.mha", lambda data: data[: data.index(b"LOCAL") + 5], "truncated, 0 bytes instead of 240"),
        ("a.mha", lambda data: data.replace(b"DimSize", b"DimSite"), "its header lacks DimSize"),
        ("a.mha", lambda data: data.replace(b"NDims = 3", b"NDims = 4"), "its header has 3 sizes for 4 axes"),
        ("z.mha", lambda data: data[:-9], "truncated"),
        ("z.mha", lambda data: data[:-60] + bytes(20) + data[-40:], "its compressed voxels are damaged"),
        ("z.mha", lambda data: data.replace(b"DimSize = 6", b"DimSize = 5"), "240 bytes, but its header says 200"),
        ("z.mha", lambda data: data.replace(b"dDataSize", b"dDataSite"), "does not say CompressedDataSize"),
        ("z.nrrd", lambda data: data[:-8] + bytes(4) + data[-4:], "its compressed voxels are damaged"),
        ("a.mhd", lambda data: data.replace(b"a.raw", b"b.raw"), "its voxels are in b.raw, which is not beside it"),
    ],
)
def test_a_damaged_volume_is_refused_without_a_word_of_itk(
    tmp_path: Path, capfd: pytest.CaptureFixture[str], name: str, damage: Any, said: str
) -> None:
    path = tmp_path / name
    sitk.WriteImage(sitk.GetImageFromArray(VALUES), str(path), name[0] == "z")
    assert read_image(path)[0].shape == (*VALUES.shape, 1)
    path.write_bytes(damage(path.read_bytes()))
    assert said in refused(path)[0]
    assert capfd.readouterr().err == ""


def test_kinds_of_pictures_in_one_file(tmp_path: Path) -> None:
    pages = [Image.new("L", (6, 8), i) for i in range(3)]
    pages[0].save(tmp_path / "a.tif", save_all=True, append_images=pages[1:])
    message, advice = refused(tmp_path / "a.tif")
    assert message.endswith("a.tif: 3 images in one file")
    assert "its own file" in advice
    pages[1].save(tmp_path / "a.mpo", save_all=True, append_images=pages[:1])
    assert read_image((tmp_path / "a.mpo").rename(tmp_path / "a.jpg"))[0].max() == 1


@pytest.mark.parametrize("read", [read_image, read_mask])
@pytest.mark.parametrize("name", ["a.png", "a.tif", "a.ppm"])
def test_colour_of_which_bits_would_be_lost_is_refused(tmp_path: Path, name: str, read: Any) -> None:
    deep = np.repeat(VALUES[0, ..., None], 3, axis=2).astype(np.uint16)
    if name == "a.ppm":
        (tmp_path / name).write_bytes(b"P6 6 5 1000\n" + deep.astype(">u2").tobytes())
    else:
        sitk.WriteImage(sitk.GetImageFromArray(deep, isVector=True), str(tmp_path / name))
    message, advice = refused(tmp_path / name, read)
    assert "colour with more than 8 bits per channel" in message
    assert "8- or 16-bit grey image" in advice
    grey = picture(tmp_path / "grey.png", deep[..., 0])
    assert np.array_equal(read_mask(grey), VALUES[0])


def test_transparent_images_are_said(tmp_path: Path) -> None:
    values = np.full((4, 4, 4), 9, np.uint8)
    values[0, 0, 0] = 8
    drawn = picture(tmp_path / "m.png", np.zeros((4, 4), np.uint8))
    read = read_pair(picture(tmp_path / "a.png", values), drawn, range(2))
    assert read.notes == ("partly transparent; used the colours underneath",)
    assert (read.image == values[..., :3]).all()


def test_a_picture_of_one_value_is_said(tmp_path: Path) -> None:
    drawn = picture(tmp_path / "m.png", np.zeros((4, 4), np.uint8))
    read = read_pair(picture(tmp_path / "a.png", np.full((4, 4, 3), 9, np.uint8)), drawn, range(2))
    assert read.notes == ("every pixel has the same value",)


def test_a_suspicious_window_is_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    sparse = np.zeros((10, 20, 20), np.int16)
    sparse[0, 0, :12] = np.arange(100, 1300, 100)
    image, mask = volume(tmp_path / "a.nii.gz", sparse), volume(tmp_path / "m.nii.gz", (sparse > 500).astype(np.uint8))
    read = read_pair(image, mask, range(2))
    assert read.notes == ("99.7 % of its voxels are 0; its window is based on the others",)
    assert len(np.unique(read.image)) == 13
    assert np.array_equal(read_image(image)[0], read.image)
    assert f"{image}: {read.notes[0]}" in caplog.text


def test_a_real_scan_stored_both_ways(shared_data: Path, tmp_path: Path) -> None:
    name = "hippocampus_001.nii.gz"
    root = shared_data / "hippocampus"
    name = name if (root / "image" / name).is_file() else sorted((root / "image").iterdir())[0].name
    pictures, there = [], []
    for code in ("LPS", "RAS", "PIR"):
        for kind in ("image", "label"):
            (tmp_path / code / kind).mkdir(parents=True)
            stored = sitk.DICOMOrient(sitk.ReadImage(str(root / kind / name)), code)
            sitk.WriteImage(stored, str(tmp_path / code / kind / name))
        options = {"task_id": 0, "task_name": "site", "num_classes": 3, "channels": 1, "mask_dir": "label"}
        dataset = Folder(Folder.Options(root_path=str(tmp_path / code), **options))
        pictures.append(dataset[0])
        predicted = np.where(pictures[-1].image[..., 0] > 128, pictures[-1].target, 0).astype(np.uint8)
        saved = save_mask(predicted, dataset.listing[0].image, tmp_path / code / "mask")
        pred, truth, _ = read_masks(saved, dataset.listing[0].mask, range(3), range(3))
        assert np.array_equal(pred, predicted)
        assert sample_dice(*(torch_of(m) for m in (pred, predicted)), 3)[0].tolist() == [1, 1, 1]
        assert np.array_equal(truth, pictures[-1].target)
        there.append(sitk.GetArrayFromImage(sitk.DICOMOrient(sitk.ReadImage(str(saved)), "LPS")))
        assert np.array_equal(there[-1], there[0])
    for other in pictures[1:]:
        assert np.array_equal(other.image, pictures[0].image)
        assert np.array_equal(other.target, pictures[0].target)
        assert other.spacing == pictures[0].spacing


def torch_of(mask: np.ndarray) -> Any:
    import torch

    return torch.from_numpy(mask.astype(np.int64))[None]


def test_what_is_not_finite_in_a_nifti_file_is_black_and_said(tmp_path: Path) -> None:
    values = VALUES.astype(np.float32) - 2000  # ITK reads 0 there, the brightest of all
    values[1:, 0, 0] = (np.nan, np.inf, -np.inf)
    mask = volume(tmp_path / "m.nii.gz", DRAWN, "RAI")
    for name in ("a.nii.gz", "a.mha"):
        read = read_pair(volume(tmp_path / name, values, "RAI"), mask, range(2))
        assert read.notes == ("3 of 120 voxels are NaN or infinite; read as black",)
        assert not read.image[1:, 0, 0].any()
        assert read.image[0, 0, 0] > 0


@pytest.mark.parametrize("kind", ["u1", "i1", "u2", "i2", "u4", "i4", "u8", "i8", "f4", "f8"])
def test_a_nifti_file_is_unpacked_once_and_its_values_are_those_of_itk(
    kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = volume(tmp_path / "scan.nii.gz", (VALUES - VALUES.mean()).astype(kind), "RAS")
    expected, packed = sitk.GetArrayFromImage(sitk.ReadImage(str(path))), path.read_bytes()
    opened: list[int] = []
    monkeypatch.setattr(volumes.nifti, "_by_itk", lambda _: opened.append(1))
    values = volumes.decode(path)[0]
    assert (values.dtype, opened) == (np.dtype(kind), [])
    assert np.array_equal(values, expected)
    path.write_bytes(packed[: len(packed) // 2])
    assert "can't be read" in refused(path)[0]


@pytest.mark.parametrize("scale", [(2.0, 1.0), (1.0, 3.0), (0.0, 0.0), (0.0, 5.0), (np.nan, 0.0)])
def test_stored_values_are_scaled_as_by_itk(scale: tuple[float, float], tmp_path: Path) -> None:
    path = header(volume(tmp_path / "scan.nii", VALUES.astype(np.int16)), scale=(112, "<2f", scale))
    expected = sitk.GetArrayFromImage(sitk.ReadImage(str(path)))
    values = volumes.decode(path)[0]
    assert values.dtype == expected.dtype
    assert np.array_equal(values, expected)


def test_channels_of_several_files_are_put_together(tmp_path: Path) -> None:
    """Each keeps its own scale, and all are turned alike."""
    files = [volume(tmp_path / f"c{i}.nii.gz", VALUES * 10.0**i, "RAI") for i in range(4)]
    mask = volume(tmp_path / "mask.nii", DRAWN, "RAI")
    read = read_pair(files, mask, range(2))
    alone = [read_pair(path, mask, range(2)) for path in files]
    assert read.image.shape == (*VALUES.shape, 4)
    for c, one in enumerate(alone):
        assert np.array_equal(read.image[..., c], one.image[..., 0])
    plain = read_pair(files, mask, range(2), eight_bits=False).image
    assert np.allclose(plain[..., 2], plain[..., 0] * 100)
    pictures = [picture(tmp_path / "a.png", DRAWN[0]), picture(tmp_path / "b.png", np.dstack([DRAWN[0]] * 3))]
    assert read_images(pictures).image.shape == (*DRAWN[0].shape, 4)


def test_channels_of_different_places_are_refused(tmp_path: Path) -> None:
    first = volume(tmp_path / "t1.nii.gz", VALUES)

    def message(other: Path) -> str:
        told, advice = refused(tmp_path, lambda _: read_images([first, other]))
        assert str(first) in told
        assert str(other) in told
        assert "grid of the first" in advice
        return told

    assert "spacing (9, " in message(volume(tmp_path / "t2.nii.gz", VALUES, Spacing=(9.0, 1.0, 1.0)))
    assert "origin (9, " in message(volume(tmp_path / "t3.nii.gz", VALUES, Origin=(9.0, 0.0, 0.0)))
    assert "direction" in message(volume(tmp_path / "t4.nii.gz", VALUES, Direction=FLIPPED))
    shorter = message(volume(tmp_path / "t5.nii.gz", VALUES[1:]))
    assert "size 3×5×6, but that of its first channel is 4×5×6" in shorter
    small = picture(tmp_path / "s.png", DRAWN[0][1:])
    told, _ = refused(tmp_path, lambda _: read_images([picture(tmp_path / "a.png", DRAWN[0]), small]))
    assert "size" in told


@pytest.mark.parametrize("size", ["2 1 -1", "-1 -1 1", "1 -1 99999", "0 4 3"])
def test_sizes_that_no_scan_has_are_refused_before_memory_is_taken(tmp_path: Path, size: str) -> None:
    """ITK takes -1 for billions of voxels, and would reserve tens of gigabytes."""
    path = volume(tmp_path / "scan.mha", VALUES)
    lines = path.read_bytes().split(b"\n", 12)
    path.write_bytes(b"\n".join(b"DimSize = " + size.encode() if line[:7] == b"DimSize" else line for line in lines))
    told, advice = refused(tmp_path, lambda _: read_images(path))
    assert str(path) in told
    assert advice


def test_nrrd_sizes_that_the_file_can_not_hold(tmp_path: Path) -> None:
    path = volume(tmp_path / "scan.nrrd", VALUES)
    data = path.read_bytes()
    depth, height, width = VALUES.shape
    now = f"sizes: {width} {height} {depth}".encode()
    assert now in data
    path.write_bytes(data.replace(now, b"sizes: 99999 99999 3"))
    told, advice = refused(tmp_path, lambda _: read_images(path))
    assert "its header gives it a size of 99999×99999×3" in told
    assert advice


def test_a_file_of_one_axis_is_refused(tmp_path: Path) -> None:
    path = volume(tmp_path / "scan.nii", VALUES)
    header(path, dims=(40, "<8h", (1, 1, 0, 0, 0, 0, 0, 0)))
    told, _ = refused(tmp_path, lambda _: read_images(path))
    assert "size (1) in its header is not possible" in told
