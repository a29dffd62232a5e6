"""The page in a real browser: Debian's Chromium, driven by playwright; every request it makes is watched."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import yaml

from tests.studies import given

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.enable_socket
SITES = ("clinic_a", "clinic_b", "clinic_c")
SECRET = "five or six random words"
WAIT = 180


@dataclass
class Served:
    """A page that is served by ``relay ui``, and a browser's tab at it, with what went wrong in it."""

    page: Page
    url: str
    home: Path
    wrong: list[str]

    def go(self, path: str) -> None:
        self.page.goto(self.url + path)

    def fill(self, form: str, **fields: str) -> None:
        """Fill in the form that is sent to ``form``, and send it."""
        within = self.page.locator(f'form[action="{form}"]')
        for name, value in fields.items():
            within.locator(f'[name="{name}"]').fill(value)
        within.locator("button:not([type=button])").click()

    def over(self) -> str:
        """Wait for the job that is shown, and return its state."""
        state = self.page.locator("[data-over]")
        state.wait_for(timeout=1000 * WAIT)
        return str(state.inner_text())


Serve = Callable[..., Any]


@contextmanager
def serving(home: Path, cwd: Path, *words: str) -> Iterator[str]:
    """``relay ui`` in a process of its own; yields its link."""
    home.mkdir(mode=0o700, exist_ok=True)
    environment = {**os.environ, "RELAY_HOME": str(home), "PYTHONUNBUFFERED": "1"}
    command = [sys.executable, "-m", "relay", "ui", "--no-browser", *words]
    process = subprocess.Popen(command, cwd=cwd, env=environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    try:
        assert process.stdout is not None
        for line in process.stdout:
            if found := re.search(rb"http://127\.0\.0\.1:[0-9]+/enter\?token=\S+", line):
                yield found[0].decode()
                break
        else:
            pytest.fail("relay ui gave no link")
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def opened(browser: Browser, home: Path, cwd: Path, *words: str) -> Iterator[Served]:
    """The page of a home, in a context of its own, as another browser would have it."""
    with serving(home, cwd, *words) as link, ExitStack() as after:
        context = browser.new_context(viewport={"width": 1280, "height": 800})
        after.callback(context.close)
        wrong: list[str] = []
        page = context.new_page()
        page.on("console", lambda message: message.type == "error" and wrong.append(message.text))
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("request", lambda request: request.url.startswith(link[:17]) or wrong.append(request.url))
        page.goto(link)
        yield Served(page, link.partition("/enter")[0], home, wrong)
        assert not wrong


def config(cwd: Path, task: int, stick: Path) -> None:
    """A deployment's config for one of three synthetic sites."""
    sets = [{"kwargs": {"task_id": i, "task_name": name, "camera": name}} for i, name in enumerate(SITES, 1)]
    current = {"mode": "deployment", "task_ids": [task]}
    handoff = {"study": "three", "receive": str(stick), "send": str(stick)}
    blocks = given(**{"common.train.num_epochs": 1, "common.strategy.name": "relay"})
    blocks |= {"all_tasks_datasets": sets, "current_tasks": {**current, "handoff": handoff}}
    (cwd / "configs").mkdir(parents=True)
    (cwd / "configs" / "deploy.yaml").write_text(yaml.safe_dump(blocks))


def relay(home: Path, *words: str | Path) -> None:
    """A command of the coordinator, in a terminal."""
    environment = {**os.environ, "RELAY_HOME": str(home), "RELAY_PASSPHRASE": SECRET}
    command = [sys.executable, "-m", "relay", *map(str, words)]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stdout + done.stderr


def words_of(home: Path) -> str:
    from relay.trust import keys

    return keys.identity(home).fingerprint


@pytest.mark.slow
def test_keys_are_made_a_reload_finds_the_job_and_two_browsers_see_it(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "work" / "deep").mkdir(parents=True)
    with opened(chromium, tmp_path / "home", tmp_path / "work") as site:
        site.page.get_by_role("link", name="Set up this site").click()
        site.fill("/keys/new", name="north", passphrase=SECRET, again=SECRET)
        site.page.reload()
        assert site.over() == "done"
        assert "New keys for north" in site.page.locator(".output").inner_text()
        site.go("/jobs")
        site.page.get_by_role("button", name="Open this page in another browser").click()
        link = site.page.locator(".command code").inner_text()
        other = chromium.new_context()
        (second := other.new_page()).goto(link)
        second.goto(f"{site.url}/jobs")
        assert "Make this site's keys" in second.inner_text("main")
        other.close()
        assert words_of(site.home) in (site.go("/keys") or site.page.inner_text("main"))


def test_a_folder_is_chosen_in_a_dialog_by_keyboard(chromium: Browser, tmp_path: Path) -> None:
    (tmp_path / "work" / "deep" / "<i>er").mkdir(parents=True)
    with opened(chromium, tmp_path / "home", tmp_path / "work") as site:
        site.go("/leg")
        site.page.locator('[data-browse="stick"]').focus()
        site.page.keyboard.press("Enter")
        dialog = site.page.get_by_role("dialog")
        dialog.get_by_role("button", name="deep/").press("Enter")
        dialog.get_by_role("button", name="<i>er/").press("Enter")
        dialog.get_by_role("heading", name="<i>er").wait_for()
        dialog.get_by_role("button", name="Choose this folder").press("Enter")
        assert site.page.locator("#stick").input_value() == str((tmp_path / "work/deep/<i>er").resolve())
        assert site.page.evaluate("document.activeElement.id") == "stick"


def predicted_volume(home: Path, cwd: Path) -> None:
    """A job that has predicted a dropped volume: each slice as bright as its number, the mask a square in some."""
    import SimpleITK as sitk

    place, job = home / "page/uploads/0123456789abcdef/01_ct", home / "page/jobs/000001"
    home.mkdir(mode=0o700)
    place.mkdir(parents=True)
    job.mkdir(parents=True)
    values = np.broadcast_to(np.arange(20, dtype=np.int16)[:, None, None] * 100 - 1000, (20, 32, 32))
    sitk.WriteImage(sitk.GetImageFromArray(np.ascontiguousarray(values)), str(place / "scan.nii.gz"))
    mask = np.zeros((20, 32, 32), np.uint8)
    mask[5:8, 8:24, 8:24] = 1
    sitk.WriteImage(sitk.GetImageFromArray(mask), str(cwd / "scan.nii.gz-0a1b2c3d_mask.nii.gz"))
    about = {"number": 1, "title": "x", "words": ["predict", "--image", str(place)], "cwd": str(cwd), "light": False}
    (job / "job.json").write_text(json.dumps({**about, "secret": False, "created": ""}))
    (job / "state.json").write_text('{"state": "done", "code": 0}')
    (job / "output.txt").write_text("Written: scan.nii.gz-0a1b2c3d_mask.nii.gz\n")


MIDDLE = """() => {
  const canvas = document.querySelector("canvas");
  return [...canvas.getContext("2d").getImageData(canvas.width / 2, canvas.height / 2, 1, 1).data];
}"""


def until(page: Page, fits: Callable[[list[int]], bool]) -> None:
    """Wait until the pixel in the middle of the picture is as it should be; the page itself may not ``eval``."""
    for _ in range(200):
        if fits(page.evaluate(MIDDLE)):
            return
        page.wait_for_timeout(50)
    pytest.fail(f"the middle is {page.evaluate(MIDDLE)}")


def test_results_are_looked_at(chromium: Browser, tmp_path: Path) -> None:
    """A report runs no script, what is dropped is counted, and a volume is scrolled, windowed and turned."""
    from playwright.sync_api import expect

    run = tmp_path / "work/exps/study/first"
    (run / "results").mkdir(parents=True)
    (run / "checkpoints/task_1").mkdir(parents=True)
    (run / "checkpoints/task_1/last.ckpt").write_bytes(b"")
    attack = "<h1>Report</h1><script>parent.document.title = 'x'; fetch('http://192.0.2.1/')</script>"
    (run / "results/report.html").write_text(attack)
    predicted_volume(tmp_path / "home", tmp_path / "work")
    with opened(chromium, tmp_path / "home", tmp_path / "work") as site:
        site.go("/results")
        site.page.get_by_role("link", name="exps/study/first").click()
        site.page.frame_locator("iframe").get_by_role("heading", name="Report").wait_for()
        assert site.page.title() == "exps/study/first – relay"
        assert [text for text in site.wrong if "script" not in text] == []
        site.wrong.clear()  # the browser says that it has blocked the script
        site.page.evaluate(
            """() => {
              const data = new DataTransfer();
              data.items.add(new File([new Uint8Array(3 * 2 ** 20)], "<i>.png"));
              const dropped = new DragEvent("drop", { dataTransfer: data, bubbles: true, cancelable: true });
              document.querySelector("[data-zone]").dispatchEvent(dropped);
            }"""
        )
        site.page.get_by_text("1 file, 3.0 MiB").wait_for()
        site.page.get_by_role("button", name="Predict").click()
        site.page.get_by_text("no config 'study' under ./configs").wait_for()
        site.wrong.clear()  # 422 is in the console, too

        site.go("/results/predicted/1")
        site.page.get_by_role("link", name="scan.nii.gz").click()
        told, canvas = site.page.locator("#slice-told"), site.page.locator("canvas")
        expect(told).to_have_text("6 of 20")  # the first with the largest mask
        site.page.locator("#opacity").fill("100")
        until(site.page, lambda pixel: pixel[:3] == [230, 159, 0])  # orange
        site.page.locator("#opacity").fill("0")
        until(site.page, lambda pixel: pixel[0] == pixel[2])  # grey
        canvas.hover()
        site.page.mouse.wheel(0, -100)
        expect(told).to_have_text("7 of 20")
        canvas.focus()
        site.page.keyboard.press("End")
        expect(told).to_have_text("20 of 20")
        until(site.page, lambda pixel: pixel[0] == 255)
        site.page.keyboard.press("Home")
        until(site.page, lambda pixel: pixel[0] == 0)
        level = site.page.locator("#level-told").inner_text()
        box = canvas.bounding_box()
        assert box
        site.page.mouse.move(box["x"] + 50, box["y"] + 50)
        site.page.mouse.down()
        site.page.mouse.move(box["x"] + 50, box["y"] - 100)
        site.page.mouse.up()
        assert site.page.locator("#level-told").inner_text() != level
        until(site.page, lambda pixel: pixel[0] > 0)
        site.page.locator("#axis").select_option("coronal")
        expect(told).to_have_text("17 of 32")


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_three_hospitals_from_keys_to_the_last_report(chromium: Browser, tmp_path: Path) -> None:
    """Each hospital has its own home, folder and port; only the coordinator, and the stick, are shared."""
    stick, centre = tmp_path / "stick", tmp_path / "centre"
    stick.mkdir()
    relay(centre, "keys", "new", "--name", "centre")
    relay(centre, "invite", "three", "-o", stick)
    with ExitStack() as stack:
        sites = {}
        for task, name in enumerate(SITES, 1):
            config(cwd := tmp_path / name, task, stick)
            words = ("-c", "deploy", "--root", str(stick))
            sites[name] = stack.enter_context(opened(chromium, tmp_path / f"{name}.home", cwd, *words))
        for name, site in sites.items():
            site.go("/keys")
            site.fill("/keys/new", name=name, passphrase=SECRET, again=SECRET)
            assert site.over() == "done"
            site.go("/keys")
            fields = {"invitation": str(stick / "three.invitation.json"), "folder": str(stick)}
            site.fill("/keys/request", **fields, fingerprint=words_of(centre), passphrase=SECRET)
            assert site.over() == "done", site.page.inner_text("main")
        requests = [stick / f"three.{name}.request.json" for name in SITES]
        relay(centre, "roster", "make", *requests, "--order", ",".join(SITES), "-o", stick, "-s", "three", "--yes")
        for leg, (name, site) in enumerate(sites.items(), 1):
            site.go("/keys")
            site.fill("/keys/install", roster=str(stick / "three.roster-1.json"))
            assert site.over() == "done"
            site.go("/")
            if leg > 1:
                site.page.get_by_role("link", name="Receive from the stick").click()
                site.fill("/leg/receive", stick=str(stick), passphrase=SECRET)
                assert site.over() == "done", site.page.inner_text("main")
                site.go("/")
            site.page.get_by_role("link", name=f"Train leg {leg}").click()
            site.fill("/leg/train", passphrase=SECRET)
            site.page.locator(".state.running").wait_for(timeout=1000 * WAIT)
            site.page.reload()
            assert site.over() == "done", site.page.inner_text("main")
            assert list((tmp_path / name / "exps/deploy/run").rglob("report.html"))
            site.go("/")
            assert f"Leg {leg} was written to a stick" in site.page.inner_text("main")
        last = sites[SITES[-1]]
        assert last.page.locator(".line .done").count() == len(SITES)
        last.page.get_by_role("link", name="Choose a model").click()
        last.fill("/leg/adopt", passphrase=SECRET)
        assert last.over() == "done", last.page.inner_text("main")
