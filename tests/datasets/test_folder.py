from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pydantic import ValidationError
from relay.datasets.folder import Folder

from relay.data import SiteData, Split, prepare
from relay.data.loader import train_loader
from relay.errors import DataError


def folder(root: Path, **kwargs) -> Folder:
    given = {"task_id": 0, "task_name": "site", "num_classes": 2, "root_path": str(root), **kwargs}
    return Folder(Folder.Options(**given))


def ids(dataset: Folder) -> list[str]:
    return [sample.id for sample in dataset.listing]


def test_pairs_by_name(site) -> None:
    site.pairs("b", "a")
    for name in (".DS_Store", "Thumbs.db", "._a.png"):
        (site.root / "image" / name).write_bytes(b"x")
    dataset = folder(site.root)
    assert dataset.accessible()
    assert len(dataset) == 2
    assert ids(dataset) == ["a", "b"]
    assert [sample.patient for sample in dataset.listing] == ["a", "b"]
    assert dataset[0].image.shape == (8, 6, 3)
    assert dataset[0].target.max() == 1


def test_several_folders_and_other_names(site) -> None:
    site.pairs("x", folder="one")
    site.pairs("x", "y", folder="two/deep")
    for name in ("one", "two/deep"):
        (site.root / name / "mask").rename(site.root / name / "label")
    dataset = folder(site.root, img_folder=["two/deep", "one"], mask_dir="label")
    assert ids(dataset) == ["two/deep/x", "two/deep/y", "one/x"]
    assert [path.relative_to(site.root).as_posix() for path in dataset.folders()] == [
        "two/deep/image", "two/deep/label", "one/image", "one/label",
    ]  # fmt: skip


def test_a_missing_folder_says_what_is_there(site) -> None:
    site.pairs("a", folder="Site_A")
    dataset = folder(site.root, img_folder="SiteA")
    assert not dataset.accessible()
    with pytest.raises(DataError, match=r"folder not found: .*SiteA/image") as caught:
        len(dataset)
    assert "contains: Site_A." in caught.value.advice()


def test_an_empty_folder(site) -> None:
    for name in ("image", "mask"):
        (site.root / name).mkdir()
    with pytest.raises(DataError, match=r"'site': no images in .*image, .*mask"):
        len(folder(site.root))


def test_images_and_masks_without_a_partner(site) -> None:
    site.pairs("a", "b", "c")
    (site.root / "mask/a.png").unlink()
    (site.root / "image/c.png").unlink()
    with pytest.raises(DataError, match=r"without a partner \(2\)") as caught:
        len(folder(site.root))
    assert f"no mask for {site.root / 'image/a.png'}" in str(caught.value)
    assert f"no image for {site.root / 'mask/c.png'}" in str(caught.value)


def test_two_files_of_one_name(site) -> None:
    site.pairs("a")
    site.write("image/a.jpg", np.zeros((8, 6), np.uint8))
    with pytest.raises(DataError, match=r"files with the same name \(1\):\n  - a.jpg and a.png"):
        len(folder(site.root))


def test_the_patient_in_the_name(site) -> None:
    site.pairs("p1_left", "p1_right", "p2_left")
    assert [s.patient for s in folder(site.root, patient_regex=r"^(p\d)_").listing] == ["p1", "p1", "p2"]
    assert [s.patient for s in folder(site.root, patient_regex=r"\d").listing] == ["1", "1", "2"]
    with pytest.raises(DataError, match=r"without a known patient \(1\):\n  - .*p2_left.png"):
        len(folder(site.root, patient_regex=r"p1"))


def test_the_patient_in_a_table(site) -> None:
    site.pairs("a", "b")
    table = site.root / "who.csv"
    table.write_text("\ufeffimage,person\na,Q\nb,R\n", encoding="utf-8")
    given = {"patient_table": "who.csv", "id_column": "image", "patient_column": "person"}
    assert [s.patient for s in folder(site.root, **given).listing] == ["Q", "R"]
    with pytest.raises(DataError, match=r"who.csv: no column id, patient; it has image, person"):
        len(folder(site.root, patient_table="who.csv"))
    table.write_text("image,person\nb,R\n")
    with pytest.raises(DataError, match=r"without a known patient \(1\):\n  - .*a.png"):
        len(folder(site.root, **given))
    with pytest.raises(DataError, match=r"no\.csv: can't be read as a table"):
        len(folder(site.root, patient_table="no.csv"))


