"""How long the operator waits for a list of 2 000 images, against one of 20: until it can be read and used."""

from __future__ import annotations

import shutil
import sys
from pathlib import Path
from statistics import median
from typing import Any

import yaml
from PIL import Image

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from playwright.sync_api import Page, sync_playwright
from setting import report, scratch

from relay.app.runs import PARTS
from relay.results import write_rows
from tests.app.test_browser import opened
from tests.studies import given

MANY, FEW = 2000, 20
PAIRS = 7
PAGES = {
    "images of a folder": "/data/new?source={work}/{size}",
    "masks to correct": "/correct?config=c{size}&note=run&site=clinic_a",
    "worst images first": "/results/run?run=exps/c{size}/run",
    "a folder to choose from": "/browse?kind=file&path={work}/{size}/image",
}
READY = """() => {
  document.querySelector("a, button").focus();
  document.body.getBoundingClientRect();  // waits for the layout
  return new Promise((done) => requestAnimationFrame(() => setTimeout(() => done(performance.now()))));
}"""
"""Milliseconds since navigation began until a frame was shown and the page answers."""


def made(work: Path, size: int) -> None:
    """A folder of images with masks, a config and a run with the score of each."""
    for part in ("image", "mask"):
        (work / str(size) / part).mkdir(parents=True)
        for number in range(size):
            Image.new("L", (16, 16)).save(work / str(size) / part / f"p{number:04d}.png")
    blocks = given()
    kwargs = {"root_path": str(work / str(size)), "num_classes": 2, "channels": 1, "img_size": [16, 16]}
    blocks["common"]["dataset"] = {"name": "folder", "kwargs": kwargs}
    blocks["all_tasks_datasets"] = [{"kwargs": {"task_id": 1, "task_name": "clinic_a"}}]
    blocks["current_tasks"] = {"task_ids": [1]}
    (work / "configs").mkdir(exist_ok=True)
    (work / "configs" / f"c{size}.yaml").write_text(yaml.safe_dump(blocks))
    run = work / "exps" / f"c{size}" / "run"
    (run / PARTS[2]).mkdir(parents=True)
    about = {"study": "c", "strategy": "sequential", "leg": 1, "trained": "clinic_a", "model": "generalist"}
    about |= {"site": "clinic_a", "class": "class 1", "metric": "dice", "value": 0.5}
    rows = [{**about, "patient": f"p{k:04d}", "sample": f"p{k:04d}"} for k in range(size)]
    write_rows(run / "results" / "scores.csv", rows)


def waited(page: Page, url: str) -> float:
    """Milliseconds until a page answers."""
    answer = page.goto(url, wait_until="load")
    assert answer is not None
    assert answer.ok, f"{url}: {page.inner_text('body')}"
    time: Any = page.evaluate(READY)
    return float(time)


def main() -> None:
    """Measure each page in pairs."""
    chromium = shutil.which("chromium") or shutil.which("google-chrome")
    if chromium is None:
        print("not measured: there is no Chromium (apt install chromium)", file=sys.stderr)
        return
    folder = scratch()
    (work := folder / "work").mkdir()
    for size in (MANY, FEW):
        made(work, size)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        with opened(browser, folder / "home", work) as site:
            for name, path in PAGES.items():
                urls = [site.url + path.format(work=work, size=size) for size in (MANY, FEW)]
                [waited(site.page, url) for url in urls]  # the first look reads files that are cached later
                pairs = [[waited(site.page, url) for url in urls] for _ in range(PAIRS)]
                report(f"{name}, {MANY} : {FEW}", [many / few for many, few in pairs], "at most 5")
                print(f"  {median(many for many, _ in pairs):.0f} ms with {MANY} (target: under 1000 ms)")
            site.wrong.clear()
        browser.close()
    shutil.rmtree(folder)


if __name__ == "__main__":
    main()
