"""The pages in a real browser: no complaint, no request, figures that can be seen."""

from __future__ import annotations

import re
import shutil
import subprocess
from collections import Counter
from pathlib import Path

import pytest
from PIL import Image

from relay.report import write_report
from tests.report import made
from tests.report.reading import read

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
pytestmark = pytest.mark.skipif(not CHROMIUM, reason="no Chromium on this machine to open the page in")
QUIET = ("--headless", "--disable-gpu", "--no-sandbox", "--no-first-run", "--disable-extensions", "--hide-scrollbars")
OFFLINE = ("--host-resolver-rules=MAP * ~NOTFOUND", "--disable-background-networking", "--disable-component-update")
LOG = ("--enable-logging=stderr", "--v=0", "--virtual-time-budget=2000", "--window-size=1100,3000")
MAKE = {"run": made.run, "comparison": made.comparison}


def browse(page: Path, home: Path, *what: str) -> subprocess.CompletedProcess[str]:
    """Open a page; ``home``: the browser's own folder."""
    command = [CHROMIUM, *QUIET, *OFFLINE, *LOG, f"--user-data-dir={home}", *what, page.resolve().as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)


@pytest.fixture(params=MAKE)
def page(request: pytest.FixtureRequest, tmp_path: Path, page_alone: None) -> Path:
    return write_report(MAKE[request.param](tmp_path))


def complaints(log: str) -> list[str]:
    """What the page, not the browser, has said: lines from the console, and of refused or failed loads."""
    return [line for line in log.splitlines() if re.search(r"CONSOLE|Refused|net::ERR", line)]


def test_it_opens_without_complaint_and_can_be_seen(page: Path, tmp_path: Path) -> None:
    done = browse(page, tmp_path / "home", "--dump-dom", f"--screenshot={tmp_path / 'shot.png'}")
    assert not complaints(done.stderr)
    seen, written = read(done.stdout), read(page.read_text())
    assert len(seen.all("figure")) == len(written.all("figure")) > 1
    assert len(seen.all("svg")) == len(written.all("svg"))
    assert len(seen.all("path")) == len(written.all("path")) > 20
    assert len(seen.all("td")) == len(written.all("td")) > 10
    assert ground(tmp_path / "shot.png") > 384


@pytest.mark.usefixtures("page_alone")
def test_it_can_be_seen_in_the_dark(tmp_path: Path) -> None:
    page = write_report(made.comparison(tmp_path))
    browse(page, tmp_path / "home", f"--screenshot={tmp_path / 'shot.png'}", "--blink-settings=preferredColorScheme=0")
    assert ground(tmp_path / "shot.png") < 384


def ground(shot: Path) -> int:
    """How light a picture's ground is, 0 to 765, once it is known to be no empty page."""
    with Image.open(shot) as image:
        pixels = image.convert("RGB").resize((550, 1500), Image.Resampling.NEAREST).get_flattened_data()
    (most, _), *others = Counter(pixels).most_common()
    assert len(others) > 100
    assert any(max(colour) - min(colour) > 80 for colour, count in others if count > 50)  # figures have colours
    return int(sum(most))


def test_a_request_would_be_noticed(tmp_path: Path) -> None:
    page = tmp_path / "page.html"
    page.write_text("<!DOCTYPE html><script>console.error('oh')</script>")
    assert complaints(browse(page, tmp_path / "home", "--dump-dom").stderr)