@pytest.mark.parametrize(
    ("table", "patients"),
    [
        ("id,patient\na,P0 \nb,\u00a0P0\nc,P1\n", ["P0", "P0", "P1"]),
        ("id,patient\na,Zoe\u0301\nb,Zo\u00e9\nc,P\u200b1\n", ["Zoé", "Zoé", "P1"]),
        (" id ; patient;age\na ;P0;3\nb;P0;4\n\n;;\nc;P1;5\nc;P1;6\n", ["P0", "P0", "P1"]),
        ("\ufeffid\tpatient\r\na\tP0\r\nb\t P0\r\nc\tP1\r\n", ["P0", "P0", "P1"]),
        ('"id", "patient"\na,"P0"\nb, "P0"\nc,P1', ["P0", "P0", "P1"]),
    ],
)
def test_a_patient_is_one_however_a_table_writes_the_name(site, table: str, patients: list[str]) -> None:
    site.pairs("a", "b", "c")
    (site.root / "who.csv").write_text(table, encoding="utf-8", newline="")
    assert [s.patient for s in folder(site.root, patient_table="who.csv").listing] == patients


@pytest.mark.parametrize("name", ["", " ", "NA", "nan", "None", "-", "N/A", "null", "\u2013", "unknown"])
def test_a_patient_who_is_not_known_is_refused(site, name: str) -> None:
    site.pairs("a", "b")
    (site.root / "who.csv").write_text(f"id,patient\na,{name}\nb,{name}\n", encoding="utf-8")
    with pytest.raises(DataError, match=r"don't give an image's patient \(2\):\n  - line 2: id 'a', patient"):
        len(folder(site.root, patient_table="who.csv"))


