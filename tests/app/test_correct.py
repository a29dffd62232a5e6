"""Correcting masks on the page: the list, the editor's data, and a mask that is sent back."""

from __future__ import annotations

import gzip
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from PIL import Image

from tests.app.conftest import Browser, Opened
from tests.studies import given

ABOUT = {"config": "tiny.yaml", "note": "run", "site": "clinic_a"}
SMALL = {"common.dataset.kwargs": {"num_classes": 3, "count": 12, "size": 16, "img_size": [16, 16]}}


@pytest.fixture
def at(tmp_path: Path, opened: Opened, monkeypatch: pytest.MonkeyPatch) -> Browser:
    """A page in a folder with a config of two synthetic sites, and one of three volumes with masks of 0 and 255."""
    here = tmp_path / "work"
    here.mkdir()
    monkeypatch.chdir(here)
    (here / "tiny.yaml").write_text(yaml.safe_dump(given(**SMALL)))
    for number in range(6):
        scan = sitk.GetImageFromArray(np.arange(60, dtype=np.int16).reshape(3, 4, 5) + 1000 * number - 1000)
        scan.SetSpacing((0.5, 0.75, 2.0))
        scan.SetDirection((-1, 0, 0, 0, 1, 0, 0, 0, 1))
        for part, image in (("image", scan), ("mask", sitk.Cast(scan > 1030, sitk.sitkUInt8) * 255)):
            (here / "data" / part).mkdir(parents=True, exist_ok=True)
            sitk.WriteImage(image, str(here / "data" / part / f"p{number}.nii.gz"))
    options = {"num_classes": 2, "channels": 1, "mask_values": [0, 255], "root_path": "data", "patch_size": [4, 4, 4]}
    blocks = given(**{"common.dataset": {"name": "folder", "kwargs": options}, "current_tasks.task_ids": [1]})
    blocks["all_tasks_datasets"] = [{"kwargs": {"task_id": 1, "task_name": "clinic_a"}}]
    blocks["common"]["model"]["kwargs"] = {"spatial_dims": 3, "features": [8, 8, 8, 8, 8]}
    (here / "scans.yaml").write_text(yaml.safe_dump(blocks))
    return opened(cwd=here)


def sent(at: Browser, mask: np.ndarray, about: dict[str, str], **fields: Any) -> Any:
    data = {**about, "image": "p0000_left", "source": "newest", "by": "J. Doe", **fields}
    files = {"mask": ("mask.gz", fields.pop("raw", None) or gzip.compress(mask.tobytes()))}
    return at.post("/correct/save", {k: v for k, v in data.items() if k != "raw"}, files=files)


def get(at: Browser, path: str, about: dict[str, str] = ABOUT, **more: str) -> Any:
    return at.get(path, params={**about, **more})


def test_images_are_listed_and_commands_queued(at: Browser, queued: list[Any]) -> None:
    assert "Show its images" in at.get("/correct").text
    page = get(at, "/correct").text
    assert page.count("/correct/image?") == 12
    assert "0 training images have a corrected mask" in page
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("relay.app.pages.correct.MOST", 5)
        last = get(at, "/correct", **{"from": "99"}).text
    assert ("11 to 12 of 12" in last, last.count("/correct/image?"), "from=5" in last) == (True, 2, True)
    at.post("/correct/list", {**ABOUT, "split": "all"})
    at.post("/correct/learn", {**ABOUT, "least": "3", "scored": "1"})
    where = ("-c", "tiny.yaml", "-n", "run", "--site", "clinic_a")
    assert [words for words, _, _ in queued] == [
        ("correct", "list", *where, "--split", "all"),
        ("correct", "learn", *where, "--min-samples", "3", "--score-corrected"),
    ]


