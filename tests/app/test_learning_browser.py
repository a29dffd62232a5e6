"""Masks corrected with the mouse make the site's own model better: from the editor to the model that learned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml
from PIL import Image

from relay.config import Devices
from relay.correct import Target
from relay.leg import Progress
from relay.plan import Study, plan
from relay.predict import OwnRun, probabilities
from relay.simulate import Simulation
from tests.app.test_browser import Served, opened
from tests.app.test_editor import at, drag, ready, saved
from tests.studies import given

if TYPE_CHECKING:
    from playwright.sync_api import Browser

pytestmark = [pytest.mark.enable_socket, pytest.mark.slow, pytest.mark.timeout(300)]
SITES = ("clinic_a", "clinic_b")
SIZE = (32, 32)
BOX = (slice(9, 23), slice(9, 23))
"""Where the object of an image from the other scanner is."""


def blocks() -> dict[str, Any]:
    """Two sites with pictures in folders."""
    made = given(**{"common.train.num_epochs": 4})
    made["common"]["dataset"] = {"name": "folder"}
    common = {"num_classes": 2, "channels": 1, "img_size": [32, 32], "repeats": 4}
    made["common"]["dataset"]["kwargs"] = common
    made["all_tasks_datasets"] = [
        {"kwargs": {"task_id": i, "task_name": name, "root_path": name}} for i, name in enumerate(SITES, 1)
    ]
    made["current_tasks"]["task_ids"] = [2, 1]
    return made


def write(data: Path, name: str, image: np.ndarray, mask: np.ndarray) -> None:
    for part, values in (("image", image), ("mask", mask)):
        (data / part).mkdir(parents=True, exist_ok=True)
        Image.fromarray(values.astype(np.uint8)).save(data / part / f"{name}.png")


def bright(name: str, data: Path, number: int) -> None:
    """A bright square on dark ground, with its mask."""
    rng = np.random.default_rng(number)
    image, mask = rng.normal(60, 8, SIZE), np.zeros(SIZE)
    y, x = rng.integers(2, 16, 2)
    mask[y : y + 14, x : x + 14] = 1
    write(data, name, image + 120 * mask, mask)


def faint(name: str, data: Path, number: int) -> None:
    """A fainter square, from another scanner; its stored mask is wrong: somebody has overlooked it."""
    image = np.random.default_rng(number).normal(60, 8, SIZE)
    image[BOX] += 40
    write(data, name, image, np.zeros(SIZE))


def dice(study: Study, run: Path, name: str) -> float:
    """Of the site's own model on an image with a faint square."""
    here, target = OwnRun(study, run, "tiny"), Target.of(study, run.parent, "clinic_a")
    model, sample = here.at_home(target.leg), target.images[name]
    truth, found = np.zeros(SIZE, bool), np.zeros(SIZE, bool)
    for place, likely in probabilities(model, model.net(Devices()), target.stored.original(sample), sample.image):
        found[place] = likely.argmax(0) == 1
    truth[BOX] = True
    return float(2 * (found & truth).sum() / (found.sum() + truth.sum()))


def test_masks_corrected_with_the_mouse_make_the_model_better(chromium: Browser, tmp_path: Path) -> None:
    """One is corrected with a polygon, one with the brush. It is not the longer training alone: if two other images are
    corrected in their place, the Dice on these two rises by 0.05."""
    (work := tmp_path / "work").mkdir()
    for site, first in zip(SITES, (0, 50), strict=True):
        for number in range(20):
            bright(f"p{number:02d}", work / site, first + number)
    (work / "tiny.yaml").write_text(yaml.safe_dump(blocks()))
    run = work / "exps/tiny/run"
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(work)
        study = plan(blocks(), "tiny")
        splits = Target.of(study, run.parent, "clinic_a").splits
        wrong = [name for name, split in splits.items() if split == "train"][:2]
        for number, name in enumerate(wrong, 100):
            faint(name, work / "clinic_a", number)
        (simulation := Simulation(plan(blocks(), "tiny"), run)).run(Progress())
        before = [dice(simulation.study, run, name) for name in wrong]
        with opened(chromium, tmp_path / "home", work) as site:
            ready(site, "tiny.yaml", wrong[0])
            drawn_with_polygon(site)
            assert saved(site).startswith("Saved as version 1")
            ready(site, "tiny.yaml", wrong[1])
            drawn_with_brush(site)
            assert saved(site).startswith("Saved as version 1")
            site.go("/correct?config=tiny.yaml&note=run&site=clinic_a")
            assert "2 training images have a corrected mask" in site.page.inner_text("main")
            site.fill("/correct/learn", least="2")
            assert site.over() == "done", site.page.inner_text("main")
            assert "Accepted and adopted" in site.page.locator(".output").inner_text()
        after = [dice(study, run, name) for name in wrong]
    assert json.loads((run / "learned/clinic_a/learned.json").read_text())["corrected"] == 2
    assert np.mean(after) > np.mean(before) + 0.1, (before, after)


def drawn_with_polygon(site: Served) -> None:
    """The whole square, by its corners."""
    site.page.keyboard.press("p")
    low, high = BOX[0].start - 0.4, BOX[0].stop - 0.6
    for corner in ((low, low), (high, low), (high, high), (low, high)):
        site.page.mouse.click(*at(site, *corner, SIZE))
    site.page.keyboard.press("Enter")


def drawn_with_brush(site: Served) -> None:
    """The whole square but for its corners, row by row."""
    site.page.keyboard.press("b")
    site.page.get_by_label("Brush size").fill("3")
    low, high = BOX[0].start + 1, BOX[0].stop - 2
    for row in range(low, high + 1, 2):
        drag(site, SIZE, (low, row), (high, row))
