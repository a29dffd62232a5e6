"""Folders of classes, text labels, nnU-Net's and ECVL's data sets, nested folders."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from relay.datasets.classes import Classes
from relay.datasets.ecvl import ECVL
from relay.datasets.folder import Folder
from relay.datasets.nnunet import NnUNet
from relay.datasets.text_labels import TextLabels

from relay.data import Dataset, prepare
from relay.errors import DataError
from relay.start import find_images

CLASSES: dict[str, Any] = {"task": "classification", "num_classes": 2, "class_names": ["benign", "malignant"]}
GREY = np.zeros((4, 4), np.uint8)
CASES = ("Tr", "a"), ("Tr", "b"), ("Ts", "c"), ("Ts", "d")


def made(cls: type[Dataset], root: Path, **kwargs) -> Dataset:
    return cls(cls.Options(**{"task_id": 0, "task_name": "site", "root_path": str(root), "num_classes": 2, **kwargs}))


def told(dataset: Dataset) -> list[tuple[object, ...]]:
    return [(r.id, r.patient, r.target, r.split) for r in dataset.listing]


# -- classes ---------------------------------------------------------------------------------------------------------


def test_a_folder_for_each_class(site) -> None:
    for name in ("benign/p1/a.png", "benign/p2/a.png", "malignant/p1/b.png", ".cache/x.png"):
        site.write(name, GREY)
    assert told(made(Classes, site.root, **CLASSES)) == [
        ("benign/p1/a", "benign/p1/a", 0, None),
        ("benign/p2/a", "benign/p2/a", 0, None),
        ("malignant/p1/b", "malignant/p1/b", 1, None),
    ]
    patients = [r.patient for r in made(Classes, site.root, patient_regex="^(p\\d)/", **CLASSES).listing]
    assert patients == ["p1", "p2", "p1"]
    with pytest.raises(DataError, match="patient_regex does not match p2/a"):
        len(made(Classes, site.root, patient_regex="^(p1)/", **CLASSES))


def test_folders_that_are_no_class(site) -> None:
    for name in ("Benign/a.png", "malignant/b.png"):
        site.write(name, GREY)
    with pytest.raises(DataError, match=r"Benign; did you mean 'benign'\?") as caught:
        len(made(Classes, site.root, **CLASSES))
    assert "class_dirs" in caught.value.advice()
    assert len(made(Classes, site.root, class_dirs=["Benign", "malignant"], **CLASSES)) == 2
    with pytest.raises(DataError, match="folder not found"):
        len(made(Classes, site.root / "no", **CLASSES))


def test_classes_in_published_splits(site) -> None:
    for name in ("train/benign/a.png", "train/malignant/b.png", "test/benign/a.png"):
        site.write(name, GREY)
    dataset = made(Classes, site.root, split_dirs={"train": "train", "test": "test"}, val_fraction=0, **CLASSES)
    assert prepare(dataset, seed=1).split.to_json() == {
        "train": ["train/benign/a", "train/malignant/b"], "val": [], "test": ["test/benign/a"],
    }  # fmt: skip


# -- text labels -----------------------------------------------------------------------------------------------------


def test_an_image_and_a_text_file(site) -> None:
    for name, text in {"a": "malignant\n", "b": "\ufeff 0", "deep/c": "Malignat"}.items():
        site.write(f"image/{name}.png", GREY)
        (site.root / f"image/{name}.txt").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=r"deep/c\.txt: 'Malignat' is no class.*did you mean 'malignant'"):
        len(made(TextLabels, site.root, **CLASSES))
    (site.root / "image/deep/c.txt").write_text("benign")
    assert [r.target for r in made(TextLabels, site.root, **CLASSES).listing] == [1, 0, 0]
    (site.root / "image/b.txt").unlink()
    (site.root / "image/a.txt").write_bytes(b"\xff\xfe")
    with pytest.raises(DataError, match=r"\(2\):(.|\n)*a\.txt: is not UTF-8(.|\n)*b\.txt: can't be read: No such file"):
        len(made(TextLabels, site.root, **CLASSES))


def test_texts_with_numbers_or_several_labels(site) -> None:
    site.write("image/a.png", GREY)
    path = site.root / "image/a.txt"
    path.write_text("4.5")
    assert made(TextLabels, site.root, task="regression", num_classes=None).listing[0].target == 4.5
    path.write_text("mass\nedema\n")
    labels = made(TextLabels, site.root, task="multilabel", class_names=["edema", "mass"])
    assert labels.listing[0].target == (1, 1)
    path.write_text(f"{'Findings: none. ' * 9}Reported for Meier")
    with pytest.raises(DataError, match=r"Findings: .*…' is no class") as caught:
        len(made(TextLabels, site.root, **CLASSES))
    assert "Meier" not in str(caught.value)


# -- nested folders --------------------------------------------------------------------------------------------------


def test_nested_folders(site) -> None:
    for name in ("p1/s1", "p1/s2", "p2/s1"):
        site.write(f"image/{name}.png", GREY)
        site.write(f"mask/{name}.png", GREY)
    dataset = made(Folder, site.root, nested=True, patient_regex="^(p\\d)/", test_regex="^p2/")
    assert [(r.id, r.patient, r.split) for r in dataset.listing] == [
        ("p1/s1", "p1", "train"), ("p1/s2", "p1", "train"), ("p2/s1", "p2", "test"),
    ]  # fmt: skip
    assert len(dataset[0].target) == 4
    (site.root / "mask/p2/s1.png").unlink()
    with pytest.raises(DataError, match=r"no mask for .*image/p2/s1\.png"):
        len(made(Folder, site.root, nested=True))


# -- nnU-Net ---------------------------------------------------------------------------------------------------------


def nnunet(site, about: dict[str, Any] | None = None, files: tuple[str, ...] | None = None) -> Path:
    folder = site.root / "Dataset001_Test"
    for name in files or (
        *(f"images{end}/{case}_000{k}" for end, case in CASES for k in range(3)),
        "labelsTr/a", "labelsTr/b", "labelsTs/c",
    ):  # fmt: skip
        site.write(f"{folder.name}/{name}.png", GREY)
    said = {
        "channel_names": {"0": "T2", "1": "ADC", "2": "DWI"}, "labels": {"background": 0, "gland": 1}, "numTraining": 2,
        "file_ending": ".png", **(about or {}),
    }  # fmt: skip
    (folder / "dataset.json").write_text(json.dumps({k: v for k, v in said.items() if v is not None}))
    return folder


def test_nnunets_layout(site) -> None:
    folder = nnunet(site)
    dataset = made(NnUNet, site.root, img_folder=folder.name, patient_regex="[a-z]")
    assert dataset.accessible()
    assert told(dataset) == [
        ("a", "a", folder / "labelsTr/a.png", "train"),
        ("b", "b", folder / "labelsTr/b.png", "train"),
        ("test/c", "c", folder / "labelsTs/c.png", "test"),
    ]
    assert [path.name for path in dataset.listing[0].images] == ["a_0000.png", "a_0001.png", "a_0002.png"]
    assert dataset.mask_values() == [0, 1]


def test_cases_that_are_not_complete(site) -> None:
    whole = ("imagesTr/a_0000", "labelsTr/a", "imagesTr/b_0000", "imagesTr/b_0001", "imagesTr/b_0002", "labelsTr/c")
    nnunet(site, files=whole)
    with pytest.raises(DataError) as caught:
        len(made(NnUNet, site.root, img_folder="Dataset001_Test"))
    for text in ("labelsTr/b.png: no such mask", "a_0001.png: no such channel", "labelsTr/c.png: no image c_0000.png"):
        assert text in str(caught.value)


@pytest.mark.parametrize(
    ("about", "message", "advice"),
    [
        ({"channel_names": None, "modality": {"0": "MRI"}}, "no channel_names", "nnUNetv2_convert"),
        ({"labels": {"background": 0, "a": 1, "b": 2}}, "3 labels .* but num_classes is 2", "num_classes: 3"),
        ({"labels": {"background": 0, "whole": [1, 2]}}, "regions", "number of its own"),
        ({"labels": {"background": 0, "a": 1, "ignore": 2}}, "'ignore' is not supported", "class"),
        ({"labels": {"background": 1, "a": 0}}, "labels is", "Correct the file"),
        ({"labels": [0, 1]}, "labels is", "Correct the file"),
        ({"file_ending": ".xyz"}, "file_ending is .xyz", "Correct the file"),
        ({"channel_names": {"1": "T2"}}, "channel_names is", "Correct the file"),
        ({"channel_names": {str(k): "x" for k in range(4)}}, "4 channels .* but channels is 3", "channels: 4"),
    ],
)
def test_descriptions_that_do_not_fit(site, about: dict[str, Any], message: str, advice: str) -> None:
    nnunet(site, about)
    with pytest.raises(DataError, match=message) as caught:
        len(made(NnUNet, site.root, img_folder="Dataset001_Test"))
    assert advice in caught.value.advice()


def test_three_files_are_no_colour_picture(site) -> None:
    nnunet(site)
    with pytest.raises(DataError, match=r"3 channels \(T2, ADC, DWI\), but channels is 1"):
        len(made(NnUNet, site.root, img_folder="Dataset001_Test", channels=1))
    for name in ("imagesTr/x_0000", "labelsTr/x"):
        site.write(f"rgb/{name}.png", np.zeros((4, 4, 3), np.uint8) if "images" in name else GREY)
    about = {
        "channel_names": {"0": "R", "1": "G", "2": "B"},
        "labels": {"background": 0, "a": 1},
        "file_ending": ".png",
    }
    (site.root / "rgb" / "dataset.json").write_text(json.dumps(about))
    for channels in (1, 3):
        assert made(NnUNet, site.root, img_folder="rgb", channels=channels)[0].image.shape == (4, 4, channels)
    assert [each.images for each in find_images(site.root / "rgb")[1]] == [(site.root / "rgb/imagesTr/x_0000.png",)]


def test_labels_in_another_order_than_the_classes(site) -> None:
    nnunet(site, {"labels": {"background": 0, "cyst": 1, "liver": 2}})
    given = {"img_folder": "Dataset001_Test", "num_classes": 3}
    assert made(NnUNet, site.root, **given, class_names=["background", "cyst", "liver"]).listing
    assert made(NnUNet, site.root, **given, class_names=["background", "a", "b"]).listing
    with pytest.raises(DataError, match="background, cyst, liver, but class_names is background, liver, cyst"):
        len(made(NnUNet, site.root, **given, class_names=["background", "liver", "cyst"]))


def test_no_description(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file") as caught:
        len(made(NnUNet, tmp_path))
    assert "folder of nnU-Net" in caught.value.advice()
    (tmp_path / "dataset.json").write_text("{")
    with pytest.raises(DataError, match=r"dataset\.json is damaged"):
        len(made(NnUNet, tmp_path))


# -- ECVL ------------------------------------------------------------------------------------------------------------

YAML = """
name: skin
description: lesions
classes: [benign, malignant]
features: [age, person]
images:
  - location: images/a.png
    label: malignant
    values: {age: 63.5, person: p1}
  - location: images/b.png
    label: 0
    values: [null, p2]
  - location: images/c.png
    label: benign
    values: [40, p3]