def test_a_mask_goes_to_the_editor_and_comes_back_as_a_version(at: Browser, tmp_path: Path) -> None:
    page = get(at, "/correct/image", image="p0000_left")
    assert page.status_code == 200
    pixels = get(at, "/correct/pixels", image="p0000_left")
    assert (pixels.headers["x-shape"], pixels.headers["x-type"], pixels.headers["x-channels"]) == (
        "16,16",
        "uint8",
        "3",
    )
    assert len(pixels.content) == 16 * 16 * 3
    start = get(at, "/correct/mask", image="p0000_left", source="newest")
    assert start.headers["x-source"] == "stored"
    mask = np.frombuffer(start.content, np.uint8).reshape(16, 16).copy()
    mask[0, :3] = 2
    said = sent(at, mask, ABOUT)
    assert said.status_code == 200, said.text
    assert said.json()["version"] == 1
    assert said.json()["changed"]["cup"]["added"] == 3
    kept = tmp_path / "work/exps/corrections/clinic_a/p0000_left"
    kept = next((tmp_path / "work/exps").rglob("1.png"))
    assert np.array_equal(np.asarray(Image.open(kept)), mask)
    assert json.loads(kept.with_suffix(".json").read_text())["by"] == "J. Doe"
    again = get(at, "/correct/mask", image="p0000_left", source="newest")
    assert (again.headers["x-source"], again.content) == ("version 1", mask.tobytes())
    assert "J. Doe" in get(at, "/correct/image", image="p0000_left").text
    mask[0, 3] = 2
    for version, source in ((2, "version 1"), (3, "version 1"), (4, "stored")):  # 3: two people began with version 1
        mask[1, version] = 1
        assert sent(at, mask, ABOUT, source=source).json()["version"] == version
        assert json.loads(kept.with_name(f"{version}.json").read_text())["source"] == source


def test_a_volume_keeps_its_values_and_its_place(at: Browser, tmp_path: Path) -> None:
    about = {**ABOUT, "config": "scans.yaml"}
    pixels = get(at, "/correct/pixels", about, image="p1")
    headers = {name: pixels.headers[f"x-{name}"] for name in ("shape", "type", "channels", "spacing")}
    assert headers == {"shape": "3,4,5", "type": "int16", "channels": "1", "spacing": "2.0,0.75,0.5"}
    values = np.frombuffer(pixels.content, "<i2").reshape(3, 4, 5)
    assert values[0, 0].tolist() == [4, 3, 2, 1, 0]  # as radiologists look at it
    mask = np.zeros((3, 4, 5), np.uint8)
    mask[2, 1, 0] = 1
    assert sent(at, mask, about, image="p1").status_code == 200
    kept = sitk.ReadImage(str(next((tmp_path / "work/exps").rglob("1.nii.gz"))))
    assert np.argwhere(sitk.GetArrayFromImage(kept)).tolist() == [[2, 1, 4]]
    assert kept.GetSpacing() == pytest.approx((0.5, 0.75, 2.0))


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"raw": b"no gzip"}, "did not arrive whole"),
        ({"raw": gzip.compress(bytes(255))}, "did not arrive whole"),
        ({"raw": gzip.compress(bytes(10**7))}, "did not arrive whole"),
        ({"raw": gzip.compress(bytes([9]) * 256)}, "class 9 does not exist"),
        ({"by": ""}, "can't be the name of a person"),
        ({"image": "../../etc/passwd"}, "has no image"),
        ({"source": "../x"}, "there is no mask"),
        ({"source": "prediction"}, "no prediction of p0000_left"),
        ({"source": "version 1"}, "there is no mask 'version 1'"),
        ({"note": "../x"}, "the name of the run"),
        ({"site": "nowhere"}, "has no site"),
        ({"config": "/etc/passwd"}, "outside the folders"),
    ],
)
def test_what_can_not_be_kept_is_said(at: Browser, fields: dict[str, Any], said: str) -> None:
    answer = sent(at, np.zeros((16, 16), np.uint8), ABOUT, **fields)
    assert answer.status_code == 422
    assert said in answer.json()["error"]
    assert answer.json()["advice"]
    assert not list((at.desk.cwd / "exps").rglob("*.json"))


def test_a_save_without_the_token_is_refused(at: Browser) -> None:
    answer = at.client.post("/correct/save", data=ABOUT, headers={"origin": "http://127.0.0.1:8000"})
    assert answer.status_code == 422
    assert get(at, "/correct/token").json()["token"] == at.token
