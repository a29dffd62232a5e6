"""Take the pictures of docs/tutorial-page.md: ``python -m tests.app.make_screenshots``.

A study of three synthetic hospitals, with real keys: the first trains in a terminal, the second is at the page.
"""

from __future__ import annotations

import io
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml
from PIL import Image
from playwright.sync_api import sync_playwright

from tests.app.test_browser import SECRET, SITES, Served, config, opened, relay, words_of

FIGURES = Path(__file__).resolve().parents[2] / "docs" / "figures"
COLOURS = 96
"""Few colours make small files; the pages have few."""


def shoot(site: Served, name: str, whole: bool = False) -> None:
    """Save what the tab shows, or the whole page."""
    site.page.wait_for_timeout(700)
    picture = Image.open(io.BytesIO(site.page.screenshot(full_page=whole))).convert("RGB")
    picture.quantize(COLOURS).save(FIGURES / f"page_{name}.png", optimize=True)


def here(home: Path, cwd: Path, *words: str) -> None:
    """A command of a site, in a terminal."""
    environment = {**os.environ, "RELAY_HOME": str(home), "RELAY_PASSPHRASE": SECRET}
    done = subprocess.run([sys.executable, "-m", "relay", *words], cwd=cwd, env=environment, stdin=subprocess.DEVNULL)
    assert done.returncode == 0


def trained_longer(path: Path) -> None:
    """Larger images and more epochs than the tests need: masks that look like something."""
    blocks = yaml.safe_load(path.read_text())
    blocks["common"]["dataset"]["kwargs"] |= {"size": 64, "img_size": [64, 64], "count": 30}
    blocks["common"]["train"]["num_epochs"] = 16
    path.write_text(yaml.safe_dump(blocks))


def studied(folder: Path) -> Path:
    """Keys, requests and a roster for three sites; the first has trained. Returns the stick."""
    (stick := folder / "stick").mkdir()
    centre = folder / "centre"
    relay(centre, "keys", "new", "--name", "centre")
    relay(centre, "invite", "three", "-o", stick)
    for task, name in enumerate(SITES, 1):
        config(cwd := folder / name, task, stick)
        trained_longer(cwd / "configs" / "deploy.yaml")
        here(home := folder / f"{name}.home", cwd, "keys", "new", "--name", name)
        invitation = str(stick / "three.invitation.json")
        here(home, cwd, "request", invitation, "-o", str(stick), "--fingerprint", words_of(centre))
    requests = [stick / f"three.{name}.request.json" for name in SITES]
    relay(centre, "roster", "make", *requests, "--order", ",".join(SITES), "-o", stick, "-s", "three", "--yes")
    for name in SITES:
        here(folder / f"{name}.home", folder / name, "roster", "install", str(stick / "three.roster-1.json"))
    here(folder / f"{SITES[0]}.home", folder / SITES[0], "train", "-c", "deploy")
    return stick


def walk(site: Served, stick: Path) -> None:
    """The second hospital's leg, as the tutorial tells it."""
    site.go("/")
    shoot(site, "study")
    site.go("/data/config?name=deploy")
    shoot(site, "config")
    site.go("/leg")
    site.fill("/leg/receive", stick=str(stick), passphrase=SECRET)
    assert site.over() == "done"
    shoot(site, "received")
    site.go("/leg")
    site.fill("/leg/train", passphrase=SECRET)
    site.page.locator('progress:not([value="0.0"]):not([value="0"])').wait_for(timeout=120_000)
    site.go("/leg")
    site.page.locator("svg.curves").wait_for(timeout=120_000)
    site.page.locator(".shots img").first.wait_for(timeout=120_000)
    site.page.locator("h1").evaluate("(title) => title.remove()")  # so that the pictures are seen, too
    shoot(site, "training")
    site.go("/jobs/2")
    assert site.over() == "done"
    site.go("/results/run?run=exps/deploy/run")
    site.page.locator('form[action="/results/save"] button').click()
    assert site.over() == "done"
    site.go("/results/run?run=exps/deploy/run")
    shoot(site, "results")
    site.page.locator('[aria-labelledby="worst"] th[scope="row"] a').first.click()
    shoot(site, "viewer")
    site.go("/correct?config=deploy&note=run&site=")
    site.page.locator('[aria-labelledby="images"] td a').first.click()
    shoot(site, "correct")
    site.go("/approve")
    site.page.get_by_role("button", name="Show what would leave").click()
    shoot(site, "approve")
    site.go("/models")
    shoot(site, "models")


def main() -> None:
    """Make the study, take the pictures, remove the study."""
    folder = Path(tempfile.mkdtemp(prefix="relay-page-"))
    there = shutil.which("chromium")
    assert there, "apt install chromium"
    try:
        stick = studied(folder)
        with sync_playwright() as playwright:
            browser = playwright.chromium.launch(executable_path=there, args=["--no-sandbox"])
            name = SITES[1]
            with opened(browser, folder / f"{name}.home", folder / name, "-c", "deploy", "--root", str(stick)) as site:
                walk(site, stick)
            browser.close()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    main()