split: {training: [0], validation: [1], test: [2]}
"""


def ecvl(site, text: str = YAML, **kwargs) -> Dataset:
    for name in "abc":
        site.write(f"images/{name}.png", GREY)
    (site.root / "dataset.yml").write_text(text)
    return made(ECVL, site.root, **{**CLASSES, "patient": "person", **kwargs})


def test_ecvls_yaml(site) -> None:
    assert told(ecvl(site)) == [
        ("images/a", "p1", 1, "train"), ("images/b", "p2", 0, "val"), ("images/c", "p3", 0, "test"),
    ]  # fmt: skip
    assert prepare(ecvl(site), seed=1).split.to_json()["val"] == ["images/b"]
    assert {r.split for r in ecvl(site, published_split=False).listing} == {None}
    numbers = YAML.replace("[null, p2]", "[50, p2]")
    ages = ecvl(site, numbers, task="regression", num_classes=None, class_names=None, target="age")
    assert [r.target for r in ages.listing] == [63.5, 50.0, 40.0]


def test_ecvls_patients_are_not_overlooked(site) -> None:
    named = YAML.replace("person", "SubjectID")
    assert [r.patient for r in ecvl(site, named, patient=None).listing] == ["p1", "p2", "p3"]
    assert [r.patient for r in ecvl(site, named, patient=None, patient_regex="[abc]$").listing] == ["a", "b", "c"]
    with pytest.raises(DataError, match="the feature Patient-ID seems to say whose image it is"):
        len(ecvl(site, YAML.replace("person", "Patient-ID"), patient=None))


def test_ecvls_masks_and_plain_places(site) -> None:
    text = "name: x\nimages:\n  - {location: images/a.png, label: images/b.png}\n"
    dataset = ecvl(site, text, task="segmentation", class_names=None, patient=None)
    assert told(dataset) == [("images/a", "images/a", site.root / "images/b.png", None)]
    with pytest.raises(DataError, match=r"images\[0\] \(images/a.png\): it has no label"):
        len(ecvl(site, "images: [images/a.png]\n", task="segmentation", class_names=None, patient=None))


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("label: malignant", "label: malign", r"images\[0\] \(images/a.png\): label: 'malign' is no class"),
        ("images/b.png", "images/x.png", "no such file: .*x.png"),
        ("validation: [1]", "validation: [7]", "split.validation is 7; it must be numbers of images, 0 to 2"),
        ("validation: [1]", "validation: [0]", "image 0 is in two splits"),
        ("validation:", "valid:", "split is .* training, validation, test"),
        ("[benign, malignant]", "[malignant, benign]", "its classes are malignant, benign, but the config's benign"),
        ("[age, person]", "[age, persons]", "no feature person; it has age, persons"),
        ("[null, p2]", "[p2]", "values: must be 2 values"),
        ("person: p1", "person: null", "person is ''"),
        ("images/b.png", "images/a.png", r"images\[1\] \(images/a.png\): images\[0\] has the same place"),
        ("images/b.png", "x" * 300, "no such file: .*xxx"),
        ("images:", "pictures:", "images is not a list"),
        ("images:", "images: [", "is not YAML in line"),
    ],
)
def test_a_yaml_that_can_not_be_used(site, old: str, new: str, message: str) -> None:
    with pytest.raises(DataError, match=message):
        len(ecvl(site, YAML.replace(old, new)))


def test_a_class_called_no_stays_one(site) -> None:
    text = YAML.replace("benign", "no").replace("malignant", "yes")
    assert [r.target for r in ecvl(site, text, class_names=["no", "yes"]).listing] == [1, 0, 0]
