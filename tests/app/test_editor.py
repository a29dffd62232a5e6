"""The editor in a real browser: masks are corrected with the mouse and the keyboard, saved, and found again."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
import SimpleITK as sitk
import yaml
from PIL import Image

from tests.app.test_browser import Served, opened
from tests.studies import given

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = pytest.mark.enable_socket


def at(site: Served, x: float, y: float, size: tuple[int, int]) -> tuple[float, float]:
    """Where a voxel is on the screen, when the whole slice is shown."""
    canvas = site.page.locator("canvas")
    canvas.evaluate("canvas => canvas.scrollIntoView()")
    box = canvas.bounding_box()
    assert box
    scale = min(box["width"] / size[0], box["height"] / size[1])
    left, top = (box["width"] - size[0] * scale) / 2, (box["height"] - size[1] * scale) / 2
    return box["x"] + left + (x + 0.5) * scale, box["y"] + top + (y + 0.5) * scale


def ready(site: Served, config: str, image: str) -> None:
    site.go(f"/correct/image?config={config}&note=run&site=clinic_a&image={image}")
    site.page.locator(".editor[data-ready]").wait_for(state="attached")
    site.page.locator("canvas").scroll_into_view_if_needed()


def drag(site: Served, size: tuple[int, int], *points: tuple[float, float]) -> None:
    site.page.mouse.move(*at(site, *points[0], size))
    site.page.mouse.down()
    for point in points[1:]:
        site.page.mouse.move(*at(site, *point, size), steps=4)
    site.page.mouse.up()


def saved(site: Served) -> str:
    site.page.get_by_label("Who corrected it").fill("J. Doe")
    site.page.get_by_role("button", name="Save as a new version").click()
    told = site.page.locator(".saved:not(:empty)")
    told.wait_for()
    return str(told.inner_text())


@pytest.fixture(scope="module")
def site(chromium: Browser, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """The page in a folder with two configs: of synthetic photographs, and of six volumes with empty masks."""
    work = tmp_path_factory.mktemp("editor") / "work"
    for part in ("image", "mask"):
        (work / "data" / part).mkdir(parents=True)
        for number in range(6):
            scan = sitk.GetImageFromArray(np.random.default_rng(number).integers(0, 900, (7, 24, 24)).astype(np.int16))
            sitk.WriteImage(scan if part == "image" else scan * 0, str(work / "data" / part / f"p{number}.nii.gz"))
    blocks = given(**{"common.dataset.kwargs": {"num_classes": 3, "count": 12, "size": 32, "img_size": [32, 32]}})
    (work / "tiny.yaml").write_text(yaml.safe_dump(blocks))
    options = {"root_path": "data", "channels": 1, "num_classes": 2, "patch_size": [8, 8, 8]}
    blocks["common"]["dataset"] = {"name": "folder", "kwargs": options}
    blocks["common"]["model"]["kwargs"] = {"spatial_dims": 3, "features": [8, 8, 8, 8, 8]}
    blocks |= {"all_tasks_datasets": [{"kwargs": {"task_id": 1, "task_name": "clinic_a"}}]}
    blocks["current_tasks"]["task_ids"] = [1]
    (work / "scans.yaml").write_text(yaml.safe_dump(blocks))
    with opened(chromium, work.parent / "home", work) as served:
        yield served


def folder(site: Served) -> Path:
    return site.home.parent / "work/exps"


def test_a_picture_is_corrected_with_the_mouse_and_the_keyboard(site: Served) -> None:
    size, corners = (32, 32), ((20.6, 20.6), (29.4, 20.6), (29.4, 29.4), (20.6, 29.4))
    ready(site, "tiny.yaml", "p0000_left")
    keys = site.page.keyboard
    keys.press("2")
    site.page.get_by_label("Brush size").fill("1")
    drag(site, size, (2, 3), (12, 3))
    keys.press("p")
    keys.press("1")
    for corner in corners[:3]:
        site.page.mouse.click(*at(site, *corner, size))
    keys.press("Escape")  # dropped
    for corner in corners:
        site.page.mouse.click(*at(site, *corner, size))
    keys.press("Enter")
    keys.press("e")
    drag(site, size, (2, 3), (4, 3))
    for press in ("Control+z", "Control+z", "Control+y"):  # the eraser is undone
        keys.press(press)
    keys.press("b")
    for press in ("ArrowUp", "Shift+ArrowLeft", "Shift+ArrowUp", "Enter"):  # the cross begins in the middle
        keys.press(press)
    assert "cross at column 7, row 7" in site.page.locator(".reading").inner_text()
    assert saved(site).startswith("Saved as version 1")
    kept = next(folder(site).rglob("1.png"))
    mask = np.asarray(Image.open(kept))
    assert (mask[3, 2:13] == 2).all()
    assert (mask[21:30, 21:30] == 1).all()
    assert mask[6, 6] == 1
    record = json.loads(kept.with_suffix(".json").read_text())
    assert (record["by"], record["source"]) == ("J. Doe", "stored")
    site.page.reload()
    site.page.locator(".editor[data-ready]").wait_for(state="attached")
    assert site.page.locator("#source").input_value() == "newest"
    assert "is the same as before (version 1)" in saved(site)
    site.wrong[:] = [text for text in site.wrong if "422" not in text]  # the browser's own note of that answer


def test_a_volume_is_corrected_slice_by_slice(site: Served) -> None:
    size = (24, 24)
    ready(site, "scans.yaml", "p1")
    keys, reading = site.page.keyboard, site.page.locator(".reading")
    assert "slice 4 of 7" in reading.inner_text()
    site.page.get_by_label("Brush size").fill("7")
    site.page.locator("canvas").focus()
    for _ in range(2):
        keys.press("PageDown")
    site.page.mouse.click(*at(site, 12, 12, size))
    for _ in range(4):
        keys.press("PageUp")
    assert "slice 6 of 7" in reading.inner_text()
    drag(site, size, (12, 12), (12, 12.2))
    keys.press("i")
    assert saved(site).startswith("Saved as version 1")
    mask = sitk.GetArrayFromImage(sitk.ReadImage(str(next(folder(site).rglob("1.nii.gz")))))
    assert [bool(mask[k, 12, 12]) for k in range(7)] == [False, True, True, True, True, True, False]


def test_the_image_is_zoomed_windowed_and_turned(site: Served) -> None:
    ready(site, "scans.yaml", "p2")
    page, reading = site.page, site.page.locator(".reading")
    before = reading.inner_text()
    page.mouse.move(*at(site, 12, 12, (24, 24)))
    page.mouse.down(button="right")
    page.mouse.move(*at(site, 16, 12, (24, 24)))
    page.mouse.up(button="right")
    assert reading.inner_text() != before  # another window
    page.mouse.wheel(0, -100)
    assert "slice 5 of 7" in reading.inner_text()
    page.get_by_label("Plane").select_option("coronal")
    assert "slice 13 of 24" in reading.inner_text()
    assert page.get_by_role("button", name="Undo").is_disabled()  # nothing of this changes the mask
