"""What is said of data before time is spent on them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from relay.data import Case, Dataset, DatasetOptions, Record, SiteData, Split, read_images
from relay.data.checks import examine
from relay.data.store import Store

RNG = np.random.default_rng(0)


class Told(Dataset):
    """Pictures by their names."""

    def __init__(self, pictures: dict[str, Case], classes: int = 2) -> None:
        super().__init__(DatasetOptions(task_id=0, task_name="site", num_classes=classes, channels=1))
        self.pictures = pictures

    def samples(self) -> list[Record]:
        return [Record(name, name.split("_")[0], (Path(name),), Path(name)) for name in self.pictures]

    def read(self, sample: Record) -> Case:
        return self.pictures[sample.id]


def picture(classes: int = 2, level: int | None = None, seed: int = -1, **kwargs) -> Case:
    rng = RNG if seed < 0 else np.random.default_rng(seed)
    image = rng.integers(0, 255, (6, 6, 1)) if level is None else np.full((6, 6, 1), level)
    return Case(image.astype(np.uint8), (np.arange(36).reshape(6, 6) % classes).astype(np.uint8), **kwargs)


def doubts(pictures: dict[str, Case], classes: int = 2, val: bool = True) -> list[str]:
    """With the first half to train on, the last picture to test on."""
    dataset = Told(pictures, classes)
    *rest, test = dataset.listing
    parts = Split(rest[:-1], rest[-1:], [test]) if val else Split(rest, [], [test])
    return list(map(str, examine(SiteData(dataset, parts), ("train", "val", "test"))))


def four(**changes: Case) -> dict[str, Case]:
    return {name: picture() for name in ("a_1", "b_1", "c_1", "d_1")} | changes


def test_sound_data_are_not_talked_about() -> None:
    assert doubts(four()) == []


@pytest.mark.parametrize(
    ("pictures", "classes", "said"),
    [
        (four(), 4, ["site: class 2 (class 2) occurs in no mask; num_classes may be too large",
                     "site: class 3 (class 3) occurs in no mask; num_classes may be too large"]),
        (four(d_1=picture(3)), 3, ["site: class 2 (class 2) occurs in no train and no val mask"]),
        (four(d_1=picture(1)), 2, ["site: all test masks are empty: they contain only background"]),
        (four(a_1=picture(level=0)), 2, ["site: 1 image has the same value everywhere: black or blank (a_1)"]),
        (four(a_1=picture(seed=1), d_1=picture(seed=1)), 2,
         ["site: 2 images are identical to images in another split: training and test data overlap (a_1, d_1)"]),
        (four(a_1=picture(seed=1), b_1=picture(seed=1)), 2,
         ["site: 2 images are identical to images of another patient (a_1, b_1)"]),
        (four(a_1=picture(spacing=(1.0, 1.0)), b_1=picture(spacing=(1.0, 0.5))), 2,
         ["site: 2 of 4 images don't give their spacing in mm",
          "site: the spacing varies between images: 1 × 0.5 to 1 mm; resample them to one spacing"]),
        (four(a_1=picture(notes=("its window was widened",))), 2, ["site: 1 image: its window was widened (a_1)"]),
        (four(a_1=picture(notes=("3 of 9 are NaN",)), b_1=picture(notes=("4 of 9 are NaN",))), 2,
         ["site: 2 images, the first: 3 of 9 are NaN (a_1, b_1)"]),
        ({name: replace(picture(), target=np.ones((6, 6), np.uint8)) for name in four()}, 2,
         ["site: class 0 (background) occurs in no mask: check that background and mask_values are right"]),
        ({"A_1": picture(), "a_2": picture(), "c_1": picture(), "d_1": picture()}, 2,
         ["site: patients whose names differ only in case, width, dashes or zeros may be the same; "
          "they stay in one split (A, a)"]),
    ],
)  # fmt: skip
def test_what_is_hardly_meant_is_told(pictures: dict[str, Case], classes: int, said: list[str]) -> None:
    assert doubts(pictures, classes) == said


def test_no_note_names_a_file(tmp_path: Path) -> None:
    """The text of a warning may be disclosed, and files are often named after patients."""
    for k in range(2):
        Image.fromarray(np.full((4, 4), k, np.uint16)).save(tmp_path / f"doe_{k}.png")
    paths = [tmp_path / "doe_0.png", tmp_path / "doe_1.png"]
    assert read_images(paths).notes == (
        "file 1: every voxel is 0; read as black", "file 2: every voxel is 1; read as black",
    )  # fmt: skip
    assert read_images([paths[0], paths[0]]).notes == ("every voxel is 0; read as black",)


@pytest.mark.parametrize(
    ("task", "targets", "said"),
    [
        (
            "classification",
            [0, 1, 0, 1],
            ["no train image has the class class 2", "no test image has the class class 0, class 2"],
        ),
        ("multilabel", [(1, 0, 1), (1, 1, 0), (0, 0, 0), (1, 1, 1)], []),
        ("multilabel", [(1, 0, 0), (1, 1, 0), (0, 0, 0), (1, 1, 1)], ["no train image has the label label 2"]),
    ],
)
def test_classes_that_no_image_has_are_told(task: str, targets: list[Any], said: list[str]) -> None:
    told = Told(
        {f"{name}_1": replace(picture(), target=np.asarray(t)) for name, t in zip("abcd", targets, strict=True)}
    )
    told.options = replace(told.options, task=task, num_classes=3)
    *rest, test = told.listing
    found = [doubt.text for doubt in examine(SiteData(told, Split(rest, [], [test])), ("train", "test"))]
    assert [text for text in found if text.startswith("no ")] == said


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ([1e5, 1.2e5], "are 1.1e+05 on average (standard deviation 1e+04); a net begins near 0"),
        ([0.001, 0.002], "differences so small"),
        ([20, 80], None),
        ([0, 0], None),
    ],
)
def test_numbers_far_from_those_of_a_fresh_net_are_told(values: list[float], said: str | None) -> None:
    cases = {name: replace(picture(), target=np.float32(v)) for name, v in zip("abc", [*values, 0], strict=True)}
    told = Told(cases)
    told.options = replace(told.options, task="regression", num_classes=None)
    *rest, test = told.listing
    found = [doubt.text for doubt in examine(SiteData(told, Split(rest, [], [test])), ("train", "test"))]
    assert len(found) == 1 + (said is not None)  # nor is there anybody to validate on
    assert said is None or said in found[0]


def test_a_mask_of_two_images_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(four())
    records = [replace(r, target=Path("same") if r.id in ("a_1", "b_1") else r.target) for r in told.samples()]
    monkeypatch.setattr(told, "samples", lambda: records)
    *rest, test = told.listing
    said = map(str, examine(SiteData(told, Split(rest[:-1], rest[-1:], [test])), ("train", "val", "test")))
    assert list(said) == ["site: 2 images have a mask that is another image's, too (a_1, b_1)"]


def test_whom_folds_leave_out_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    told = Told(four())
    records = [replace(r, split="test" if r.id == "d_1" else None) for r in told.samples()]
    monkeypatch.setattr(told, "samples", lambda: records)
    told.options = replace(told.options, fold="1/3")
    a, b, c, _ = told.listing
    (said,) = map(str, examine(SiteData(told, Split([a], [b], [c])), ("train", "val", "test")))
    assert said.startswith("site: patients whom the publisher marks for testing (1) are in no fold")
    assert said.endswith("(d)")


def test_what_img_size_stretches_is_not_to_be_resampled() -> None:
    told = Told({name: picture(spacing=(1.0, 1.0 + (name == "a_1"))) for name in four()})
    told.options = replace(told.options, img_size=[6, 6])
    *rest, test = told.listing
    (said,) = map(str, examine(SiteData(told, Split(rest[:-1], rest[-1:], [test])), ("train", "val", "test")))
    assert said.startswith("site: the spacing varies between images: 1 × 1 to 2 mm; img_size stretches them")
    assert "resample" not in said


def test_all_masks_empty_and_nobody_to_validate_on() -> None:
    found = doubts({name: picture(1) for name in "abc"}, val=False)
    assert "site: all train masks are empty: they contain only background" in found
    assert any("no patients for validation" in text for text in found)


def test_every_picture_is_looked_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    looked: list[int] = []
    get = Store.__getitem__
    monkeypatch.setattr(Store, "__getitem__", lambda store, i: looked.append(i) or get(store, i))
    assert doubts(four()) == []
    assert len(looked) == 4