@pytest.mark.parametrize(
    ("table", "message"),
    [
        ("id,patient\na,P0\nb,P1\n a,P1\n", r"line 4: a has patient 'P1', but 'P0' in an earlier line"),
        ("id,patient\na\nb,P1,x\n", r"\(2\):\n  - line 2: 1 cells for 2 columns\n  - line 3: 3 cells"),
        ("id,patient\n,P0\nb,P1\n", "line 2: id '', patient 'P0'"),
        ("id,patient,patient \na,P0,P1\n", "two columns named patient"),
        ('id,patient\na,"P0\nb,P1\n', "can't be read as a table"),
        ("", "who.csv: an empty table"),
        ("id,patient\na.png,P0\nb,P1\n", r"the table has no 'a', but 'a.png': ids must be exact file names without"),
        ("id,patient\nA,P0\nb,P1\n", r"the table has no 'a', but 'A'"),
    ],
)
def test_a_table_that_does_not_say_whose_image_it_is(site, table: str, message: str) -> None:
    site.pairs("a", "b")
    (site.root / "who.csv").write_text(table, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        len(folder(site.root, patient_table="who.csv"))


def test_a_table_in_another_encoding_says_what_to_save(site) -> None:
    site.pairs("a")
    (site.root / "who.csv").write_bytes("id,patient\na,Zoé\n".encode("utf-16"))
    with pytest.raises(DataError, match="it is not UTF-8") as caught:
        len(folder(site.root, patient_table="who.csv"))
    assert "CSV UTF-8" in caught.value.advice()


def test_an_empty_group_of_the_pattern_is_no_patient(site) -> None:
    site.pairs("p1_a", "_b", "_c")
    with pytest.raises(DataError, match=r"without a known patient \(2\):\n  - .*_b.png: patient ''"):
        len(folder(site.root, patient_regex=r"^(p?\d*)_"))
    with pytest.raises(DataError, match=r"_b\.png: patient_regex does not match its name, _b"):
        len(folder(site.root, patient_regex=r"^(p\d)_|^_"))


def test_an_accent_of_two_letters_is_the_accent_of_one(site) -> None:
    site.pairs("Ze\u0301", "b")
    (site.root / "mask/Ze\u0301.png").rename(site.root / "mask/Z\u00e9.png")
    dataset = folder(site.root, patient_regex="Z\u00e9|b", test_regex="Ze\u0301")
    assert [(s.id, s.patient, s.split) for s in dataset.listing] == [("Zé", "Zé", "test"), ("b", "b", "train")]


def test_names_that_differ_in_case_say_so(site) -> None:
    site.pairs("FALL_00", "b")
    (site.root / "mask/FALL_00.png").rename(site.root / "mask/Fall_00.PNG")
    with pytest.raises(DataError, match=r"partner \(1\):\n.*Fall_00.PNG there has a name that differs only in case"):
        len(folder(site.root))


def test_an_external_test_set_uses_all_its_images(site) -> None:
    site.pairs("a", "b_test", "c")
    dealt = prepare(folder(site.root, split="test", test_regex="_test$"), seed=1, splits=("test",)).split
    assert dealt.to_json() == {"train": [], "val": [], "test": ["a", "b_test", "c"]}
    with pytest.raises(ValidationError, match="split: test"):
        folder(site.root, test_fraction=1.0)


def test_only_some_of_the_images(site) -> None:
    site.pairs("a1", "b1", "a2")
    assert ids(folder(site.root, only="^a")) == ["a1", "a2"]
    with pytest.raises(DataError, match="only 'c' matches no image"):
        len(folder(site.root, only="c"))


def test_the_publishers_test_set(site) -> None:
    site.pairs("1_test", "2_training", "3_training")
    parts = [sample.split for sample in folder(site.root, test_regex="_test$").listing]
    assert parts == ["test", "train", "train"]
    assert prepare(folder(site.root, test_regex="_test$"), seed=1).split.to_json()["test"] == ["1_test"]


@pytest.mark.parametrize(
    ("kwargs", "message"),
    [
        ({"root_path": ""}, "at least 1 character"),
        ({"patient_regex": "("}, "not a regular expression"),
        ({"patient_regex": "a", "patient_table": "b.csv"}, "only one of patient_regex and patient_table"),
        ({"mask_values": [0, 128, 255]}, "must be 2 different values"),
        ({"mask_values": [0, -1]}, "greater than or equal to 0"),
    ],
)
def test_options_are_checked(site, kwargs: dict, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        folder(site.root, **kwargs)


def picture(site, values, name: str = "a.png", **kwargs):
    site.write(f"image/{name}", values)
    site.write("mask/a.png", np.zeros(np.shape(values)[:2], np.uint8))
    return folder(site.root, **kwargs)[0].image


RAMP = np.linspace(0, 250, 40).reshape(5, 8)


@pytest.mark.parametrize("ending", [".png", ".bmp", ".tif"])
def test_eight_bits_stay_as_they_are(site, ending: str) -> None:
    colours = np.random.default_rng(0).integers(40, 90, (5, 8, 3)).astype(np.uint8)
    assert (picture(site, colours, f"a{ending}") == colours).all()
    assert (picture(site, colours[..., 0], f"a{ending}", channels=1)[..., 0] == colours[..., 0]).all()
    assert (picture(site, colours[..., 0], f"a{ending}") == colours[..., :1]).all()


@pytest.mark.parametrize(("dtype", "name"), [(np.uint16, "a.png"), (np.int32, "a.tif"), (np.float32, "a.tif")])
def test_deeper_pictures_are_windowed(site, dtype: type, name: str) -> None:
    image = picture(site, (RAMP * 100).astype(dtype), name, channels=1)
    assert image.min() == 0
    assert image.max() == 255
    assert np.abs(image[..., 0].astype(int) - RAMP).max() < 8


@pytest.mark.parametrize("mode", ["RGBA", "LA", "P", "1", "CMYK"])
def test_other_kinds_of_pictures(site, mode: str) -> None:
    name = "a.tif" if mode == "CMYK" else "a.png"
    site.pairs("a")
    (site.root / "image/a.png").unlink()
    Image.new("RGB", (6, 8), "white").convert(mode).save(site.root / "image" / name)
    assert (folder(site.root)[0].image == 255).all()
    assert (folder(site.root, channels=1)[0].image == 255).all()


@pytest.mark.parametrize("ending", [".nii.gz", ".mha", ".nrrd"])
def test_volumes(site, ending: str) -> None:
    rng = np.random.default_rng(0)
    values, mask = (
        rng.normal(size=(4, 5, 6)).astype(np.float32),
        rng.integers(0, 2, (4, 5, 6)).astype(np.uint8),
    )
    site.write(f"image/a{ending}", values * 1000)
    site.write(f"mask/a{ending}", mask)
    read = folder(site.root, channels=1)[0]
    assert read.image.shape == (4, 5, 6, 1)
    assert (read.target == mask).all()
    assert read.spacing == (3.0, 2.0, 1.0)
    assert np.corrcoef(read.image.ravel(), values.ravel())[0, 1] > 0.99
    small = folder(site.root, channels=1, img_size=[2, 5, 3])[0]
    assert small.image.shape == (2, 5, 3, 1)
    assert small.spacing == (6.0, 2.0, 2.0)


def test_one_slice_is_a_picture(site) -> None:
    values = np.arange(30, dtype=np.uint8).reshape(1, 5, 6)
    site.write("image/a.mha", values)
    site.write("mask/a.mha", values % 2)
    read = folder(site.root, channels=1)[0]
    assert (read.image == values[0, ..., None]).all()
    assert read.spacing == (2.0, 1.0)


def test_colours_in_a_volume(site) -> None:
    import SimpleITK as sitk

    values = np.random.default_rng(0).integers(0, 255, (2, 3, 4, 3)).astype(np.uint8)
    drawn = sitk.ReadImage(str(site.write("mask/a.mha", np.zeros((2, 3, 4), np.uint8))))
    (site.root / "image").mkdir()
    image = sitk.GetImageFromArray(values, isVector=True)
    image.CopyInformation(drawn)
    sitk.WriteImage(image, str(site.root / "image/a.mha"))
    assert folder(site.root)[0].image.shape == (2, 3, 4, 3)


def mask(site, values, name: str = "a.png", **kwargs):
    array = np.asarray(values)
    site.write("image/a.png", np.zeros(array.shape[:2], np.uint8))
    site.write(f"mask/{name}", array)
    return folder(site.root, **kwargs)[0].target


def test_kinds_of_masks(site) -> None:
    expected = np.arange(12).reshape(3, 4) % 2
    assert (mask(site, expected.astype(np.uint8)) == expected).all()
    assert (mask(site, expected.astype(np.uint16)) == expected).all()
    assert (mask(site, expected.astype(bool)) == expected).all()
    assert (mask(site, np.repeat(expected[..., None], 3, -1).astype(np.uint8)) == expected).all()
    assert (mask(site, (expected * 255).astype(np.uint8), mask_values=[0, 255]) == expected).all()
    assert (mask(site, (expected * 255).astype(np.uint8), mask_values=[255, 0]) == 1 - expected).all()
    palette = Image.fromarray(expected.astype(np.uint8), "P")
    palette.putpalette([9, 9, 9, 200, 0, 0])
    palette.save(site.root / "mask/a.png")
    assert (folder(site.root)[0].target == expected).all()


def test_masks_of_volumes_may_be_floats(site) -> None:
    values = np.arange(24).reshape(2, 3, 4) % 2
    site.write("image/a.nii.gz", values.astype(np.int16))
    site.write("mask/a.nii.gz", values.astype(np.float64))
    assert (folder(site.root)[0].target == values).all()
    site.write("mask/a.nii.gz", values * 0.5)
    with pytest.raises(DataError, match=r"a\.nii\.gz: fractional values"):
        folder(site.root)[0]
    site.write("mask/a.nii.gz", -values.astype(np.int16))
    with pytest.raises(DataError, match="values -1 are not classes"):
        folder(site.root)[0]


def test_wrong_masks(site) -> None:
    with pytest.raises(DataError, match=r"mask/a.png: values 7, 255 are not classes; expected: 0 to 1"):
        mask(site, np.array([[0, 7], [255, 1]], np.uint8))
    with pytest.raises(DataError, match=r"values 9 are not classes; expected: 0, 128"):
        mask(site, np.array([[0, 9], [128, 0]], np.uint8), mask_values=[0, 128])
    with pytest.raises(DataError, match="a colour image, not a mask"):
        mask(site, np.array([[[0, 1, 0]]], np.uint8))
    site.pairs("a")
    site.write("mask/a.png", np.zeros((3, 4), np.uint8))
    with pytest.raises(DataError, match=r"image/a.png: size 8×6, but its mask 3×4"):
        folder(site.root)[0]


@pytest.mark.parametrize("name", ["a.png", "a.jpg", "a.nii.gz", "a.nii", "a.mha", "a.nrrd"])
def test_damaged_files_are_named(site, name: str) -> None:
    noise = np.random.default_rng(0).integers(0, 255, (4, 60, 60)).astype(np.uint8)
    whole = site.write(f"image/{name}", noise if name[2:] not in ("png", "jpg") else noise[0])
    whole.write_bytes(whole.read_bytes()[: whole.stat().st_size // 2])
    site.write("image/b.png", noise[0]).write_bytes(b"not an image")
    site.write("mask/a.png", noise[0] % 2)
    site.write("mask/b.png", noise[0] % 2)
    dataset = folder(site.root)
    with pytest.raises(DataError, match=r"can't be used \(2\)") as caught:
        SiteData(dataset, Split([], [], dataset.listing)).read(["test"])
    for expected in (f"{name}: can't be read: ", "b.png: can't be read: "):
        assert expected in str(caught.value)


def test_a_picture_of_many_pages(site) -> None:
    site.pairs("a")
    (site.root / "image/a.png").unlink()
    pages = [Image.new("L", (6, 8), i) for i in range(3)]
    pages[0].save(site.root / "image/a.tif", save_all=True, append_images=pages[1:])
    with pytest.raises(DataError, match=r"a.tif: 3 images in one file"):
        folder(site.root)[0]


@pytest.mark.parametrize(
    ("name", "kwargs", "counts"),
    [
        ("drive", {"test_regex": "_test$"}, [16, 4, 20]),
        ("chase_db1", {"patient_regex": r"^(Image_\d+)"}, [16, 6, 6]),
        ("hrf", {}, [27, 9, 9]),
    ],
)
def test_real_vessels(shared_data: Path, name: str, kwargs: dict, counts: list[int]) -> None:
    root = shared_data / "fundus_vessels"
    dataset = folder(root, task_name=name, img_folder=name, img_size=[64, 64], **kwargs)
    site = prepare(dataset, seed=1)
    assert [len(site.train), len(site.val), len(site.test)] == counts
    image, vessels = site.train[0]
    assert image.shape == (64, 64, 3)
    assert 0.01 < vessels.mean() < 0.2
    assert max(site.truth("test", 0)[0].shape) == 512


def test_real_volumes_in_patches(shared_data: Path) -> None:
    dataset = folder(
        shared_data / "hippocampus", mask_dir="label", num_classes=3, channels=1, patch_size=[32, 32, 32],
        augment={"train": "flip"}, test_fraction=0.9, val_fraction=0,
    )  # fmt: skip
    site = prepare(dataset, seed=1)
    loader = train_loader([site.train], dataset.options, batch_size=2, seed=1, site="site")
    batch = next(iter(loader))
    assert batch["image"].shape == (2, 1, 32, 32, 32)
    assert set(batch["label"].unique().tolist()) == {0, 1, 2}
    assert site.train.spacings[0] == (1.0, 1.0, 1.0)
    for i in range(len(site.train)):
        image = site.train[i][0]
        assert image.min() == 0
        assert image.max() == 255


def test_real_slices(shared_data: Path) -> None:
    dataset = folder(shared_data / "prostate", img_folder=["bmc", "hk"], channels=1, test_regex="^test")
    site = prepare(dataset, seed=1, splits=("test",))
    assert [sample.id for sample in site.test.samples] == ["bmc/test_00_00", "hk/test_00_00"]
    assert site.test[0][0].shape == (384, 384, 1)


def test_a_photograph_taken_sideways_is_read_upright(site) -> None:
    site.pairs("a")
    upright = np.arange(8 * 6, dtype=np.uint8).reshape(8, 6)
    lying = Image.fromarray(np.rot90(upright).copy())
    exif = Image.Exif()
    exif[0x0112] = 6  # turn a quarter clockwise to see it upright
    (site.root / "image" / "a.png").unlink()
    lying.save(site.root / "image" / "a.png", exif=exif)
    assert (folder(site.root)[0].image[..., 0] == upright).all()


@pytest.mark.parametrize("ending", ["gif", "bmp", "tif", "ppm", "webp"])
def test_other_formats_of_pillow_are_read(ending: str, site) -> None:
    site.pairs("a")
    (site.root / "image" / "a.png").unlink()
    Image.fromarray(np.full((8, 6, 3), 90, np.uint8)).save(site.root / "image" / f"a.{ending}", lossless=True)
    assert folder(site.root)[0].image.shape == (8, 6, 3)


def test_a_test_regex_that_matches_nothing_is_refused(site) -> None:
    site.pairs("a", "b")
    with pytest.raises(DataError, match="matches no image; names look like a, b"):
        len(folder(site.root, test_regex="_tset$"))
