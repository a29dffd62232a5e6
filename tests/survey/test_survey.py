"""relay data check and relay data report: everything wrong at once, and one page for the site."""

from __future__ import annotations

from html import unescape
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from relay.survey.looking import Seen, near_copies
from tests.cli.typed import typed

RNG = np.random.default_rng(0)
SITES = ("north", "south")
COMMON = {
    "strategy": {"name": "local"},
    "model": {"name": "U-Net"},
    "train": {"num_epochs": 1},
}


def picture(path: Path, values: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(values.astype(np.uint8)).save(path)


def config(root: Path, **kwargs) -> Path:
    given = {"root_path": str(root), "num_classes": 2, "channels": 1, "class_names": ["background", "lung"]}
    given |= {"patch_size": [16, 16], **kwargs}
    content = {
        "common": {**COMMON, "dataset": {"name": "folder", "kwargs": given}},
        "all_tasks_datasets": [
            {"kwargs": {"task_id": k, "task_name": name, "img_folder": name}}
            for k, name in enumerate(("north", "south"))
        ],
        "current_tasks": {"task_ids": [0, 1]},
    }
    path = root / "study.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two sites of eight patients; one image of the north is there eight times more: smaller and brighter."""
    for site in SITES:
        for k in range(8):
            values = RNG.integers(0, 200, (4, 4)).repeat(8, 0).repeat(8, 1)
            picture(tmp_path / site / "image" / f"p{k}.png", values)
            picture(tmp_path / site / "mask" / f"p{k}.png", np.pad(np.ones((8 + k, 16)), ((8, 16 - k), (8, 8))))
    with Image.open(tmp_path / "north" / "image" / "p0.png") as image:
        again = np.rint(np.asarray(image)[::2, ::2] * 0.8 + 30)
    for k in range(8):
        picture(tmp_path / "north" / "image" / f"x{k}.png", again)
        picture(tmp_path / "north" / "mask" / f"x{k}.png", np.zeros((16, 16)))
    return tmp_path


def test_check_names_everything(root: Path) -> None:
    done = typed("data", "check", config(root))
    assert done.code == 0
    assert "north: 16 images of 16 patients: train 10, val 3, test 3\n" in done.out
    assert "warning: " in done.out
    for k in range(7):
        (root / "south" / "image" / f"p{k}.png").write_bytes(b"no image")
    (root / "north" / "mask" / "p1.png").unlink()
    done = typed("data", "check", config(root))
    done.refused(2, "8 problems, listed above", advice="above")
    assert done.out.count("problem: ") == 8
    assert "south: images that can't be used (7)\n" in done.out
    assert f"problem: no mask for {root / 'north' / 'image' / 'p1.png'}" in done.out
    assert done.out.count("what to do: ") >= 2
    typed("data", "report", config(root)).refused(2, "south: 7, the first", advice="relay data check")


def test_check_finds_what_training_would_begin_with(root: Path) -> None:
    done = typed("data", "check", config(root, patch_size=None))
    done.refused(2, "1 problem, named above")
    assert "problem: task 'north': images of 2 sizes (16×16, 32×32) can't be put into one batch" in done.out
    assert "what to do: Set img_size" in done.out
    COMMON["model"], plain = {"name": "monai:UNETR", "kwargs": {"feature_size": 4, "hidden_size": 13}}, COMMON["model"]
    try:
        done = typed("data", "check", config(root, img_size=[32, 32], patch_size=None))
    finally:
        COMMON["model"] = plain
    done.refused(2, "2 problems, listed above")
    assert "monai can't make UNETR: " in done.out


def test_check_of_a_site_that_only_tests(root: Path) -> None:
    """At an outside hospital it is right; in a simulation, where it is to be trained on, it is not."""
    path = config(root, split="test")
    done = typed("data", "check", path)
    done.refused(2, "2 problems")
    assert "split: test makes all its images test images, so there are none to train on" in done.out
    content = yaml.safe_load(path.read_text())
    content["current_tasks"] = {"mode": "deployment", "task_ids": [1], "handoff": {"study": "cxr", "key": "home"}}
    path.write_text(yaml.safe_dump(content))
    done = typed("data", "check", path)
    assert (done.code, "south: 8 images of 8 patients: test 8\n" in done.out) == (0, True), done.out + done.err


def test_check_says_what_is_not_here(root: Path) -> None:
    (root / "south").rename(root / "elsewhere")
    done = typed("data", "check", config(root))
    assert done.code == 0
    assert "not on this computer, so not read: south" in done.err


def test_a_page_for_each_site(root: Path) -> None:
    done = typed("data", "report", config(root), "-o", root / "pages")
    assert done.code == 0, done.err
    text = (root / "pages" / "north.html").read_text()
    page = unescape(text)
    assert "This page stays at the site." in page
    assert "Skip to the results" in page
    for words in ("Nearly the same in two splits", "32×32", "16×16", "Share of the voxels", "What may be shared"):
        assert words in page
    assert "fewer than 5 patients" in page
    assert page.count('<img src="data:image/png;base64,') == 16
    assert "http://" not in text.replace("http://www.w3.org", "")
    assert "Nearly the same" not in (root / "pages" / "south.html").read_text()


def test_pages_of_classes_and_numbers(root: Path) -> None:
    lines = [f"image/p{k}.png,{'sick' if k % 2 else 'well'},{k / 2}" for k in range(8)]
    (root / "north" / "table.csv").write_text("Channel_0,kind,age\n" + "\n".join(lines) + "\n")
    (root / "south").rename(root / "elsewhere")
    words = ["common.dataset.name=table", "common.dataset.kwargs.task=classification"]
    kinds = [*words, "common.dataset.kwargs.class_names=[well,sick]", "common.dataset.kwargs.target_column=kind"]
    done = typed("data", "report", config(root), "-o", root / "pages", *kinds)
    assert done.code == 0, done.err
    page = (root / "pages" / "north.html").read_text()
    assert "(train): sick" in page
    assert "Areas of the classes" not in page
    ages = ["common.dataset.name=table", "common.dataset.kwargs.task=regression",
        "common.dataset.kwargs.num_classes=null", "common.dataset.kwargs.class_names=[age]",
        "common.dataset.kwargs.target_column=age"]  # fmt: skip
    done = typed("data", "report", config(root), "-o", root / "pages", *ages)
    assert done.code == 0, done.err
    page = (root / "pages" / "north.html").read_text()
    assert "Values of age" in page
    assert "all patients in test" in page
    (root / "taken").write_text("")
    done = typed("data", "report", config(root), "-o", root / "taken", *ages)
    done.refused(2, "is a file, but the pages need a folder", advice="-o")


def seen(split: str, values: np.ndarray) -> Seen:
    return Seen(split, None, (16, 16), None, 0, 0, (), None, values.astype(np.float32))  # type: ignore[arg-type]


def test_near_copies_are_found_and_others_are_not() -> None:
    common = RNG.normal(size=(16, 16)) * 3
    images = [seen("train", common + RNG.normal(size=(16, 16))) for _ in range(40)]
    copy = seen("test", images[7].thumbnail * 1.5 + 10 + RNG.normal(size=(16, 16)) * 0.05)
    other = seen("test", common + RNG.normal(size=(16, 16)))
    (pair,) = near_copies([*images, copy, other])
    assert (pair.one, pair.other) == (images[7], copy)
    assert near_copies([*images, seen("train", images[7].thumbnail)]) == []
    assert near_copies([images[0], copy]) == []
